"""A regularised CCA: the linear baseline (for train.py)."""
import torch

from retrieval import recalls

CANDIDATES = (0.3, 1, 3, 10, 30, 100)


def canonical(image, text):
    """What `fit(regulariser)` needs of the latents; it returns the two projections, weighted by their correlations."""
    means = [latents.double().mean(0) for latents in (image, text)]
    x, y = [latents.double() - mean for latents, mean in zip((image, text), means)]
    spectra = [torch.linalg.eigh(z.T @ z / len(z)) for z in (x, y)]

    def fit(regulariser):  # in units of the mean eigenvalue
        whiten = [(vectors * (values.clamp(min=0) + regulariser * values.mean()).rsqrt()) @ vectors.T
                  for values, vectors in spectra]
        u, s, vt = torch.linalg.svd(whiten[0] @ (x.T @ y / len(x)) @ whiten[1], full_matrices=False)
        maps = [whiten[0] @ (u * s), whiten[1] @ (vt.T * s)]
        return [lambda z, mean=mean, map=map: (z.double() - mean) @ map for mean, map in zip(means, maps)]

    return fit


def choose(image, text, pairs, folds=5):
    """The regulariser that retrieves best in a cross-validation within the training pairs."""
    fold_of = torch.arange(len(pairs)) % folds
    scores = dict.fromkeys(CANDIDATES, 0.0)
    for fold in range(folds):
        held = fold_of == fold
        fit = canonical(image[~held], text[~held])
        names = [pair for pair, out in zip(pairs, held) if out]
        for regulariser in CANDIDATES:
            scores[regulariser] += recalls(fit(regulariser), image[held], text[held], names)["mean"] / folds
    return max(scores, key=scores.get)
