"""Writes the pair files of the stamps example: train.tsv, validation.tsv and test.tsv, columns `file` and `caption`.

    python3 prepare.py STAMPS_FOLDER OUT_FOLDER [SEED]

A pair is a picture NAME.png and the first line of NAME.txt, its English caption. Of pairs with the same caption or the
same picture the first is kept, so that nothing that is held out was seen in training. A tenth is
held out for the test, a tenth for watching the training.
"""
import hashlib
import os
import pathlib
import random
import sys


def main():
    stamps, out = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    pairs, left_out = collect(stamps)
    random.Random(seed).shuffle(pairs)
    tenth = round(len(pairs) / 10)
    out.mkdir(parents=True, exist_ok=True)
    parts = {"test": pairs[:tenth], "validation": pairs[tenth:2 * tenth], "train": pairs[2 * tenth:]}
    for name, rows in parts.items():
        lines = ["file\tcaption"] + [f"{os.path.relpath(file, out.resolve())}\t{caption}" for file, caption in rows]
        (out / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    svg = sum(1 for file in stamps.rglob("*.svg") if not file.with_suffix(".png").exists())
    sounds = sum(1 for _ in stamps.rglob("*.ogg"))
    print(f"stamps: {len(parts['train'])} pairs to train on, {tenth} to watch, {tenth} held out (seed {seed})")
    print(f"left out: {left_out['caption']} pictures without a caption, {left_out['twin']} that repeat a caption or a "
          f"picture, {svg} SVG drawings, {sounds} sounds")


def collect(stamps):
    """All pairs in a fixed order, and how many pictures were left out and why."""
    pairs, seen, left_out = [], set(), {"caption": 0, "twin": 0}
    for picture in sorted(stamps.rglob("*.png")):
        caption = english(picture.with_suffix(".txt"))
        keys = {caption.lower(), hashlib.sha256(picture.read_bytes()).hexdigest()}
        if not caption:
            left_out["caption"] += 1
        elif keys & seen:
            left_out["twin"] += 1
        else:
            seen |= keys
            pairs.append((picture, caption))
    return pairs, left_out


def english(path):
    """The first line, as one line of plain text; empty if there is none."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return " ".join(text.split("\n")[0].split())


if __name__ == "__main__":
    main()
