"""What reading adds to an encoding: pictures in a folder, a tar archive and a Parquet file, in turn.

    python3 tests/reference/reading.py FOLDER [--rounds 8] [--large GB [--of tar|parquet]]

From the repository, after ./quickstart; needs numpy, pyarrow. The pictures are the stamps'. Each encoding from an archive
or a Parquet file stands between two from the folder, and its ratio is to their mean, so that a machine that grows slower
costs all the same; then the seconds of reading alone (`fusemix data --read`). With --large, the most memory that reading
so many GB from one archive, and from one Parquet file, takes.
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
parser.add_argument("--rounds", type=int, default=8)
parser.add_argument("--large", type=float, default=0.0, metavar="GB")
parser.add_argument("--of", choices=["tar", "parquet"], action="append", help="with --large, only these")
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


def read(path, column):
    """The fewest seconds that reading all items takes, of five tries."""
    def once():
        begin = time.time()
        subprocess.run(["target/release/fusemix", "--plugins", "plugins.toml", "data", path, "--column", column, "--read"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        return time.time() - begin
    return min(once() for _ in range(5))


def small():
    stamps = sorted(pathlib.Path("target/assets/stamps").rglob("*.png"))
    content = [path.read_bytes() for path in stamps]
    files = args.folder / "files"
    files.mkdir(parents=True, exist_ok=True)
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

    def measured(name):
        took, work, memory, summary = encode(*sources[name], "efficientnet")
        assert summary["encoded"] + summary["duplicates"] == len(content), summary
        print(f"{name}: {took:.1f} s, {work:.1f} s of a core, {memory:.0f} MiB", flush=True)
        return np.array([took, work])

    measured("files")
    before, ratios = measured("files"), {"tar": [], "parquet": []}
    for _ in range(args.rounds):
        for name, of_files in ratios.items():
            ours, after = measured(name), measured("files")
            of_files.append(ours / ((before + after) / 2))
            before = after
    for name, of_files in ratios.items():
        time_ratio, work_ratio = np.median(of_files, axis=0)
        low, high = np.percentile(of_files, [25, 75], axis=0)
        print(f"{name} / files, median of {len(of_files)}: {time_ratio:.3f} in time (quartiles {low[0]:.3f}, {high[0]:.3f}), "
              f"{work_ratio:.3f} in work ({low[1]:.3f}, {high[1]:.3f})")
    alone = ", ".join(f"{name} {read(*source):.2f} s" for name, source in sources.items())
    print(f"reading alone, of the {before[0]:.1f} s that an encoding takes: {alone}")


def large():
    """Items of 1 MB that are a word each, so that an encoder without weights can take them."""
    pathlib.Path(args.folder / "large.toml").write_text(
        "[[plugin]]\nname = 'mock'\n[encoder.mock]\nplugin = 'mock'\nmodality = 'image'\n")
    count = int(args.large * 1000)
    word = lambda number: str(number).encode() + b"x" * 999_000
    for form in args.of or ["tar", "parquet"]:
        path, column = args.folder / f"large.{form}", {"tar": "jpg", "parquet": "image"}[form]
        for items in (count // 10, count):
            write_tar(path, items, word) if form == "tar" else write_parquet(path, items, word)
            took, _, memory, summary = encode(path, column, "mock", args.folder / "large.toml")
            print(f"{form} of {items / 1000} GB: {took:.0f} s, {memory:.0f} MiB, {summary['encoded']} encoded", flush=True)
            os.remove(path)


def write_tar(path, items, word):
    with tarfile.open(path, "w") as archive:
        for number in range(items):
            add(archive, f"{number:06}.jpg", word(number))


def write_parquet(path, items, word):
    """Row groups of 100 rows, as published sets have."""
    with pq.ParquetWriter(path, pa.schema([("image", IMAGE)]), compression="none") as writer:
        for first in range(0, items, 100):
            rows = [{"bytes": word(number), "path": f"{number}.jpg"} for number in range(first, min(first + 100, items))]
            writer.write_table(pa.table({"image": pa.array(rows, IMAGE)}), row_group_size=100)


args.folder.mkdir(parents=True, exist_ok=True)
small() if not args.large else large()
