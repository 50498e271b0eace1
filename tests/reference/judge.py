"""Which method, and which value of an option, retrieves best on pairs that it has not seen: cross-validation on many sets.

    python3 tests/reference/judge.py target/sets '[fit] method="kernel-cca"' '[train] lr=1e-3' reference   from the repository
    python3 tests/reference/judge.py target/sets '[fit] method="cca"' --sets openmoji --pairs 250 500 1000 2000

FOLDER is what sets.py wrote. The pairs of each set are cut into `--folds`, of which `--take` are held out in turn and the
rest trained on, with each of the given tables and the fold's number as the seed; keys of a table are separated by `;`.
`reference` is the reference recipe in PyTorch (train.py), which then must be there. `--pairs` trains on so many of the
pairs of a fold; the others are in more.safetensors, for a table with `[[unpaired]] train="more.safetensors"; x="x"`.
Prints the mean of R@1, R@5 and R@10 both ways for each set, the mean over the sets, and the difference to the first with
its standard error over folds. With `--keep FILE`, what was measured is not measured again. Needs numpy, safetensors.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

import numpy as np
from safetensors.numpy import load_file, save_file

RECIPE = """
[tower.x]
precomputed = true
[tower.y]
precomputed = true
[[pairs]]
train = "train.safetensors"
test = "test.safetensors"
x = "x"
y = "y"
{table}
"""

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("tables", nargs="+")
parser.add_argument("--sets", nargs="+")
parser.add_argument("--folds", type=int, default=8)
parser.add_argument("--take", type=int, default=2)
parser.add_argument("--pairs", type=int, nargs="+", default=[0])
parser.add_argument("--device", default="cpu")
parser.add_argument("--keep", type=pathlib.Path, help="a file of results")
parser.add_argument("--fusemix", default="target/release/fusemix", help="the program")
args = parser.parse_args()


def fusemix(*arguments):
    done = subprocess.run([args.fusemix, *map(str, arguments), "--json"], check=True, capture_output=True)
    return json.loads(done.stdout)


def mean(found):
    return statistics.mean(value for way in found for value in way["recall"].values())


def table(text):
    return "\n".join(part.strip() for part in re.sub(r"\[+[a-z]+\]+", r"\n\g<0>\n", text).split(";"))


def by_fusemix(work, text, seed):
    (work / "fit.toml").write_text(RECIPE.format(table=table(text)))
    fusemix("train", work / "fit.toml", "--out", work / "run", "--overwrite", "--seed", seed, "--device", args.device)
    return mean(fusemix("eval", work / "run", "--device", args.device)["retrieval"])


def by_reference(train, test, seed):
    import types

    import torch
    import train as peer
    from retrieval import recalls

    torch.set_num_threads(os.cpu_count())
    settings = types.SimpleNamespace(blocks=2, shared=512, batch=64, epochs=40, warmup=20, dropout=0.6, mixup_alpha=1.0,
                                     lr=1e-3, lr_end=1e-6, weight_decay=0.1)
    x, y = (torch.from_numpy(train[side]) for side in "xy")
    towers = peer.fusemix(x, y, settings, seed)
    pairs = list(zip(*([row.tobytes() for row in test[side]] for side in "xy")))
    return recalls(towers, *(torch.from_numpy(test[side]) for side in "xy"), pairs)["mean"]


def spread(values):
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):+6.2f} +- {error:.2f}"


sets = args.sets or sorted(path.stem for path in args.folder.glob("*.safetensors"))
columns = [(name, pairs) for name in sets for pairs in args.pairs]
found = {text: {column: [] for column in columns} for text in args.tables}
seconds = dict.fromkeys(args.tables, 0.0)
kept = {}
if args.keep and args.keep.exists():
    kept = {tuple(key): value for key, value in map(json.loads, args.keep.read_text().splitlines())}
with tempfile.TemporaryDirectory() as work:
    work = pathlib.Path(work)
    for name, pairs in columns:
        latents = load_file(args.folder / f"{name}.safetensors")
        order = np.random.default_rng(0).permutation(len(latents["x"]))
        for fold in range(args.take):
            held, rest = order[fold::args.folds], np.delete(order, np.s_[fold::args.folds])
            taken, more = (rest[:pairs], rest[pairs:]) if pairs else (rest, rest[:0])
            train, test, more = ({side: rows[np.sort(chosen)] for side, rows in latents.items()}
                                 for chosen in (taken, held, more))
            for file, rows in (("train", train), ("test", test), ("more", more)):
                save_file(rows, work / f"{file}.safetensors")
            for text in args.tables:
                key = (name, args.folds, fold, pairs, text)
                if key not in kept:
                    start = time.perf_counter()
                    recall = by_reference(train, test, fold) if text == "reference" else by_fusemix(work, text, fold)
                    kept[key] = [recall, time.perf_counter() - start]
                    if args.keep:
                        with args.keep.open("a") as file:
                            file.write(json.dumps([key, kept[key]]) + "\n")
                recall, took = kept[key]
                seconds[text] += took
                found[text][name, pairs].append(recall)

heads = [f"{name[-9:]}" + (f" {pairs}" if pairs else "") for name, pairs in columns]
print(" " * 40, *(f"{head:>13}" for head in heads), f"{'mean':>7}   {'to the first':>15}   seconds")
first = [value for column in columns for value in found[args.tables[0]][column]]
for text, recalls in found.items():
    means = [statistics.mean(recalls[column]) for column in columns]
    apart = [value - other for value, other in zip((value for column in columns for value in recalls[column]), first)]
    print(f"{text:40.40}", *(f"{value:13.1f}" for value in means), f"{statistics.mean(means):7.2f}   {spread(apart):>15}",
          f"  {seconds[text]:.0f}")
