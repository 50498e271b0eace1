"""A FuseMix step in PyTorch and in fusemix, in turns: seconds a step, and how many times faster fusemix is.

    python3 tests/reference/step_speed.py [--dims 1280 384] [--blocks 1 4] [--batch 1024 4096] ...    from the repository

The step is the paper's (arXiv 2312.10144): gather and mix 2B latents, both adapters, symmetric InfoNCE, backward, AdamW.
PyTorch runs it in f32 and, with --bf16, under bf16 autocast; fusemix is `fusemix bench step` with and without
`--precision bf16`. Ratios are PyTorch's f32 time over the other's. Prints a table on standard error and JSON on standard output. Needs torch.

With --without-avx512 both do without AVX-512, as on most laptops; the JSON says what PyTorch then uses.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

if "--without-avx512" in sys.argv:
    # Read when each is loaded: by fusemix, PyTorch's own kernels, MKL and oneDNN.
    os.environ.update(FUSEMIX_NO_AVX512="1", ATEN_CPU_CAPABILITY="avx2", MKL_ENABLE_INSTRUCTIONS="AVX2", ONEDNN_MAX_CPU_ISA="AVX2")

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, width, expansion, dropout):
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.up, self.down = nn.Linear(width, expansion * width), nn.Linear(expansion * width, width)

    def forward(self, x):
        return x + self.down(self.dropout(F.gelu(self.up(self.norm(x)))))


def torch_step(dims, blocks, batch, autocast, shared=512, expansion=4, dropout=0.6, device="cpu"):
    """A function that takes one step."""
    towers = nn.ModuleList(
        nn.Sequential(*[Block(width, expansion, dropout) for _ in range(blocks)], nn.LayerNorm(width), nn.Linear(width, shared))
        for width in dims).to(device)
    log_tau = nn.Parameter(torch.tensor(0.07, device=device).log())
    decayed = [p for p in towers.parameters() if p.ndim == 2]
    others = [p for p in towers.parameters() if p.ndim < 2] + [log_tau]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                                  lr=1e-3, fused=True)  # its fastest
    latents = [torch.randn(2 * batch, width, device=device) for width in dims]
    mixing, target = torch.distributions.Beta(1.0, 1.0), torch.arange(batch, device=device)

    def step():
        order = torch.randperm(2 * batch, device=device)
        lam = mixing.sample()
        mixed = [lam * z[order[:batch]] + (1 - lam) * z[order[batch:]] for z in latents]
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            x, y = [F.normalize(tower(z), dim=1) for tower, z in zip(towers, mixed)]
            logits = (x @ y.T).float() / log_tau.exp().clamp(0.001, 0.5)
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def time_torch(step, steps):
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def time_fusemix(args, blocks, batch, precision):
    command = [args.fusemix, "bench", "step", "--dims", ",".join(map(str, args.dims)), "--blocks", blocks, "--batch", batch,
               "--device", "cpu", "--precision", precision, "--steps", args.steps, "--threads", args.threads, "--json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"`{' '.join(map(str, command))}` ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)["median_step_seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, nargs=2, default=[1280, 384])
    parser.add_argument("--blocks", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--batch", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--without-avx512", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fusemix", default="target/release/fusemix")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results = []
    for blocks, batch in [(blocks, batch) for blocks in args.blocks for batch in args.batch]:
        runs = {}
        for name, autocast in [("torch", False), ("torch bf16", True)][:1 + args.bf16]:
            step = torch_step(args.dims, blocks, batch, autocast)
            step()  # warm
            runs[name] = lambda step=step: time_torch(step, args.steps)
        for name, precision in [("fusemix", "f32"), ("fusemix bf16", "bf16")][:1 + args.bf16]:
            runs[name] = lambda precision=precision: time_fusemix(args, blocks, batch, precision)
        rounds = [{name: run() for name, run in runs.items()} for _ in range(args.rounds)]
        seconds = {name: statistics.median(row[name] for row in rounds) for name in runs}
        ratios = {name: statistics.median(row["torch"] / row[name] for row in rounds) for name in runs}
        cells = "  ".join(f"{name} {seconds[name]:.3f} s ({ratios[name]:.2f}x)" for name in runs)
        print(f"dims {args.dims}  blocks {blocks}  B {batch:6}   {cells}", file=sys.stderr)
        results.append({"dims": args.dims, "blocks": blocks, "batch": batch, "seconds": seconds, "ratios": ratios})
    print(json.dumps({"threads": args.threads, "torch_cpu": torch.backends.cpu.get_cpu_capability(), "results": results}))


if __name__ == "__main__":
    main()
