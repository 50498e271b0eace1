"""Golden pixels and latents of EfficientNet-Lite0, by its authors' PyTorch code and Pillow.

    pip install torch efficientnet_lite_pytorch==0.1.0 pillow safetensors
    python3 efficientnet_lite0.py WEIGHTS.pth STAMPS_FOLDER

Makes images/ (small pictures, one a kind of file) and efficientnet_lite0.safetensors. `crop` is the published evaluation
(the middle 7/8 of the short side, squared), `whole` the whole picture, squashed:
    stamps.crop  stamps.whole   f16 [24, 1280]       latents of the stamps that efficientnet_lite0.json names
    stamp_pixels.*              u8 [4, 7, 224, 3]    rows 16, 48 .. 208 of the first four stamps as the network sees them
    image_pixels.*              u8 [8, 7, 224, 3]    the same of images/, in the order of the metadata's `images`
"""
import json
import pathlib
import sys

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
SIZE, MARGIN = 224, 32
MEAN, STD = 127.0, 128.0  # of the weights' own authors (TensorFlow's lite/efficientnet_lite_builder.py), not ImageNet's
ROWS = slice(16, None, 32)


def load(weights):
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def pixels(path, fit="crop", size=SIZE):
    """What the network sees, u8 [size, size, 3]: white behind what is transparent, antialiased bicubic."""
    with Image.open(path) as image:
        picture = image.convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    if fit == "crop":
        width, height = picture.size
        side = max(1, min(width, height) * size // (size + MARGIN))
        left, top = (width - side + 1) // 2, (height - side + 1) // 2
        picture = picture.crop((left, top, left + side, top + side))
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))


@torch.inference_mode()
def encode(model, pictures):
    """u8 [n, 224, 224, 3] -> [n, 1280]: the head's channels, averaged over the picture."""
    weight = next(model.parameters())
    x = torch.from_numpy(np.stack(pictures)).to(weight.device).permute(0, 3, 1, 2).float().contiguous()
    return model.extract_features(((x - MEAN) / STD).to(weight.dtype)).mean((2, 3))


def draw(folder):
    """One picture of 61 x 40, saved in each of the forms that decoders tell apart; their names."""
    folder.mkdir(exist_ok=True)
    y, x = np.mgrid[0:40, 0:61]
    ramps = np.stack([4 * x, 6 * y, 255 - 4 * x, 255 - 255 * np.hypot(x - 30, y - 20) / 40], axis=2)
    rgba = Image.fromarray(ramps.clip(0, 255).astype(np.uint8), "RGBA")
    ImageDraw.Draw(rgba).ellipse((8, 6, 34, 30), fill=(200, 30, 40, 255), outline=(0, 0, 0, 128))
    rgb = rgba.convert("RGB")
    hole = rgb.quantize(16)
    rgba.save(folder / "rgba.png")
    rgb.save(folder / "rgb.png", transparency=rgb.getpixel((20, 18)))
    rgba.convert("LA").save(folder / "grey_alpha.png")
    hole.save(folder / "palette.png", transparency=hole.getpixel((20, 18)))
    hole.save(folder / "palette.gif", transparency=hole.getpixel((20, 18)))
    rgb.save(folder / "rgb.jpg", quality=90)
    rgb.convert("L").save(folder / "grey.jpg", quality=90)
    rgba.save(folder / "rgba.webp", lossless=True, exact=True)
    return sorted(path.name for path in folder.iterdir())


def main():
    weights, stamps = sys.argv[1], pathlib.Path(sys.argv[2])
    names = json.loads((HERE / "efficientnet_lite0.json").read_text())
    images = draw(HERE / "images")
    model, tensors = load(weights), {}
    for fit in ("crop", "whole"):
        seen = [pixels(stamps / name, fit) for name in names]
        drawn = [pixels(HERE / "images" / name, fit) for name in images]
        tensors[f"stamps.{fit}"] = encode(model, seen).half()
        tensors[f"stamp_pixels.{fit}"] = torch.from_numpy(np.stack([picture[ROWS] for picture in seen[:4]]))
        tensors[f"image_pixels.{fit}"] = torch.from_numpy(np.stack([picture[ROWS] for picture in drawn]))
    save_file(tensors, HERE / "efficientnet_lite0.safetensors", metadata={"images": " ".join(images)})


if __name__ == "__main__":
    main()
