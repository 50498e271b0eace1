"""Tokenizers with settings in tokenizer_config.json, and the tokens that `AutoTokenizer` makes with them.

    pip install transformers==5.24.* sentencepiece protobuf
    python3 tokens.py

Makes tokens.json: a list of the family in checkpoints/ whose tokenizer.json and config.json it is, the contents of
tokenizer_config.json (null: no such file), and the tokens of each of TEXTS. And `files`, a list of the family, the contents of
several files, and the tokens of each of TEXTS that has special tokens in it.
"""
import json
import logging
import pathlib
import shutil
import tempfile

import transformers

HERE = pathlib.Path(__file__).parent
TEXTS = ["a red flower", "A RED Flower.", "été à Noël, ÜBER", "北京 and 東京", "<muss> [MASK] [CLS] x", "  two  spaces,\tand\na line  ",
         "a new token: ZEBRA zebra ab"]
SPECIAL = [TEXTS[4], TEXTS[6]]
ADDED = {"content": "ZEBRA", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": False}


def added(family, **changes):
    tokens = json.loads((HERE / "checkpoints" / family / "tokenizer.json").read_text())
    vocabulary = tokens["model"]["vocab"]
    last = max([len(vocabulary) - 1] + [token["id"] for token in tokens["added_tokens"]])
    return {"added_tokens_decoder": {str(last + 1): ADDED | changes}}


def cases():
    for family in ("bert", "distilbert"):
        for config in (
                None, {}, {"do_lower_case": True}, {"do_lower_case": False}, {"do_lower_case": False, "strip_accents": True},
                {"do_lower_case": True, "strip_accents": False}, {"tokenize_chinese_chars": False},
                {"do_lower_case": False, "tokenize_chinese_chars": False}, {"tokenizer_class": "BertTokenizer", "do_lower_case": False},
                {"tokenizer_class": "BertTokenizerFast", "do_lower_case": True}, {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False},
                {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": True}, {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": False},
                {"tokenizer_class": "TokenizersBackend", "do_lower_case": False}, {"padding_side": "left", "truncation_side": "left"},
                {"never_split": ["flower"], "do_basic_tokenize": False, "do_lower_case": False}, {"cls_token": "[MASK]", "sep_token": "[PAD]"},
                {"add_prefix_space": True}, {"model_max_length": 5}, {"split_special_tokens": True}, {"additional_special_tokens": ["ZEBRA"]},
                {"extra_special_tokens": ["ZEBRA", "ab"]}, {"add_bos_token": True}, {"unk_token": "[MASK]"}, {"mask_token": "red"},
                {"additional_special_tokens": ["QUAGGA"]}, {"clean_up_tokenization_spaces": True, "do_lower_case": True, "strip_accents": None},
                added(family), added(family, special=True), added(family, single_word=True), added(family, normalized=True),
                added(family, lstrip=True, rstrip=True)):
            yield family, config
    for family in ("roberta", "qwen3", "modernbert", "xlm_roberta"):
        for config in (None, {}, {"add_prefix_space": True}, {"add_prefix_space": False}, {"add_bos_token": False}, {"add_bos_token": True},
                       {"add_eos_token": True}, {"add_eos_token": False}, {"do_lower_case": True}, {"split_special_tokens": True}, {"trim_offsets": False},
                       {"tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": True}, added(family), added(family, special=True, lstrip=True)):
            yield family, config


    for family, kind in (("clip_whole", "CLIPTokenizer"), ("siglip2", "GemmaTokenizer"), ("siglip2", "Siglip2Tokenizer"),
                         ("clap_whole", "RobertaTokenizer"), ("siglip_whole", "SiglipTokenizer")):
        for config in ({}, {"tokenizer_class": kind + "Fast"}, {"add_prefix_space": True}, {"add_bos_token": False}, {"add_bos_token": True},
                       {"add_eos_token": True}, {"add_eos_token": False}, {"add_bos_token": True, "add_eos_token": True}, {"do_lower_case": False},
                       {"do_lower_case": True}, {"split_special_tokens": True}, {"padding_side": "left"}, {"model_max_length": 7}, {"unk_token": "x"},
                       added(family), added(family, special=True, lstrip=True), added(family, normalized=True)):
            # The slow tokenizer has other rules for words behind added tokens, and needs its own unknown one.
            if family == "siglip_whole" and ("added_tokens_decoder" in config or "unk_token" in config):
                continue
            yield family, {"tokenizer_class": kind} | config
    yield "clip_whole", None
    yield "clap_whole", None


def files():
    manners = {"content": "ZEBRA", "lstrip": True, "rstrip": True, "normalized": False, "single_word": False}
    config, roles, added_tokens = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
    for family, known in (("bert", "red"), ("roberta", "\u0120red"), ("xlm_roberta", "lo"), ("modernbert", "\u0120red")):
        last = int(next(iter(added(family)["added_tokens_decoder"])))
        for role in ("cls_token", "sep_token", "mask_token", "unk_token", "bos_token", "eos_token", "pad_token"):
            yield family, {config: {role: known}}
            yield family, {config: {role: "ZEBRA"}}
            yield family, {roles: {role: manners}, config: {role: known}}
            yield family, {roles: {role: "ZEBRA"}, config: {role: known} | added(family, content="ab")}
        yield family, {added_tokens: {"ZEBRA": last}}
        yield family, {added_tokens: {"ZEBRA": last + 4, "ab": last}}
        yield family, {added_tokens: {"ZEBRA": 3}}
        yield family, {added_tokens: {"ZEBRA": last}, config: {"added_tokens_decoder": {}}}
        yield family, {added_tokens: {"ZEBRA": last}, roles: {"additional_special_tokens": ["ZEBRA"]}}
        yield family, {added_tokens: {"ZEBRA": last}, config: {"extra_special_tokens": ["ZEBRA"]}}
        yield family, {roles: {"additional_special_tokens": ["ZEBRA", "ab"]}}
        yield family, {roles: {"extra_special_tokens": ["ZEBRA"]}, config: {"extra_special_tokens": ["ab"]}}
        yield family, {config: {"image_token": "ZEBRA"}}
        yield family, {config: {"extra_special_tokens": {"image_token": "ZEBRA"}}}


def tokens(family, config, others=None):
    with tempfile.TemporaryDirectory() as folder:
        for name in ("config.json", "tokenizer.json", "spiece.model"):
            if (HERE / "checkpoints" / family / name).exists():
                shutil.copy(HERE / "checkpoints" / family / name, folder)
        if config is not None:
            pathlib.Path(folder, "tokenizer_config.json").write_text(json.dumps(config))
        for name, content in (others or {}).items():
            pathlib.Path(folder, name).write_text(json.dumps(content))
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        return [tokenizer(text)["input_ids"] for text in (SPECIAL if others else TEXTS)]


def main():
    logging.disable(logging.CRITICAL)
    found = []
    for family, config in cases():
        try:
            found.append([family, config, tokens(family, config)])
        except Exception as error:
            print("REFUSED", family, config, repr(error)[:150])
    several = []
    for family, contents in files():
        try:
            several.append([family, contents, tokens(family, None, contents)])
        except Exception as error:
            print("REFUSED", family, contents, repr(error)[:150])
    (HERE / "tokens.json").write_text(json.dumps({"texts": TEXTS, "cases": found, "special": SPECIAL, "files": several}))
    return found


if __name__ == "__main__":
    main()
