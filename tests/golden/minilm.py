"""Golden latents of all-MiniLM-L6-v2, by transformers' BERT.

    pip install torch transformers tokenizers safetensors
    python3 minilm.py MODEL_FOLDER

Makes minilm.safetensors: `mean` and `cls`, f16 [24, 384], of the captions of minilm.json: the last layer's hidden states,
averaged over all tokens (special ones too, padding not) or the first one, not normalised. A caption ends after
`max_seq_length` (256) tokens of sentence_bert_config.json, special ones included; tokenizer.json's own 128 is overruled.
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import BertModel

HERE = pathlib.Path(__file__).parent


def load(folder):
    folder = pathlib.Path(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"])
    return tokenizer, BertModel.from_pretrained(folder, add_pooling_layer=False).eval()


@torch.inference_mode()
def encode(model, texts, pooling="mean"):
    """Token ids of n texts -> [n, 384]."""
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True).to(model.device)
    mask = torch.arange(ids.shape[1], device=model.device) < torch.tensor([[len(text)] for text in texts]).to(model.device)
    hidden = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state  # [n, tokens, 384]
    if pooling == "cls":
        return hidden[:, 0]
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def main():
    tokenizer, model = load(sys.argv[1])
    texts = [tokenizer.encode(caption).ids for caption in json.loads((HERE / "minilm.json").read_text("utf-8"))]
    print("tokens:", *map(len, texts), file=sys.stderr)
    rows = {pooling: torch.cat([encode(model, [text], pooling) for text in texts]) for pooling in ("mean", "cls")}
    save_file({pooling: latents.half() for pooling, latents in rows.items()}, HERE / "minilm.safetensors")


if __name__ == "__main__":
    main()
