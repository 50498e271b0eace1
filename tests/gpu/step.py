"""Section `step`: a training step beside the reference model's in PyTorch, and the GPU memory that both take."""
import pathlib
import sys

import bench
import memory

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "reference"))

# The widths of latents, blocks, mixed pairs a step; the last is the paper's, which the targets are about.
SIZES = [((1280, 384), 1, 4096), ((1536, 1024), 4, 20480)]
SMALL = [((24, 16), 1, 64), ((48, 32), 2, 128)]
TARGETS = {"f32": {"peer": "torch f32", "least": 0.8}, "bf16": {"peer": "torch bf16", "least": 0.6}}


def ours(args, dims, blocks, batch, precision, steps, *more):
    words = ["bench", "step", "--dims", ",".join(map(str, dims)), "--blocks", blocks, "--batch", batch, "--precision",
             precision, "--device", "wgpu", "--steps", steps, "--warmup", 1, *more]
    return bench.program(args.bundle, *words)


def theirs(peak, device, dims, blocks, batch, tf32, bf16, steps):
    """Seconds a step, the most memory of the GPU meanwhile, and what PyTorch itself says of that."""
    import step_speed
    import torch

    bench.allow_tf32(tf32)
    cuda = device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    with peak:
        step = step_speed.torch_step(dims, blocks, batch, bf16, device=device)
        step_speed.time_torch(step, 2)
        seconds = step_speed.time_torch(step, steps)
    allocated = torch.cuda.max_memory_allocated() if cuda else None
    del step
    if cuda:
        torch.cuda.empty_cache()
    return {"seconds": seconds, "memory": peak.bytes, "allocated": allocated}


def rates(name, kernel):
    """A kernel's time in a step, and how fast it computed or moved bytes."""
    seconds = max(kernel.get("seconds", 0), 1e-12)
    fast = f"{kernel['bytes'] / seconds / 1e9:.3g} GB/s"
    if kernel["operations"]:
        fast = f"{kernel['operations'] / seconds / 1e12:.3g} TFLOP/s"
    return f"{name} {1e3 * seconds:.3g} ms at {fast}"


def main():
    args = bench.arguments(__doc__)
    steps, peak = 3, memory.Peak()
    # Ours come first: PyTorch's context takes memory from here on.
    found = {}
    for dims, blocks, batch in SMALL if args.rehearse else SIZES:
        for precision in TARGETS:
            what = f"({dims[0]}, {dims[1]}) {blocks} block{'s' * (blocks > 1)} B = {batch:,}, {precision}"
            with peak:
                mine = bench.attempt(what, lambda: ours(args, dims, blocks, batch, precision, steps, "--no-profile"))
            split = bench.attempt(f"{what}, by kernel", lambda: ours(args, dims, blocks, batch, precision, 1))
            if mine and mine["precision"] != precision:
                bench.row(what=what, says=f"FAILED: this GPU trained in {mine['precision']}: it has no fast f16")
            elif mine:
                found[dims, blocks, batch, precision] = mine, peak.bytes
                kernels = split["kernels"] if split else {}
                gpu = sum(kernel.get("seconds", 0) for kernel in kernels.values())
                slowest = sorted(kernels.items(), key=lambda item: -item[1].get("seconds", 0))
                says = ", ".join(rates(name, kernel) for name, kernel in slowest[:8])
                bench.row(what=f"{what} by kernel", says=f"{mine['median_step_seconds']:.4g} s a step, "
                          f"{mine['flops_per_second'] / 1e9:,.0f} GFLOP/s; {gpu:.4g} s in kernels: {says}",
                          kernels=kernels, bench=mine, profiled=split, memory=peak.bytes)
    device = bench.attempt("PyTorch", lambda: bench.torch_device(args.rehearse))
    for dims, blocks, batch in SMALL if args.rehearse else SIZES:
        size = f"({dims[0]}, {dims[1]}) {blocks} block{'s' * (blocks > 1)} B = {batch:,}"
        peers = {}
        for peer, (tf32, bf16) in bench.PEERS.items() if device else ():
            made = bench.attempt(f"{size}, {peer}", lambda: theirs(peak, device, dims, blocks, batch, tf32, bf16, steps))
            peers |= {peer: made} if made else {}
        for precision, target in TARGETS.items():
            if (dims, blocks, batch, precision) not in found:
                continue
            mine, used = found[dims, blocks, batch, precision]
            name = "f32" if precision == "f32" else "16 bits"
            paper = {"target": target} if batch in (20480, 128) else {}
            bench.row(what=f"{size}, {name}", ours=mine["median_step_seconds"], unit="s a step", less_is_better=True,
                      peers={peer: made["seconds"] for peer, made in peers.items()}, details=peers, **paper)
            if used is not None:
                paper = {"target": {"peer": target["peer"], "most": 0.4}} if paper else {}
                bench.row(what=f"{size}, {name}, GPU memory", ours=used / 2**30, unit="GiB",
                          peers={peer: made["memory"] and made["memory"] / 2**30 for peer, made in peers.items()}, **paper)


if __name__ == "__main__":
    main()
