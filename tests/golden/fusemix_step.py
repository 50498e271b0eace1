"""Ten FuseMix steps in PyTorch: fusemix_step.safetensors, which the trainer's tests take as the truth.

    python3 tests/golden/fusemix_step.py        needs torch, safetensors

The tensors of the adapters are those of an adapters.safetensors before the first step; `image` and `text` are the latents,
`orders` the rows that each step draws (the first half mixed with the second), `lambdas` and `losses` one a step, and
`gradient.NAME` the gradients of the first; those of the sigmoid loss, from the same beginning, are `losses.sigmoid` and
`gradient.sigmoid.NAME`.
"""
import json
import math
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

PAIRS, BATCH, STEPS, BLOCKS, SHARED, EPOCHS, WARMUP, LR, LR_END = 70, 33, 10, 2, 24, 10, 3, 1e-3, 1e-6
WIDTHS = {"image": 19, "text": 35}


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.down(F.gelu(self.up(self.norm(x))))


class Adapter(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width) for _ in range(BLOCKS))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, SHARED)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return F.normalize(self.head(self.norm(x)), dim=1)


def learning_rate(step, epoch):
    if step < WARMUP:
        return LR_END + (LR - LR_END) * step / WARMUP
    return LR_END + (LR - LR_END) * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2


def info_nce(logits):
    target = torch.arange(BATCH)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def sigmoid(logits):
    z = 2 * torch.eye(BATCH) - 1
    return -F.logsigmoid(z * (logits - math.log(BATCH - 1))).mean()


torch.manual_seed(0)
towers = nn.ModuleDict({name: Adapter(width) for name, width in WIDTHS.items()})
latents = {name: torch.randn(PAIRS, width) for name, width in WIDTHS.items()}
log_tau = nn.Parameter(torch.tensor(math.log(0.07)))
begin = {name: value.detach().clone() for name, value in towers.named_parameters()}
begin["log_temperature"] = log_tau.detach().clone().reshape(1)
orders = torch.stack([torch.randperm(PAIRS)[:2 * BATCH] for _ in range(STEPS)])
lambdas = torch.rand(STEPS)
steps = {"orders": orders.float(), "lambdas": lambdas}

for ending, loss_of in (("", info_nce), (".sigmoid", sigmoid)):
    with torch.no_grad():
        for name, value in [*towers.named_parameters(), ("log_temperature", log_tau)]:
            value.copy_(begin[name].reshape(value.shape))
    matrices = [p for p in towers.parameters() if p.ndim == 2]
    vectors = [p for p in towers.parameters() if p.ndim == 1] + [log_tau]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}])
    losses = []
    for step, (order, lam) in enumerate(zip(orders, lambdas)):
        x, y = [tower(lam * latents[name][order[:BATCH]] + (1 - lam) * latents[name][order[BATCH:]])
                for name, tower in towers.items()]
        loss = loss_of(x @ y.T / log_tau.exp())
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, step)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            gradients = {f"gradient{ending}.{name}": value.grad.clone() for name, value in towers.named_parameters()}
            gradients[f"gradient{ending}.log_temperature"] = log_tau.grad.clone().reshape(1)
            steps |= gradients
        optimizer.step()
        losses.append(loss.detach())
    steps[f"losses{ending}"] = torch.stack(losses)

entries = [{"name": name, "width": width, "adapter": "mlp", "inner": 2 * width, "blocks": BLOCKS, "shared": SHARED}
           for name, width in WIDTHS.items()]
metadata = {"format": "fusemix-adapters", "version": "1", "towers": json.dumps(entries)}
save_file(begin | latents | steps, pathlib.Path(__file__).with_suffix(".safetensors"), metadata)
