"""MiniLM"""
import json, pathlib
import torch
from tokenizers import Tokenizer
from transformers import BertModel


def load(folder):
    folder = pathlib.Path(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"])
    return tokenizer, BertModel.from_pretrained(folder, add_pooling_layer=False).eval()


@torch.inference_mode()
def encode(model, ids, pooling="mean"):
    """Token ids of n texts -> latents [n, 384] of the last layer, not normalised."""
    width = max(map(len, ids))
    padded = torch.tensor([row + [0] * (width - len(row)) for row in ids])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
    hidden = model(input_ids=padded, attention_mask=mask).last_hidden_state
    if pooling == "cls":
        return hidden[:, 0]
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
