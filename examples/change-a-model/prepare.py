"""Writes the files of the example: texts.tsv, column `text`; items.tsv, columns `id` and `name`; queries.txt, a query a
line; and queries.ids, the id of the right item of each.

    python3 prepare.py OPENMOJI_FOLDER OUT_FOLDER [SEED]

An item is the name of an emoji. A query is its tags without the words of its name, so that it asks for the item in other
words; the right answer is that item alone. A fifth of the emoji are asked for. The texts, which both encoders read so that
one can learn to come to the other, are the names and the tags of the others.
"""
import csv
import pathlib
import random
import re
import sys


def main():
    openmoji, out = map(pathlib.Path, sys.argv[1:3])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    emoji = collect(openmoji)
    asked = set(random.Random(seed).sample(range(len(emoji)), len(emoji) // 5))
    others = [one for at, one in enumerate(emoji) if at not in asked]
    texts = [name for _, name, _ in others] + [", ".join(tags) for _, _, tags in others]
    queries = [", ".join(unnamed(*emoji[at][1:])) for at in sorted(asked)]
    answers = [emoji[at][0] for at in sorted(asked)]
    out.mkdir(parents=True, exist_ok=True)
    write(out / "texts.tsv", ["text", *dict.fromkeys(texts)])
    write(out / "items.tsv", ["id\tname", *(f"{id}\t{name}" for id, name, _ in emoji)])
    write(out / "queries.txt", queries)
    write(out / "queries.ids", answers)
    print(f"{len(emoji)} items, {len(queries)} of them asked for; {len(set(texts))} texts to learn from (seed {seed})")


def collect(openmoji):
    """Emoji as id, name and tags, in the order of the list: one of each name, if two tags or more say it in other words."""
    emoji, seen = [], set()
    with open(openmoji / "data" / "openmoji.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name = " ".join(row["annotation"].split())
            tags = [tag.strip() for tag in f"{row['tags']},{row['openmoji_tags']}".split(",")]
            tags = [tag for tag in dict.fromkeys(tags) if tag]
            if row["skintone"] or name.lower() in seen or len(unnamed(name, tags)) < 2:
                continue
            seen.add(name.lower())
            emoji.append((row["hexcode"], name, tags))
    return emoji


def unnamed(name, tags):
    """The tags that share no word with the name."""
    words = lambda text: set(re.findall(r"\w+", text.lower()))
    return [tag for tag in tags if not words(tag) & words(name)]


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
