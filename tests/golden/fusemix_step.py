"""Ten FuseMix steps in PyTorch: fusemix_step.safetensors, which the trainer's tests take as the truth.

    python3 tests/golden/fusemix_step.py        needs torch, safetensors

The tensors of the adapters are those of an adapters.safetensors before the first step; `image` and `text` are the latents,
`orders` the rows that each step draws (the first half mixed with the second), `lambdas` and `losses` one a step, and
`gradient.NAME` the gradients of the first. Of another loss, from the same beginning, they are `losses.ENDING` and
`gradient.ENDING.NAME`: `sigmoid`; `i-mix` and `sigmoid.i-mix`, with virtual labels; `m2-mix`, with negatives on the arc between embeddings; `masked` and `sigmoid.masked`, where pairs that share an item are no negatives; `items` and `sigmoid.items`, with several positives a row; `similar` and
`sigmoid.similar`, with soft targets; `structure`, the loss and the term over neighbourhoods; and `unpaired`, the loss and
the term over items without a pair, `unpaired.image` and `unpaired.text`, of which a step draws `unpaired.orders.image` and
`unpaired.orders.text`, with `teacher.image` and `teacher.text`. `glu` has gated blocks that begin as `glu.NAME`.
"""
import json
import math
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

PAIRS, BATCH, STEPS, BLOCKS, SHARED, EPOCHS, WARMUP, LR, LR_END = 70, 33, 10, 2, 24, 10, 3, 1e-3, 1e-6
SHARE, SOFT, STRUCTURE, NEAR, UNPAIRED = 0.4, 0.2, 5.0, 0.1, {"image": 20, "text": 27}
KLOT, OWN, TEACHER = 0.5, 0.05, 0.005
WIDTHS = {"image": 19, "text": 35}


class Block(nn.Module):
    def __init__(self, width, gated):
        super().__init__()
        self.gated, up = gated, 4 * width if gated else 2 * width
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, up), nn.Linear(2 * width, width)

    def forward(self, x):
        up = self.up(self.norm(x))
        if self.gated:
            a, b = up.chunk(2, dim=1)
            return x + self.down(F.gelu(a) * b)
        return x + self.down(F.gelu(up))


class Adapter(nn.Module):
    def __init__(self, width, gated=False):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, gated) for _ in range(BLOCKS))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, SHARED)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return F.normalize(self.head(self.norm(x)), dim=1)


def learning_rate(step, epoch):
    if step < WARMUP:
        return LR_END + (LR - LR_END) * step / WARMUP
    return LR_END + (LR - LR_END) * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2


def info_nce(logits, rows=None, columns=None):
    rows, columns = (torch.eye(BATCH) if rows is None else rows), (torch.eye(BATCH) if columns is None else columns)
    return (F.cross_entropy(logits, rows) + F.cross_entropy(logits.T, columns)) / 2


def sigmoid(logits, targets=None):
    targets = torch.eye(BATCH) if targets is None else targets
    return F.binary_cross_entropy_with_logits(logits - math.log(BATCH - 1), targets)


def overlaps(items, order, lam):
    """What any two mixed rows have in common: of each side, the sum of the least shares of an item; the larger side's."""
    def shares(items):
        rows = torch.zeros(BATCH, PAIRS)
        for row in range(BATCH):
            rows[row, items[order[row]]] += lam
            rows[row, items[order[BATCH + row]]] += 1 - lam
        return rows
    both = [shares(of) for of in items]
    return torch.maximum(*(torch.minimum(of[:, None], of[None]).sum(2) for of in both))


def centred(x):
    return F.normalize(x - x.mean(0), dim=1)


def soft(latents):
    cosines = sum(centred(x) @ centred(x).T for x in latents) / 2
    return SHARE * torch.softmax(cosines / SOFT, dim=1) + (1 - SHARE) * torch.eye(BATCH)


