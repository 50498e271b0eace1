"""An encoder in Python, behind HTTP: texts, pictures and sounds come in, vectors go out.

    python3 server.py [PORT]

Put a model of your own into `encode`. This one counts the pieces of three letters in a text.
"""
import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WIDTH = 64


def encode(items):
    """A vector for each item: a str is a text, bytes are the content of a picture or sound file."""
    vectors = []
    for item in items:
        text = item.lower() if isinstance(item, str) else item.decode("latin-1")
        vector = [0.0] * WIDTH
        for at in range(len(text) - 2):
            vector[sum(ord(letter) * 31**place for place, letter in enumerate(text[at:at + 3])) % WIDTH] += 1.0
        vectors.append(vector)
    return vectors


def item(value):
    """Files come as data URIs."""
    return base64.b64decode(value.split(",", 1)[1]) if value.startswith("data:") else value


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            status, answer = 200, {"vectors": encode([item(value) for value in request["items"]])}
        except Exception as error:  # fusemix tells it, with the items that were sent
            status, answer = 500, {"error": str(error)}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9000), Server)
    print(f"listening on port {server.server_address[1]}", flush=True)
    server.serve_forever()
