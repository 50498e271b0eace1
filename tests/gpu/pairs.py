"""Writes a .safetensors with the latents of pairs, from one `fusemix cache export` of each side.

    python3 pairs.py image=IMAGES.safetensors text=TEXTS.safetensors OUT.safetensors
"""
import json
import pathlib
import sys


def read(path):
    """The header's entry of the tensor `latents`, and its bytes."""
    data = pathlib.Path(path).read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    entry = json.loads(data[8:end])["latents"]
    begin, stop = entry["data_offsets"]
    return entry, data[end + begin:end + stop]


def main():
    *sides, out = sys.argv[1:]
    header, values = {}, b""
    for name, path in (side.split("=", 1) for side in sides):
        entry, data = read(path)
        header[name] = {**entry, "data_offsets": [len(values), len(values) + len(data)]}
        values += data
    if len({entry["shape"][0] for entry in header.values()}) != 1:
        sys.exit(f"{out}: the sides have other numbers of rows")
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(out).write_bytes(len(text).to_bytes(8, "little") + text + values)


if __name__ == "__main__":
    main()
