"""Section `encode`: texts through MiniLM and pictures through EfficientNet-Lite0 on CUDA, beside PyTorch on CUDA.

The weights are random, and the items are made here: speed does not depend on values. Both sides do the same work: texts
from the tokenizer on, pictures from the file on; loading a model counts on neither side. Latents are compared by cosine.
"""
import concurrent.futures
import pathlib
import random
import shutil
import sys
import tempfile
import time

import bench

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "golden"))

PLUGINS = """
plugin_folder = "{program}"
[[plugin]]
name = "candle-text"
[[plugin]]
name = "candle-image"
"""
DTYPES = ("f32", "bf16")
ENCODER = """
[encoder.{name}-{dtype}]
plugin = "{plugin}"
model = "{model}"
device = "{device}"
dtype = "{dtype}"
batch = {batch}
"""


def minilm_checkpoint(args, folder):
    """MiniLM with random weights."""
    import transformers

    shutil.copytree(args.bundle / "program" / "minilm", folder)
    config = transformers.BertConfig.from_pretrained(folder)
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def efficientnet_checkpoint(_, folder):
    """EfficientNet-Lite0 with random weights."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    folder.mkdir()
    torch.save(EfficientNet.from_name("efficientnet-lite0").state_dict(), folder / "efficientnet-lite0.pth")
    return folder


def texts(args, _, count):
    """Distinct captions of one to three of the stamps'."""
    captions = (args.bundle / "program" / "stamps" / "captions.txt").read_text().splitlines()
    draw = random.Random(0)
    made = {}
    while len(made) < count:
        made[" ".join(draw.choices(captions, k=draw.randint(1, 3)))] = None
    return list(made)


def pictures(_, folder, count):
    """JPEG files of 320 x 240: smooth colours with some noise."""
    import numpy
    from PIL import Image

    folder = folder / "pictures"
    folder.mkdir()

    def make(number):
        draw = numpy.random.default_rng(number)
        small = Image.fromarray(draw.integers(0, 256, (6, 8, 3), numpy.uint8))
        smooth = numpy.asarray(small.resize((320, 240), Image.Resampling.BICUBIC), numpy.int16)
        noisy = (smooth + draw.integers(-12, 13, smooth.shape)).clip(0, 255).astype(numpy.uint8)
        Image.fromarray(noisy).save(folder / f"{number}.jpg", quality=85)
        return folder / f"{number}.jpg"

    with concurrent.futures.ThreadPoolExecutor() as workers:
        return list(workers.map(make, range(count)))


class TorchText:
    def __init__(self, model, device, dtype):
        import minilm

        self.minilm = minilm
        self.tokenizer, network = minilm.load(model)
        self.network = network.to(device, dtype)

    def encode(self, items, batch):
        import torch

        ids = [row.ids for row in self.tokenizer.encode_batch(items)]
        order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
        parts = [order[start:start + batch] for start in range(0, len(ids), batch)]
        rows = torch.cat([self.minilm.encode(self.network, [ids[at] for at in part]) for part in parts]).float().cpu()
        return rows[torch.tensor(order).argsort()]


class TorchImage:
    def __init__(self, model, device, dtype):
        import efficientnet_lite0
        import torch

        self.net = efficientnet_lite0
        network = efficientnet_lite0.load(next(pathlib.Path(model).glob("*.pth")))
        self.network = network.to(device, dtype).to(memory_format=torch.channels_last)
        self.readers = concurrent.futures.ThreadPoolExecutor()

    def encode(self, items, batch):
        import torch

        seen = self.readers.map(self.net.pixels, items)
        parts = [min(batch, len(items) - start) for start in range(0, len(items), batch)]
        rows = [self.net.encode(self.network, [next(seen) for _ in range(part)]) for part in parts]
        return torch.cat(rows).float().cpu()


def table(path, column, items):
    path.write_text("\n".join([column, *map(str, items)]) + "\n", encoding="utf-8")


def encode(args, folder, encoder, column, name):
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        return bench.program(args.bundle, "encode", "--plugins", folder / "plugins.toml", "--cache", cache, "--data",
                             folder / f"{name}.tsv", "--encoder", encoder, "--column", column)


