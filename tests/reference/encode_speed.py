"""Encoding speed of `fusemix encode` beside the PyTorch reference: same items, same work, in turn.

    python3 encode_speed.py text  PAIRS.tsv caption MODEL_FOLDER --fusemix BINARY --plugins FILE --encoder minilm
    python3 encode_speed.py image PAIRS.tsv file    WEIGHTS.pth  --fusemix BINARY --plugins FILE --encoder efficientnet
    python3 encode_speed.py dinov2 PAIRS.tsv file --fusemix BINARY
    python3 encode_speed.py audio PAIRS.tsv sound   MODEL_FOLDER --fusemix BINARY --plugins FILE --encoder whisper

dinov2 is DINOv2-S with random weights, which the script makes in a temporary folder, with a plugins.toml of its own; the
plugins are beside the binary.
Text counts from tokenizing on, in batches of similar length; images and sounds from reading the file on, a batch to each
thread. Each window of a sound takes all of Whisper's 30 s on both sides.
Loading the model counts on neither side, and items of equal content are encoded once. Every round runs PyTorch and fusemix
(with an empty cache), every other round in the other order. Without --fusemix, PyTorch alone. Prints items a second and their
ratio (fusemix / PyTorch) on standard error, the same as JSON on standard output. Needs what ../golden/*.py need.
"""
import argparse
import csv
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "golden"))


def items(table, column, kind):
    """The distinct items of a column: captions, or paths relative to the table."""
    with open(table, encoding="utf-8", newline="") as file:
        cells = [row[column] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    if kind == "text":
        return list(dict.fromkeys(cells))
    paths = [table.parent / cell for cell in cells]
    return list({hashlib.sha256(path.read_bytes()).digest(): path for path in paths}.values())


def text_encoder(model, batch):
    import minilm

    tokenizer, bert = minilm.load(model)

    def encode(captions):
        ids = sorted((row.ids for row in tokenizer.encode_batch(captions)), key=len)
        for start in range(0, len(ids), batch):
            minilm.encode(bert, ids[start:start + batch])

    return encode


def image_encoder(model, batch):
    import efficientnet_lite0
    import torch

    network = efficientnet_lite0.load(model).to(memory_format=torch.channels_last)  # its faster layout on a CPU
    # A batch a core, from file to latent: faster than both cores in one batch, and decoding takes both as well.
    workers = ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,))

    def encode(paths):
        def one(start):
            efficientnet_lite0.encode(network, [efficientnet_lite0.pixels(path) for path in paths[start:start + batch]])

        list(workers.map(one, range(0, len(paths), batch)))

    return encode


def make_dinov2(folder, binary):
    """A checkpoint of DINOv2-S, and a plugins.toml with the encoder `dinov2`; its path."""
    import transformers

    import full_size_image

    config = transformers.Dinov2Config(hidden_size=384, num_attention_heads=6, image_size=518)
    transformers.Dinov2Model(config).save_pretrained(folder)
    full_size_image.dinov2_processor().save_pretrained(folder)
    plugins = pathlib.Path(folder) / "plugins.toml"
    where = json.dumps(str(pathlib.Path(binary or ".").resolve().parent))
    plugins.write_text(f'plugin_folder = {where}\n[[plugin]]\nname = "candle-image"\nversion = "^0.1"\n'
                       f'[encoder.dinov2]\nplugin = "candle-image"\nmodel = {json.dumps(str(folder))}\n')
    return plugins


