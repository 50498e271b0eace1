"""Pictures whose orientation stands in all the places where one may, and what Pillow makes of it.

    pip install pillow==13.* numpy
    python3 orientations.py

Makes orientations.json: for each name a file in Base64 and the orientation, 1 to 8, that `ImageOps.exif_transpose` turns by.
The picture has 3 x 2 pixels. Where Pillow fails on damaged EXIF, the picture stays as it is.
"""
import base64
import io
import json
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

PICTURE = Image.fromarray(np.array([[[0, 0, 0], [90, 90, 90], [180, 180, 180]], [[40, 40, 40], [130, 130, 130], [240, 240, 240]]],
                                   np.uint8))
TURNS = {1: None} | {2 + at: turn for at, turn in enumerate((
    Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90))}
NAME = b"Exif\0\0"


def exif(value, kind=3, count=1, order="<", before=(), more=b"", header=None, entries=None):
    """EXIF with an orientation (None: without), as bytes of four and what is behind the directory."""
    value = b"" if value is None else (value if isinstance(value, bytes) else struct.pack(order + "H", value))
    rows = [struct.pack(order + "HHL", tag, 3, 1) + struct.pack(order + "H", number).ljust(4, b"\0") for tag, number in before]
    if value:
        rows.append(struct.pack(order + "HHL", 0x0112, kind, count) + value.ljust(4, b"\0"))
    head = header or ((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8))
    return head + struct.pack(order + "H", len(rows) if entries is None else entries) + b"".join(rows) + bytes(4) + more


def xmp(value, form="attribute"):
    inside = {"attribute": f'<rdf:Description tiff:Orientation="{value}"/>',
              "element": f"<rdf:Description><tiff:Orientation>{value}</tiff:Orientation></rdf:Description>",
              "single": f"<rdf:Description tiff:Orientation='{value}'/>",
              "twice": f'<a tiff:Orientation="x"/><a tiff:Orientation="{value}"/><a tiff:Orientation="3"/>'}[form]
    return f'<?xpacket begin=""?><x:xmpmeta><rdf:RDF>{inside}</rdf:RDF></x:xmpmeta>'.encode()


def saved(kind, **options):
    file = io.BytesIO()
    PICTURE.save(file, kind, **options)
    return file.getvalue()


def jpeg(*segments, dpi=False):
    file = saved("JPEG", quality=100, subsampling=0)
    start = file[:2] + (file[2:20] if dpi else b"")
    parts = b"".join(b"\xff\xe1" + struct.pack(">H", 2 + len(part)) + part for part in segments)
    return start + parts + file[20:]


def packet(text):
    return b"http://ns.adobe.com/xap/1.0/\0" + text


def png(*chunks, behind=()):
    file = saved("PNG")
    made = [b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in part)
            for part in (chunks, behind)]
    end = len(file) - 12
    return file[:33] + made[0] + file[33:end] + made[1] + file[end:]


def raw(data, name=b"Raw profile type exif"):
    return name + b"\0" + b"\nexif\n" + b"%8d\n" % len(data) + data.hex().encode() + b"\n"


def webp(exif=b"", xmp=b""):
    return saved("WEBP", lossless=True, exif=exif, xmp=xmp)


def tiff(orientation=None, packet=None):
    info = {}
    if orientation is not None:
        info[0x0112] = orientation
    if packet:
        info[700] = packet
    return saved("TIFF", tiffinfo=info)


