"""closed_forms.safetensors: latents, and the scores of every fit in closed form by its formulas in f64 numpy.

    python3 closed_forms.py

Three towers of 60 rows that share four hidden directions, and 20 new rows. One `right` has two `left`, and one dimension
of `left` does not vary. The pairs are all rows of left and right; for three towers also rows 20 to 60 of right and
sound, and for ASIF rows 0 to 30 of left and sound. Scores are new rows x new rows.
"""
import pathlib

import numpy as np
from safetensors.numpy import save_file

N, TAU, RANK, WIDTH, ALPHA, NEIGHBOURS = 60, 0.5, 40, 8, 0.25, 5


def unit(x):
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)


def standard(x, by_length=False):
    """Standardises as training rows x do."""
    if by_length:
        mean = unit(x).mean(0)
        return lambda z: unit(unit(z) - mean)
    mean, deviation = x.mean(0), x.std(0)
    varies = deviation > 1e-6 * np.hypot(mean, deviation)
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    return lambda z: unit((z - mean) * scale)


def descending(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return values[::-1], vectors[:, ::-1]


def kernel_coordinates(x, rho=1.0, by_length=False):
    std = standard(x, by_length)
    kernel = lambda z: np.exp((std(z) @ std(x).T - 1) / TAU)
    k = kernel(x)
    values, vectors = descending(k - k.mean(0) - k.mean(1)[:, None] + k.mean())
    keep = np.arange(len(x)) < min(len(x) - 1, RANK)
    keep &= values > 1e-10 * values.max()
    values, vectors = values[keep], vectors[:, keep]
    l = values / len(x)
    whitening = (l + rho * l.sum() / len(x)) ** -0.5
    centred = lambda z: (c := kernel(z)) - c.mean(1, keepdims=True) - k.mean(0) + k.mean()
    return lambda z: centred(z) @ vectors * values ** -0.5 * whitening


def linear_coordinates(x, rho):
    std = standard(x)
    a = std(x)
    values, vectors = descending(np.cov(a.T, bias=True))
    values, vectors = values[values > 1e-12 * values[0]], vectors[:, values > 1e-12 * values[0]]
    whitening = (values + rho * values.sum() / len(x)) ** -0.5
    return lambda z: (std(z) - a.mean(0)) @ vectors * whitening


def relative(x, power=3.0, top=10):
    std = standard(x)

    def similarities(z):
        cosines = std(z) @ std(x).T
        least = np.sort(cosines, axis=1)[:, -min(top, len(x))][:, None]
        return np.where(cosines >= least, np.maximum(cosines, 0) ** power, 0)

    return similarities


def canonical(rows, sets, power=1.0):
    """Of each tower, the directions by its training rows' coordinates, where sets are {(i, j): rows of i and j}."""
    sizes = [part.shape[1] for part in rows]
    starts = np.cumsum([0, *sizes])
    whole = np.zeros((starts[-1], starts[-1]))
    for (i, j), (of_i, of_j) in sets.items():
        block = rows[i][of_i].T @ rows[j][of_j] / len(rows[i][of_i])
        whole[starts[i]:starts[i + 1], starts[j]:starts[j + 1]] = block
        whole[starts[j]:starts[j + 1], starts[i]:starts[i + 1]] = block.T
    values, vectors = descending(whole)
    return [vectors[a:b, :WIDTH] * values[:WIDTH] ** power for a, b in zip(starts, starts[1:])]


def polar(matrix):
    u, _, vt = np.linalg.svd(matrix, full_matrices=False)
    return u @ vt


def main():
    random = np.random.default_rng(14)
    hidden = random.standard_normal((N + 20, 4))
    latents = [np.tanh(hidden @ random.standard_normal((4, width))) + 0.3 * random.standard_normal((N + 20, width))
               for width in (12, 9)]
    latents[0][:, 3] = 0.7
    latents[1][1] = latents[1][0]
    latents.append(np.tanh(hidden @ random.standard_normal((4, 7))) + 0.3 * random.standard_normal((N + 20, 7)))
    latents = [x.astype(np.float32) for x in latents]
    train, new = [x[:N].astype(float) for x in latents], [x[N:].astype(float) for x in latents]
    out = {}

    # Two towers.
    two = {(0, 1): (slice(0, N), slice(0, N))}

    def score(name, coordinates, sets, power=1.0, ends=(0, 1), data=train):
        rows = [of(x) for of, x in zip(coordinates, data)]
        maps = canonical(rows, sets, power)
        embed = lambda tower, z: unit(coordinates[tower](z) @ maps[tower])
        out[name] = embed(ends[0], new[ends[0]]) @ embed(ends[1], new[ends[1]]).T
        return embed

    embed = score("kernel_cca", [kernel_coordinates(x) for x in train[:2]], two)
    score("kernel_cca_length", [kernel_coordinates(x, by_length=True) for x in train[:2]], two)
    score("cca", [linear_coordinates(x, 2.0) for x in train[:2]], two)

    queries = [embed(side, new[side]) for side in (0, 1)]
    banks = [embed(side, np.unique(train[side], axis=0)) for side in (0, 1)]
    hub = [np.sort(queries[side] @ banks[1 - side].T, axis=1)[:, -NEIGHBOURS:].mean(1) for side in (0, 1)]
    out["kernel_cca_hubs"] = out["kernel_cca"] - ALPHA * hub[0][:, None] - ALPHA * hub[1][None]
    out["kernel_cca_within"] = queries[1] @ queries[1].T

    def predict(x, targets, rho, coordinates=linear_coordinates):
        c = coordinates(x, rho)
        return lambda z: c(z) @ (c(x).T @ (targets - targets.mean(0)) / len(x)) + targets.mean(0)

    stds = [standard(x) for x in train]
    forth, back = predict(train[0], stds[1](train[1]), 0.3), predict(train[1], stds[0](train[0]), 0.3)
    out["ridge"] = (unit(forth(new[0])) @ stds[1](new[1]).T + stds[0](new[0]) @ unit(back(new[1])).T) / 2

    centred = [stds[side](train[side]) - stds[side](train[side]).mean(0) for side in range(3)]
    fresh = [stds[side](new[side]) - stds[side](train[side]).mean(0) for side in range(3)]
    u, _, vt = np.linalg.svd(centred[0].T @ centred[1])
    out["procrustes"] = unit(fresh[0] @ u[:, :WIDTH]) @ unit(fresh[1] @ vt[:WIDTH].T).T

    sides = [relative(x) for x in train[:2]]
    out["asif"] = unit(sides[0](new[0])) @ unit(sides[1](new[1])).T
    all_similar = [relative(x, top=N) for x in train[:2]]
    spectra = [descending(side(x)) for side, x in zip(all_similar, train)]
    roots = [vectors * np.where(values > 1e-10 * values[0], np.abs(values), np.inf) ** -0.5 for values, vectors in spectra]
    score("asif_compressed", [lambda z, s=s, r=r: s(z) @ r for s, r in zip(all_similar, roots)], two, power=0.5)

    # Into the space of `right` as it is.
    t, there = unit(train[1]), unit(new[1])
    out["onto_kernel_cca"] = unit(predict(train[0], t, 1.0, kernel_coordinates)(new[0])) @ there.T
    out["onto_cca"] = unit(predict(train[0], t, 2.0)(new[0])) @ there.T
    out["onto_ridge"] = unit(predict(train[0], t, 0.3)(new[0])) @ there.T
    turned = fresh[0] @ polar(centred[0].T @ (t - t.mean(0))) + t.mean(0)
    out["onto_procrustes"] = unit(turned) @ there.T
    out["onto_asif"] = unit(sides[0](new[0]) @ t) @ there.T

    # Three towers, of which left and sound meet through right. Right's training rows are those of both sets.
    later = slice(20, N)
    three = {(0, 1): (slice(0, N), slice(0, N)), (1, 2): (slice(N, 2 * N - 20), slice(0, N - 20))}
    rows = [train[0], np.concatenate([train[1], train[1][later]]), train[2][later]]
    for name, coordinates in (("kernel_cca", lambda x: kernel_coordinates(x)), ("cca", lambda x: linear_coordinates(x, 2.0))):
        score(f"three_{name}", [coordinates(x) for x in rows], three, ends=(0, 2), data=rows)
    stds = [standard(x) for x in rows]
    coordinates = [linear_coordinates(x, 0.3) for x in rows]

    def between(i, j, rows_i, rows_j):
        c, targets = coordinates[i], stds[j](rows_j)
        mean = targets.mean(0)
        directions = (c(rows_i) - c(rows_i).mean(0)).T @ (targets - mean) / len(rows_i)
        return lambda z: unit((c(z) - c(rows_i).mean(0)) @ directions + mean)

    out["three_ridge"] = between(0, 1, train[0], train[1])(new[0]) @ between(2, 1, train[2][later], train[1][later])(new[2]).T / 3

    rows = [np.concatenate([train[0], train[0][:30]]), rows[1], np.concatenate([train[2][later], train[2][:30]])]
    stds = [standard(x) for x in rows]

    def described(tower, anchors, z):
        cosines = stds[tower](z) @ stds[tower](anchors).T
        least = np.sort(cosines, axis=1)[:, -10][:, None]
        return unit(np.where(cosines >= least, np.maximum(cosines, 0) ** 3.0, 0))

    out["three_asif"] = described(0, train[0][:30], new[0]) @ described(2, train[2][:30], new[2]).T / 3

    tensors = dict(zip(("left", "right", "sound"), latents)) | out
    save_file({name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()},
              pathlib.Path(__file__).with_suffix(".safetensors"))


if __name__ == "__main__":
    main()
