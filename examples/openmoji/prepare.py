"""Writes the pair files of the OpenMoji example: train.tsv, validation.tsv and test.tsv, columns `file` and `caption`.

    python3 prepare.py OPENMOJI_FOLDER OUT_FOLDER [SEED]

A pair is a colour drawing and its name with its tags. Variants in skin tones are left out, and of pairs with the same
caption or the same drawing all but the first, so that nothing that is held out was seen in training. A tenth is held out
for the test, a tenth for watching the training.
"""
import csv
import hashlib
import os
import pathlib
import random
import sys


def main():
    openmoji, out = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    pairs = collect(openmoji)
    random.Random(seed).shuffle(pairs)
    tenth = round(len(pairs) / 10)
    out.mkdir(parents=True, exist_ok=True)
    parts = {"test": pairs[:tenth], "validation": pairs[tenth:2 * tenth], "train": pairs[2 * tenth:]}
    for name, rows in parts.items():
        lines = [f"{os.path.relpath(file, out.resolve())}\t{caption}" for file, caption in rows]
        (out / f"{name}.tsv").write_text("\n".join(["file\tcaption", *lines]) + "\n", encoding="utf-8")
    print(f"openmoji: {len(parts['train'])} pairs to train on, {tenth} to watch, {tenth} held out (seed {seed})")


def collect(openmoji):
    """All pairs, in the order of the list."""
    pairs, seen = [], set()
    with open(openmoji / "data" / "openmoji.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            drawing = openmoji / "color" / "svg" / f"{row['hexcode']}.svg"
            if row["skintone"] or not drawing.exists():
                continue
            caption = " ".join(f"{row['annotation']}: {row['tags']}".rstrip(": ").split())
            keys = {caption.lower(), hashlib.sha256(drawing.read_bytes()).hexdigest()}
            if not keys & seen:
                pairs.append((drawing, caption))
            seen |= keys
    return pairs


if __name__ == "__main__":
    main()
