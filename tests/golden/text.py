"""Small random checkpoints of every family of text encoders, and what the reference makes of a few texts.

    pip install torch transformers tokenizers safetensors
    python3 text.py [FAMILY...]

Makes checkpoints/FAMILY/ in the hub's own layout, each in another of the forms that weights come in (a prefix or none, PyTorch's
state dict, shards, f16, bf16), and in it expected.safetensors: f32 [8, width] of the texts of checkpoints/texts.json, called
LAYER.POOLING; of qwen3 `with_prompt.POOLING` is the last layer's with the prompt "query", `after_prompt.mean` the same, pooled
without the prompt's tokens.
The reference is the `transformers` package, for jina_bert jina_bert.py beside this. Texts end where the model's positions do.
"""
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import jina_bert

HERE = pathlib.Path(__file__).parent / "checkpoints"
TEXTS = ["a red flower", "A red flower.", "The quick brown fox jumps over the lazy dog, 1234 times!", "été à 北京 🙂",
         "x", "  two  spaces,\tand\na line  ", "Über den Wolken <muss> die Freiheit & so weiter", "many words of a long text " * 40]
VOCAB, POSITIONS = 320, 130
# How Qwen's tokenizer.json cuts a text into words.
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def tokenizer(kind, path):
    """A tiny one of its kind, with the special tokens and the template of its family."""
    if kind in ("wordpiece", "lower"):
        tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tok.normalizer = normalizers.BertNormalizer(lowercase=kind == "lower")
        tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tok.decoder = decoders.WordPiece()
        special, pair = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], ("[CLS]", "[SEP]")
        trainer = trainers.WordPieceTrainer(vocab_size=VOCAB, special_tokens=special, show_progress=False)
    elif kind == "unigram":
        tok = Tokenizer(models.Unigram())
        tok.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
        tok.pre_tokenizer = pre_tokenizers.Metaspace()
        special, pair = ["<s>", "<pad>", "</s>", "<unk>"], ("<s>", "</s>")
        trainer = trainers.UnigramTrainer(vocab_size=VOCAB, special_tokens=special, unk_token="<unk>", show_progress=False)
    else:  # bytes
        tok = Tokenizer(models.BPE())
        tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        if kind == "qwen3":
            tok.normalizer = normalizers.NFC()
            tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN), "isolated"),
                                                         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        tok.decoder = decoders.ByteLevel()
        special, pair = {"roberta": (["<s>", "<pad>", "</s>", "<unk>", "<mask>"], ("<s>", "</s>")),
                         "modernbert": (["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"], ("[CLS]", "[SEP]")),
                         "qwen3": (["<|endoftext|>", "<|im_start|>", "<|im_end|>"], None)}[kind]
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tok.train_from_iterator(TEXTS, trainer)
    at = tok.token_to_id
    if kind == "roberta":
        tok.post_processor = processors.RobertaProcessing(("</s>", at("</s>")), ("<s>", at("<s>")), add_prefix_space=False)
    elif kind == "qwen3":  # behind the text, nothing before it
        end = processors.TemplateProcessing("$A <|endoftext|>", None, [("<|endoftext|>", at("<|endoftext|>"))])
        tok.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), end])
    else:
        first, last = pair
        tok.post_processor = processors.TemplateProcessing(
            f"{first} $A {last}", f"{first} $A {last} $B:1 {last}:1", [(first, at(first)), (last, at(last))])
    tok.save(str(path / "tokenizer.json"), pretty=False)
    return tok


def renamed(state, names, fused):
    """The tensors under published names; each of `fused` is made of several, one below the other."""
    out = {}
    for name in state:
        for whole, parts in fused.items():
            if parts[0] in name:
                out[name.replace(parts[0], whole)] = torch.cat([state[name.replace(parts[0], part)] for part in parts])
                break
        else:
            if not any(part in name for parts in fused.values() for part in parts):
                out[name] = state[name]
    for now, published in names.items():
        out = {name.replace(now, published): value for name, value in out.items()}
    return out


def new(state, config):
    """Alibaba's own names and config.json, which the `transformers` package renames when it loads them."""
    fused = {"attention.qkv_proj": [f"self_attn.{part}_proj" for part in "qkv"], "mlp.up_gate_proj": ["mlp.up_proj", "mlp.gate_proj"]}
    names = {"layers.": "encoder.layer.", "self_attn.o_proj": "attention.o_proj", "post_attention_layernorm": "attn_ln",
             "post_mlp_layernorm": "mlp_ln"}
    shape = {key: getattr(config, key) for key in SHAPE}
    config = shape | dict(model_type="new", architectures=["NewModel"], hidden_act="gelu", type_vocab_size=1, layer_norm_eps=1e-12,
                          layer_norm_type="layer_norm", pack_qkv=True, position_embedding_type="rope", rope_theta=NEW_THETA,
                          rope_scaling={"factor": NEW_FACTOR, "type": "ntk"})
    return renamed(state, names, fused), config


