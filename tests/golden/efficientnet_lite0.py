"""The authors' EfficientNet-Lite0 in PyTorch."""
import pathlib

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

SIZE, MEAN, STD = 224, 127.0, 128.0


def load(weights):
    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def pixels(path):
    """RGB of 224x224, u8: white under what is transparent, the middle 7/8 of the short side, antialiased bicubic."""
    with Image.open(path) as image:
        picture = image.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    picture = Image.alpha_composite(white, picture).convert("RGB")
    width, height = picture.size
    side = max(1, min(width, height) * SIZE // (SIZE + 32))
    left, top = (width - side + 1) // 2, (height - side + 1) // 2
    picture = picture.crop((left, top, left + side, top + side))
    return np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


@torch.inference_mode()
def encode(model, batch):
    """u8 [n, 224, 224, 3] -> latents [n, 1280]: the head's channels, averaged over the picture."""
    x = (torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() - MEAN) / STD
    return model.extract_features(x.contiguous()).mean((2, 3))
