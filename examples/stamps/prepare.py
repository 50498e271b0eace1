"""Writes the pair files of the stamps example: train.tsv, validation.tsv and test.tsv, columns `file` and `caption`;
sounds-train.tsv, sounds-validation.tsv and sounds-test.tsv, columns `sound`, `caption`, `file` and `kind`; and of those
without the French ones english-train.tsv, english-validation.tsv and english-test.tsv.

    python3 prepare.py STAMPS_FOLDER OUT_FOLDER [SEED]

A pair is a picture NAME.png and the first line of NAME.txt, its English caption. Of pairs with the same caption or the
same picture the first is kept, so that nothing that is held out was seen in training. A tenth is
held out for the test, a tenth for watching the training. The sounds of a pair are what its picture sounds like (NAME.ogg)
and its caption spoken in English and French (NAME_desc.ogg, NAME_desc_fr.ogg); they are held out with their pair.
"""
import hashlib
import os
import pathlib
import random
import sys

# The endings of the files with a picture's sounds, and what these are.
KINDS = {"": "noise", "_desc": "English", "_desc_fr": "French"}


def main():
    stamps, out = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    pairs, left_out = collect(stamps)
    random.Random(seed).shuffle(pairs)
    tenth = round(len(pairs) / 10)
    out.mkdir(parents=True, exist_ok=True)
    parts = {"test": pairs[:tenth], "validation": pairs[tenth:2 * tenth], "train": pairs[2 * tenth:]}
    counts = {}
    for name, rows in parts.items():
        write(out, f"{name}.tsv", ["file", "caption"], rows)
        sounds = [(sound, caption, file, kind) for file, caption in rows for sound, kind in heard(file)]
        columns = ["sound", "caption", "file", "kind"]
        write(out, f"sounds-{name}.tsv", columns, sounds)
        write(out, f"english-{name}.tsv", columns, [row for row in sounds if row[3] != "French"])
        counts[name] = len(sounds)
    svg = sum(1 for file in stamps.rglob("*.svg") if not file.with_suffix(".png").exists())
    print(f"stamps: {len(parts['train'])} pairs to train on, {tenth} to watch, {tenth} held out (seed {seed})")
    print(f"sounds: {counts['train']}, {counts['validation']} and {counts['test']} of them")
    print(f"left out: {left_out['caption']} pictures without a caption, {left_out['twin']} that repeat a caption or a "
          f"picture, {svg} SVG drawings")


def heard(picture):
    """The sounds that there are of a picture, with their kinds."""
    sounds = [(picture.with_name(f"{picture.stem}{ending}.ogg"), kind) for ending, kind in KINDS.items()]
    return [(sound, kind) for sound, kind in sounds if sound.exists()]


def write(out, name, columns, rows):
    """A table whose paths start from its own folder."""
    def cell(value):
        return os.path.relpath(value, out.resolve()) if isinstance(value, pathlib.Path) else value
    lines = ["\t".join(columns)] + ["\t".join(map(cell, row)) for row in rows]
    (out / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


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
