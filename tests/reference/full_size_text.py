"""candle-text at the published sizes of well-known models, with random weights, beside the reference.

    python3 full_size_text.py --fusemix BINARY --plugin libcandle_text.so [MODEL...]

Writes each model into a temporary folder, exports latents of a few texts with `fusemix cache export`, and prints the least cosine
and the largest relative error of the last and the penultimate layer. Needs what ../golden/text.py needs, whose tokenizers it uses.
"""
import argparse
import gc
import pathlib
import subprocess
import sys
import tempfile
import time

import torch
import transformers
from safetensors.torch import load_file
from tokenizers import Tokenizer

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "golden"))
import jina_bert  # noqa: E402
import text as golden  # noqa: E402

TOKENS = 512
TEXTS = ["a red flower", "The quick brown fox jumps over the lazy dog, 1234 times!", "été à 北京 🙂", "so many words of a long text" + " and some more" * 150]

LARGE = dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
ROBERTA = dict(vocab_size=250_002, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
# model: (the golden family whose tokenizer it takes, class of the reference, its config, how the weights are kept, poolings)
MODELS = {
    "bge-large, e5-large": ("bert", transformers.BertModel, lambda: transformers.BertConfig(**LARGE), {}, ["cls", "mean"]),
    "multilingual-e5-base": ("xlm_roberta", transformers.XLMRobertaModel, lambda: transformers.XLMRobertaConfig(**ROBERTA), {},
                             ["mean"]),
    "bge-m3": ("xlm_roberta", transformers.XLMRobertaModel,
               lambda: transformers.XLMRobertaConfig(**ROBERTA | LARGE | dict(max_position_embeddings=8194)),
               dict(form="bin"), ["cls"]),
    "distilbert-base": ("distilbert", transformers.DistilBertModel, transformers.DistilBertConfig, {}, ["mean"]),
    "all-mpnet-base-v2": ("mpnet", transformers.MPNetModel,
                          lambda: transformers.MPNetConfig(vocab_size=30_527, max_position_embeddings=514, layer_norm_eps=1e-5), {},
                          ["mean"]),
    "modernbert-base": ("modernbert", transformers.ModernBertModel, transformers.ModernBertConfig, {}, ["mean"]),
    "jina-embeddings-v2-base": ("jina_bert", jina_bert.JinaBert, jina_bert.Config, {}, ["mean"]),
    "gte-multilingual-base": ("new", transformers.GteModel,
                              lambda: transformers.GteConfig(rope_parameters={
                                  "rope_type": "linear", "rope_theta": golden.NEW_THETA * golden.NEW_FACTOR,
                                  "factor": golden.NEW_FACTOR ** (2 / 64)}),
                              dict(prefix="new.", published=golden.new), ["cls"]),
    "nomic-embed-text-v1.5": ("nomic_bert", transformers.NomicBertModel, transformers.NomicBertConfig,
                              dict(published=golden.nomic_bert), ["mean"]),
    "qwen3-embedding-0.6b": ("qwen3", transformers.Qwen3Model,
                             lambda: transformers.Qwen3Config(
                                 vocab_size=151_669, hidden_size=1024, num_hidden_layers=28, num_attention_heads=16,
                                 num_key_value_heads=8, head_dim=128, intermediate_size=3072, max_position_embeddings=32_768,
                                 rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
                             dict(dtype=torch.bfloat16), ["last"]),
}


def export(args, folder, pooling, layer):
    (folder / "plugins.toml").write_text(
        f'[[plugin]]\nname = "candle-text"\npath = "{args.plugin.resolve()}"\n[encoder.it]\nplugin = "candle-text"\n'
        f'model = "model"\npooling = "{pooling}"\nlayer = "{layer}"\nmax_length = {TOKENS}\n')
    (folder / "texts.tsv").write_text("\n".join(["caption", *TEXTS]) + "\n", "utf-8")
    command = [args.fusemix, "cache", "export", "--plugins", folder / "plugins.toml", "--cache", folder / "cache", "--data",
               folder / "texts.tsv", "--encoder", "it", "--column", "caption", "--out", folder / "out.safetensors"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"`fusemix cache export` ended with {done.returncode}:\n{done.stdout}")
    (rows,) = (value for value in load_file(folder / "out.safetensors").values() if value.ndim == 2)
    return rows.double()


def check(args, name):
    family, make, config, kept, poolings = MODELS[name]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "model").mkdir()
        config = config()
        tok = Tokenizer.from_str((golden.HERE / family / "tokenizer.json").read_text("utf-8"))
        # One that knows less than a tenth of the model's tokens is taken for another model's.
        tok.add_tokens([f"<unused {number}>" for number in range(config.vocab_size // 10)])
        tok.save(str(folder / "model" / "tokenizer.json"))
        tok.enable_truncation(TOKENS)
        config.save_pretrained(folder / "model")
        model = golden.random_model(make, config)
        golden.save(model, folder / "model", **kept)
        rows = [golden.latents(model, tok.encode(text).ids, poolings) for text in TEXTS]
        blocks = len({key.split(".")[0] for key in rows[0]}) - 1
        parameters = sum(value.numel() for value in model.parameters())
        del model
        gc.collect()
        for pooling in poolings:
            for layer, key in (("last", "last"), ("penultimate", str(blocks - 1))):
                expected = torch.stack([row[f"{key}.{pooling}"] for row in rows]).double()
                start = time.perf_counter()
                found = export(args, folder, pooling, layer)
                seconds = time.perf_counter() - start
                cosine = torch.nn.functional.cosine_similarity(found, expected).min()
                error = ((found - expected).norm(dim=1) / expected.norm(dim=1)).max()
                print(f"{name:24} {parameters / 1e6:5.0f} M  {blocks} blocks  {layer:11} {pooling:4}  cosine {cosine:.8f}  "
                      f"error {error:.1e}  {seconds:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--fusemix", required=True, help="the binary")
    parser.add_argument("--plugin", required=True, type=pathlib.Path)
    args = parser.parse_args()
    for name in args.models or MODELS:
        check(args, name)


if __name__ == "__main__":
    main()
