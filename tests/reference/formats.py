"""1,000 pictures in each format that pairs come in, 50 of them broken in ten ways: exactly those must fail, by row.

    python3 tests/reference/formats.py FOLDER [--plugins plugins.toml] [--encoder efficientnet]

From the repository, after ./quickstart; needs numpy, Pillow, pyarrow. Prints a line a format.
"""
import argparse
import csv
import io
import json
import pathlib
import struct
import subprocess
import sys
import tarfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

ROWS = 1000
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--plugins", default="plugins.toml")
parser.add_argument("--encoder", default="efficientnet")
args = parser.parse_args()
random = np.random.default_rng(0)


def picture(row, form="PNG"):
    pixels = np.kron(random.integers(0, 255, (3, 3, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    pixels[0, 0] = [row % 256, row // 256, 7]
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form)
    return out.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def broken(way, row):
    """The bytes of a picture that is broken in one of ten ways; None if it is not there."""
    good = picture(row)
    return [
        None,
        b"",
        good[:len(good) // 2],
        good[:20],
        b"<html><body>404 Not Found</body></html>",
        random.bytes(200),
        picture(row, "JPEG")[:300],
        good.replace(b"IDAT", b"IDAU"),
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1 << 20, 1 << 20, 8, 2, 0, 0, 0)) + chunk(b"IEND", b""),
        b"\x00\x00\x00\x18ftypheic" + bytes(200),
    ][way]


BAD = {row: broken(way % 10, row) for way, row in enumerate(range(7, ROWS, 20))}
CONTENT = [BAD[row] if row in BAD else picture(row) for row in range(ROWS)]
NAMES = [f"p{row:04}.png" for row in range(ROWS)]
CAPTIONS = [f"picture number {row}" for row in range(ROWS)]


def files(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(NAMES, CONTENT):
        if content is not None:
            (folder / name).write_bytes(content)


def delimited(path, **how):
    with path.open("w", newline="") as out:
        csv.writer(out, **how).writerows([["file", "caption"], *zip(NAMES, CAPTIONS)])
    return path, "file"


def tsv(folder):
    return delimited(folder / "t.tsv", delimiter="\t", quoting=csv.QUOTE_NONE)


def comma(folder):
    return delimited(folder / "t.csv")


def jsonl(folder):
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps({"file": name, "caption": text}) + "\n" for name, text in zip(NAMES, CAPTIONS)))
    return path, "file"


def coco(folder):
    images = [{"id": row, "file_name": name} for row, name in enumerate(NAMES)]
    annotations = [{"id": 5 * row, "image_id": row, "caption": text} for row, text in enumerate(CAPTIONS)]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder / "captions.json", "file"


def karpathy(folder):
    images = [{"filename": name, "imgid": row, "split": "train", "sentids": [row],
               "sentences": [{"raw": text, "tokens": text.split(), "imgid": row, "sentid": row}]}
              for row, (name, text) in enumerate(zip(NAMES, CAPTIONS))]
    (folder / "dataset_own.json").write_text(json.dumps({"images": images, "dataset": "own"}))
    return folder / "dataset_own.json", "file"


def token(folder):
    (folder / "results.token").write_text("".join(f"{name}#0\t{text}\n" for name, text in zip(NAMES, CAPTIONS)))
    return folder / "results.token", "file"


def tar(folder):
    for shard in range(2):
        with tarfile.open(folder / f"0000{shard}.tar", "w") as out:
            for row in range(shard * ROWS // 2, (shard + 1) * ROWS // 2):
                for ending, content in (("png", CONTENT[row]), ("txt", CAPTIONS[row].encode())):
                    if content is not None:
                        member = tarfile.TarInfo(f"{row:06}.{ending}")
                        member.size = len(content)
                        out.addfile(member, io.BytesIO(content))
    return folder / "{00000..00001}.tar", "png"


def parquet(folder):
    image = pa.array([None if content is None else {"bytes": content, "path": name}
                      for content, name in zip(CONTENT, NAMES)], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"image": image, "caption": CAPTIONS}), folder / "t.parquet", row_group_size=100)
    return folder / "t.parquet", "image"


def metadata(folder):
    path = folder / "metadata.csv"
    with path.open("w", newline="") as out:
        csv.writer(out).writerows([["file_name", "text"], *zip(NAMES, CAPTIONS)])
    return folder, "file"


failed = False
for number, form in enumerate([tsv, comma, jsonl, coco, karpathy, token, metadata, tar, parquet]):
    folder = args.folder / form.__name__
    folder.mkdir(parents=True, exist_ok=True)
    if form not in (tar, parquet):
        files(folder)
    path, column = form(folder)
    ran = subprocess.run(["target/release/fusemix", "--plugins", args.plugins, "--cache", str(args.folder / "cache"),
                          "--json", "encode", "--data", path, "--encoder", args.encoder, "--column", column],
                         stdout=subprocess.PIPE, text=True)
    summary = json.loads(ran.stdout)
    found = {failure["row"] - 1: failure for failure in summary["failures"]}
    wrong = sorted(set(found) ^ set(BAD))
    unnamed = [row for row, failure in found.items() if not failure["reason"] or not failure["item"]]
    failed |= bool(wrong or unnamed) or ran.returncode != 4
    print(f"{form.__name__}: rc {ran.returncode}, {summary['rows']} rows, {len(found)} failed, "
          f"wrong {wrong}, unnamed {unnamed}")
    if number == 0 or form in (tar, parquet):
        for row in sorted(found)[:10]:
            print(f"   row {row + 1}: {found[row]['item']}: {found[row]['reason']}")
sys.exit(failed)