def divergence(latents, embeddings):
    """Of a row's neighbourhoods among the others."""
    others = ~torch.eye(BATCH, dtype=bool)
    cosines = ((x @ x.T)[others].reshape(BATCH, -1) for x in (centred(latents), centred(embeddings)))
    p, q = (torch.softmax(of / NEAR, dim=1) for of in cosines)
    m = (p + q) / 2
    return ((p * (p / m).log()).sum(1) + (q * (q / m).log()).sum(1)).mean() / 2


def plan(cosines, epsilon):
    logits = cosines.double() / epsilon
    log_a, log_b = (-torch.full((count,), float(count)).double().log() for count in cosines.shape)
    v = torch.zeros(cosines.shape[1]).double()
    for _ in range(100):
        u = log_a - torch.logsumexp(logits + v, dim=1)
        v = log_b - torch.logsumexp(logits + u[:, None], dim=0)
    u = (u + log_a - torch.logsumexp(logits + v, dim=1)) / 2
    return logits + u[:, None] + v


def klot(cosines, teacher):
    """The divergence of the plans; its gradient is that of theorem 5.1 of SOTAlign."""
    with torch.no_grad():
        own, wanted = plan(cosines, OWN), plan(teacher, TEACHER)
        value = (wanted.exp() * (wanted - own)).sum()
        slope = (own.exp() - wanted.exp()) / OWN
    along = (slope * cosines).sum()
    return along + (value - along).detach()


torch.manual_seed(0)
towers = nn.ModuleDict({name: Adapter(width) for name, width in WIDTHS.items()})
latents = {name: torch.randn(PAIRS, width) for name, width in WIDTHS.items()}
# Some items are in two pairs.
latents["image"][60:] = latents["image"][:10]
latents["text"][50:60] = latents["text"][40:50]
items = [[row - 60 if row >= 60 else row for row in range(PAIRS)],
         [row - 10 if 50 <= row < 60 else row for row in range(PAIRS)]]
log_tau = nn.Parameter(torch.tensor(math.log(0.07)))
begin = {name: value.detach().clone() for name, value in towers.named_parameters()}
begin["log_temperature"] = log_tau.detach().clone().reshape(1)
orders = torch.stack([torch.randperm(PAIRS)[:2 * BATCH] for _ in range(STEPS)])
lambdas = torch.rand(STEPS)
steps = {"orders": orders.float(), "lambdas": lambdas}
gated = nn.ModuleDict({name: Adapter(width, True) for name, width in WIDTHS.items()})
steps |= {f"glu.{name}": value.detach().clone() for name, value in gated.named_parameters()}
unpaired = {name: torch.randn(50, width) for name, width in WIDTHS.items()}
teacher = {name: torch.randn(6, width) for name, width in WIDTHS.items()}
drawn = {name: torch.stack([torch.randperm(50)[:UNPAIRED[name]] for _ in range(STEPS)]) for name in WIDTHS}
for name in WIDTHS:
    steps |= {f"unpaired.{name}": unpaired[name], f"teacher.{name}": teacher[name],
              f"unpaired.orders.{name}": drawn[name].float()}


def transported(towers, step):
    rows = {name: unpaired[name][drawn[name][step]] for name in WIDTHS}
    x, y = (tower(rows[name]) for name, tower in towers.items())
    taught = [F.normalize(F.normalize(rows[name], dim=1) @ teacher[name].T, dim=1) for name in WIDTHS]
    return klot(x @ y.T, taught[0] @ taught[1].T)


def items_of(step):
    shared = overlaps(items, orders[step], lambdas[step])
    return shared, shared / shared.sum(1, keepdim=True)


def masked(logits, step):
    """Without what is no negative: other pairs with an item in common."""
    shared = items_of(step)[0] > 0
    return logits.masked_fill(shared & ~torch.eye(BATCH, dtype=bool), -1e30)


def labels(step):
    """Of a row that is mixed with the next one, its own label and the next one's; the sides take turns."""
    lam = lambdas[step]
    rows = lam * torch.eye(BATCH) + (1 - lam) * torch.eye(BATCH).roll(1, dims=1)
    return rows if step % 2 == 0 else rows.T


