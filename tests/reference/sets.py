"""The sets that judge.py reads: FOLDER/NAME.safetensors with tensors `x` and `y`, row i of one pairing with row i of the other.

    python3 tests/reference/sets.py FOLDER          from the repository; needs numpy, safetensors, npm, and what
                                                    ./quickstart and examples/openmoji/fetch leave in target/

Stamps: pictures and captions, pictures and sounds, spoken and written captions. OpenMoji: drawings and their English
names, names with tags, and names with tags in other languages; and English names with tags beside those of the other
languages, both through MiniLM, which was made for English. Material Design Icons (Apache-2.0): icons in one colour and
their names with aliases and tags, one of each name without the words of STYLE, so that none is there again as an
outline, struck out, or in a box or circle. Most still belong to a family, as `folder plus` and `folder lock` do, and
judge.py trains on some of a family and holds out others: with a ridge CCA, R@1 is 36 % where the rest of its family was
seen and 18 % where none was, so the set rewards knowing parts again. Game-icons (CC BY 3.0): drawings in one colour
by their names alone, without those that are only numbered; its pairs have less in common (9 % and 7 %).
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
ICONS = "@mdi/svg@7.4.47"
GAMES = "@iconify-json/game-icons@1.2.4"
LANGUAGES = ("de", "es", "ja")
STYLE = {"outline", "off", "variant", "box", "circle", "bold", "thick", "thin"}


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


def fetched(folder, package):
    """What is in a package of npm."""
    done = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, capture_output=True, text=True)
    archive = done.stdout.strip()
    into = (folder / archive.removesuffix(".tgz")).resolve()
    into.mkdir(exist_ok=True)
    subprocess.run(["tar", "-xzf", archive, "-C", into, "--strip-components=1"], cwd=folder, check=True)
    return into


def icons(package):
    """Of the icons whose names differ in style alone the plainest, with name, aliases and tags."""
    rows = json.loads((package / "meta.json").read_text(encoding="utf-8"))
    plainest = {}
    for row in sorted(rows, key=lambda row: row["name"].count("-")):
        first, *rest = row["name"].split("-")
        plainest.setdefault((first, *(word for word in rest if word not in STYLE)), row)
    pairs, seen = [], set()
    for row in plainest.values():
        file = package / "svg" / f"{row['name']}.svg"
        drawing = file.read_text(encoding="utf-8").replace(row["name"], "")
        name, *aliases = (words.replace("-", " ") for words in (row["name"], *row["aliases"]))
        if drawing not in seen:
            pairs.append((file, f"{name}: {', '.join([*aliases, *row['tags']])}".removesuffix(": ")))
        seen.add(drawing)
    return pairs


def games(package):
    """Icons by name, each written to a file."""
    rows = json.loads((package / "icons.json").read_text(encoding="utf-8"))
    pairs = []
    for name, row in rows["icons"].items():
        if row.get("hidden") or name.startswith("abstract-"):
            continue
        file = package / f"{name}.svg"
        opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {rows["width"]} {rows["height"]}">'
        file.write_text(f"{opening}{row['body']}</svg>\n", encoding="utf-8")
        pairs.append((file, name.replace("-", " ")))
    return pairs


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
    package = fetched(folder, NAMES)
    english = names(package, "en")
    for language in LANGUAGES:
        other = names(package, language)
        code = lambda file: file.stem.replace("-FE0F", "")
        drawn = [(file, other[code(file)]) for file, _ in emoji if code(file) in other]
        write(folder, f"openmoji-{language}", drawn, ("efficientnet", "minilm"))
        write(folder, f"words-{language}", [(other[key], english[key]) for key in other if key in english],
              ("minilm", "minilm"))

    write(folder, "icons", icons(fetched(folder, ICONS)), ("efficientnet", "minilm"))
    write(folder, "game-icons", games(fetched(folder, GAMES)), ("efficientnet", "minilm"))


if __name__ == "__main__":
    main()
