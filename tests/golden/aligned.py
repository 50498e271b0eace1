"""Small random checkpoints of aligned models (CLIP, SigLIP, SigLIP 2, CLAP), whole, and what transformers makes of both towers.

    pip install torch transformers tokenizers safetensors pillow sentencepiece protobuf soundfile soxr av
    python3 aligned.py STAMPS_FOLDER [FAMILY ..]

For each family checkpoints/FAMILY/ has the checkpoint as a hub has it (config.json, model.safetensors, the tokenizer's files, and
preprocessor_config.json), and expected.safetensors: f32 [texts, width] of the texts of checkpoints/texts.json, called
LAYER.POOLING as text.py has them, `pooler` before the projection; `projection` is what the model compares with other items
(`get_text_features`, of CLAP before it is scaled to length 1). Of CLIP and SigLIP there are also
    pixels          u8 [pictures, height, width, 3]   of the pictures of image_families.py
    pictures        f32 [pictures, width]             get_image_features
    cosines         f32 [pictures, texts]             logits_per_image, without the scale (and the bias)
and of CLAP `sounds`, f32 [sounds, width]: get_audio_features of the sounds of SOUNDS, whole windows, of length 1; and `cosines`
f32 [sounds, texts]. clip_old is CLIP with the `eos_token_id` that was wrong in old files, and with another activation.
"""
import json
import pathlib
import sys

import numpy as np
import torch
import transformers as hf
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from image_families import PICTURES, on_white, shake
from text import TEXTS, tokenizer as small_tokenizer

HERE = pathlib.Path(__file__).parent / "checkpoints"
VOCAB = 320
SOUNDS = ["knock.wav", "tune.ogg"]
PUNCTUATION = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""


def clip_tokenizer(path):
    tok = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tok.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    words = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words), "removed", invert=True),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    # Each byte by itself and at the end of a word: the trainer makes the latter of those that it sees.
    trainer = trainers.BpeTrainer(vocab_size=VOCAB - 2, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False)
    tok.train_from_iterator(TEXTS, trainer)
    # The published vocabulary ends with these, so that the end of a text has the greatest number of all.
    filed = json.loads(tok.to_str())
    for token in ("<|startoftext|>", "<|endoftext|>"):
        filed["model"]["vocab"][token] = len(filed["model"]["vocab"])
    tok = Tokenizer.from_str(json.dumps(filed))
    tok.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    at = tok.token_to_id
    tok.post_processor = processors.RobertaProcessing(("<|endoftext|>", at("<|endoftext|>")), ("<|startoftext|>", at("<|startoftext|>")),
                                                      trim_offsets=False, add_prefix_space=False)
    tok.save(str(path / "tokenizer.json"), pretty=False)
    (path / "tokenizer_config.json").write_text(json.dumps(
        {"add_prefix_space": False, "bos_token": "<|startoftext|>", "do_lower_case": True, "eos_token": "<|endoftext|>", "errors": "replace",
         "model_max_length": 77, "pad_token": "<|endoftext|>", "tokenizer_class": "CLIPTokenizer", "unk_token": "<|endoftext|>"}, indent=2))


def siglip_tokenizer(path):
    """spiece.model, which transformers' own tokenizer reads, and a tokenizer.json of the same pieces, as published beside it."""
    import sentencepiece
    import sentencepiece.sentencepiece_model_pb2 as protocol

    (path / "texts.txt").write_text("\n".join(" ".join(text.lower().split()) for text in TEXTS * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(path / "texts.txt"), model_prefix=str(path / "spiece"), vocab_size=VOCAB, hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2,
        bos_id=-1, normalization_rule_name="identity", minloglevel=2)
    (path / "texts.txt").unlink()
    (path / "spiece.vocab").unlink()
    proto = protocol.ModelProto.FromString((path / "spiece.model").read_bytes())
    tok = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in proto.pieces], unk_id=2))
    tok.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(Regex(PUNCTUATION), ""),
                                           normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()])
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tok.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tok.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", tok.token_to_id("</s>"))])
    tok.save(str(path / "tokenizer.json"), pretty=False)
    (path / "tokenizer_config.json").write_text(json.dumps(
        {"do_lower_case": True, "eos_token": "</s>", "model_input_names": ["input_ids"], "model_max_length": 64, "pad_token": "</s>",
         "tokenizer_class": "SiglipTokenizer", "unk_token": "<unk>"}, indent=2))


