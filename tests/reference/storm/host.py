"""The server of serve_storm.py, its run and its galleries, and the embeddings that it is to answer."""
import base64
import csv
import json
import pathlib
import random
import subprocess
import sys

import numpy as np

from storm.wire import Wrong, request

PLUGINS = """
plugin_folder = {plugins}
cache = "{cache}"
[[plugin]]
name = "candle-text"
[[plugin]]
name = "candle-image"
[[plugin]]
name = "candle-audio"
[encoder.text]
plugin = "candle-text"
model = {assets}/minilm"
[encoder.image]
plugin = "candle-image"
model = {assets}/efficientnet-lite0"
[encoder.audio]
plugin = "candle-audio"
model = {assets}/whisper-tiny"
"""
RECIPE = """
[tower.image]
encoder = "image"
[tower.text]
encoder = "text"
[tower.audio]
encoder = "audio"
[[pairs]]
train = "pairs.tsv"
image = "file"
text = "caption"
[[pairs]]
train = "sounds.tsv"
audio = "sound"
text = "caption"
[fit]
method = "cca"
"""
# Encoders round otherwise beside other items.
CLOSE = 5e-4


class Host:
    """The run and its galleries on disk, the server, and what is known of its answers."""

    def __init__(self, folder, args):
        self.folder, self.args, self.longest = folder, args, 600
        self.rows, sounds = (self.table(name, count) for name, count in (("train.tsv", 64), ("sounds-train.tsv", 24)))
        for number, row in enumerate(self.rows):
            row |= {"id": f"base-{number}", "number": number}
        assets = json.dumps(str(args.target.resolve() / "assets"))[:-1]
        for cache in ("made", "served"):
            plugins = json.dumps(str(pathlib.Path(args.fusemix).resolve().parent))
            self.path(f"{cache}.toml").write_text(PLUGINS.format(plugins=plugins, cache=cache, assets=assets))
        self.path("fusion.toml").write_text(RECIPE)
        self.write("pairs.tsv", self.rows)
        self.write("sounds.tsv", sounds)
        captions = list(dict.fromkeys(row["caption"] for row in self.rows)) + [f"{one['caption']} {two['caption']}" for one, two in zip(
            random.Random(0).sample(self.rows, 64), random.Random(1).sample(self.rows, 64))]
        self.write("texts.tsv", [{"caption": text} for text in captions])
        self.run("train", "fusion.toml", "--out", "run")
        for name, tower, column in (("fixed", "image", "file"), ("words", "text", "caption"), ("pictures", "image", "file")):
            self.run("gallery", "build", "run", "--tower", tower, "--data", "pairs.tsv", "--column", column, "--id", "id",
                     "--metadata", "number", "--out", name)
        self.texts = dict(zip(captions, self.embedded("text", "texts.tsv", "caption")))
        self.width = len(self.texts[captions[0]])
        self.items = {"text": list(self.texts.items())}
        for modality, table, column, rows in (("image", "pairs.tsv", "file", self.rows), ("audio", "sounds.tsv", "sound", sounds)):
            contents = [pathlib.Path(row[column]).read_bytes() for row in rows]
            self.items[modality] = list(zip(contents, self.embedded(modality, table, column)))
        self.files = {modality: [content for content, _ in self.items[modality]] for modality in ("image", "audio")}
        self.sounds = [row["sound"] for row in sounds]

    def path(self, name):
        return self.folder / name

    def table(self, name, count):
        """The first rows of a table of the quickstart, with paths that are right anywhere."""
        with (self.args.target / "quickstart" / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[:count]
        place = (self.args.target / "quickstart").resolve()
        return [{key: str((place / cell).resolve()) if key in ("file", "sound") else cell for key, cell in row.items()} for row in rows]

    def write(self, name, rows):
        lines = ["\t".join(map(str, row)) for row in [rows[0].keys(), *(row.values() for row in rows)]]
        self.path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def run(self, *arguments):
        command = [str(pathlib.Path(self.args.fusemix).resolve()), *arguments, "--plugins", "made.toml", "--json"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stderr}")
        return json.loads(done.stdout)

    def embedded(self, tower, table, column):
        self.run("embed", "run", "--tower", tower, "--data", table, "--column", column, "--without-hubness", "--out", "rows.npy")
        return np.load(self.path("rows.npy"))

    def start(self):
        command = [str(pathlib.Path(self.args.fusemix).resolve()), "serve", "run", "--plugins", "served.toml", "--port", "0", "--json",
                   "--max-waiting", "256"]
        command += [word for name in ("fixed", "words", "pictures") for word in ("--gallery", name)]
        with self.path("log").open("a") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=log, text=True)
        said = ""
        while not said.rstrip().endswith("}"):
            line = self.process.stdout.readline()
            if not line:
                sys.exit(f"the server did not start:\n{self.path('log').read_text()[-2000:]}")
            said += line
        self.port = int(json.loads(said)["url"].rpartition(":")[2])

    def number(self, key):
        """A number of the process's status."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{key}:")[1].split()[0])

    def usage(self):
        """MiB resident, MiB at the peak, descriptors, threads."""
        files = list(pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir())
        return self.number("VmRSS") / 1024, self.number("VmHWM") / 1024, len(files), self.number("Threads")

    def resident(self):
        """MiB resident: the process's own, and of files that are mapped."""
        return self.number("RssAnon") / 1024, self.number("RssFile") / 1024

    def ticks(self):
        """CPU so far, in hundredths of a second."""
        return sum(map(int, pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]))

    def embed_text(self, text):
        return request("POST", "/v1/embeddings", {"model": "run/text", "input": text})

    def same_vectors(self, answer, right):
        """Refuses an answer of /v1/embeddings with other vectors."""
        if answer.status != 200:
            raise Wrong(f"{answer}")
        found = sorted(answer.json()["data"], key=lambda one: one["index"])
        self.same([unpacked(one["embedding"]) for one in found], right)

    def same(self, found, right):
        if len(found) != len(right) or any(len(one) != self.width or np.abs(one - two).max() > CLOSE for one, two in zip(found, right)):
            raise Wrong("an embedding is another one")


def unpacked(embedding):
    return np.frombuffer(base64.b64decode(embedding), np.float32) if isinstance(embedding, str) else np.array(embedding)
