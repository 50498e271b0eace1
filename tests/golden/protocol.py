"""Retrieval as the papers on COCO, Flickr30k, AudioCaps and Clotho measure it, five captions an item: protocol.json and
protocol_{images,texts}.npy beside this file.

    python3 protocol.py

An item finds the best ranked of its captions; a caption finds its item. In parts, as COCO's "1K", each is searched alone and
the results are averaged.
"""
import json
import pathlib

import numpy as np

IMAGES, CAPTIONS, WIDTH = 65, 5, 12
random = np.random.default_rng(0)
unit = lambda rows: (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
images = unit(random.normal(size=(IMAGES, WIDTH)))
texts = unit(np.repeat(images, CAPTIONS, axis=0) + 0.45 * random.normal(size=(IMAGES * CAPTIONS, WIDTH)))
# Captions lie in any order.
owner = random.permutation(np.repeat(np.arange(IMAGES), CAPTIONS))
order = np.argsort(np.argsort(owner, kind="stable"), kind="stable")
texts = texts[order]


def ranks(scores, relevant):
    """Of each row of scores, the place of the best of its relevant columns, from 1."""
    found = []
    for row, wanted in zip(scores, relevant):
        places = {column: place for place, column in enumerate(np.argsort(-row), 1)}
        found.append(min(places[column] for column in wanted))
    return np.array(found)


def both(chosen):
    """Both directions among some images and their captions."""
    captions = np.flatnonzero(np.isin(owner, chosen))
    scores = images[chosen].astype(np.float64) @ texts[captions].T.astype(np.float64)
    of_image = [[at for at, caption in enumerate(captions) if owner[caption] == image] for image in chosen]
    of_text = [[list(chosen).index(owner[caption])] for caption in captions]
    return ranks(scores, of_image), ranks(scores.T, of_text)


def summary(parts):
    return [{"recall": {str(k): 100 * np.mean(np.concatenate(way) <= k) for k in (1, 5, 10)},
             "median_rank": float(np.median(np.concatenate(way)))} for way in zip(*parts)]


here = pathlib.Path(__file__).parent
whole, fifths = summary([both(np.arange(IMAGES))]), summary([both(part) for part in np.split(np.arange(IMAGES), 5)])
(here / "protocol.json").write_text(json.dumps({"owner": owner.tolist(), "whole": whole, "fifths": fifths}, indent=1) + "\n")
np.save(here / "protocol_images.npy", images)
np.save(here / "protocol_texts.npy", texts)
print(whole, fifths)