def geodesic(x, y, lam):
    angle = torch.acos((x * y).sum(1, keepdim=True))
    return (torch.sin(lam * angle) * x + torch.sin((1 - lam) * angle) * y) / torch.sin(angle)


def m2_mix(embeddings, step):
    """Other pairs' mixed embeddings as negatives, of either side."""
    x, y = embeddings
    mixed, own = geodesic(x, y, lambdas[step]), torch.diag((x * y).sum(1))
    eye = torch.eye(BATCH)
    logits = [(side @ mixed.T * (1 - eye) + own) / log_tau.exp() for side in (x, y)]
    return sum(F.cross_entropy(of, torch.arange(BATCH)) for of in logits) / 2


def rows_of(ending, step, order, lam):
    if ending.endswith("-mix"):
        of = {name: latents[name][order[:BATCH]] for name in WIDTHS}
        name = list(WIDTHS)[step % 2]
        if ending == ".m2-mix":
            return list(of.values())
        of[name] = lam * of[name] + (1 - lam) * of[name].roll(-1, dims=0)
        return list(of.values())
    return [lam * latents[name][order[:BATCH]] + (1 - lam) * latents[name][order[BATCH:]] for name in WIDTHS]


LOSSES = {
    "": lambda logits, **_: info_nce(logits),
    ".sigmoid": lambda logits, **_: sigmoid(logits),
    ".masked": lambda logits, step, **_: info_nce(masked(logits, step)),
    ".sigmoid.masked": lambda logits, step, **_: sigmoid(masked(logits, step)),
    ".items": lambda logits, step, **_: info_nce(logits, items_of(step)[1], items_of(step)[1]),
    ".sigmoid.items": lambda logits, step, **_: sigmoid(logits, items_of(step)[0]),
    ".similar": lambda logits, latents, **_: info_nce(logits, soft(latents), soft(latents)),
    ".sigmoid.similar": lambda logits, latents, **_: sigmoid(logits, (soft(latents) + soft(latents).T) / 2),
    ".structure": lambda logits, latents, embeddings, **_:
        info_nce(logits) + STRUCTURE / 2 * sum(map(divergence, latents, embeddings)),
    ".unpaired": lambda logits, towers, step, **_: info_nce(logits) + KLOT * transported(towers, step),
    ".glu": lambda logits, **_: info_nce(logits),
    ".i-mix": lambda logits, step, **_: info_nce(logits, labels(step), labels(step).T),
    ".m2-mix": lambda logits, embeddings, step, **_: info_nce(logits) + m2_mix(embeddings, step),
    ".sigmoid.i-mix": lambda logits, step, **_: sigmoid(logits, labels(step)),
}
for ending, loss_of in LOSSES.items():
    model = gated if ending == ".glu" else towers
    with torch.no_grad():
        for name, value in [*model.named_parameters(), ("log_temperature", log_tau)]:
            first = steps[f"glu.{name}"] if ending == ".glu" and value is not log_tau else begin[name]
            value.copy_(first.reshape(value.shape))
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim == 1] + [log_tau]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}])
    losses = []
    for step, (order, lam) in enumerate(zip(orders, lambdas)):
        mixed = rows_of(ending, step, order, lam)
        x, y = (tower(rows) for tower, rows in zip(model.values(), mixed))
        loss = loss_of(x @ y.T / log_tau.exp(), latents=mixed, embeddings=(x, y), towers=model, step=step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, step)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            gradients = {f"gradient{ending}.{name}": value.grad.clone() for name, value in model.named_parameters()}
            gradients[f"gradient{ending}.log_temperature"] = log_tau.grad.clone().reshape(1)
            steps |= gradients
        optimizer.step()
        losses.append(loss.detach().float())
    steps[f"losses{ending}"] = torch.stack(losses)

entries = [{"name": name, "width": width, "adapter": "mlp", "inner": 2 * width, "blocks": BLOCKS, "shared": SHARED}
           for name, width in WIDTHS.items()]
metadata = {"format": "fusemix-adapters", "version": "1", "towers": json.dumps(entries)}
save_file(begin | latents | steps, pathlib.Path(__file__).with_suffix(".safetensors"), metadata)
