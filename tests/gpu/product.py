"""Section `product`: products of matrices, in the three orders of factors that training uses.

In 16 bits ours reads f16 factors and writes f32; PyTorch's bf16 reads bf16 factors and writes bf16.
"""
import statistics
import time

import bench

# The factor in front of each: `ours` in f32 and in 16 bits, beside what, and the least that counts as reached.
TARGETS = {"f32": {"peer": "torch f32", "least": 0.6}, "bf16": {"peer": "torch bf16", "least": 0.5}}


def shapes(rehearse):
    """m, n, k, the orders of the factors, and what it is."""
    if rehearse:
        return [(128, 128, 128, orders, "square") for orders in ("rc", "rr", "cr")]
    squares = [(4096, 4096, 4096, orders, "square") for orders in ("rc", "rr", "cr")]
    # Of the step at (1536, 1024): a micro-batch through a block's first layer, and a tile of logits.
    micro, width, inner, tile, shared = 4096, 1536, 6144, 4096, 512
    layer = [(micro, inner, width, "rc", "layer, forward"), (micro, width, inner, "rr", "layer, to its input"),
             (inner, width, micro, "cr", "layer, to its weights")]
    logits = [(tile, tile, shared, "rc", "logits"), (tile, shared, tile, "rr", "logits, to rows"),
              (tile, shared, tile, "cr", "logits, to columns")]
    return [*squares, *layer, *logits, (1024, 1024, 1024, "rc", "square")]


class Torch:
    """The same products in PyTorch."""

    def __init__(self, rehearse):
        import torch

        self.torch, self.device = torch, bench.torch_device(rehearse)

    def wait(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def time(self, launch, rounds=5, least=0.06):
        """Seconds a launch: the median of rounds of as many launches as fill a round."""
        def measure(launches):
            self.wait()
            start = time.perf_counter()
            for _ in range(launches):
                launch()
            self.wait()
            return (time.perf_counter() - start) / launches

        measure(3)
        launches = max(1, min(1000, int(least / measure(3))))
        measure(launches)
        return statistics.median(measure(launches) for _ in range(rounds))

    def flops(self, m, n, k, orders, tf32, bf16):
        bench.allow_tf32(tf32)
        dtype = self.torch.bfloat16 if bf16 else self.torch.float32
        random = lambda *shape: (self.torch.rand(shape, device=self.device) * 2 - 1).to(dtype)
        a = random(m, k) if orders[0] == "r" else random(k, m).T
        b = random(k, n) if orders[1] == "r" else random(n, k).T
        out = self.torch.empty(m, n, device=self.device, dtype=dtype)
        return 2 * m * n * k / self.time(lambda: self.torch.mm(a, b, out=out))


def main():
    args = bench.arguments(__doc__)
    torch = bench.attempt("PyTorch", lambda: Torch(args.rehearse))
    for m, n, k, orders, name in shapes(args.rehearse):
        what = f"{name} {m} x {n} x {k} {orders}"
        peers = {}
        for peer, (tf32, bf16) in bench.PEERS.items() if torch else ():
            flops = bench.attempt(f"{what}, {peer}", lambda: torch.flops(m, n, k, orders, tf32, bf16))
            peers[peer] = flops and flops / 1e9
        for precision in ("f32", "bf16"):
            words = ["bench", "product", "--shape", f"{m},{n},{k}", "--orders", orders, "--precision", precision,
                     "--device", "wgpu", *(["--rounds", "1"] if args.rehearse else [])]
            ours = bench.attempt(f"{what}, {precision}", lambda: bench.program(args.bundle, *words))
            if ours:
                target = {"target": TARGETS[precision]} if m == n == k == 4096 else {}
                bench.row(what=f"{what}, {'f32' if precision == 'f32' else '16 bits'}", unit="GFLOP/s", peers=peers,
                          ours=ours["flops_per_second"] / 1e9, seconds=ours["median_seconds"], **target)


if __name__ == "__main__":
    main()
