"""A connection to an HTTP server that sends any bytes and reads answers, for serve_storm.py."""
import asyncio
import base64
import json

LIMIT = 1 << 26


class Wrong(Exception):
    """An answer that is not right."""


class Answer:
    """A status, the headers with small letters, and the body."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


class Wire:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port):
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=LIMIT))

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self):
        """The next answer; none if the connection ended before it began."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise ConnectionError(f"an answer broke off: {error.partial[:100]!r}") from error
            return None
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split(" ")[1])
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        else:
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(status, headers, body)

    async def ask(self, data):
        await self.send(data)
        return await self.answer()

    def close(self):
        self.writer.transport.abort()


def request(method, path, body=b"", kind="application/json", headers=()):
    """The bytes of a request; a body that is no bytes becomes JSON."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def form(fields):
    """The body of a form and its type; a field is its name, the name of its file or none, its type, and its bytes."""
    limit, parts = "storm-limit", []
    for name, file, kind, content in fields:
        of_file = f'; filename="{file}"' if file else ""
        head = f'--{limit}\r\nContent-Disposition: form-data; name="{name}"{of_file}\r\nContent-Type: {kind}\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + f"--{limit}--\r\n".encode(), f"multipart/form-data; boundary={limit}"


def uri(content, modality):
    return f"data:{modality}/x;base64," + base64.b64encode(content).decode()