def cosines(args, folder, encoder, column, name, rows):
    """The least and the mean cosine of the program's latents and PyTorch's."""
    import numpy

    out = folder / f"{encoder}.npy"
    bench.program(args.bundle, "cache", "export", "--plugins", folder / "plugins.toml", "--cache", folder / "cache",
                  "--data", folder / f"{name}.tsv", "--encoder", encoder, "--column", column, "--out", out)
    ours, theirs = numpy.load(out).astype("f8"), numpy.asarray(rows, "f8")
    found = (ours * theirs).sum(1) / (numpy.linalg.norm(ours, axis=1) * numpy.linalg.norm(theirs, axis=1))
    return float(found.min()), float(found.mean())


def compare(args, folder, name, dtype, device, items):
    """Items a second of the program and of PyTorch, and how near their latents are."""
    import torch

    column, batch, peer = (WORKS[name][key] for key in ("column", "batch", "torch"))
    encoder, few = f"{name}-{dtype}", items[:len(items) // 8]
    for part, rows in (("all", items), ("few", few)):
        table(folder / f"{name}-{part}.tsv", column, rows)
    encode(args, folder, encoder, column, f"{name}-few")  # a driver compiles kernels once
    short = encode(args, folder, encoder, column, f"{name}-few")
    long = encode(args, folder, encoder, column, f"{name}-all")
    bench.allow_tf32(False)
    peer = peer(folder / name, device, torch.bfloat16 if dtype == "bf16" else torch.float32)
    rows = peer.encode(few, batch)
    start = time.perf_counter()
    peer.encode(items, batch)
    seconds = time.perf_counter() - start
    least, mean = cosines(args, folder, encoder, column, f"{name}-few", rows)
    bench.row(what=f"{name}, {dtype}, {long['encoded']} items", ours=long["encoded"] / long["seconds"], unit="items/s",
              peers={f"torch {dtype}": len(items) / seconds}, target={"peer": f"torch {dtype}", "least": 0.9},
              few=short, all=long, cosines={"least": least, "mean": mean})
    rate = (long["encoded"] - short["encoded"]) / max(long["seconds"] - short["seconds"], 1e-9)
    bench.row(what=f"{name}, {dtype}", says=f"cosine to PyTorch's latents at least {least:.6f}, {mean:.6f} on average; "
              f"{rate:,.0f} items/s without the start")


# Of each encoder: its plugin, the column of its items, how they and a checkpoint are made, and how PyTorch encodes them.
WORKS = {
    "minilm": {"plugin": "candle-text", "column": "caption", "batch": 256, "items": 16384, "rehearsed": 64,
               "make": texts, "checkpoint": minilm_checkpoint, "torch": TorchText},
    "efficientnet": {"plugin": "candle-image", "column": "file", "batch": 64, "items": 1024, "rehearsed": 16,
                     "make": pictures, "checkpoint": efficientnet_checkpoint, "torch": TorchImage},
}


def main():
    args = bench.arguments(__doc__)
    # In a rehearsal the plugins built for CUDA load, and compute on the CPU, where 16 bits take minutes.
    dtypes = DTYPES[:1] if args.rehearse else DTYPES
    device = bench.attempt("CUDA", lambda: bench.torch_device(args.rehearse))
    if not device:
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        plugins = [PLUGINS.format(program=args.bundle / "program")]
        for name, work in WORKS.items():
            plugins += [ENCODER.format(name=name, plugin=work["plugin"], model=folder / name, device=device, dtype=dtype,
                                       batch=work["batch"]) for dtype in dtypes]
        (folder / "plugins.toml").write_text("".join(plugins))
        for name, work in WORKS.items():
            count = work["rehearsed" if args.rehearse else "items"]
            items = bench.attempt(f"items of {name}", lambda: work["make"](args, folder, count))
            if items and bench.attempt(f"checkpoint of {name}", lambda: work["checkpoint"](args, folder / name)):
                for dtype in dtypes:
                    bench.attempt(f"{name}, {dtype}", lambda: compare(args, folder, name, dtype, device, items))


if __name__ == "__main__":
    main()
