"""A small random HTS-AT as its authors' code saves it, and what the published structure makes of sounds/.

    pip install torch transformers torchlibrosa numpy soundfile soxr av
    python3 htsat_authors.py

Makes checkpoints/htsat_authors/HTSAT_tiny.ckpt, a file of PyTorch Lightning with the names of HTSAT_Swin_Transformer (weights in
f16, without the weights of the Fourier transform, which are the same in all); CLAP_tiny.pt, the same tower as LAION's CLAP has it;
and expected.safetensors: `NAME.LAYER.mean`, the mean over the states after that many stages; `NAME.last.pooler` [64], the
`latent_output`; all over windows of 10 s, weighted by their samples; `NAME.mels`, every twentieth frame [.., 64] of the first
window, in decibels; `NAME.clap.pooler` and `NAME.clap.projection`, of CLAP_tiny.pt.

The spectrogram is that of torchlibrosa, which the authors use, and shorter windows are repeated as their `infer_mode` does it. The
network is transformers' ClapAudioModel, which was ported from theirs, with the weights under its names.
"""
import collections
import pathlib

import numpy
import torch
from safetensors.torch import save_file
from torchlibrosa.stft import LogmelFilterBank, Spectrogram
from transformers import ClapAudioConfig, ClapAudioModel

import sounds
from whisper import randomize

HERE = pathlib.Path(__file__).parent / "checkpoints/htsat_authors"
RATE, FRAMES = 32_000, 1024
SOUNDS = ("bells.flac", "rattle.flac", "knock.wav")
NAMES = [("batch_norm.", "bn0."), ("layernorm_before.", "norm1."), ("layernorm_after.", "norm2."),
         ("attention.output.dense.", "attn.proj."), ("intermediate.dense.", "mlp.fc1."), ("output.dense.", "mlp.fc2."),
         ("attention.self.relative_position", "attn.relative_position")]


class Front(torch.nn.Module):
    """[samples] -> [1, 1, frames, mels] in decibels, with the authors' names."""

    def __init__(self, rate=RATE):
        super().__init__()
        self.spectrogram_extractor = Spectrogram(n_fft=1024, hop_length=rate // 100, win_length=1024, window="hann", center=True,
                                                 pad_mode="reflect", freeze_parameters=True)
        self.logmel_extractor = LogmelFilterBank(sr=rate, n_fft=1024, n_mels=64, fmin=50, fmax=14_000, ref=1.0, amin=1e-10,
                                                 top_db=None, freeze_parameters=True)

    def forward(self, samples):
        return self.logmel_extractor(self.spectrogram_extractor(torch.from_numpy(samples)[None]))


