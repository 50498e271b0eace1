"""Retrieval of many pairs both ways: `fusemix eval` beside faiss's flat search of the same, in turn.

    python3 tests/reference/eval_speed.py FOLDER [--pairs 10000] [--width 1024] [--rounds 3]

From the repository, after ./quickstart; needs numpy, safetensors, faiss-cpu. `eval` is a whole process, which also reads the latents,
finds exact ranks of all pairs, not the nearest ten alone, and intervals.
"""
import argparse
import json
import pathlib
import subprocess
import time

import faiss
import numpy as np
from safetensors.numpy import save_file

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--pairs", type=int, default=10_000)
parser.add_argument("--width", type=int, default=1024)
parser.add_argument("--rounds", type=int, default=3)
args = parser.parse_args()
args.folder.mkdir(parents=True, exist_ok=True)
random = np.random.default_rng(0)
unit = lambda rows: (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
image = unit(random.standard_normal((args.pairs, args.width), np.float32))
text = unit(image + 0.25 * random.standard_normal((args.pairs, args.width), np.float32))
save_file({"image": image, "text": text}, args.folder / "pairs.safetensors")
(args.folder / "fusion.toml").write_text(
    "[tower.image]\nprecomputed = true\nadapter = 'identity'\n[tower.text]\nprecomputed = true\nadapter = 'identity'\n"
    "[[pairs]]\ntrain = 'pairs.safetensors'\ntest = 'pairs.safetensors'\nimage = 'image'\ntext = 'text'\n")
program = pathlib.Path("target/release/fusemix").resolve()
run = lambda *words: subprocess.run([program, *words], cwd=args.folder, check=True, capture_output=True, text=True).stdout
run("train", "fusion.toml", "--out", "run", "--overwrite")
ratios = []
for _ in range(args.rounds):
    begin = time.time()
    found = json.loads(run("--json", "eval", "run"))["retrieval"]
    own, begin = time.time() - begin, time.time()
    nearest = []
    for gallery, queries in ((text, image), (image, text)):
        index = faiss.IndexFlatIP(args.width)
        index.add(gallery)
        nearest.append(index.search(queries, 10)[1])
    theirs = time.time() - begin
    ratios.append(own / theirs)
    print(f"fusemix eval {own:.2f} s, faiss {theirs:.2f} s, {own / theirs:.2f} x", flush=True)
    for way, rows in zip(found, nearest):
        recall = 100 * (rows == np.arange(args.pairs)[:, None]).any(1).mean()
        assert abs(recall - way["recall"]["10"]) < 0.02, (recall, way)
print(f"mean {np.mean(ratios):.2f} x")
