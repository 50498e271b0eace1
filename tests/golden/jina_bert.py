"""JinaBERT in PyTorch, after the structure of its authors' published code (jinaai/jina-bert-implementation, and
jinaai/jina-bert-v2-qk-post-norm where `normalizes_query_and_key`), which the `transformers` package does not have.

Written from descriptions of that code, and not checked against published weights: it is a second opinion, not the original.
"""
import json
import math
from dataclasses import asdict, dataclass
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F


@dataclass
class Config:
    vocab_size: int = 30528
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 8192
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    model_type: str = "bert"
    position_embedding_type: str = "alibi"
    feed_forward_type: str = "geglu"
    normalizes_query_and_key: bool = False

    def save_pretrained(self, path):
        entries = asdict(self) | {"architectures": ["JinaBertModel"]}
        del entries["normalizes_query_and_key"]  # only the tensors' names tell
        (path / "config.json").write_text(json.dumps(entries, indent=2))


def slopes(heads):
    """Of ALiBi: a geometric series, and for other numbers than powers of two every second one of the next power's besides."""
    def of_power(n):
        start = 2 ** -(2 ** -(math.log2(n) - 3))
        return [start * start ** i for i in range(n)]

    power = 2 ** math.floor(math.log2(heads))
    return of_power(power) if power == heads else of_power(power) + of_power(2 * power)[0::2][:heads - power]


class SelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, self.heads = config.hidden_size, config.num_attention_heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        if config.normalizes_query_and_key:
            self.layer_norm_q, self.layer_norm_k = (nn.LayerNorm(width, config.layer_norm_eps) for _ in range(2))

    def forward(self, x, bias):
        q, k, v = self.query(x), self.key(x), self.value(x)
        if hasattr(self, "layer_norm_q"):
            q, k = self.layer_norm_q(q), self.layer_norm_k(k)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.self = SelfAttention(config)
        self.output = nn.ModuleDict({"dense": nn.Linear(config.hidden_size, config.hidden_size),
                                     "LayerNorm": nn.LayerNorm(config.hidden_size, config.layer_norm_eps)})

    def forward(self, x, bias):
        return self.output["LayerNorm"](self.output["dense"](self.self(x, bias)) + x)


class GLUMLP(nn.Module):
    """The activation is on the first half, and the layer norm behind the residual sum is its own."""

    def __init__(self, config):
        super().__init__()
        self.gated_layers = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, x):
        gated, plain = self.gated_layers(x).chunk(2, -1)
        return self.layernorm(x + self.wo(F.gelu(gated) * plain))


class CodeGLUMLP(nn.Module):
    """The activation is on the second half."""

    def __init__(self, config):
        super().__init__()
        self.up_gated_layer = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_layer = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x):
        up, gated = self.up_gated_layer(x).chunk(2, -1)
        return self.down_layer(up * F.gelu(gated))


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = Attention(config)
        if config.normalizes_query_and_key:
            self.mlp = CodeGLUMLP(config)
            self.layer_norm_1, self.layer_norm_2 = (nn.LayerNorm(config.hidden_size, config.layer_norm_eps) for _ in range(2))
        else:
            self.mlp = GLUMLP(config)

    def forward(self, x, bias):
        attended = self.attention(x, bias)
        if hasattr(self, "layer_norm_1"):
            x = self.layer_norm_1(x + attended)
            return self.layer_norm_2(x + self.mlp(x))
        return self.mlp(attended)


class JinaBert(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.num_attention_heads
        self.embeddings = nn.ModuleDict({
            "word_embeddings": nn.Embedding(config.vocab_size, config.hidden_size),
            "token_type_embeddings": nn.Embedding(config.type_vocab_size, config.hidden_size),
            "LayerNorm": nn.LayerNorm(config.hidden_size, config.layer_norm_eps)})
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))})

    def forward(self, input_ids, attention_mask=None, output_hidden_states=True):
        """One text: there is no padding."""
        at = torch.arange(input_ids.shape[1])
        bias = -torch.tensor(slopes(self.heads))[:, None, None] * (at[None, :] - at[:, None]).abs()
        types = self.embeddings["token_type_embeddings"].weight[0]
        states = [self.embeddings["LayerNorm"](self.embeddings["word_embeddings"](input_ids) + types)]
        for layer in self.encoder["layer"]:
            states.append(layer(states[-1], bias))
        return SimpleNamespace(last_hidden_state=states[-1], hidden_states=states)
