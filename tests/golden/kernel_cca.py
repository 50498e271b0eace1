"""kernel_cca.safetensors: latents, and the scores of kernel CCA by its formulas in f64 numpy, with and without its term
against hubs.

    python3 kernel_cca.py

Two towers of 60 pairs that share four hidden directions, and 20 new pairs. One caption has two pictures, and one
dimension of a tower does not vary. `scores` is new pictures x new captions.
"""
import pathlib

import numpy as np
from safetensors.numpy import save_file

TAU, RHO, RANK, WIDTH, ALPHA, NEIGHBOURS = 0.5, 1.0, 40, 8, 0.25, 5


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


class Side:
    def __init__(self, x):
        self.mean, deviation = x.mean(0), x.std(0)
        least = 1e-6 * deviation.mean()
        self.scale = np.where(deviation > least, 1 / (deviation + least), 0)
        self.a = self.standard(x)
        k = np.exp((self.a @ self.a.T - 1) / TAU)
        self.columns, self.grand = k.mean(0), k.mean()
        values, vectors = np.linalg.eigh(k - k.mean(0) - k.mean(1)[:, None] + k.mean())
        order = np.argsort(values)[::-1][:min(len(x) - 1, RANK)]
        order = order[values[order] > 1e-10 * values.max()]
        self.values, self.vectors = values[order], vectors[:, order]
        l = self.values / len(x)
        self.whitening = (l + RHO * l.sum() / len(x)) ** -0.5
        self.train = self.z(x)

    def standard(self, x):
        return unit((x - self.mean) * self.scale)

    def z(self, x):
        k = np.exp((self.standard(x) @ self.a.T - 1) / TAU)
        return (k - k.mean(1, keepdims=True) - self.columns + self.grand) @ self.vectors * self.values ** -0.5


def main():
    random = np.random.default_rng(14)
    hidden = random.standard_normal((80, 4))
    latents = [np.tanh(hidden @ random.standard_normal((4, width))) + 0.3 * random.standard_normal((80, width))
               for width in (12, 9)]
    latents[0][:, 3] = 0.7
    latents[1][1] = latents[1][0]
    latents = [x.astype(np.float32) for x in latents]
    train, new = [x[:60].astype(float) for x in latents], [x[60:].astype(float) for x in latents]

    sides = [Side(x) for x in train]
    m = (sides[0].train * sides[0].whitening).T @ (sides[1].train * sides[1].whitening) / 60
    u, s, wt = np.linalg.svd(m)
    maps = [u[:, :WIDTH] * s[:WIDTH], wt.T[:, :WIDTH] * s[:WIDTH]]
    embed = lambda side, x: unit(sides[side].z(x) * sides[side].whitening @ maps[side])
    queries = [embed(side, new[side]) for side in (0, 1)]
    banks = [embed(side, np.unique(train[side], axis=0)) for side in (0, 1)]
    plain = queries[0] @ queries[1].T
    hub = [np.sort(queries[side] @ banks[1 - side].T, axis=1)[:, -NEIGHBOURS:].mean(1) for side in (0, 1)]
    scores = plain - ALPHA * hub[0][:, None] - ALPHA * hub[1][None]
    within = queries[1] @ queries[1].T
    tensors = {"left": latents[0], "right": latents[1], "plain": plain, "scores": scores, "within": within}
    save_file({name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()},
              pathlib.Path(__file__).with_suffix(".safetensors"))


if __name__ == "__main__":
    main()
