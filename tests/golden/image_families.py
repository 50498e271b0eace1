"""Golden latents and pixels of the image families: small random checkpoints, as a hub has them, and what is made of pictures.

    pip install torch transformers pillow safetensors numpy
    python3 image_families.py STAMPS_FOLDER [FAMILY ..]

For each family checkpoints/FAMILY/ has the checkpoint (config.json, model.safetensors or a state dict, and
preprocessor_config.json) and expected.safetensors:
    layer.N.POOLING, layer.last.POOLING   f32 [pictures, width]   N: hidden_states[N]
    pixels                                u8 [pictures, height, width, 3]  RGB as the processor resizes and crops
checkpoints/oblong.safetensors has the same of one picture that is no square, 42 x 70, for the families whose positions
stretch to it: `pixels`, and for each FAMILY its last layer's mean.
`mean` is the mean over the patches, without class and register tokens; `cls` the class token; `pooler` pooler_output.
The pictures are those of PICTURES: two photos and two drawings, on white. All weights are random; so are the scales and
biases that a new model has at 1 and 0, so that each of them matters.

UNICOM is not in transformers. `Unicom` below is written from the published structure (An et al., arXiv 2304.05884, and
the module names and sizes of its authors' checkpoints): patches without a class token, pre-norm blocks with ReLU6 and
query, key and value in one layer without bias, and `feature`: Linear, BatchNorm1d, Linear, BatchNorm1d over all tokens.
"""
import json
import pathlib
import shutil
import sys

import numpy as np
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import save_file
from torch import nn

HERE = pathlib.Path(__file__).parent / "checkpoints"
PICTURES = ["animals/mammals/bovines/yak.png", "vehicles/race/indycar.png", "symbols/faces/mad.png", "food/nuts/walnut_shelled.png"]
SMALL = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, patch_size=14)
IMAGENET = dict(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])


def on_white(path):
    with Image.open(path) as image:
        picture = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def shake(model, seed, gain=1.2):
    """Random weights of a size at which every layer matters."""
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor, deviation, mean=0.0):
        tensor.copy_(mean + deviation * torch.randn(tensor.shape, generator=generator))

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            last = name.rsplit(".", 1)[-1]
            if last in ("lambda1", "layer_scale_parameter"):
                normal(parameter, 0.2, 0.6)
            elif last == "weight" and parameter.dim() == 1:  # of a normalisation
                normal(parameter, 0.2, 1.0)
            elif last == "weight" and parameter.dim() > 1 and "position" not in name:
                normal(parameter, gain / parameter[0].numel() ** 0.5)
            elif parameter.dim() > 1 and last.endswith("in_proj_weight"):
                normal(parameter, 1.2 / parameter.shape[1] ** 0.5)
            elif parameter.dim() > 0:
                normal(parameter, 0.3)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                normal(buffer, 0.2)
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model.eval()


class Unicom(nn.Module):
    def __init__(self, size, patch, dim, embedding, depth, heads, ratio=4):
        super().__init__()
        count = (size // patch) ** 2
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, patch, patch)})
        self.pos_embed = nn.Parameter(torch.zeros(1, count, dim))
        self.blocks = nn.ModuleList(UnicomBlock(dim, heads, ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.feature = nn.Sequential(
            nn.Linear(count * dim, dim, bias=False), nn.BatchNorm1d(dim, eps=2e-5),
            nn.Linear(dim, embedding, bias=False), nn.BatchNorm1d(embedding, eps=2e-5))

    def states(self, x):
        """What each block reads, and the normalised output of the last."""
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2) + self.pos_embed
        seen = [x]
        for block in self.blocks:
            x = block(x)
            seen.append(x)
        return seen[:-1], self.norm(x)


class UnicomBlock(nn.Module):
    def __init__(self, dim, heads, ratio):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(dim, 3 * dim, bias=False), "proj": nn.Linear(dim, dim)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, ratio * dim), "fc2": nn.Linear(ratio * dim, dim)})

    def forward(self, x):
        q, k, v = self.attn["qkv"](self.norm1(x)).chunk(3, dim=-1)
        heads = lambda t: t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        x = x + self.attn["proj"](nn.functional.scaled_dot_product_attention(heads(q), heads(k), heads(v)).transpose(1, 2).flatten(2))
        return x + self.mlp["fc2"](nn.functional.relu6(self.mlp["fc1"](self.norm2(x))))


