"""The changes of a latent in training, by their definitions in PyTorch: writes augment.json beside this file.

    python3 augment.py
"""
import json
import pathlib

import torch

generator = torch.Generator().manual_seed(0)
normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
uniform = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)

latent, deviation = normal(9), 0.3
noises, cuts, places, directions = normal(9), uniform(3), uniform(4), normal(2, 9)

# Gaussian noise.
noise = latent + deviation * noises

# Randomized quantization (Wu et al., ICCV 2023): random regions of the range, each with a random value of its own.
least, most = latent.min(), latent.max()
ends = torch.cat([least[None], least + cuts.sort().values * (most - least), most[None]])
region = torch.bucketize(latent, ends[1:-1], right=True)
quantise = ends[region] + places[region] * (ends[region + 1] - ends[region])

# A random projection: onto what is orthogonal to random directions.
q = torch.linalg.qr(directions.T).Q
project = latent - q @ (q.T @ latent)

out = dict(latent=latent, deviation=deviation, normal=noises, cuts=cuts, places=places, directions=directions.flatten(),
           noise=noise, quantise=quantise, project=project)
plain = {key: value.tolist() if torch.is_tensor(value) else value for key, value in out.items()}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(plain, indent=1) + "\n")
