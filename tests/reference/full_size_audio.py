"""The audio encoders at their published sizes, with random weights, against the transformers package.

    pip install torch transformers torchlibrosa numpy soundfile soxr av
    python3 full_size_audio.py --fusemix BINARY --plugin libcandle_audio.so [SOUND...]

Makes Whisper small, CLAP (HTS-AT) and HTS-AT as its authors save it in a temporary folder, has fusemix encode the sounds (those of
../golden/sounds unless told others), and prints for each model and choice the least cosine and the largest relative error of a latent: of sounds at the model's
rate, and of those that both sides resample, each in its own way.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy
import soundfile
import torch

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
sys.path.insert(0, str(GOLDEN))

import htsat  # noqa: E402
import htsat_authors  # noqa: E402
import sounds  # noqa: E402
import whisper  # noqa: E402


SOUNDS = (*sounds.NAMES, "bells.flac", "rattle.flac")


def whisper_small(folder):
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    config = WhisperConfig(d_model=768, encoder_layers=12, encoder_attention_heads=12, encoder_ffn_dim=3072, decoder_layers=1,
                           decoder_attention_heads=12, decoder_ffn_dim=64, vocab_size=8, pad_token_id=0, bos_token_id=1,
                           eos_token_id=2, decoder_start_token_id=1)
    model = WhisperModel(config).eval()
    whisper.randomize(model, 3)
    extract = WhisperFeatureExtractor()
    for part in (model, extract):
        part.save_pretrained(folder)
    choices = {"last": {}, "6": {"layer": 6}}
    return 16_000, choices, lambda samples: whisper.encode(model.encoder, extract, samples)[0]


def clap(folder):
    from transformers import ClapAudioConfig, ClapConfig, ClapFeatureExtractor, ClapModel, ClapTextConfig

    text = ClapTextConfig(vocab_size=8, num_hidden_layers=1, intermediate_size=8, max_position_embeddings=8)
    model = ClapModel(ClapConfig(text_config=text.to_dict(), audio_config=ClapAudioConfig().to_dict())).eval()
    whisper.randomize(model, 4)
    extract = ClapFeatureExtractor(frequency_min=50, truncation="rand_trunc")
    for part in (model, extract):
        part.save_pretrained(folder)
    choices = {"last.pooler": {}, "last.projection": {"projection": True}, "2.mean": {"layer": 2}}
    return 48_000, choices, lambda samples: htsat.encode(model, extract, samples)[0]


def audioset(folder):
    """With all that a file of the authors has, the weights of the Fourier transform too."""
    from transformers import ClapAudioConfig, ClapAudioModel

    model, front = ClapAudioModel(ClapAudioConfig()).eval(), htsat_authors.Front()
    whisper.randomize(model, 5)
    folder.mkdir()
    state = htsat_authors.authors(model, front)
    torch.save(htsat_authors.lightning(state), folder / "HTSAT_AudioSet_Saved_1.ckpt")
    choices = {"last.pooler": {}, "2.mean": {"layer": 2}}
    return 32_000, choices, lambda samples: htsat_authors.encode(model, front, samples)[0]


def toml(value):
    return str(value).lower() if isinstance(value, bool) else repr(value)


def exported(args, folder, model, options, table):
    plugins = folder / "plugins.toml"
    lines = ["[[plugin]]", 'name = "candle-audio"', f'path = "{args.plugin.resolve()}"', "[encoder.it]",
             'plugin = "candle-audio"', f'model = "{model}"', *(f"{key} = {toml(value)}" for key, value in options.items())]
    plugins.write_text("\n".join(lines) + "\n")
    out = folder / "latents.npy"
    subprocess.run([args.fusemix, "cache", "export", "--plugins", plugins, "--cache", folder / "cache", "--data", table,
                    "--encoder", "it", "--column", "sound", "--out", out], check=True, stderr=subprocess.DEVNULL)
    return numpy.load(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", nargs="*", type=pathlib.Path)
    parser.add_argument("--fusemix", required=True, type=pathlib.Path)
    parser.add_argument("--plugin", required=True, type=pathlib.Path)
    args = parser.parse_args()
    files = [path.resolve() for path in args.sounds] or [sounds.HERE / name for name in SOUNDS]
    for make in (whisper_small, clap, audioset):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            table = folder / "sounds.tsv"
            table.write_text("sound\n" + "".join(f"{path}\n" for path in files))
            rate, choices, reference = make(folder / "model")
            expected = [reference(sounds.read(path, rate)) for path in files]
            # A file by itself has to be named.
            checkpoint = next((folder / "model").glob("*.ckpt"), folder / "model")
            for name, options in choices.items():
                rows = torch.from_numpy(exported(args, folder, checkpoint, options, table)).double()
                want = torch.stack([row[name] for row in expected]).double()
                cosine = torch.cosine_similarity(rows, want, dim=1)
                apart = (rows - want).norm(dim=1) / want.norm(dim=1)
                own = torch.tensor([soundfile.info(path).samplerate == rate for path in files])
                for kind, which in (("own rate", own), ("resampled", ~own)):
                    if which.any():
                        print(f"{make.__name__:14} {name:16} {kind}: {int(which.sum())} sounds, width {rows.shape[1]}, "
                              f"cosine {cosine[which].min():.7f}, relative error {apart[which].max():.1e}", flush=True)


if __name__ == "__main__":
    main()