def unicom_pixels(pictures, size):
    """torchvision's Resize(size, bicubic) and CenterCrop, with Pillow: the middle is rounded to even."""
    rows = []
    for picture in pictures:
        width, height = picture.size
        long = lambda side, other: int(size * side / other)
        to = (size, long(height, width)) if width <= height else (long(width, height), size)
        picture = picture.resize(to, Image.Resampling.BICUBIC)
        left, top = (round((side - size) / 2) for side in to)
        rows.append(np.asarray(picture.crop((left, top, left + size, top + size))))
    return np.stack(rows)


def unicom_values(pixels):
    x = torch.from_numpy(pixels).float().permute(0, 3, 1, 2) / 255
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    return (x - mean[:, None, None]) / std[:, None, None]


def families(seed=7):
    """Model, image processor and the number of tokens before the patches."""
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
    from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    square = lambda side: {"height": side, "width": side}
    bit = lambda short, crop: BitImageProcessorPil(
        size={"shortest_edge": short}, crop_size=square(crop), do_center_crop=True, resample=3, do_convert_rgb=True, **IMAGENET)
    # Their positions are of another grid than the pictures': 6x6 for 4x4.
    yield "dinov2", hf.Dinov2Model(hf.Dinov2Config(**SMALL, image_size=84, mlp_ratio=2)), bit(64, 56), 1
    yield "dinov2_with_registers", hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(
        **SMALL, image_size=84, num_register_tokens=4, use_swiglu_ffn=True, mlp_ratio=2)), bit(64, 56), 5
    yield "vit", hf.ViTModel(hf.ViTConfig(**SMALL, image_size=56, intermediate_size=96)), ViTImageProcessorPil(size=square(56)), 1
    clip = hf.CLIPConfig(
        vision_config=dict(**SMALL, image_size=56, intermediate_size=96), projection_dim=16,
        text_config=dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=50,
                         bos_token_id=0, eos_token_id=1, max_position_embeddings=8))
    yield "clip", hf.CLIPModel(clip), CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size=square(56)), 1
    yield "siglip", hf.SiglipVisionModel(hf.SiglipVisionConfig(**SMALL, image_size=56, intermediate_size=96)), \
        SiglipImageProcessorPil(size=square(56), image_mean=[0.5] * 3, image_std=[0.5] * 3), 0
    convnext = dict(hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 2, 1], image_size=64)
    processor = lambda: ConvNextImageProcessorPil(size={"shortest_edge": 64}, crop_pct=0.875, **IMAGENET)
    yield "convnext", hf.ConvNextModel(hf.ConvNextConfig(**convnext)), processor(), 0
    yield "convnextv2", hf.ConvNextV2Model(hf.ConvNextV2Config(**convnext)), processor(), 0
    yield "efficientnet", hf.EfficientNetModel(hf.EfficientNetConfig(
        width_coefficient=0.25, depth_coefficient=1.0, hidden_dim=320, image_size=70, in_channels=[32, 16, 24],
        out_channels=[16, 24, 40], kernel_sizes=[3, 3, 5], strides=[1, 2, 2], num_block_repeats=[1, 2, 2],
        expand_ratios=[1, 6, 6], depthwise_padding=[1])), \
        EfficientNetImageProcessorPil(size=square(70), resample=0, image_mean=[0.485, 0.456, 0.406],
                                      image_std=[0.47853944, 0.4732864, 0.47434163]), 0


