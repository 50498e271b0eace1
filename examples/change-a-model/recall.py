"""Prints recall of each way to go on with an index, in percent: the mean of the splits.

    python3 recall.py SPLIT_FOLDER...

A folder holds queries.ids, the id of the right item of each query, and the JSON of `fusemix search` of each way.
"""
import json
import pathlib
import sys

WAYS = {
    "before": "the old encoder asks the old index",
    "bridge": "the new encoder asks the old index through the bridge",
    "mapped": "the new encoder asks the old vectors, mapped",
    "anew": "the new encoder asks its own vectors, all embedded anew",
}
CUTOFFS = (1, 5, 10)


def main():
    splits = [pathlib.Path(folder) for folder in sys.argv[1:]]
    print(f"{f'mean of {len(splits)} splits, %':<57}" + "".join(f"{f'R@{k}':>7}" for k in CUTOFFS))
    for way, words in WAYS.items():
        recalls = [recall(split, way) for split in splits]
        print(f"{words:<57}" + "".join(f"{sum(column) / len(splits):7.1f}" for column in zip(*recalls)))


def recall(split, way):
    """For each cutoff k, the percentage of queries whose item is among the first k."""
    right = (split / "queries.ids").read_text(encoding="utf-8").split()
    asked = json.loads((split / f"{way}.json").read_text(encoding="utf-8"))["queries"]
    found = [[hit["id"] for hit in query["found"]] for query in asked]
    return [100 * sum(id in ids[:k] for id, ids in zip(right, found, strict=True)) / len(right) for k in CUTOFFS]


if __name__ == "__main__":
    main()
