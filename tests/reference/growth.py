"""How the cost of a training grows: seconds an epoch with the number of pairs, seconds a step with B.

    python3 tests/reference/growth.py [--pairs 10000 100000 1000000] [--batch 1024 4096 16384] ...    from the repository

Both on random latents on the CPU. An epoch is `fusemix train` over a file of precomputed latents, by the rate that its
metrics.jsonl tells (the file is open and checked by then); a step is `fusemix bench step`, told apart into the loss with
its B x B cosines, by the count of their multiplications at the step's own rate, and the rest. Needs numpy, safetensors.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy
from safetensors.numpy import save_file

RECIPE = """
[tower.x]
precomputed = true
[tower.y]
precomputed = true
[[pairs]]
train = "latents.safetensors"
x = "x"
y = "y"
[train]
blocks = 1
batch = {batch}
epochs = 1
"""


def epoch(args, pairs, folder):
    """Pairs a second over an epoch."""
    random = numpy.random.default_rng(0)
    rows = {name: random.standard_normal((pairs, width), dtype=numpy.float32) for name, width in zip("xy", args.dims)}
    save_file(rows, os.path.join(folder, "latents.safetensors"))
    del rows
    with open(os.path.join(folder, "fusion.toml"), "w") as file:
        file.write(RECIPE.format(batch=args.epoch_batch))
    run = os.path.join(folder, f"run-{pairs}")
    command = [args.fusemix, "train", os.path.join(folder, "fusion.toml"), "--out", run, "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stderr}")
    with open(os.path.join(run, "metrics.jsonl")) as file:
        return json.loads(file.readline())["pairs_per_second"]


def step(args, batch):
    """Seconds a step, those that it takes without the products of the B x B cosines, and the most memory."""
    command = [args.fusemix, "bench", "step", "--dims", ",".join(map(str, args.dims)), "--blocks", 1, "--batch", batch,
               "--device", "cpu", "--steps", 3 if batch < 16384 else 1, "--json"]
    found = json.loads(subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout)
    seconds = found["median_step_seconds"]
    # Cosines and two gradients in full, of a width of 512; beyond the memory budget the cosines again.
    loss = 3 * 2 * batch * batch * 512 / found["flops_per_second"]
    return seconds, seconds - loss, found["peak_resident_bytes"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, nargs=2, default=[384, 384])
    parser.add_argument("--pairs", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--epoch-batch", type=int, default=1024)
    parser.add_argument("--batch", type=int, nargs="*", default=[1024, 4096, 16384])
    parser.add_argument("--fusemix", default="target/release/fusemix")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for pairs in args.pairs:
            rate = epoch(args, pairs, folder)
            print(f"{pairs:9} pairs: an epoch {pairs / rate:8.2f} s, {1e6 / rate:.2f} s a million pairs", flush=True)
    for batch in args.batch:
        seconds, rest, memory = step(args, batch)
        print(f"B {batch:6}: a step {seconds:8.2f} s; without the B x B products {1e6 * rest / batch:5.1f} us a pair; "
              f"peak {memory / 2**30:.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