def dinov2_encoder(model, batch):
    import numpy
    import torch
    import transformers
    from PIL import Image

    network = transformers.Dinov2Model.from_pretrained(model, attn_implementation="sdpa").eval()
    mean, std = (torch.tensor(values)[:, None, None] * 255 for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))

    def pixels(path):
        with Image.open(path) as image:
            picture = image.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
        width, height = picture.size
        short = min(width, height)
        picture = picture.resize((256 * width // short, 256 * height // short), Image.Resampling.BICUBIC)
        left, top = ((side - 224) // 2 for side in picture.size)
        return numpy.asarray(picture.crop((left, top, left + 224, top + 224)))

    @torch.inference_mode()
    def one(paths):
        x = torch.from_numpy(numpy.stack([pixels(path) for path in paths])).permute(0, 3, 1, 2).float()
        return network(pixel_values=(x - mean) / std).last_hidden_state[:, 0]

    workers = ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,))
    return lambda paths: list(workers.map(one, [paths[start:start + batch] for start in range(0, len(paths), batch)]))


def audio_encoder(model, batch):
    import sounds
    import torch
    import whisper
    import whisper_tiny

    encoder, extract = whisper_tiny.load(model)
    # A sound a core, from file to latent: faster than both cores in one batch.
    workers = ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,))

    def one(paths):
        files = [sounds.read(path, extract.sampling_rate) for path in paths]
        windows = [window for samples in files for window in sounds.windows(samples, extract.n_samples)]
        features = extract(windows, sampling_rate=extract.sampling_rate, return_tensors="pt").input_features
        with torch.inference_mode():
            states = encoder(features).last_hidden_state
        return [state[:max(1, -(-len(window) // whisper.FRAME))].mean(0) for state, window in zip(states, windows)]

    def encode(paths):
        list(workers.map(one, [paths[start:start + batch] for start in range(0, len(paths), batch)]))

    return encode


def run_fusemix(args):
    """Items a second, and how many, as its summary has them."""
    with tempfile.TemporaryDirectory() as cache:
        command = [args.fusemix, "encode", "--plugins", args.plugins, "--cache", cache, "--data", args.table,
                   "--encoder", args.encoder, "--column", args.column, "--json"]
        environment = os.environ | {"RAYON_NUM_THREADS": str(args.threads)}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"`fusemix encode` ended with {done.returncode}:\n{done.stderr}")
    summary = json.loads(done.stdout)
    return summary["encoded"] / summary["seconds"], summary["encoded"]


def run_torch(encode, work):
    start = time.perf_counter()
    encode(work)
    return len(work) / (time.perf_counter() - start), len(work)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["text", "image", "dinov2", "audio"])
    parser.add_argument("table", type=pathlib.Path)
    parser.add_argument("column")
    parser.add_argument("model", nargs="?", help="the folder of the BERT or the Whisper, or the .pth of EfficientNet-Lite0")
    parser.add_argument("--fusemix", help="the binary")
    parser.add_argument("--plugins", default="plugins.toml")
    parser.add_argument("--encoder", help="its name in plugins.toml")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, help="PyTorch's; unless told 32 texts, 4 images or 1 sound, its fastest where we measured")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.kind == "dinov2":
        scratch = tempfile.TemporaryDirectory()
        args.model, args.encoder, args.plugins = scratch.name, "dinov2", make_dinov2(scratch.name, args.fusemix)
    if not args.model:
        parser.error("all but dinov2 need a model")
    if args.fusemix and not args.encoder:
        parser.error("--fusemix needs --encoder")

    os.environ["RAYON_NUM_THREADS"] = str(args.threads)  # the tokenizer's
    import torch

    torch.set_num_threads(args.threads)
    work = items(args.table, args.column, args.kind)
    encoders = {"text": (text_encoder, 32), "image": (image_encoder, 4), "dinov2": (dinov2_encoder, 4),
                "audio": (audio_encoder, 1)}
    make, default = encoders[args.kind]
    batch = args.batch or default
    encode = make(args.model, batch)
    encode(work[:batch * args.threads])  # warm
    runs = {"torch": lambda: run_torch(encode, work)}
    if args.fusemix:
        runs["fusemix"] = lambda: run_fusemix(args)

    rounds = []
    for number in range(args.rounds):
        row = {}
        for name in list(runs) if number % 2 == 0 else reversed(runs):
            row[name], count = runs[name]()
            if count != len(work):
                sys.exit(f"{name} encoded {count} items of {len(work)}: the two sides do not do the same work")
        if args.fusemix:
            row["ratio"] = row["fusemix"] / row["torch"]
        rounds.append(row)
        print(f"round {number + 1}  " + "  ".join(f"{name} {value:.2f}" for name, value in row.items()), file=sys.stderr)
    median = {name: statistics.median(row[name] for row in rounds) for name in rounds[0]}
    print("median   " + "  ".join(f"{name} {value:.2f}" for name, value in median.items()), file=sys.stderr)
    print(json.dumps({"kind": args.kind, "items": len(work), "threads": args.threads, "rounds": rounds, "median": median}))


if __name__ == "__main__":
    main()
