"""Section `large`: a step of B = 131,072, whose logits alone would take PyTorch 64 GiB."""
import bench
import memory
from step import ours


def main():
    args = bench.arguments(__doc__)
    dims, batch, peak = ((16, 16), 256, memory.Peak()) if args.rehearse else ((384, 384), 131072, memory.Peak())
    for precision in ("bf16", "f32"):
        what = f"{dims} 1 block B = {batch:,}, {'f32' if precision == 'f32' else '16 bits'}"
        with peak:
            made = bench.attempt(what, lambda: ours(args, dims, 1, batch, precision, 1, "--no-profile"))
        if made:
            bench.row(what=what, ours=made["median_step_seconds"], unit="s a step", peers={}, bench=made, memory=peak.bytes)
            if peak.bytes is not None:
                bench.row(what=f"{what}, GPU memory", ours=peak.bytes / 2**30, unit="GiB", peers={})


if __name__ == "__main__":
    main()