def cases():
    for value in range(0, 10):
        yield f"jpeg exif {value}", jpeg(NAME + exif(value))
        yield f"jpeg xmp {value}", jpeg(packet(xmp(value)))
        yield f"tiff {value}", tiff(value)
    yield "jpeg plain", jpeg()
    for form in ("element", "single", "twice"):
        yield f"jpeg xmp {form}", jpeg(packet(xmp(6, form)))
    yield "jpeg xmp utf-16", jpeg(packet(xmp(6).decode().encode("utf-16")))
    yield "jpeg two packets", jpeg(packet(xmp(6)), packet(xmp(8)))
    yield "jpeg exif before xmp", jpeg(packet(xmp(6)), NAME + exif(3))
    yield "jpeg exif 1 before xmp", jpeg(NAME + exif(1), packet(xmp(6)))
    yield "jpeg exif 0 before xmp", jpeg(NAME + exif(0), packet(xmp(6)))
    yield "jpeg exif 9 before xmp", jpeg(NAME + exif(9), packet(xmp(6)))
    yield "jpeg exif without the tag, xmp", jpeg(NAME + exif(None, before=[(0x0128, 2)]), packet(xmp(6)))
    yield "jpeg exif empty, xmp", jpeg(NAME, packet(xmp(6)))
    yield "jpeg exif damaged, xmp", jpeg(NAME + b"II*", packet(xmp(6)))
    yield "jpeg exif with another header, xmp", jpeg(NAME + b"XX*\0" + exif(6)[4:], packet(xmp(6)))
    yield "jpeg exif big-endian", jpeg(NAME + exif(6, order=">"))
    yield "jpeg exif odd header", jpeg(NAME + b"MM*\0" + exif(6, order=">")[4:])
    yield "jpeg exif twice named", jpeg(NAME + NAME + exif(6))
    yield "jpeg exif in two", jpeg(NAME + exif(6)[:12], NAME + exif(6)[12:])
    yield "jpeg exif other tags first", jpeg(NAME + exif(8, before=[(0x0100, 3), (0x0128, 2)]))
    yield "jpeg exif two orientations", jpeg(NAME + exif(8, before=[(0x0112, 3)]))
    yield "jpeg exif long", jpeg(NAME + exif(struct.pack("<L", 6), kind=4))
    yield "jpeg exif byte", jpeg(NAME + exif(b"\6", kind=1))
    yield "jpeg exif signed byte", jpeg(NAME + exif(b"\6", kind=6))
    yield "jpeg exif signed short", jpeg(NAME + exif(b"\6\0", kind=8))
    yield "jpeg exif signed long", jpeg(NAME + exif(b"\6\0\0\0", kind=9))
    yield "jpeg exif float", jpeg(NAME + exif(struct.pack("<f", 6), kind=11))
    yield "jpeg exif text", jpeg(NAME + exif(b"6", kind=2))
    yield "jpeg exif undefined", jpeg(NAME + exif(b"\6", kind=7))
    yield "jpeg exif rational", jpeg(NAME + exif(struct.pack("<L", 26), kind=5, more=struct.pack("<LL", 12, 2)))
    yield "jpeg exif double", jpeg(NAME + exif(struct.pack("<L", 26), kind=12, more=struct.pack("<d", 6)))
    yield "jpeg exif unknown kind, xmp", jpeg(NAME + exif(b"\6", kind=99), packet(xmp(8)))
    yield "jpeg exif two values", jpeg(NAME + exif(struct.pack("<HH", 6, 3), count=2))
    yield "jpeg exif no values, xmp", jpeg(NAME + exif(6, count=0), packet(xmp(8)))
    yield "jpeg exif value outside, xmp", jpeg(NAME + exif(struct.pack("<L", 5000), kind=12), packet(xmp(8)))
    yield "jpeg exif more entries than there are", jpeg(NAME + exif(6, entries=40))
    yield "jpeg exif directory outside, xmp", jpeg(NAME + b"II*\0\x99\x99\0\0", packet(xmp(8)))
    yield "jpeg exif, JFIF before", jpeg(NAME + exif(6), dpi=True)
    for value in (1, 6):
        yield f"png eXIf {value}", png((b"eXIf", exif(value)))
        yield f"png raw {value}", png((b"tEXt", raw(NAME + exif(value))))
        yield f"png xmp {value}", png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(value)))
        yield f"webp exif {value}", webp(exif(value))
        yield f"webp xmp {value}", webp(xmp=xmp(value))
    yield "png eXIf named", png((b"eXIf", NAME + exif(6)))
    yield "png eXIf behind", png(behind=[(b"eXIf", exif(6))])
    yield "png two eXIf", png((b"eXIf", exif(6)), (b"eXIf", exif(8)))
    yield "png raw compressed", png((b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw(NAME + exif(6)).split(b"\0", 1)[1])))
    yield "png raw damaged, xmp", png((b"tEXt", raw(NAME + exif(6))[:-9] + b"zz\n"), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(8)))
    yield "png raw APP1", png((b"tEXt", raw(NAME + exif(6), b"Raw profile type APP1")))
    yield "png eXIf before raw", png((b"tEXt", raw(NAME + exif(6))), (b"eXIf", exif(8)))
    yield "png text called exif", png((b"tEXt", b"exif\0" + exif(6)))
    yield "png xmp compressed", png((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp(6))))
    yield "png xmp in plain text", png((b"tEXt", b"XML:com.adobe.xmp\0" + xmp(6)))
    yield "png xmp behind", png(behind=[(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(6))])
    yield "png eXIf before xmp", png((b"eXIf", exif(3)), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(6)))
    yield "png eXIf without the tag, xmp", png((b"eXIf", exif(None)), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(6)))
    yield "webp exif named", webp(NAME + exif(6))
    yield "webp exif before xmp", webp(exif(3), xmp(6))
    yield "webp exif without the tag, xmp", webp(exif(None, before=[(0x0128, 2)]), xmp(6))
    yield "tiff xmp", tiff(packet=xmp(6))
    yield "tiff before xmp", tiff(3, xmp(6))


def turned(file):
    """The orientation that Pillow turns by."""
    with Image.open(io.BytesIO(file)) as image:
        try:
            seen = ImageOps.exif_transpose(image).convert("RGB")
        except (SyntaxError, ValueError, TypeError):
            return 1
    with Image.open(io.BytesIO(file)) as image:
        # TIFF is turned when it is read.
        stored = PICTURE if image.format == "TIFF" else image.convert("RGB")
    match = [number for number, turn in TURNS.items()
             if np.array_equal(np.asarray(stored if turn is None else stored.transpose(turn)), np.asarray(seen))]
    return match[0]


def main():
    found = {name: [base64.b64encode(file).decode(), turned(file)] for name, file in cases()}
    (pathlib.Path(__file__).parent / "orientations.json").write_text(json.dumps(found, indent=0))
    for name, (_, number) in found.items():
        print(number, name)


if __name__ == "__main__":
    main()
