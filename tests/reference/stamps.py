"""Latents of the stamps for train.py and fusemix: FOLDER/split{seed}_{train,test}.{tsv,safetensors}.

    python3 tests/reference/stamps.py FOLDER [--seeds 0 1 2]     from the repository; needs numpy, safetensors, ./quickstart

The pairs are those of `examples/stamps/prepare.py`; what a run watches is trained on here, by both.
"""
import argparse
import pathlib
import subprocess

import numpy as np
from safetensors.numpy import save_file

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
args = parser.parse_args()


def latents(table, encoder):
    out = args.folder / "latents.npy"
    subprocess.run(["target/release/fusemix", "cache", "export", "--data", table, "--encoder", encoder, "--out", out],
                   check=True, stdout=subprocess.DEVNULL)
    return np.load(out)


for seed in args.seeds:
    subprocess.run(["python3", "examples/stamps/prepare.py", "target/assets/stamps", args.folder, str(seed)], check=True)
    parts = {name: (args.folder / f"{name}.tsv").read_text().splitlines() for name in ("train", "validation", "test")}
    for name, lines in (("train", parts["train"] + parts["validation"][1:]), ("test", parts["test"])):
        table = args.folder / f"split{seed}_{name}.tsv"
        table.write_text("\n".join(lines) + "\n")
        sides = {"image": latents(table, "efficientnet"), "text": latents(table, "minilm")}
        save_file(sides, table.with_suffix(".safetensors"))
