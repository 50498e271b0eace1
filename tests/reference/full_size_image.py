"""The image families at their published sizes, with random weights: the plugin beside transformers; EfficientNet-Lite0 to
Lite4 beside timm, with the pictures' sizes and values of their authors (efficientnet_lite_builder.py in TensorFlow's tpu).

    python3 full_size_image.py STAMPS_FOLDER [NAME ..]

For each model a checkpoint goes into a temporary folder (up to a gigabyte), and the plugin's own test compares the first,
the middle and the last layer: `cargo test --release -p candle-image a_checkpoint_of_ones_own -- --ignored`. Beside each
line stands PyTorch's own relative error, of its f32 from its f64. Needs what ../golden/image_families.py needs, timm, and
cargo; CARGO_TARGET_DIR is the user's.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import timm
import torch
import transformers as hf
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/golden"))
import efficientnet_lite0  # noqa: E402
import image_families as golden  # noqa: E402

from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil  # noqa: E402
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil  # noqa: E402
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil  # noqa: E402
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil  # noqa: E402
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil  # noqa: E402

SQUARE = {"height": 224, "width": 224}


def dinov2_processor():
    return BitImageProcessorPil(size={"shortest_edge": 256}, crop_size=SQUARE, do_center_crop=True, resample=3,
                                do_convert_rgb=True, **golden.IMAGENET)


LITE = {f"EfficientNet-Lite{n}": (f"tf_efficientnet_lite{n}", side) for n, side in enumerate((224, 240, 260, 280, 300))}


def lite_names(state):
    """timm's tensors by the names of the PyTorch port."""
    blocks = list(dict.fromkeys(".".join(key.split(".")[:3]) for key in state if key.startswith("blocks.")))
    inner = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1", "conv_pwl": "_project_conv", "bn3": "_bn2"}
    # The first block does not expand.
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    outer = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    named = {}
    for key, value in state.items():
        match = re.match(r"(blocks\.\d+\.\d+)\.(\w+)\.(.*)", key)
        if match:
            number = blocks.index(match[1])
            named[f"_blocks.{number}.{(inner if number else first)[match[2]]}.{match[3]}"] = value
        else:
            layer, part = key.split(".")
            named[f"{outer[layer]}.{part}"] = value
    return named


@torch.inference_mode()
def lite(model, x):
    """The mean of each channel, before each block and at the end."""
    states = [model.bn1(model.conv_stem(x))]
    for block in (block for stage in model.blocks for block in stage):
        states.append(block(states[-1]))
    rows = {f"layer.{n}.mean": x.mean((2, 3)) for n, x in enumerate(states[:-1])}
    return rows | {"layer.last.mean": model.bn2(model.conv_head(states[-1])).mean((2, 3))}


def settle(model, run):
    """Gives batch normalisations the statistics of what they normalise, as training does: with others, states grow from
    block to block, and rounding with them, until f32 is far from f64."""
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches: of one, its own
        norm.train()
    run(model)
    model.eval()