def mask(side, window):
    """0 within what was together before the shift, -100 elsewhere: [windows, window^2, window^2]."""
    shift, regions = window // 2, torch.zeros(side, side)
    for at in (side - window, side - shift):
        regions[at:] += 3
        regions[:, at:] += 1
    regions = regions.view(side // window, window, side // window, window).transpose(1, 2).reshape(-1, window ** 2)
    return -100 * (regions[:, None] != regions[:, :, None]).float()


def authors(model, front):
    """The state dict of HTSAT_Swin_Transformer."""
    theirs, config = collections.OrderedDict(front.state_dict()), model.config
    qkv = {}
    for name, value in model.audio_encoder.state_dict().items():
        for new, old in NAMES:
            name = name.replace(new, old)
        if ".attention.self." in name:
            block, part = name.split(".attention.self.")
            qkv.setdefault(f"{block}.attn.qkv.{part.split('.')[1]}", {})[part.split(".")[0]] = value
        else:
            theirs[name] = value
    for name, parts in qkv.items():
        theirs[name] = torch.cat([parts["query"], parts["key"], parts["value"]])
    for stage, depth in enumerate(config.depths):
        side = config.spec_size // config.patch_size >> stage
        for block in range(1, depth, 2):
            if side > config.window_size:
                theirs[f"layers.{stage}.blocks.{block}.attn_mask"] = mask(side, config.window_size)
    theirs["tscam_conv.weight"], theirs["tscam_conv.bias"] = torch.randn(5, config.hidden_size, 1, 3), torch.randn(5)
    theirs["head.weight"], theirs["head.bias"] = torch.randn(5, 5), torch.randn(5)
    return theirs


def lightning(state):
    """A checkpoint of PyTorch Lightning around a state dict, with the other things that such files hold."""
    score = torch.tensor(0.471)
    return {"epoch": 1, "global_step": 17_000, "pytorch-lightning_version": "1.5.9",
            "state_dict": collections.OrderedDict((f"sed_model.{name}", value) for name, value in state.items()),
            "callbacks": {"ModelCheckpoint{'monitor': 'mAP'}": {"best_model_score": score, "best_k_models": {"a.ckpt": score},
                                                                  "path": pathlib.PurePosixPath("a.ckpt"), "none": None}},
            "optimizer_states": [{"state": {0: {"step": 3, "exp_avg": torch.zeros(2, 2)}},
                                  "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0]}]}],
            "lr_schedulers": [{"base_lrs": [numpy.float64(1e-3)], "_last_lr": [numpy.float64(5e-5)], "lr_lambdas": [None]}],
            "loops": {"done": {1, 2}, "big": 2 ** 40}, "array": numpy.arange(3)}


def window_of(front, samples):
    """As `infer_mode`: the frames as often as they fit; the model stretches them to what it reads."""
    mels = front(samples)
    return mels, mels.repeat(1, 1, FRAMES // mels.shape[2], 1)


def clap_window_of(front, samples, length=480_000):
    """As LAION's `repeatpad`: the samples as often as they fit, then silence."""
    samples = numpy.tile(samples, length // len(samples))
    mels = front(numpy.pad(samples, (0, length - len(samples))))
    return mels, mels


@torch.inference_mode()
def encode(model, front, samples, rate=RATE, prepare=window_of):
    """[samples] -> latents by layer and pooling, as the plugin defines them; and the log mels of the first window."""
    latents, first = {}, None
    for window in sounds.windows(samples, 10 * rate):
        mels, features = prepare(front, window)
        first = mels[0, 0] if first is None else first
        out = model(features, output_hidden_states=True)
        rows = {f"{layer}.mean": state.flatten(2).mean(-1) for layer, state in enumerate(out.hidden_states[:-1])}
        rows["last.pooler"] = out.pooler_output
        for name, row in rows.items():
            latents[name] = latents.get(name, 0) + row[0] * len(window) / len(samples)
    return latents, first


def small(state):
    """In f16, without the weights of the Fourier transform."""
    state = {name: value for name, value in state.items() if not name.startswith("spectrogram_extractor.")}
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


def main():
    config = ClapAudioConfig(patch_embeds_hidden_size=8, hidden_size=64, depths=[2, 2, 1, 2], num_attention_heads=[1, 2, 2, 4],
                             mlp_ratio=2.0, num_hidden_layers=4, patch_size=8, patch_stride=[8, 8], window_size=4)
    model = ClapAudioModel(config).eval()
    randomize(model, 5)
    front, clap_front = Front(), Front(48_000)
    HERE.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(6)
    torch.save(lightning(small(authors(model, front))), HERE / "HTSAT_tiny.ckpt")
    projection = torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 16)).eval()
    randomize(projection, 7)
    clap = {f"module.audio_branch.{name}": value for name, value in small(authors(model, clap_front)).items()}
    clap |= {f"module.audio_projection.{name}": value for name, value in small(projection.state_dict()).items()}
    torch.save({"epoch": 1, "name": "tiny", "state_dict": collections.OrderedDict(clap), "loss": numpy.float64(0.5)},
               HERE / "CLAP_tiny.pt")
    expected = {}
    for name in SOUNDS:
        latents, mels = encode(model, front, sounds.read(sounds.HERE / name, RATE))
        expected[f"{name}.mels"] = mels[::20].contiguous()
        expected |= {f"{name}.{layer}": latent.contiguous() for layer, latent in latents.items()}
    for name in ("knock.wav", "tune.ogg"):
        latents, _ = encode(model, clap_front, sounds.read(sounds.HERE / name, 48_000), 48_000, clap_window_of)
        expected[f"{name}.clap.pooler"] = latents["last.pooler"]
        with torch.inference_mode():
            expected[f"{name}.clap.projection"] = projection(latents["last.pooler"])
    save_file(expected, HERE / "expected.safetensors")
    print({name: tuple(value.shape) for name, value in expected.items()})


if __name__ == "__main__":
    main()