def gemma_tokenizer(path):
    tok = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tok.normalizer = normalizers.Replace(" ", "▁")
    tok.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=VOCAB + 80, special_tokens=["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"] + bytes_, show_progress=False)
    tok.train_from_iterator(TEXTS, trainer)
    filed = json.loads(tok.to_str())
    filed["added_tokens"] = [token for token in filed["added_tokens"] if token["content"] not in bytes_]
    tok = Tokenizer.from_str(json.dumps(filed))
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tok.post_processor = processors.TemplateProcessing("$A <eos>", None, [("<eos>", tok.token_to_id("<eos>"))])
    tok.save(str(path / "tokenizer.json"), pretty=False)
    (path / "tokenizer_config.json").write_text(json.dumps(
        {"add_bos_token": False, "add_eos_token": True, "bos_token": "<bos>", "do_lower_case": True, "eos_token": "<eos>",
         "model_input_names": ["input_ids"], "model_max_length": 64, "pad_token": "<pad>", "padding_side": "right",
         "tokenizer_class": "GemmaTokenizer", "unk_token": "<unk>"}, indent=2))


TEXT = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48)
VISION = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, patch_size=14, image_size=56, intermediate_size=96)


def clip(eos, **text):
    config = hf.CLIPConfig(vision_config=VISION | dict(projection_dim=24), projection_dim=24, text_config=TEXT | dict(
        vocab_size=VOCAB, max_position_embeddings=77, projection_dim=24, eos_token_id=eos, bos_token_id=VOCAB - 2) | text)
    return hf.CLIPModel(config)


def siglip(vocab, **text):
    return hf.SiglipModel(hf.SiglipConfig(vision_config=VISION, text_config=TEXT | dict(
        vocab_size=vocab, max_position_embeddings=64, projection_size=48, pad_token_id=1, bos_token_id=0, eos_token_id=1) | text))


def clap():
    audio = hf.ClapAudioConfig(patch_embeds_hidden_size=8, hidden_size=64, depths=[2, 2, 1, 2], num_attention_heads=[1, 2, 2, 4],
                               mlp_ratio=2.0, projection_dim=16, num_hidden_layers=4)
    text = hf.ClapTextConfig(**TEXT, vocab_size=VOCAB, max_position_embeddings=132, projection_dim=16)
    return hf.ClapModel(hf.ClapConfig(text_config=text.to_dict(), audio_config=audio.to_dict(), projection_dim=16))


def image_processor(kind):
    square = {"height": 56, "width": 56}
    if kind == "clip":
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
        return CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size=square)
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    return SiglipImageProcessorPil(size=square, image_mean=[0.5] * 3, image_std=[0.5] * 3)


# family: (tokenizer, model, the tower's own longest text, the dtype of the weights)
FAMILIES = {
    "clip_whole": (clip_tokenizer, lambda: clip(VOCAB - 1), 77, torch.float32),
    "clip_old": (clip_tokenizer, lambda: clip(2, hidden_act="gelu"), 77, torch.float16),
    "siglip_whole": (siglip_tokenizer, lambda: siglip(VOCAB), 64, torch.float16),
    "siglip2": (gemma_tokenizer, lambda: siglip(VOCAB + 80), 64, torch.float16),
    "clap_whole": (lambda path: small_tokenizer("roberta", path), clap, 130, torch.float16),
}


def ids(auto, text, longest, family):
    """As the family's processor makes them: SigLIP pads to the longest, and the padding is read."""
    padding = "max_length" if family.startswith("siglip") else False
    encoding = auto(text, truncation=True, max_length=longest, padding=padding, return_attention_mask=True)
    own = [at for at, seen in enumerate(encoding["attention_mask"]) if seen]
    return torch.tensor([encoding["input_ids"]]), own


@torch.inference_mode()
def text_rows(model, family, given, own):
    seen = dict(input_ids=given) if family.startswith(("siglip", "clip")) else dict(input_ids=given, attention_mask=torch.ones_like(given))
    tower = model.text_model
    out = tower(**seen, output_hidden_states=True)
    layers = {str(after): states[0] for after, states in enumerate(out.hidden_states[:TEXT["num_hidden_layers"]])}
    layers["last"] = out.last_hidden_state[0]
    rows = {f"{layer}.mean": states[own].mean(0) for layer, states in layers.items()}
    if family.startswith("clip"):
        rows |= {f"{layer}.last": states[-1] for layer, states in layers.items()}
    if family.startswith("clap"):
        rows |= {f"{layer}.cls": states[0] for layer, states in layers.items()}
    rows["last.pooler"] = out.pooler_output[0]
    if family.startswith("clap"):
        rows["projection"] = model.text_projection(out.pooler_output)[0]
    elif family.startswith("clip"):
        rows["projection"] = model.get_text_features(**seen).pooler_output[0]
    return rows


