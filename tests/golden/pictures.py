"""Small pictures in forms that decoders tell apart, and what Pillow reads of them.

    pip install pillow numpy
    python3 pictures.py

Makes pictures/: for each FILE a FILE.png, what Pillow makes of it as RGB (of films, the first frame). JPEG with four
channels is inverted, as Adobe writes it; Pillow writes CMYK, and ycck.jpg is made of YCCK values by changing the transform
in Adobe's marker.
"""
import io
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageDraw

HERE = pathlib.Path(__file__).parent / "pictures"


def drawing():
    y, x = np.mgrid[0:40, 0:56]
    picture = Image.fromarray(np.stack([4 * x, 6 * y, 255 - 2 * x - 2 * y], axis=2).clip(0, 255).astype(np.uint8))
    ImageDraw.Draw(picture).ellipse((8, 6, 34, 30), fill=(200, 30, 40), outline=(0, 0, 0))
    return picture


def jpeg(picture, **options):
    file = io.BytesIO()
    picture.save(file, "JPEG", **{"quality": 95, "subsampling": 0, **options})
    return file.getvalue()


def deep_png(values):
    """A PNG of 16 bits of height x width x 3 or 4, which Pillow does not write."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def gif(indices, palette, left, top, canvas, transparent=None):
    """A film of one frame, smaller than its canvas or beyond it, without compression."""
    height, width = indices.shape
    bits, codes = 4, []
    for at, index in enumerate(indices.reshape(-1).tolist()):
        codes += ([1 << bits] if at % 8 == 0 else []) + [index]  # a table that stays short
    stream = sum(code << (bits + 1) * at for at, code in enumerate(codes + [(1 << bits) + 1]))
    data = stream.to_bytes(-(-(len(codes) + 1) * (bits + 1) // 8), "little")
    blocks = b"".join(bytes([len(data[at:at + 255])]) + data[at:at + 255] for at in range(0, len(data), 255))
    control = b"" if transparent is None else b"!\xf9\x04\x01\0\0" + bytes([transparent, 0])
    screen = b"GIF89a" + struct.pack("<HHBBB", *canvas, 0x80 | bits - 1 if palette else 0, 2, 0) + palette
    return screen + control + b"," + struct.pack("<HHHHB", left, top, width, height, 0) + bytes([bits]) + blocks + b"\0;"


def ycck(picture):
    """Y, Cb and Cr of the colours, and K, stored as Adobe does."""
    cmyk = picture.convert("CMYK")
    c, m, y, k = cmyk.split()
    # The inverse of what is stored, which is the inverse of CMY.
    luma, cb, cr = Image.merge("RGB", [c, m, y]).convert("YCbCr").split()
    bands = [band.point(lambda value: 255 - value) for band in (luma, cb, cr)]  # what Pillow will invert
    file = jpeg(Image.merge("CMYK", [*bands, k]))
    marker = file.index(b"Adobe")
    return file[:marker + 11] + b"\x02" + file[marker + 12:]


def main():
    HERE.mkdir(exist_ok=True)
    picture = drawing()
    blue = Image.new("RGB", picture.size, (20, 30, 220))
    cmyk = picture.convert("CMYK")
    k = Image.fromarray(np.full((40, 56), 40, np.uint8))
    cmyk = Image.merge("CMYK", [*cmyk.split()[:3], k])
    (HERE / "cmyk.jpg").write_bytes(jpeg(cmyk))
    (HERE / "ycck.jpg").write_bytes(ycck(picture))
    picture.save(HERE / "film.webp", save_all=True, append_images=[blue], lossless=True)
    picture.save(HERE / "film.png", save_all=True, append_images=[blue])
    picture.quantize(16).save(HERE / "palette.bmp")
    picture.save(HERE / "lzw.tiff", compression="tiff_lzw")
    cmyk.save(HERE / "cmyk.tiff")
    exif = Image.Exif()
    exif[0x0112] = 6  # the row at the top is the right side
    (HERE / "turned.jpg").write_bytes(jpeg(picture, exif=exif))
    (HERE / "half.jpg").write_bytes(jpeg(picture.crop((0, 0, 55, 39)), quality=30, subsampling=2))
    (HERE / "progressive.jpg").write_bytes(jpeg(picture, quality=75, subsampling=1, progressive=True, restart_marker_rows=1))
    deep = (np.asarray(picture).astype(np.int64) * 257 - 5 * np.arange(56)[None, :, None]).clip(0, 65535)
    (HERE / "deep.png").write_bytes(deep_png(deep))
    # Opaque, of an alpha whose lower bits say otherwise.
    (HERE / "deep_alpha.png").write_bytes(deep_png(np.dstack([deep, np.full((40, 56), 0xff00)])))
    picture.save(HERE / "lossy.webp", quality=60)
    indices, palette = np.asarray(picture.quantize(16))[4:12, 4:16], bytes(picture.quantize(16).getpalette()[:48])
    (HERE / "smaller.gif").write_bytes(gif(indices, palette, 3, 5, (20, 18)))
    (HERE / "beyond.gif").write_bytes(gif(indices, palette, 3, 5, (9, 9)))
    (HERE / "hole.gif").write_bytes(gif(indices, palette, 3, 5, (20, 18), 6))
    (HERE / "greys.gif").write_bytes(gif(indices, b"", 3, 5, (20, 18)))
    small, alpha = picture.crop((0, 0, 24, 16)), Image.fromarray((np.mgrid[0:16, 0:24][1] * 9 + 30).astype(np.uint8))
    for mode in ("P", "L", "YCbCr"):
        (small.quantize(16) if mode == "P" else small.convert(mode)).save(HERE / f"{mode.lower()}.tiff")
    grey = small.convert("LA")
    grey.putalpha(alpha)
    grey.save(HERE / "la.tiff")
    both = small.quantize(16).convert("PA")
    both.putalpha(alpha)
    both.save(HERE / "pa.tiff")
    for bits in (2, 4):
        values = bytes(np.packbits(np.unpackbits((np.mgrid[0:6, 0:11][1] % (1 << bits)).astype(np.uint8)[..., None], axis=2)[..., 8 - bits:]
                                   .reshape(6, -1), axis=1).reshape(-1))
        tags = [(256, 3, 11), (257, 3, 6), (258, 3, bits), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 3, 6), (279, 4, len(values))]
        rows = b"".join(struct.pack("<HHLL", tag, kind, 1, value) for tag, kind, value in tags)
        (HERE / f"grey{bits}.tiff").write_bytes(b"II*\0" + struct.pack("<L", 8 + len(values)) + values + struct.pack("<H", len(tags)) + rows + bytes(4))
    small.save(HERE / "jpeg.tiff", compression="jpeg", quality=90)
    for path in sorted(HERE.iterdir()):
        if path.suffixes[-2:] in ([".jpg", ".png"], [".webp", ".png"], [".png", ".png"], [".bmp", ".png"], [".tiff", ".png"], [".gif", ".png"]):
            continue
        with Image.open(path) as image:
            seen = image.convert("RGB")
            if image.has_transparency_data:
                # On white, where the plugin shows what is behind a picture.
                picture = image.convert("RGBA")
                rgb, alpha = np.asarray(picture).astype(int)[..., :3], np.asarray(picture).astype(int)[..., 3:]
                seen = Image.fromarray(((rgb * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8))
            if path.name == "turned.jpg":
                seen = seen.transpose(Image.Transpose.ROTATE_270)
        seen.save(HERE / f"{path.name}.png")


if __name__ == "__main__":
    main()
