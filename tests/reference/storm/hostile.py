"""Hostile requests for serve_storm.py: what is sent, and which outcomes are right.

An outcome is a status, or `closed` where the server ended the connection without an answer. A refusal must be JSON with a message,
whatever was asked.
"""
import asyncio
import json
import random
import struct
import time
import zlib

from storm.wire import Wire, Wrong, form, request, uri

# Seconds that a client may take that does not go on; the server gives up after 30 s.
PATIENCE = 45
REFUSED = {"4xx"}
ANY = {"4xx", "200"}
GONE = {"4xx", "closed"}
EMBED, SEARCH, ITEMS = "/v1/embeddings", "/search", "/items"


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, inflated=0, more=b""):
    """A grey PNG of one bit a pixel, whose content inflates to so many zeros."""
    packer = zlib.compressobj(9)
    content = b"".join(packer.compress(bytes(min(1 << 20, inflated - start))) for start in range(0, inflated, 1 << 20))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + more + chunk(b"IDAT", content + packer.flush()) + chunk(b"IEND", b"")


def wave(rate, said, content):
    return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", said + 36 & 0xffffffff, b"WAVE", b"fmt ", 16, 1, 1, rate, rate, 1, 8, b"data",
                       said) + content


def bombs():
    """Pictures and sounds that are larger than they look, are none, or ask for other files: name, bytes, outcomes."""
    side = 9_900
    zeros = zlib.compress(bytes(256 << 20), 9)
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    uses = "".join(f'<g id="u{n}">{f"<use href=%s#u{n - 1}%s/>" * 10}</g>' % (('"',) * 20) for n in range(1, 12))
    svg = lambda inner, head="", size='width="9" height="9"': f'{head}<svg xmlns="http://www.w3.org/2000/svg" {size}>{inner}</svg>'.encode()
    images = {
        "png of 50,000 x 50,000": (png(50_000, 50_000), REFUSED),
        "png of 50,000 x 50,000 with all its pixels": (png(50_000, 50_000, 50_000 * 6_251), REFUSED),
        "png of nearly as many pixels as may be": (png(side, side, side * (side // 8 + 2)), ANY),
        "png that inflates to more than its pixels": (png(64, 64, 1 << 28), ANY),
        "png with a text that inflates": (png(64, 64, 64 * 9, chunk(b"zTXt", b"a\0\0" + zeros)), ANY),
        "png with a profile that inflates": (png(64, 64, 64 * 9, chunk(b"iCCP", b"a\0\0" + zeros)), ANY),
        "gif of 65,535 x 65,535": (b"GIF89a\xff\xff\xff\xff\0\0\0\x2c\0\0\0\0\xff\xff\xff\xff\0\x02\0;", REFUSED),
        "bmp of 100,000 x 100,000": (struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 100_000, 100_000, 1, 24, 0, 0, 0, 0, 0, 0),
                                     REFUSED),
        "jpeg of 65,500 x 65,500": (bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0000b08ffdcffdc01011100") + b"\xff\xd9", REFUSED),
        "svg of a billion": (svg("", size='width="1e9" height="1e9"'), ANY),
        "svg whose entities laugh": (svg("&l11;", f'<!DOCTYPE svg [<!ENTITY l0 "ha">{laughs}]>'), ANY),
        "svg that uses itself": (svg('<rect id="u0" width="1" height="1"/>' + uses + '<use href="#u11"/>'), ANY),
        "svg with a file of the machine": (svg('<image href="file:///etc/passwd" width="9" height="9"/>'), ANY),
        "svg nested deeply": (svg("<g>" * 100_000), ANY),
        "nothing of a picture": (random.Random(1).randbytes(5000), REFUSED),
        "half a png's head": (png(64, 64)[:20], REFUSED),
    }
    sounds = {
        "wave that says 4 GB": (wave(8000, 0xffffffd0, bytes(8000)), ANY),
        "wave of a day": (wave(1, 200_000, bytes(200_000)), REFUSED),
        "wave of 4 GHz": (wave(0xffffffff, 8000, bytes(8000)), ANY),
        "wave of no hertz": (wave(0, 8000, bytes(8000)), REFUSED),
        "ogg of noise": (b"OggS" + random.Random(2).randbytes(4000), REFUSED),
        "flac of noise": (b"fLaC" + random.Random(3).randbytes(4000), REFUSED),
        "mp3 of noise": (b"ID3\4\0\0\x7f\x7f\x7f\x7f" + random.Random(4).randbytes(4000), REFUSED),
    }
    return [(name, "image", *of) for name, of in images.items()] + [(name, "audio", *of) for name, of in sounds.items()]


def requests(width):
    """One request each: name, bytes, outcomes. What is no item must not come into a gallery, whatever is beside it."""
    item = lambda **of: {"gallery": "words", "items": [{"id": "hostile", "text": "fine"} | of]}
    deep = b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    bodies = [
        (EMBED, body) for body in [
            {"input": 5}, {"input": None}, {"input": {}}, {"input": [None]}, {"input": [[1, 2]]}, {"input": []}, {"input": {"a": 1}}, [], "x",
            {"input": "a", "model": 5}, {"input": "a", "model": "run/none"}, {"input": "a", "dimensions": -1},
            {"input": "a", "dimensions": 1e99}, {"input": "a", "encoding_format": "raw"}, {"messages": 1}, {"messages": [{"content": [1]}]},
            {"input": [{"image": "data:image/png;base64,????"}]}, {"input": [{"image": "data:,"}]}, {"input": [{"image": ""}]},
            {"input": [{"image": "http://169.254.169.254/latest"}]}, {"input": [{"image": "file:///etc/passwd"}]},
            {"input": [{"text": "a", "image": "b"}]}, {"input": ["a"] * 5000}, {"input": [0] * 200_000},
            {"input": ["fine", {"image": uri(b"no picture", "image")}]},
            b"", b"{", b'{"input": "a', b'{"input": "a"} x', b'{"input": NaN}', b'{"input": 1e400}', b'{"input": "\\ud800"}', b'{"input": "\xff"}',
            b"[" * 100_000, deep, b'{"a":' * 50_000, b'"' + b"a" * 1_000_000,
        ]] + [
        (SEARCH, body) for body in [
            {}, {"vector": [0] * width}, {"vector": [1e39] * width}, {"vector": [1]}, {"vector": [1] * 100_000}, {"vector": ["a"] * width},
            b'{"vector": [NaN]}', b'{"vector": [1e999]}', {"text": "a", "k": 0}, {"text": "a", "k": 10**30}, {"text": "a", "k": 2.5},
            {"text": "a", "to": ["../../etc"]}, {"text": "a", "to": {"name": "fixed"}}, {"text": "a", "where": "number <"},
            {"text": "a", "where": "(" * 20_000}, {"text": "a", "where": "none = 1"}, {"text": "a", "where": "number < " + "9" * 5000 + " ("},
            {"text": "a", "where": " and ".join(["number < 1"] * 20_000) + " and"}, {"id": "none", "gallery": "fixed"},
            {"id": "\0", "gallery": "fixed"}, {"text": "a", "vector": [1] * width},
        ]] + [
        (ITEMS, body) for body in [
            item(id=""), item(id=5), item(text=None), item(image="AAAA"), item(metadata={"none": 1}), item(metadata=5), item(url="/etc/passwd"),
            item(text="a", url="file:///etc/passwd"), {"items": [{"id": "hostile", "text": "which gallery"}]}, item(more=1),
            {"gallery": "words", "items": []}, {"gallery": "none", "items": [{"id": "hostile", "text": "a"}]},
            {"gallery": "words", "items": [{"id": "hostile", "text": "fine"}, {"id": "hostile", "text": "twice"}]},
            {"gallery": "pictures", "items": [{"id": "hostile", "image": uri(b"no picture", "image")}]},
            item(text=""), item(metadata={"number": [1] * 1000}),
        ]] + [("/v2/embed", {"texts": 5}), ("/v2/embed", {"images": ["AAAA"]})]
    names = lambda path, body: f"{path} {(body if isinstance(body, bytes) else json.dumps(body).encode())[:60]!r}"
    sent = [(names(path, body), request("POST", path, body), REFUSED) for path, body in bodies]
    fine = {"model": "run/text", "input": "a dog"}
    sent += [(f"as {kind}", request("POST", EMBED, fine, kind), ANY) for kind in
             ["text/plain", "application/xml", "image/png", "application/json; charset=utf-7", ""]]
    sent += [(f"as {kind}", request("POST", EMBED, fine, kind), REFUSED) for kind in
             ["multipart/form-data", "multipart/form-data; boundary=x", "multipart/form-data; boundary=" + "x" * 500]]
    many, kind = form([("other", None, "text/plain", b"x")] * 5000)
    sent.append(("a form of 5000 fields", request("POST", EMBED, many, kind), REFUSED))
    sent += [(f"{method} {path}"[:60], request(method, path), REFUSED) for method, path in [
        ("GET", "/../../../../etc/passwd"), ("GET", "//etc/passwd"), ("GET", "/%2e%2e/%2e%2e/etc/passwd"), ("GET", "/..%2f..%2fetc%2fpasswd"),
        ("GET", "/assets/../../Cargo.toml"), ("GET", "/%00"), ("GET", "/" + "a" * 20_000), ("GET", "/galleries/..%2f/content?id=0"),
        ("GET", "/galleries/fixed/content?id=..%2f..%2fetc%2fpasswd"), ("GET", "/galleries/fixed/content?id=%2fetc%2fpasswd"),
        ("GET", "/galleries/fixed/content"), ("GET", "/galleries/fixed/map?color=none"), ("DELETE", "/items/%2e%2e?gallery=words"),
        ("DELETE", "/items/none?gallery=..%2f"), ("DELETE", "/items/%ff?gallery=words"), ("DELETE", "/items/"), ("PUT", "/items"),
        ("TRACE", EMBED), ("PATCH", EMBED), ("GET", "http://169.254.169.254/latest"), ("CONNECT", "169.254.169.254:80"),
    ]]
    head = f"POST {EMBED} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
    body = json.dumps(fine).encode()
    sent += [
        ("a host of another name", f"POST {EMBED} HTTP/1.1\r\nHost: evil.example\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body, REFUSED),
        ("a header of 200 KB", request("POST", EMBED, fine, headers=["X: " + "a" * 200_000]), GONE),
        ("2000 headers", request("POST", EMBED, fine, headers=[f"X-{n}: a" for n in range(2000)]), GONE),
        ("two lengths", head + b"Content-Length: 5\r\nContent-Length: 50\r\n\r\n" + body, GONE),
        ("a length and chunks", head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", GONE),
        ("a length below 0", head + b"Content-Length: -5\r\n\r\n" + body, GONE),
        ("a length of 10^18", head + b"Expect: 100-continue\r\nContent-Length: 1000000000000000000\r\n\r\n", GONE),
        ("a length of 10^30", head + b"Content-Length: 1000000000000000000000000000000\r\n\r\n", GONE),
        ("a chunk of 10^18", head + b"Transfer-Encoding: chunked\r\n\r\nde0b6b3a7640000\r\n" + body, GONE | {"waits"}),
        ("a chunk of no number", head + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n" + body, GONE),
        ("gzip", request("POST", EMBED, zlib.compress(body), headers=["Content-Encoding: gzip"]), REFUSED),
        ("a greeting of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), GONE),
        ("no HTTP", random.Random(5).randbytes(3000) + b"\r\n\r\n", GONE),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(50), GONE),
        ("HTTP/9", b"GET / HTTP/9.9\r\n\r\n", GONE),
        ("a header that breaks", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX\0: b\r\n\r\n", GONE),
    ]
    return sent


def check(name, answer, right):
    """The outcome, if it is right."""
    if answer is None:
        outcome = "closed"
    else:
        outcome = "4xx" if 400 <= answer.status < 500 else str(answer.status)
        if b"root:" in answer.body:
            raise Wrong(f"{name}: a file of the machine came back")
        # What is no HTTP gets a bare status.
        if outcome == "4xx" and answer.body and not answer.json()["error"]["message"]:
            raise Wrong(f"{name}: a refusal without a message")
    if outcome not in right:
        raise Wrong(f"{name}: {answer}, and right is {sorted(right)}")
    return str(answer.status) if answer else outcome


async def send_one(host, name, data, right):
    """Sends bytes at once; the answer may come before all were taken."""
    wire = await Wire.open(host.port)
    try:
        sending = asyncio.create_task(wire.send(data))
        try:
            answer = await asyncio.wait_for(wire.answer(), 5 if "waits" in right else host.longest)
        except TimeoutError:
            if "waits" in right:
                return "waits"
            raise Wrong(f"{name}: no answer within {host.longest} s") from None
        except ConnectionError:
            answer = None
        finally:
            sending.cancel()
        return check(name, answer, right)
    finally:
        wire.close()


async def drip(host, name, start, drop, every=1.0):
    """Sends a little all the time, until the server has enough."""
    wire, began = await Wire.open(host.port), time.monotonic()
    try:
        await wire.send(start)
        answer = asyncio.create_task(wire.answer())
        while time.monotonic() - began < PATIENCE:
            await asyncio.wait([answer], timeout=every)
            if answer.done():
                break
            if drop:
                await wire.send(drop)
        else:
            answer.cancel()
            raise Wrong(f"{name}: the server still waits after {PATIENCE} s")
        return check(name, answer.result(), GONE)
    except ConnectionError:
        return "closed"
    finally:
        wire.close()


async def endless(host):
    """Chunks that do not end, as fast as the server takes them."""
    head = f"POST {EMBED} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + b'8\r\n{"input"\r\n'
    return await drip(host, "endless chunks", head, b"40000\r\n" + b" " * 0x40000 + b"\r\n", every=0.0)


async def greedy(host):
    """Asks again and again, and reads no answer."""
    wire, began = await Wire.open(host.port), time.monotonic()
    wire.writer.transport.pause_reading()
    try:
        while time.monotonic() - began < 2 * PATIENCE:
            try:
                await asyncio.wait_for(wire.send(request("GET", "/openapi.json") * 20), 1)
            except TimeoutError:
                pass
            await asyncio.sleep(0.5)
        raise Wrong(f"a client that reads nothing: the server still waits after {2 * PATIENCE} s")
    except ConnectionError:
        return "closed"
    finally:
        wire.close()


async def leave(host, data, after):
    """Goes away some time after sending."""
    wire = await Wire.open(host.port)
    await wire.send(data)
    await asyncio.sleep(after)
    wire.close()
    return "left"


async def pipeline(host):
    """Many requests at once on one connection, whose answers come in their order."""
    texts = random.sample(sorted(host.texts), 8)
    wire = await Wire.open(host.port)
    try:
        await wire.send(b"".join(host.embed_text(text) + request("GET", "/health") for text in texts))
        for text in texts:
            answer = await wire.answer()
            if answer.status == 429:
                await wire.answer()
                continue
            host.same_vectors(answer, [host.texts[text]])
            if (await wire.answer()).json() != {"status": "ok"}:
                raise Wrong("pipelined answers are not in order")
        return "in order"
    finally:
        wire.close()


async def flood(host):
    """More items at once than may wait."""
    async def one():
        texts = random.choices(sorted(host.texts), k=40)
        wire = await Wire.open(host.port)
        try:
            answer = await wire.ask(host.embed_text(texts))
            if answer.status == 429:
                return "429"
            host.same_vectors(answer, [host.texts[text] for text in texts])
            return "200"
        finally:
            wire.close()

    return "+".join(sorted(set(await asyncio.gather(*[one() for _ in range(16)]))))


def damaged(content):
    """A file with a few bytes changed, or cut."""
    content = bytearray(content)
    for _ in range(random.randint(1, 20)):
        content[random.randrange(len(content))] = random.randrange(256)
    return bytes(content[:random.randint(len(content) // 2, len(content))])


def attacks(host):
    """All of them: a name, how often it is chosen, and a function that does it and returns the outcome."""
    found = []
    for name, modality, content, right in bombs():
        data = request("POST", EMBED, {"input": [{modality: uri(content, modality)}]})
        found.append((name, 1, lambda name=name, data=data, right=right: send_one(host, name, data, right)))
        body, kind = form([("file", "a", f"{modality}/x", content)])
        data = request("POST", EMBED, body, kind)
        found.append((f"{name}, as a form", 0.5, lambda name=name, data=data, right=right: send_one(host, name, data, right)))
    for name, data, right in requests(host.width):
        found.append((name, 0.5, lambda name=name, data=data, right=right: send_one(host, name, data, right)))
    fine = request("POST", EMBED, {"input": "a dog", "model": "run/text"})
    heavy = request("POST", EMBED, {"input": [{"image": uri(host.files["image"][0], "image")}] * 16})
    head = f"POST {EMBED} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
    for modality, files in host.files.items():
        body = lambda modality=modality, files=files: {"input": [{modality: uri(damaged(random.choice(files)), modality)}]}
        found.append((f"damaged {modality}", 4, lambda body=body: send_one(host, "a damaged file", request("POST", EMBED, body()), ANY)))
    return found + [
        ("a head, a byte a second", 2, lambda: drip(host, "a slow head", head + b"X: ", b"a")),
        ("a body, a byte a second", 2, lambda: drip(host, "a slow body", head + b"Content-Length: 5000\r\n\r\n{", b" ")),
        ("chunks, one a second", 2, lambda: drip(host, "slow chunks", head + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")),
        ("a body that stays away", 2, lambda: drip(host, "no body", head + b"Content-Length: 5000\r\n\r\n", b"")),
        ("a connection that says nothing", 2, lambda: drip(host, "nothing", b"", b"")),
        ("endless chunks", 2, lambda: endless(host)),
        ("a client that reads nothing", 2, lambda: greedy(host)),
        ("leaves in the middle of the head", 2, lambda: leave(host, fine[:40], 0.1)),
        ("leaves in the middle of the body", 2, lambda: leave(host, fine[:-10], 0.1)),
        ("leaves before the answer", 4, lambda: leave(host, fine, 0.0)),
        ("leaves before the answer to pictures", 2, lambda: leave(host, heavy, 0.05)),
        ("pipelined requests", 4, lambda: pipeline(host)),
        ("more than may wait", 2, lambda: flood(host)),
    ]
