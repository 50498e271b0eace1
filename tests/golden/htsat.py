"""A small random CLAP, and what transformers' audio tower (HTS-AT) makes of sounds/.

    pip install torch transformers numpy soundfile soxr av
    python3 htsat.py

Makes checkpoints/htsat/: config.json, preprocessor_config.json (windows of 5 s, so that tune.ogg has two), model.safetensors
(f16), and expected.safetensors: `NAME.LAYER.mean`, the mean over the states of `hidden_states[LAYER]`; `NAME.last.pooler` [64];
`NAME.last.projection` [16]; all over all windows, weighted by their samples, the last one repeated until it is full;
`NAME.mels`, every twentieth frame [26, 64] of the first window, in decibels.
"""
import pathlib

import torch
from safetensors.torch import save_file
from transformers import ClapAudioConfig, ClapConfig, ClapFeatureExtractor, ClapModel, ClapTextConfig

import sounds
from whisper import randomize

HERE = pathlib.Path(__file__).parent / "checkpoints/htsat"


@torch.inference_mode()
def encode(model, extract, samples):
    """[samples] -> latents by layer and pooling, as the plugin defines them; and the log mels of the first window."""
    length, latents, mels = extract.nb_max_samples, {}, None
    for window in sounds.windows(samples, length):
        features = extract(window, sampling_rate=extract.sampling_rate, return_tensors="pt").input_features
        mels = features[0, 0] if mels is None else mels
        out = model.audio_model(features, output_hidden_states=True)
        rows = {f"{layer}.mean": state.flatten(2).mean(-1) for layer, state in enumerate(out.hidden_states[:-1])}
        rows["last.mean"] = out.last_hidden_state.flatten(2).mean(-1)
        rows["last.pooler"] = out.pooler_output
        rows["last.projection"] = model.audio_projection(out.pooler_output)
        for name, row in rows.items():
            latents[name] = latents.get(name, 0) + row[0] * len(window) / len(samples)
    return latents, mels


def main():
    audio = ClapAudioConfig(patch_embeds_hidden_size=8, hidden_size=64, depths=[2, 2, 1, 2], num_attention_heads=[1, 2, 2, 4],
                            mlp_ratio=2.0, projection_dim=16, num_hidden_layers=4)
    text = ClapTextConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
                          max_position_embeddings=8, projection_dim=16)
    config = ClapConfig(text_config=text.to_dict(), audio_config=audio.to_dict(), projection_dim=16)
    model = ClapModel(config).eval()
    randomize(model, 2)
    extract = ClapFeatureExtractor(max_length_s=5, frequency_min=50, truncation="rand_trunc")
    HERE.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(HERE)
    extract.save_pretrained(HERE)
    tower = {name: value.half() if value.is_floating_point() else value
             for name, value in model.state_dict().items() if name.startswith("audio_")}
    tower = {name: value.contiguous() for name, value in tower.items() if "relative_position_index" not in name}
    save_file(tower, HERE / "model.safetensors", metadata={"format": "pt"})
    expected = {}
    for name in sounds.NAMES:
        latents, mels = encode(model, extract, sounds.read(sounds.HERE / name, 48_000))
        expected[f"{name}.mels"] = mels[::20].contiguous()
        expected |= {f"{name}.{layer}": latent.contiguous() for layer, latent in latents.items()}
    save_file(expected, HERE / "expected.safetensors")
    print({name: tuple(value.shape) for name, value in expected.items()})


if __name__ == "__main__":
    main()