class Depthwise(torch.overrides.TorchFunctionMode):
    """Depthwise convolutions tap by tap: PyTorch's own of f64 take minutes."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not torch.conv2d or args[-1] == 1 or args[1].shape[1] > 1:
            return func(*args, **(kwargs or {}))
        x, weight, bias, stride, padding, _, _ = args
        if isinstance(padding, str):
            padding = [side // 2 if padding == "same" else 0 for side in weight.shape[2:]]
        x = torch.nn.functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
        rows, columns = (x.shape[dim + 2] - weight.shape[dim + 2] for dim in (0, 1))
        y = sum(x[:, :, i:i + rows + 1:stride[0], j:j + columns + 1:stride[1]] * weight[:, :, i, j, None]
                for i in range(weight.shape[2]) for j in range(weight.shape[3]))
        return y if bias is None else y + bias[:, None, None]


def relative(rows, exact):
    """The worst relative error of a row."""
    return ((rows - exact).norm(dim=1) / exact.norm(dim=1)).max().item()


def models():
    """Name, what makes the model, its processor, and the tokens before the patches."""
    return {
        **{name: (lambda timm_name=timm_name: timm.create_model(timm_name), None, 0) for name, (timm_name, _) in LITE.items()},
        "DINOv2-B": (lambda: hf.Dinov2Model(hf.Dinov2Config(image_size=518)), dinov2_processor(), 1),
        "DINOv2-S with registers": (lambda: hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(
            hidden_size=384, num_attention_heads=6, image_size=518)), dinov2_processor(), 5),
        "SigLIP-B/16": (lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig()),
                        SiglipImageProcessorPil(size=SQUARE, image_mean=[0.5] * 3, image_std=[0.5] * 3), 0),
        "CLIP-L/14": (lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(
            hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14)),
            CLIPImageProcessorPil(), 1),
        "UNICOM B/16": (lambda: golden.Unicom(224, 16, 768, 768, 12, 12), None, 0),
        "ConvNeXt-B": (lambda: hf.ConvNextModel(hf.ConvNextConfig(
            depths=[3, 3, 27, 3], hidden_sizes=[128, 256, 512, 1024])),
            ConvNextImageProcessorPil(size={"shortest_edge": 224}, crop_pct=0.875, **golden.IMAGENET), 0),
        "EfficientNet-B0": (lambda: hf.EfficientNetModel(hf.EfficientNetConfig(
            width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, image_size=224)),
            EfficientNetImageProcessorPil(size=SQUARE, resample=0, image_mean=[0.485, 0.456, 0.406],
                                          image_std=[0.47853944, 0.4732864, 0.47434163]), 0),
    }


def main():
    paths = [pathlib.Path(sys.argv[1]) / name for name in golden.PICTURES]
    pictures = [golden.on_white(path) for path in paths]
    for seed, (name, (make, processor, special)) in enumerate(models().items()):
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        model = golden.shake(make(), seed, 1.6 if "Efficient" in name else 1.0)
        if name in LITE:
            pixels = torch.from_numpy(np.stack([efficientnet_lite0.pixels(path, size=LITE[name][1]) for path in paths]))
            values = (pixels.permute(0, 3, 1, 2).float() - efficientnet_lite0.MEAN) / efficientnet_lite0.STD
            run = lite
        elif processor is None:
            pixels = golden.unicom_pixels(pictures, 224)
            values, run = golden.unicom_values(pixels), golden.unicom
            pixels = torch.from_numpy(pixels)
        else:
            values = processor(pictures, return_tensors="pt")["pixel_values"]
            run = lambda model, x, special=special: golden.expected(model, x, special)
            plain = dict(do_rescale=False, do_normalize=False)
            plain |= {"include_top": False} if "Efficient" in name else {}
            pixels = processor(pictures, return_tensors="pt", **plain)["pixel_values"]
            pixels = pixels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        settle(model, lambda model: run(model, values))
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            if name in LITE:
                torch.save(lite_names(model.state_dict()), folder / "random.pth")
            elif processor is None:
                torch.save(model.state_dict(), folder / "random.pt")
            else:
                model.save_pretrained(folder)
                processor.save_pretrained(folder)
            rows = run(model, values)
            numbers = sorted({int(key.split(".")[1]) for key in rows if "last" not in key})
            kept = {"last", "0", str(numbers[len(numbers) // 2])}
            rows = {key: value.contiguous() for key, value in rows.items() if key.split(".")[1] in kept}
            save_file(rows | {"pixels": pixels}, folder / "expected.safetensors")
            with Depthwise():
                exact = run(model.double(), values.double())
            del model
            done = subprocess.run(
                ["cargo", "test", "--release", "-p", "candle-image", "a_checkpoint_of_ones_own", "--", "--ignored", "--nocapture"],
                cwd=ROOT, env=os.environ | {"FUSEMIX_CHECKPOINT": str(folder)}, capture_output=True, text=True)
            print(name, "" if done.returncode == 0 else "FAILED\n" + done.stdout[-2000:] + done.stderr[-2000:])
            for line in done.stdout.splitlines():
                if line.startswith("layer."):
                    key = line.split()[0]
                    print(f"  {line}  PyTorch's own {relative(rows[key], exact[key]):.1e}", flush=True)


if __name__ == "__main__":
    main()