@torch.inference_mode()
def pictures(model, processor, stamps):
    images = [on_white(stamps / name) for name in PICTURES]
    x = processor(images, return_tensors="pt")["pixel_values"]
    seen = processor(images, return_tensors="pt", do_rescale=False, do_normalize=False)["pixel_values"]
    return {"pictures": model.get_image_features(pixel_values=x).pooler_output, "pixels": seen.to(torch.uint8).permute(0, 2, 3, 1)}, x


@torch.inference_mode()
def sound_rows(model, extract):
    """get_audio_features of each window, by its samples, as the plugin has the latents of windows."""
    import sounds
    rows = []
    for name in SOUNDS:
        samples, row = sounds.read(sounds.HERE / name, 48_000), 0
        for window in sounds.windows(samples, extract.nb_max_samples):
            features = extract(window, sampling_rate=48_000, return_tensors="pt").input_features
            pooled = model.audio_model(features).pooler_output
            row = row + model.audio_projection(pooled)[0] * len(window) / len(samples)
        rows.append(torch.nn.functional.normalize(row, dim=-1))
    whole = sounds.read(sounds.HERE / SOUNDS[0], 48_000)[:extract.nb_max_samples]
    features = extract(whole, sampling_rate=48_000, return_tensors="pt").input_features
    assert torch.allclose(model.get_audio_features(input_features=features).pooler_output[0], rows[0], atol=1e-5)
    return torch.stack(rows)


def save(model, path, family, dtype):
    """Rounds the model's own weights to what is saved."""
    state = model.state_dict()
    for value in state.values():
        if value.is_floating_point():
            value.copy_(value.to(dtype))
    state = {name: value.to(dtype).contiguous() for name, value in state.items() if value.is_floating_point()}
    state = {name: value for name, value in state.items() if "relative_position_index" not in name}
    save_file(state, path / "model.safetensors", {"format": "pt"})


def make(seed, family, stamps):
    make_tokenizer, make_model, longest, dtype = FAMILIES[family]
    path = HERE / family
    path.mkdir(exist_ok=True)
    if not (path / "tokenizer.json").exists():  # the trainers do not make the same twice
        make_tokenizer(path)
    torch.manual_seed(seed)
    model = shake(make_model(), seed)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(path)
    save(model, path, family, dtype)
    auto = hf.AutoTokenizer.from_pretrained(path)
    rows, packed = [], []
    for text in TEXTS:
        given, own = ids(auto, text, longest, family)
        packed.append(given)
        rows.append(text_rows(model, family, given, own))
    expected = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    if family.startswith("clap"):
        extract = hf.ClapFeatureExtractor(max_length_s=5, frequency_min=50, truncation="rand_trunc")
        extract.save_pretrained(path)
        expected["sounds"] = sound_rows(model, extract)
        expected["cosines"] = expected["sounds"] @ torch.nn.functional.normalize(expected["projection"], dim=-1).T
    else:
        processor = image_processor("clip" if family.startswith("clip") else "siglip")
        processor.save_pretrained(path)
        found, x = pictures(model, processor, stamps)
        expected |= found
        with torch.inference_mode():
            columns = [model(input_ids=given, pixel_values=x).logits_per_image for given in packed]
        logits = torch.cat(columns, 1)
        if family.startswith("siglip"):
            logits = logits - model.logit_bias.detach()
        expected["cosines"] = logits / model.logit_scale.detach().exp()
    save_file({name: value.contiguous() for name, value in expected.items()}, path / "expected.safetensors")
    size = sum(file.stat().st_size for file in path.iterdir())
    print(family, type(auto).__name__, "tokens", *(given.shape[1] for given in packed), "bytes", size)


def main():
    stamps, only = pathlib.Path(sys.argv[1]), sys.argv[2:]
    for seed, family in enumerate(FAMILIES):
        if not only or family in only:
            make(40 + seed, family, stamps)


if __name__ == "__main__":
    main()
