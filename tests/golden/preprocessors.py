"""What the processor classes of transformers make of preprocessor_config.json, key by key.

    pip install torch transformers pillow safetensors numpy
    python3 preprocessors.py

Makes preprocessors.json, a list of [family, preprocessor_config.json, height, width], and preprocessors.safetensors, whose
tensor N is f32 [rows, columns, 3]: every 16th row and column of what becomes of pictures/lzw.tiff.png with the Nth.
"""
import importlib
import json
import pathlib

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
STEP = 16
OBLONG = {"height": 48, "width": 64}
CASES = [
    # What a class does by itself; older names.
    ("vit", "ViTFeatureExtractor", {}),
    ("vit", "DeiTImageProcessor", {}),
    ("dinov2", "BitImageProcessor", {}),
    ("clip", "CLIPFeatureExtractor", {}),
    ("siglip", "SiglipImageProcessorFast", {}),
    ("convnext", "ConvNextImageProcessor", {}),
    ("efficientnet", "EfficientNetImageProcessor", {}),
    # A class that is not its family's.
    ("clip", "ViTImageProcessor", {"size": 48}),
    ("vit", "CLIPImageProcessor", {"size": 64, "crop_size": 48}),
    ("convnext", "ViTImageProcessor", {"size": 64, "crop_pct": 0.5}),
    ("dinov2", "ConvNextImageProcessor", {"size": 64, "crop_pct": 0.5}),
    ("vit", "EfficientNetImageProcessor", {"size": OBLONG, "include_top": False}),
    ("efficientnet", "ViTImageProcessor", {"size": 64, "include_top": True, "rescale_offset": True}),
    # Keys.
    ("vit", "ViTImageProcessor", {"size": [48, 64], "resample": 1}),
    ("vit", "ViTImageProcessor", {"size": 64, "do_center_crop": True, "crop_size": OBLONG}),
    ("vit", "ViTImageProcessor", {"size": 48, "do_normalize": False}),
    ("vit", "ViTImageProcessor", {"size": 48, "do_rescale": False, "image_mean": [100.0, 90.0, 80.0], "image_std": [50.0, 60.0, 70.0]}),
    ("siglip", "SiglipImageProcessor", {"size": OBLONG, "rescale_factor": 0.01, "resample": 4}),
    ("clip", "CLIPImageProcessor", {"do_center_crop": False, "size": OBLONG}),
    ("clip", "CLIPImageProcessor", {"do_resize": False, "crop_size": 80}),
    ("clip", "CLIPImageProcessor", {"do_center_crop": None, "do_normalize": None, "size": OBLONG}),
    ("clip", "CLIPImageProcessor", {"size": {"shortest_edge": 33}, "crop_size": {"height": 48, "width": 32}}),
    ("convnext", "ConvNextImageProcessor", {"size": {"shortest_edge": 384}, "crop_pct": 0.5}),
    ("efficientnet", "EfficientNetImageProcessor", {"size": 64, "rescale_offset": True, "rescale_factor": 1 / 127.5, "include_top": False}),
    ("efficientnet", "EfficientNetImageProcessor", {"size": 64, "rescale_offset": True, "do_rescale": False}),
    ("efficientnet", "EfficientNetImageProcessor", {"size": 64, "do_normalize": False, "do_center_crop": True, "crop_size": OBLONG}),
]


def processor(name, keys):
    """Of the backend that resizes with Pillow."""
    for ending in ("Fast", "ImageProcessor", "FeatureExtractor"):
        name = name.removesuffix(ending)
    module = importlib.import_module(f"transformers.models.{name.lower()}.image_processing_pil_{name.lower()}")
    return getattr(module, f"{name}ImageProcessorPil")(**keys)


def main():
    with Image.open(HERE / "pictures/lzw.tiff.png") as image:
        picture = image.convert("RGB")
    configs, tensors = [], {}
    for number, (family, name, keys) in enumerate(CASES):
        values = processor(name, keys)(picture, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
        height, width, _ = values.shape
        key = "feature_extractor_type" if name.endswith("Extractor") else "image_processor_type"
        configs.append([family, {key: name} | keys, height, width])
        tensors[str(number)] = torch.from_numpy(np.ascontiguousarray(values[::STEP, ::STEP], dtype=np.float32))
    lines = ",\n".join(json.dumps(config) for config in configs)
    (HERE / "preprocessors.json").write_text(f"[\n{lines}\n]\n")
    save_file(tensors, HERE / "preprocessors.safetensors")


if __name__ == "__main__":
    main()
