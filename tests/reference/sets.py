"""The sets that judge.py reads: FOLDER/NAME.safetensors with tensors `x` and `y`, row i of one pairing with row i of the other.

    python3 tests/reference/sets.py FOLDER          from the repository; needs numpy, safetensors, npm, and what
                                                    ./quickstart and examples/openmoji/fetch leave in target/

Stamps: pictures and captions, pictures and sounds, spoken and written captions. OpenMoji: drawings and their English
names, names with tags, and names with tags in other languages; and English names with tags beside those of the other
languages, both through MiniLM, which was made for English.
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys

import numpy as np
from safetensors.numpy import save_file

sys.dont_write_bytecode = True
NAMES = "emojibase-data@17.0.0"
LANGUAGES = ("de", "es", "ja")


def module(path):
    space = {"__name__": path}
    exec(compile(pathlib.Path(path).read_text(), path, "exec"), space)
    return space["collect"]


def latents(folder, items, encoder):
    table, out = folder / "items.tsv", folder / "items.npy"
    cells = [os.path.relpath(item, folder.resolve()) if isinstance(item, pathlib.Path) else item for item in items]
    table.write_text("\n".join(["item", *cells]) + "\n", encoding="utf-8")
    subprocess.run(["target/release/fusemix", "cache", "export", "--data", table, "--column", "item", "--encoder", encoder,
                    "--out", out], check=True, stdout=subprocess.DEVNULL)
    values = np.load(out)
    table.unlink()
    out.unlink()
    return values


def write(folder, name, pairs, encoders):
    """The set of the pairs that repeat no item of either side."""
    seen, kept = set(), []
    for pair in pairs:
        if not seen & set(enumerate(pair)):
            kept.append(pair)
        seen |= set(enumerate(pair))
    random.Random(0).shuffle(kept)
    sides = {key: latents(folder, side, encoder) for key, side, encoder in zip("xy", zip(*kept), encoders)}
    save_file(sides, folder / f"{name}.safetensors")
    print(f"{name}: {len(kept)} pairs, {sides['x'].shape[1]} and {sides['y'].shape[1]} values", flush=True)


def names(package, language):
    """Names with tags, by code points."""
    rows = json.loads((package / language / "data.json").read_text(encoding="utf-8"))
    return {row["hexcode"].replace("-FE0F", ""): f"{row['label']}: {' '.join(row.get('tags', []))}" for row in rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)

    stamps, _ = module("examples/stamps/prepare.py")(pathlib.Path("target/assets/stamps").resolve())
    write(folder, "stamps", stamps, ("efficientnet", "minilm"))
    sounds = [(picture, picture.with_suffix(".ogg")) for picture, _ in stamps]
    write(folder, "stamps-sounds", [pair for pair in sounds if pair[1].exists()], ("efficientnet", "whisper"))

    emoji = module("examples/openmoji/prepare.py")(pathlib.Path("target/assets/openmoji").resolve())
    write(folder, "openmoji", emoji, ("efficientnet", "minilm"))
    write(folder, "openmoji-names", [(file, name.split(":")[0]) for file, name in emoji], ("efficientnet", "minilm"))
    subprocess.run(["npm", "pack", "--silent", NAMES], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    package = folder / "package"
    for archive in folder.glob("emojibase-data-*.tgz"):
        subprocess.run(["tar", "-xzf", archive.name], cwd=folder, check=True)
    english = names(package, "en")
    for language in LANGUAGES:
        other = names(package, language)
        code = lambda file: file.stem.replace("-FE0F", "")
        drawn = [(file, other[code(file)]) for file, _ in emoji if code(file) in other]
        write(folder, f"openmoji-{language}", drawn, ("efficientnet", "minilm"))
        write(folder, f"words-{language}", [(other[key], english[key]) for key in other if key in english],
              ("minilm", "minilm"))


if __name__ == "__main__":
    main()
