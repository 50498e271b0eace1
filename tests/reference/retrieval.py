"""Pairs, and how well towers retrieve across them (for train.py)."""
import csv
import hashlib
import pathlib

import numpy as np
from safetensors.torch import load_file
from torch.nn import functional as F

WAYS, DEPTHS = ("image_to_text", "text_to_image"), ("1", "5", "10")


def read(folder, name):
    """Latents of pictures and captions, and for each pair the contents of both. The .tsv may be in the parent folder."""
    latents = load_file(folder / f"{name}.safetensors")
    table = next(path for path in (folder / f"{name}.tsv", folder.parent / f"{name}.tsv") if path.exists())
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    pictures = [hashlib.sha256(pathlib.Path(table.parent, row["file"]).read_bytes()).digest() for row in rows]
    return latents["image"], latents["text"], list(zip(pictures, [row["caption"] for row in rows]))


def recalls(towers, image, text, pairs):
    """R@1/5/10 in percent and the median rank among distinct items, both ways; an item's rank is that of its best match."""
    rows = [[row for row, item in enumerate(side) if item not in side[:row]] for side in zip(*pairs)]
    x, y = [F.normalize(tower(latents[row]), dim=1).double().numpy()
            for tower, latents, row in zip(towers, (image, text), rows)]
    known = set(pairs)
    match = np.array([[(pairs[i][0], pairs[j][1]) in known for j in rows[1]] for i in rows[0]])
    result = {}
    for way, scores, match in zip(WAYS, (x @ y.T, y @ x.T), (match, match.T)):
        best = np.where(match, scores, -np.inf).max(1, keepdims=True)
        rank = 1 + (scores > best).sum(1)
        result[way] = {k: 100 * float((rank <= int(k)).mean()) for k in DEPTHS} | {"median": float(np.median(rank))}
    return result | {"mean": float(np.mean([result[way][k] for way in WAYS for k in DEPTHS]))}


def chance(pairs):
    """The expected mean of R@1/5/10 of a random order, where every item has one match."""
    galleries = [len(set(side)) for side in zip(*pairs)]
    return {"mean": float(np.mean([min(100.0, 100 * int(k) / gallery) for gallery in galleries for k in DEPTHS]))}