@torch.inference_mode()
def expected(model, x, special):
    """Every layer and pooling that the family offers."""
    model = getattr(model, "vision_model", model)
    out = model(pixel_values=x, output_hidden_states=True)
    layers = dict(enumerate(out.hidden_states))
    blocks = len(layers) - 1
    layers = {f"layer.{n}": layers[n] for n in range(blocks)} | {"layer.last": out.last_hidden_state}
    rows = {}
    for name, states in layers.items():
        if states.dim() == 4:
            rows[f"{name}.mean"] = states.mean((2, 3))
            continue
        rows[f"{name}.mean"] = states[:, special:].mean(1)
        if special:
            rows[f"{name}.cls"] = states[:, 0]
    kind = model.config.model_type
    if kind not in ("dinov2", "dinov2_with_registers", "efficientnet"):
        rows["layer.last.pooler"] = out.pooler_output
    return rows


@torch.inference_mode()
def unicom(model, x):
    seen, last = model.states(x)
    rows = {f"layer.{n}.mean": states.mean(1) for n, states in enumerate(seen)}
    return rows | {"layer.last.mean": last.mean(1), "layer.last.pooler": model.feature(last.flatten(1))}


@torch.inference_mode()
def oblong():
    """The checkpoints that are there, on a grid of patches that positions were not trained for."""
    y, x = np.mgrid[0:42, 0:70]
    pixels = torch.from_numpy(np.stack([3 * x, 6 * y, 255 - x - 2 * y], axis=2).astype(np.uint8))
    rows = {"pixels": pixels[None]}
    for name, kind, special in [("clip", hf.CLIPModel, 1), ("dinov2", hf.Dinov2Model, 1), ("siglip", hf.SiglipVisionModel, 0),
                                ("dinov2_with_registers", hf.Dinov2WithRegistersModel, 5), ("vit", hf.ViTModel, 1)]:
        model = kind.from_pretrained(HERE / name).eval()
        model = getattr(model, "vision_model", model)
        config = json.loads((HERE / name / "preprocessor_config.json").read_text())
        mean, std = torch.tensor(config["image_mean"]), torch.tensor(config["image_std"])
        x = ((pixels / 255 - mean) / std).permute(2, 0, 1)[None]
        stretch = {} if "dinov2" in name else {"interpolate_pos_encoding": True}  # DINOv2 always does
        rows[name] = model(pixel_values=x, **stretch).last_hidden_state[:, special:].mean(1)
    save_file(rows, HERE / "oblong.safetensors")


def main():
    stamps, only = pathlib.Path(sys.argv[1]), sys.argv[2:]
    pictures = [on_white(stamps / name) for name in PICTURES]

    def save(name, rows):
        save_file({key: value.contiguous() for key, value in rows.items()}, HERE / name / "expected.safetensors",
                  metadata={"pictures": " ".join(PICTURES)})

    def fresh(name):
        shutil.rmtree(HERE / name, ignore_errors=True)
        (HERE / name).mkdir(parents=True)
        return HERE / name

    for seed, (name, model, processor, special) in enumerate(families()):
        if only and name not in only:
            continue
        folder = fresh(name)
        shake(model, seed, 2.0 if name == "efficientnet" else 1.2)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        x = processor(pictures, return_tensors="pt")["pixel_values"]
        rows = expected(model, x, special)
        plain = dict(do_rescale=False, do_normalize=False) | ({"include_top": False} if name == "efficientnet" else {})
        seen = processor(pictures, return_tensors="pt", **plain)["pixel_values"]
        save(name, rows | {"pixels": seen.to(torch.uint8).permute(0, 2, 3, 1)})
    if not only or "unicom" in only:
        folder = fresh("unicom")
        model = shake(Unicom(size=20, patch=10, dim=128, embedding=32, depth=2, heads=2, ratio=1), 99)
        state = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
        torch.save(state, folder / "FP16-ViT-tiny.pt")
        model.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in state.items()})
        seen = unicom_pixels(pictures, 20)
        save("unicom", unicom(model, unicom_values(seen)) | {"pixels": torch.from_numpy(seen)})
    oblong()


if __name__ == "__main__":
    main()
