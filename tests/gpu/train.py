"""Section `train`: ten training losses against the CPU's, and the stamps' recall after a training on the GPU.

The latents are those of ./quickstart's encoders, and the pairs are split as it splits them.
"""
import json
import pathlib
import tempfile
import time

import bench

RECIPE = """
[tower.image]
precomputed = true
[tower.text]
precomputed = true
[[pairs]]
train = "{data}/train.safetensors"
validation = "{data}/validation.safetensors"
test = "{data}/test.safetensors"
image = "image"
text = "text"
[fit]
method = "fusemix"
"""
# An epoch is one step then.
TEN_STEPS = "[train]\nbatch = 256\nepochs = 10\neval_every = 10\npatience = 0\n"


def trained(args, folder, name, device, more=""):
    recipe = folder / f"{name}.toml"
    recipe.write_text(RECIPE.format(data=args.bundle / "program" / "stamps") + more)
    start = time.perf_counter()
    bench.program(args.bundle, "train", recipe, "--out", folder / name, "--device", device, "--seed", 0)
    return time.perf_counter() - start


def losses(folder, name):
    lines = (folder / name / "metrics.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if line.get("loss") is not None]


def recall(side):
    depths = sorted(side["recall"].items(), key=lambda cell: int(cell[0]))
    return ", ".join(f"R@{depth} {percent:.1f}" for depth, percent in depths)


def main():
    args = bench.arguments(__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        for device in ("cpu", "wgpu"):
            trained(args, folder, f"ten-{device}", device, TEN_STEPS)
        cpu, gpu = losses(folder, "ten-cpu"), losses(folder, "ten-wgpu")
        apart = max(abs(ours - theirs) / theirs for ours, theirs in zip(gpu, cpu, strict=True))
        bench.row(what=f"{len(gpu)} losses beside the CPU's", says=f"at most {apart:.2g} of a loss apart"
                  f"{'' if apart < 1e-3 else ': FAILED, 0.001 is allowed'}", gpu=gpu, cpu=cpu, apart=apart)
        for device in ("wgpu", "cpu"):
            more = "[train]\nepochs = 2\n" if args.rehearse else ""
            seconds = trained(args, folder, f"stamps-{device}", device, more)
            found = bench.program(args.bundle, "eval", folder / f"stamps-{device}")["retrieval"]
            says = "; ".join(f"{side['from']} to {side['to']} {recall(side)}" for side in found)
            bench.row(what=f"training of the stamps, {device}", says=f"{seconds:.1f} s; {says}", retrieval=found,
                      seconds=seconds)


if __name__ == "__main__":
    main()
