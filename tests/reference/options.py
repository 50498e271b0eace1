"""Which value of an option of [train] generalises: cross-validation on pairs that are in no test split.

    python3 tests/reference/options.py FOLDER 'mixup="pair"' 'mixup="batch"' [--folds 8] [--repeats 3]   from the repository
    python3 tests/reference/options.py FOLDER '' $'[fit]\nmethod = "kernel-cca"'

An option goes to [train], or is a table of its own. FOLDER is what stamps.py wrote. The pairs that no split tests on are cut into folds; each is held out once and the rest
trained on, with each of the given options and the same seeds. Prints the mean of R@1, R@5 and R@10 both ways and its standard
error over folds and repeats, then that of the difference to the first. Needs numpy, safetensors.
"""
import argparse
import json
import pathlib
import statistics
import subprocess

import numpy as np
from safetensors.numpy import load_file, save_file

RECIPE = """
[tower.image]
precomputed = true
[tower.text]
precomputed = true
[[pairs]]
train = "fold_train.safetensors"
test = "fold_test.safetensors"
image = "image"
text = "text"
{table}
"""

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("options", nargs="+")
parser.add_argument("--folds", type=int, default=8)
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--device", default="cpu")
args = parser.parse_args()


def lines(name):
    return (args.folder / name).read_text().splitlines()[1:]


def fusemix(*arguments):
    done = subprocess.run(["target/release/fusemix", *map(str, arguments), "--json"], check=True, capture_output=True)
    return json.loads(done.stdout)


def mean(found):
    return statistics.mean(value for way in found for value in way["recall"].values())


def spread(values):
    return f"{statistics.mean(values):6.2f} +- {statistics.stdev(values) / len(values) ** 0.5:.2f}"


tested = {line for path in args.folder.glob("split*_test.tsv") for line in path.read_text().splitlines()}
free = np.array([row for row, line in enumerate(lines("split0_train.tsv")) if line not in tested])
latents = {name: rows[free] for name, rows in load_file(args.folder / "split0_train.safetensors").items()}
print(f"{len(free)} pairs, {args.folds} folds, {args.repeats} repeats")
found = {option: [] for option in args.options}
for repeat in range(args.repeats):
    order = np.random.default_rng(repeat).permutation(len(free))
    for fold in range(args.folds):
        held = np.zeros(len(free), bool)
        held[order[fold::args.folds]] = True
        save_file({name: rows[~held] for name, rows in latents.items()}, args.folder / "fold_train.safetensors")
        save_file({name: rows[held] for name, rows in latents.items()}, args.folder / "fold_test.safetensors")
        for option in args.options:
            table = option if option.startswith("[") else f"[train]\n{option}"
            (args.folder / "fold.toml").write_text(RECIPE.format(table=table))
            run = args.folder / "fold_run"
            fusemix("train", args.folder / "fold.toml", "--out", run, "--overwrite", "--seed", repeat, "--device", args.device)
            found[option].append(mean(fusemix("eval", run)["retrieval"]))


for option, recalls in found.items():
    apart = [recall - first for recall, first in zip(recalls, found[args.options[0]])]
    print(f"{option:40} {spread(recalls)}   apart {spread(apart)}")
