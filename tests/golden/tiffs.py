"""TIFF files of the forms that are in the wild, and what Pillow makes of each.

    pip install pillow==13.* numpy tifffile imagecodecs
    python3 tiffs.py

Makes tiffs.json: for each name a file, and its picture as Pillow reads it, as PNG, both in Base64. Alpha is laid over white,
where the plugin shows what is behind a picture. Pillow turns all grey of 16 bits above 255 white; of that the upper 8 bits
are expected, as Pillow takes them of colours. Files are read from memory: from a path, Pillow maps some that are not
compressed, and then mixes up the pixels of those that lie on their side.
"""
import base64
import io
import json
import pathlib
import struct
import warnings

import numpy as np
import tifffile
from PIL import Image, ImageOps

WIDTH, HEIGHT = 21, 13
SHORT, LONG, FRACTION = 3, 4, 5
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]
RGB = np.stack([11 * X, 17 * Y, 255 - 5 * X - 7 * Y], 2).clip(0, 255).astype(np.uint8)
RGB[3:9, 4:12] = (200, 30, 40)
GREY = np.asarray(Image.fromarray(RGB).convert("L"))
ALPHA = ((X * 13 + Y * 5) % 256).astype(np.uint8)
DEEP = (RGB.astype(int) * 257 - 5 * X[..., None]).clip(0, 65535).astype(np.uint16)
DEEP_GREY = (GREY.astype(int) * 250 + 3 * X).astype(np.uint16)
WITHIN = np.dstack([RGB.astype(int) * ALPHA[..., None] // 255, ALPHA]).astype(np.uint8)
CMYK = np.dstack([255 - RGB, GREY // 3])
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def tiff(values, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None, software=False, **options)
    return file.getvalue()


def pillow(picture, **options):
    file = io.BytesIO()
    picture.save(file, "TIFF", **options)
    return file.getvalue()


def raw(data, tags, order="<", width=WIDTH, height=HEIGHT):
    """A file of one strip with these tags, each of a type and values."""
    tags = {256: (SHORT, [width]), 257: (SHORT, [height]), 259: (SHORT, [1]), 273: (LONG, [8]), 278: (SHORT, [height]),
            279: (LONG, [len(data)])} | tags
    start = 8 + len(data) + len(data) % 2
    behind, entries, more = start + 2 + 12 * len(tags) + 4, b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        value = struct.pack(order + {SHORT: "H", LONG: "L", FRACTION: "L"}[kind] * len(values), *values)
        count = len(values) // (2 if kind == FRACTION else 1)
        if len(value) > 4:
            place = struct.pack(order + "L", behind + len(more))
            value, more = place, more + value + bytes(len(value) % 2)
        entries += struct.pack(order + "HHL", tag, kind, count) + value.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", start)
    return (head + data).ljust(start, b"\0") + struct.pack(order + "H", len(tags)) + entries + bytes(4) + more


def packed(values, bits):
    rows = np.unpackbits(values.astype(np.uint8)[..., None], axis=2)[..., 8 - bits:]
    return np.packbits(rows.reshape(len(values), -1), axis=1).tobytes()


def few_bits():
    random = np.random.default_rng(3)
    for bits in (1, 2, 4, 8):
        values = (X + 2 * Y) % (1 << bits)
        palette = random.integers(0, 65536, 3 << bits).tolist()
        data = packed(values, bits)
        for turn in range(1, 9):
            tags = {258: (SHORT, [bits]), 277: (SHORT, [1]), 274: (SHORT, [turn])}
            for order, name in (("<", "little"), (">", "big")):
                yield f"palette {bits} bits, {name}-endian, orientation {turn}", raw(
                    data, tags | {262: (SHORT, [3]), 320: (SHORT, palette)}, order)
            yield f"grey {bits} bits, orientation {turn}", raw(data, tags | {262: (SHORT, [1])})
        tags = {258: (SHORT, [bits]), 277: (SHORT, [1])}
        yield f"grey {bits} bits, white is 0", raw(data, tags | {262: (SHORT, [0])})
        yield f"grey {bits} bits, lowest first", raw(data.translate(REVERSED), tags | {262: (SHORT, [1]), 266: (SHORT, [2])})
    twelve = np.unpackbits((X[:, :20] * 190).astype(">u2")[..., None].view(np.uint8), axis=2)[..., 4:].reshape(HEIGHT, -1)
    yield "grey 12 bits", raw(np.packbits(twelve, axis=1).tobytes(), {258: (SHORT, [12]), 262: (SHORT, [1]), 277: (SHORT, [1])},
                              width=20)
    yield "grey without an interpretation", raw(GREY.tobytes(), {258: (SHORT, [8]), 277: (SHORT, [1])})
    yield "rgb, lowest first", raw(RGB.tobytes().translate(REVERSED),
                                   {258: (SHORT, [8] * 3), 262: (SHORT, [2]), 277: (SHORT, [3]), 266: (SHORT, [2])})


def alphas():
    for bits, colours, alpha, top in ((8, RGB, ALPHA, 255), (16, DEEP, ALPHA.astype(np.uint16) * 257, 65535)):
        within = (colours.astype(np.int64) * alpha[..., None] // top).astype(colours.dtype)
        for order in "<>":
            name = f"{bits} bits, {'little' if order == '<' else 'big'}-endian"
            yield f"alpha beside, {name}", tiff(np.dstack([colours, alpha]), photometric="rgb", extrasamples=["unassalpha"], byteorder=order)
            yield f"alpha within, {name}", tiff(np.dstack([within, alpha]), photometric="rgb", extrasamples=["assocalpha"], byteorder=order)
            yield f"colours above their alpha, {name}", tiff(np.dstack([colours, alpha]), photometric="rgb", extrasamples=["assocalpha"],
                                                             byteorder=order)
            yield f"an extra that is no alpha, {name}", tiff(np.dstack([colours, alpha]), photometric="rgb", extrasamples=["unspecified"],
                                                             byteorder=order)
    yield "alpha within and an extra", tiff(np.dstack([WITHIN, GREY]), photometric="rgb", extrasamples=["assocalpha", "unspecified"])
    yield "two extras", tiff(np.dstack([RGB, ALPHA, GREY]), photometric="rgb", extrasamples=["unspecified", "unspecified"])
    yield "grey and alpha", tiff(np.dstack([GREY, ALPHA]), photometric="minisblack", extrasamples=["unassalpha"], planarconfig="contig")
    yield "grey and an extra", tiff(np.dstack([GREY, ALPHA]), photometric="minisblack", extrasamples=["unspecified"], planarconfig="contig")
    for turn in range(1, 9):
        yield f"alpha within, orientation {turn}", raw(WITHIN.tobytes(), {258: (SHORT, [8] * 4), 262: (SHORT, [2]), 277: (SHORT, [4]),
                                                                         338: (SHORT, [1]), 274: (SHORT, [turn])})


def layouts():
    kinds = {"grey": (GREY, {"photometric": "minisblack"}), "rgb": (RGB, {"photometric": "rgb"}),
             "grey of 16 bits": (DEEP_GREY, {"photometric": "minisblack"}), "rgb of 16 bits": (DEEP, {"photometric": "rgb"})}
    for shape, layout in (("strips", {"rowsperstrip": 5}), ("tiles", {"tile": (16, 16)})):
        for method in (None, "lzw", "deflate", "packbits", "zstd"):
            for differences in (False, True) if method not in (None, "packbits") else (False,):
                for kind, (values, options) in kinds.items():
                    order = ">" if differences else "<"
                    yield f"{kind}, {shape}, {method}{' of differences' * differences}", tiff(
                        values, compression=method, predictor=differences, byteorder=order, **layout, **options)
        for method in (None, "lzw"):
            yield f"rgb in planes, {shape}, {method}", tiff(np.moveaxis(RGB, 2, 0), photometric="rgb", planarconfig="separate",
                                                           compression=method, **layout)
            yield f"cmyk in planes, {shape}, {method}", tiff(np.moveaxis(CMYK, 2, 0), photometric="separated", planarconfig="separate",
                                                            compression=method, **layout)
        yield f"alpha within, in planes, {shape}", tiff(np.moveaxis(WITHIN, 2, 0), photometric="rgb", planarconfig="separate",
                                                        extrasamples=["assocalpha"], compression="lzw", **layout)
        yield f"rgb of 16 bits in planes, {shape}", tiff(np.moveaxis(DEEP, 2, 0), photometric="rgb", planarconfig="separate",
                                                         compression="lzw", predictor=True, **layout)
    for method in ("group3", "group4", "tiff_ccitt", "packbits"):
        yield f"black and white, {method}", pillow(Image.fromarray(GREY > 100), compression=method)
    yield "BigTIFF", tiff(RGB, photometric="rgb", bigtiff=True)
    yield "grey of 16 bits, big-endian", tiff(DEEP_GREY, photometric="minisblack", byteorder=">")
    yield "the first of two pages", pillow(Image.fromarray(RGB), save_all=True, append_images=[Image.fromarray(255 - RGB)])


def colours():
    yield "cmyk", tiff(CMYK, photometric="separated")
    yield "cmyk of 16 bits", tiff((CMYK.astype(int) * 257 - 30 * (CMYK > 0)).astype(np.uint16), photometric="separated")
    yield "cmyk and an extra", tiff(np.dstack([CMYK, ALPHA]), photometric="separated", extrasamples=["unspecified"])
    for name, across in (("444", (1, 1)), ("422", (2, 1)), ("420", (2, 2))):
        yield f"jpeg {name}", tiff(RGB, photometric="rgb", compression="jpeg", compressionargs={"level": 90}, subsampling=across,
                                   rowsperstrip=16)
    yield "jpeg tiles", tiff(RGB, photometric="rgb", compression="jpeg", compressionargs={"level": 90}, tile=(16, 16))
    yield "jpeg grey", tiff(GREY, photometric="minisblack", compression="jpeg", compressionargs={"level": 90})
    for mode in ("RGB", "YCbCr", "CMYK", "L"):
        yield f"jpeg {mode} of Pillow", pillow(Image.fromarray(RGB).convert(mode), compression="jpeg", quality=90)
    ycc = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
    yield "brightness and differences", pillow(Image.fromarray(RGB).convert("YCbCr"))
    large = np.pad(ycc.astype(int), ((0, 3), (0, 3), (0, 0)), mode="edge")
    whole = {532: (FRACTION, [0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1])}
    limited = {532: (FRACTION, [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1])}
    other = whole | {529: (FRACTION, [2126, 10000, 7152, 10000, 722, 10000])}
    for name, across, down, more in (("1 1", 1, 1, whole), ("2 1", 2, 1, whole), ("2 2", 2, 2, whole), ("4 2", 4, 2, whole),
                                     ("4 4", 4, 4, {}), ("limited", 2, 2, limited), ("of another share", 1, 1, other)):
        data = b"".join(large[y:y + down, x:x + across, 0].astype(np.uint8).tobytes()
                        + bytes(int(large[y:y + down, x:x + across, of].mean()) for of in (1, 2))
                        for y in range(0, HEIGHT, down) for x in range(0, WIDTH, across))
        runs = b"".join(bytes([len(data[at:at + 128]) - 1]) + data[at:at + 128] for at in range(0, len(data), 128))
        yield f"brightness and differences {name}", raw(runs, {258: (SHORT, [8] * 3), 262: (SHORT, [6]), 277: (SHORT, [3]),
                                                               530: (SHORT, [across, down]), 259: (SHORT, [32773])} | more)


def seen(file, name):
    with Image.open(io.BytesIO(file)) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            return Image.fromarray((np.asarray(image).astype(int) >> (4 if "12 bits" in name else 8)).astype(np.uint8)).convert("RGB")
        if not image.has_transparency_data:
            return image.convert("RGB")
        picture = np.asarray(image.convert("RGBA")).astype(int)
        return Image.fromarray(((picture[..., :3] * picture[..., 3:] + 255 * (255 - picture[..., 3:]) + 127) // 255).astype(np.uint8))


def main():
    warnings.simplefilter("ignore")
    found = {}
    for name, file in (case for part in (few_bits, alphas, layouts, colours) for case in part()):
        png = io.BytesIO()
        seen(file, name).save(png, "PNG")
        found[name] = [base64.b64encode(part).decode() for part in (file, png.getvalue())]
    (pathlib.Path(__file__).parent / "tiffs.json").write_text(json.dumps(found, indent=0))
    print(len(found), "files")


if __name__ == "__main__":
    main()
