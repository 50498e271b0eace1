"""What `fusemix train` and `fusemix eval` make of the splits that train.py reads, for its tables.

    python3 tests/reference/fusemix.py FOLDER [--seeds 0 1 2] [--option blocks=2 ...]         from the repository

Options go to [train] of the recipe. Prints the mean of R@1, R@5 and R@10 both ways, a seed a line and their mean.
"""
import argparse
import json
import pathlib
import statistics
import subprocess

RECIPE = """
[tower.image]
precomputed = true
[tower.text]
precomputed = true
[[pairs]]
train = "split{seed}_train.safetensors"
test = "split{seed}_test.safetensors"
image = "image"
text = "text"
[train]
{options}
"""

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
parser.add_argument("--option", nargs="+", default=[])
parser.add_argument("--device", default="cpu")
args = parser.parse_args()


def fusemix(*arguments):
    done = subprocess.run(["target/release/fusemix", *map(str, arguments), "--json"], check=True, capture_output=True)
    return json.loads(done.stdout)


means = []
for seed in args.seeds:
    recipe, run = args.folder / f"fusion{seed}.toml", args.folder / f"run{seed}"
    recipe.write_text(RECIPE.format(seed=seed, options="\n".join(args.option)))
    trained = fusemix("train", recipe, "--out", run, "--overwrite", "--seed", seed, "--device", args.device)
    found = fusemix("eval", run, "--device", args.device)["retrieval"]
    means.append(statistics.mean(value for way in found for value in way["recall"].values()))
    print(f"seed {seed}   fusemix {means[-1]:.1f}   ({trained['seconds']:.1f} s)")
print(f"mean     fusemix {statistics.mean(means):.1f}")
