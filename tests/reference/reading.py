"""What reading adds to an encoding: pictures in a folder, a tar archive and a Parquet file, in turn.

    python3 tests/reference/reading.py FOLDER [--rounds 3] [--large GB]

From the repository, after ./quickstart; needs numpy, pyarrow. The pictures are the stamps', three times each with another
byte at the end, so that no content is twice. Prints ratios to the folder of files, and with --large the most memory that
reading so many GB from one archive, and from one Parquet file, takes.
"""
import argparse
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--large", type=float, default=0.0, metavar="GB")
args = parser.parse_args()
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def encode(path, column, encoder, plugins="plugins.toml"):
    """Seconds, those of all cores, the most memory in MiB, and the summary."""
    shutil.rmtree(args.folder / "cache", ignore_errors=True)
    begin = time.time()
    child = subprocess.Popen(["target/release/fusemix", "--plugins", plugins, "--cache", args.folder / "cache", "--json", "encode",
                              "--data", path, "--encoder", encoder, "--column", column], stdout=subprocess.PIPE)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    return time.time() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, json.loads(out)


def add(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def small():
    stamps = sorted(pathlib.Path("target/assets/stamps").rglob("*.png"))
    content = [path.read_bytes() + bytes([copy]) for copy in range(3) for path in stamps]
    files = args.folder / "files"
    files.mkdir(exist_ok=True)
    for number, picture in enumerate(content):
        (files / f"{number:06}.png").write_bytes(picture)
    (files / "t.tsv").write_text("file\n" + "".join(f"{number:06}.png\n" for number in range(len(content))))
    with tarfile.open(args.folder / "t.tar", "w") as archive:
        for number, picture in enumerate(content):
            add(archive, f"{number:06}.png", picture)
    image = pa.array([{"bytes": picture, "path": f"{number}.png"} for number, picture in enumerate(content)], IMAGE)
    pq.write_table(pa.table({"image": image}), args.folder / "t.parquet", row_group_size=100)
    sources = {"files": (files / "t.tsv", "file"), "tar": (args.folder / "t.tar", "png"),
               "parquet": (args.folder / "t.parquet", "image")}
    seconds = {name: [] for name in sources}
    for _ in range(args.rounds):
        for name, (path, column) in sources.items():
            took, work, memory, summary = encode(path, column, "efficientnet")
            assert summary["encoded"] + summary["duplicates"] == len(content), summary
            seconds[name].append((took, work))
            print(f"{name}: {took:.1f} s, {work:.1f} s of a core, {memory:.0f} MiB", flush=True)
    for name in ("tar", "parquet"):
        ratios = np.array(seconds[name]) / np.array(seconds["files"])
        print(f"{name} / files: {ratios[:, 0].mean():.3f} in time, {ratios[:, 1].mean():.3f} in work; of each round "
              + ", ".join(f"{time:.3f} {work:.3f}" for time, work in ratios))


def large():
    """Items of 1 MB that are a word each, so that an encoder without weights can take them."""
    pathlib.Path(args.folder / "large.toml").write_text(
        "[[plugin]]\nname = 'mock'\n[encoder.mock]\nplugin = 'mock'\nmodality = 'image'\n")
    count = int(args.large * 1000)
    word = lambda number: str(number).encode() + b"x" * 999_000
    for gigabytes in (count // 10, count):
        with tarfile.open(args.folder / "large.tar", "w") as archive:
            for number in range(gigabytes):
                add(archive, f"{number:06}.jpg", word(number))
        took, _, memory, summary = encode(args.folder / "large.tar", "jpg", "mock", args.folder / "large.toml")
        print(f"tar of {gigabytes / 1000} GB: {took:.0f} s, {memory:.0f} MiB, {summary['encoded']} encoded")
        os.remove(args.folder / "large.tar")
        writer = pq.ParquetWriter(args.folder / "large.parquet", pa.schema([("image", IMAGE)]), compression="none")
        for first in range(0, gigabytes, 100):
            rows = [{"bytes": word(number), "path": f"{number}.jpg"} for number in range(first, min(first + 100, gigabytes))]
            writer.write_table(pa.table({"image": pa.array(rows, IMAGE)}), row_group_size=100)
        writer.close()
        took, _, memory, summary = encode(args.folder / "large.parquet", "image", "mock", args.folder / "large.toml")
        print(f"parquet of {gigabytes / 1000} GB: {took:.0f} s, {memory:.0f} MiB, {summary['encoded']} encoded")
        os.remove(args.folder / "large.parquet")


args.folder.mkdir(parents=True, exist_ok=True)
small() if not args.large else large()