def nomic_bert(state, config):
    """Nomic's own names and config.json."""
    names = {"layers.": "encoder.layers.", "embeddings.LayerNorm": "emb_ln", "self_attn.o_proj": "attn.out_proj",
             "up_proj": "fc11", "gate_proj": "fc12", "down_proj": "fc2", "post_attention_layernorm": "norm1",
             "post_mlp_layernorm": "norm2"}
    config = dict(model_type="nomic_bert", architectures=["NomicBertModel"], activation_function="swiglu",
                  vocab_size=config.vocab_size, n_embd=config.hidden_size, n_head=config.num_attention_heads,
                  n_inner=config.intermediate_size, n_layer=config.num_hidden_layers, n_positions=8192,
                  max_trained_positions=config.max_position_embeddings,
                  type_vocab_size=2, layer_norm_epsilon=1e-12, rotary_emb_base=1000, rotary_emb_fraction=1.0,
                  rotary_emb_interleaved=False, prenorm=False, qkv_proj_bias=False, mlp_fc1_bias=False, mlp_fc2_bias=False)
    return renamed(state, names, {"attn.Wqkv": [f"self_attn.{part}_proj" for part in "qkv"]}), config


SHAPE = dict(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
             max_position_embeddings=POSITIONS)
# family: (tokenizer, class of the reference, its config, how the weights are kept, poolings)
FAMILIES = {
    "bert": ("lower", transformers.BertModel, transformers.BertConfig(**SHAPE), {}, ["mean", "cls", "pooler"]),
    "roberta": ("roberta", transformers.RobertaModel,
                transformers.RobertaConfig(**SHAPE | dict(max_position_embeddings=POSITIONS + 2, type_vocab_size=1,
                                                          layer_norm_eps=1e-5)),
                dict(prefix="roberta."), ["mean", "cls", "pooler"]),
    "xlm_roberta": ("unigram", transformers.XLMRobertaModel,
                    transformers.XLMRobertaConfig(**SHAPE | dict(max_position_embeddings=POSITIONS + 2, type_vocab_size=1,
                                                                 layer_norm_eps=1e-5)),
                    dict(form="bin", pooler=False), ["mean", "cls"]),
    "distilbert": ("wordpiece", transformers.DistilBertModel,
                   transformers.DistilBertConfig(vocab_size=VOCAB, dim=32, hidden_dim=48, n_layers=3, n_heads=4,
                                                 max_position_embeddings=POSITIONS),
                   dict(prefix="distilbert.", dtype=torch.float16), ["mean", "cls"]),
    "mpnet": ("roberta", transformers.MPNetModel,
              transformers.MPNetConfig(**SHAPE | dict(max_position_embeddings=POSITIONS + 2, layer_norm_eps=1e-5)), {},
              ["mean", "cls", "pooler"]),
    "modernbert": ("modernbert", transformers.ModernBertModel,
                   transformers.ModernBertConfig(**SHAPE | dict(num_hidden_layers=5), local_attention=16, pad_token_id=3,
                                                 cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2),
                   dict(prefix="model."), ["mean", "cls"]),
    "jina_bert": ("lower", jina_bert.JinaBert, jina_bert.Config(**SHAPE | dict(num_attention_heads=6, hidden_size=48)), {},
                  ["mean", "cls"]),
    "jina_bert_code": ("roberta", jina_bert.JinaBert, jina_bert.Config(**SHAPE, normalizes_query_and_key=True),
                       {}, ["mean", "cls"]),
    "qwen3": ("qwen3", transformers.Qwen3Model,
              transformers.Qwen3Config(**SHAPE, num_key_value_heads=2, head_dim=16, bos_token_id=0, eos_token_id=0,
                                       rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
              dict(form="shards", dtype=torch.bfloat16), ["last", "mean"]),
}
NEW_THETA, NEW_FACTOR, HEAD = 20_000.0, 8.0, SHAPE["hidden_size"] // SHAPE["num_attention_heads"]
FAMILIES |= {
    # Their NTK scaling is the linear one of a larger theta.
    "new": ("unigram", transformers.GteModel,
            transformers.GteConfig(**SHAPE, type_vocab_size=1, rope_parameters={
                "rope_type": "linear", "rope_theta": NEW_THETA * NEW_FACTOR, "factor": NEW_FACTOR ** (2 / HEAD)}),
            dict(prefix="new.", published=new), ["cls", "mean"]),
    "nomic_bert": ("lower", transformers.NomicBertModel,
                   transformers.NomicBertConfig(**SHAPE, rope_parameters={"rope_type": "default", "rope_theta": 1000.0}),
                   dict(published=nomic_bert), ["mean", "cls"]),
}
PROMPTS = {"query": "Instruct: find what it says\nQuery:", "document": ""}


def random_model(make, config):
    """Weights of such a size that every part of every layer shows."""
    torch.manual_seed(sum(map(ord, make.__name__)))
    model = make(config).eval()
    for name, value in model.named_parameters():
        gain = "norm" in name.lower() and name.endswith("weight")
        spread = 0.3 if value.ndim == 1 else 1.0 if any(part in name for part in ("embedding", "embed_tokens", "attention_bias")) else value.shape[1] ** -0.5
        torch.nn.init.normal_(value, float(gain), spread)
    return model


def save(model, path, form="safetensors", prefix="", dtype=torch.float32, pooler=True, published=None):
    """Rounds the model's own weights to what is saved."""
    state = model.state_dict()
    for value in state.values():
        value.copy_(value.to(dtype))
    if published:
        state, config = published(state, model.config)
        (path / "config.json").write_text(json.dumps(config, indent=2))
    state = {prefix + name: value.to(dtype).contiguous() for name, value in state.items()
             if pooler or not name.startswith("pooler")}
    if form == "bin":
        torch.save(state, path / "pytorch_model.bin")
    elif form == "shards":
        names = sorted(state)
        shards = {f"model-0000{at + 1}-of-00002.safetensors": names[at::2] for at in range(2)}
        for file, part in shards.items():
            save_file({name: state[name] for name in part}, path / file, {"format": "pt"})
        index = {"metadata": {}, "weight_map": {name: file for file, part in shards.items() for name in part}}
        (path / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        save_file(state, path / "model.safetensors", {"format": "pt"})


@torch.inference_mode()
def latents(model, ids, poolings, skip=0):
    """LAYER.POOLING -> [width] of one text; the mean without its first tokens."""
    out = model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                output_hidden_states=True)
    layers = {str(after): states[0] for after, states in enumerate(out.hidden_states[:-1])} | {"last": out.last_hidden_state[0]}
    pool = {"mean": lambda states: states[skip:].mean(0), "cls": lambda states: states[0], "last": lambda states: states[-1]}
    rows = {f"{layer}.{pooling}": pool[pooling](states) for layer, states in layers.items() for pooling in poolings
            if pooling in pool}
    if "pooler" in poolings:
        rows["last.pooler"] = out.pooler_output[0]
    return rows


def make(family):
    kind, make_model, config, kept, poolings = FAMILIES[family]
    path = HERE / family
    path.mkdir(exist_ok=True)
    # The trainers do not make the same twice: a tokenizer that is there stays.
    kept_tokenizer = path / "tokenizer.json"
    tok = Tokenizer.from_file(str(kept_tokenizer)) if kept_tokenizer.exists() else tokenizer(kind, path)
    if family in ("distilbert", "xlm_roberta"):
        # The class of transformers would build other parts than tokenizer.json has.
        (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}, indent=2) + "\n")
    config.architectures = [make_model.__name__]
    config.save_pretrained(path)
    model = random_model(make_model, config)
    save(model, path, **kept)
    tok.enable_truncation(POSITIONS)
    rows = [latents(model, tok.encode(text).ids, poolings) for text in TEXTS]
    expected = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    if family == "qwen3":
        (path / "config_sentence_transformers.json").write_text(
            json.dumps({"prompts": PROMPTS, "default_prompt_name": None, "similarity_fn_name": "cosine"}, indent=2))
        prompt = PROMPTS["query"]
        length = len(tok.encode(prompt).ids) - 1  # the end of text is not the prompt's
        prompted = [tok.encode(prompt + text).ids for text in TEXTS]
        rows = [latents(model, ids, poolings) for ids in prompted]
        expected |= {f"with_prompt.{pooling}": torch.stack([row[f"last.{pooling}"] for row in rows]) for pooling in poolings}
        expected["after_prompt.mean"] = torch.stack([latents(model, ids, poolings, length)["last.mean"] for ids in prompted])
    save_file({name: value.contiguous() for name, value in expected.items()}, path / "expected.safetensors")
    print(family, "tokens", *(len(tok.encode(text).ids) for text in TEXTS))


def main():
    HERE.mkdir(exist_ok=True)
    (HERE / "texts.json").write_text(json.dumps(TEXTS, ensure_ascii=False, indent=1))
    for family in sys.argv[1:] or FAMILIES:
        make(family)


if __name__ == "__main__":
    main()
