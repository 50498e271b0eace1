"""A small random Whisper, and what transformers' encoder makes of sounds/.

    pip install torch transformers numpy soundfile soxr av
    python3 whisper.py

Makes checkpoints/whisper/: config.json, preprocessor_config.json (windows of 3 s, so that chirp.flac has two), model.safetensors
(f16), and expected.safetensors: `NAME.LAYER` [32], the mean over the frames that hold sound, of each layer, over all windows,
weighted by their samples; `NAME.mels`, every tenth frame [30, 80] of the first window.
"""
import pathlib

import numpy
import torch
from safetensors.torch import save_file
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

import sounds

HERE = pathlib.Path(__file__).parent / "checkpoints/whisper"
FRAME = 320  # samples of a position


def randomize(model, seed, scale=1.5):
    """Weights that let every layer show: larger than those that a training starts from; f16 holds them exactly."""
    random = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            continue
        if value.ndim > 1:
            deviation = scale / value[0].numel() ** 0.5
            value.copy_((torch.randn(value.shape, generator=random) * deviation).half())
        elif name.endswith("var"):
            value.copy_((100 + 900 * torch.rand(value.shape, generator=random)).half())
        elif name.endswith("mean"):
            value.copy_((torch.randn(value.shape, generator=random) * 5 - 30).half())
        else:
            noise = torch.randn(value.shape, generator=random) * 0.2
            value.copy_((noise + ("norm.weight" in name or "layernorm" in name and name.endswith("weight"))).half())


@torch.inference_mode()
def encode(encoder, extract, samples):
    """[samples] -> the latent of each layer, as the plugin defines it; and the log mels of the first window."""
    length, latents, mels = extract.n_samples, {}, None
    for window in sounds.windows(samples, length):
        features = extract(window, sampling_rate=16_000, return_tensors="pt").input_features
        mels = features[0].T if mels is None else mels
        out = encoder(features, output_hidden_states=True)
        states = [*out.hidden_states[:-1], out.last_hidden_state]
        frames = max(1, -(-len(window) // FRAME))
        for layer, state in enumerate(states):
            name = "last" if layer == len(states) - 1 else str(layer)
            part = state[0, :frames].mean(0) * len(window) / len(samples)
            latents[name] = latents.get(name, 0) + part
    return latents, mels


def main():
    config = WhisperConfig(d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=64, decoder_layers=1,
                           decoder_attention_heads=2, decoder_ffn_dim=8, max_source_positions=150, vocab_size=8,
                           max_target_positions=4, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                           decoder_start_token_id=1, begin_suppress_tokens=None)
    model = WhisperModel(config).eval()
    randomize(model, 1)
    extract = WhisperFeatureExtractor(chunk_length=3)
    HERE.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(HERE)
    extract.save_pretrained(HERE)
    encoder = {f"model.{name}": value.half() for name, value in model.state_dict().items() if name.startswith("encoder.")}
    save_file(encoder, HERE / "model.safetensors", metadata={"format": "pt"})
    expected = {}
    for name in sounds.NAMES:
        latents, mels = encode(model.encoder, extract, sounds.read(sounds.HERE / name, 16_000))
        expected[f"{name}.mels"] = mels[::10].contiguous()
        expected |= {f"{name}.{layer}": latent.contiguous() for layer, latent in latents.items()}
    save_file(expected, HERE / "expected.safetensors")
    print({name: tuple(value.shape) for name, value in expected.items()})


if __name__ == "__main__":
    main()
