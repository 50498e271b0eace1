"""`fusemix serve` beside infinity-emb's server, with the same weights: requests a second, p50, p99, CPU and memory.

    python3 tests/reference/serve_speed.py --infinity VENV/bin/infinity_emb                from the repository; needs ./quickstart

VENV has `infinity-emb[torch,server]` and `transformers<5`; --engine optimum takes its ONNX engine. Both serve all-MiniLM-L6-v2
from the same folder, offline, and answer `POST /v1/embeddings`, infinity without the /v1, with one text each. Its own warm-up,
whose long texts take more memory than these, is left out: 256 requests warm both. fusemix serves a run whose towers keep the
latents of MiniLM.

In each round the two run one after the other, every other round in the other order, each with an empty cache, and are sent the
same texts: captions of the stamps in all languages of Latin script, none twice, by 1, 8 and 32 clients on connections that stay
open, each of which waits for its answer; then the texts of 8 clients once more. The machine must do nothing else: PyTorch's
threads wait for one another. The clients are one thread, whose part of a core is `client_cpu`; `cpu_ms` is what the server takes
for a request. Prints a table on standard error, of medians of the rounds and of their ratios (fusemix / infinity), and JSON on
standard output. Memory is the peak of what is resident. `cosine` is the least between two vectors of a text.
"""
import argparse
import json
import os
import pathlib
import random
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

WARM = 256
PLUGINS = """
plugin_folder = {plugins}
[[plugin]]
name = "candle-text"
[encoder.minilm]
plugin = "candle-text"
model = {model}
pooling = "mean"
"""
RECIPE = """
[tower.text]
encoder = "minilm"
adapter = "identity"
[tower.same]
encoder = "minilm"
adapter = "identity"
[[pairs]]
train = "pairs.tsv"
text = "text"
same = "same"
[fit]
method = "identity"
"""


def captions(stamps):
    """The different captions of the stamps in languages of Latin script, in an order of chance that stays the same."""
    found = set()
    for path in stamps.rglob("*.txt"):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        found |= {line.split(".utf8=", 1)[-1].strip() for line in lines}
    latin = sorted(text for text in found if text and all(ord(letter) < 0x250 for letter in text))
    random.Random(0).shuffle(latin)
    return latin


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Server:
    """A server that runs, and how it is asked."""

    def __init__(self, command, path, model, log, environment):
        self.port, self.path, self.model, self.log = free_port(), path, model, log
        command = [*map(str, command), "--port", str(self.port)]
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | environment)
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"`{' '.join(command)}` ended:\n{log.read_text()}")
                time.sleep(0.2)

    def request(self, text):
        body = json.dumps({"model": self.model, "input": text}).encode()
        head = f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def used(self):
        """MiB resident at the peak and seconds of CPU, of it and all that it started."""
        waiting, peak, ticks = [self.process.pid], 0, 0
        while waiting:
            process = pathlib.Path(f"/proc/{waiting.pop()}")
            peak += int((process / "status").read_text().split("VmHWM:")[1].split()[0])
            ticks += sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:13]))
            waiting += [int(child) for task in process.glob("task/*/children") for child in task.read_text().split()]
        return peak / 1024, ticks / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def whole(answer):
    """True if an answer is there to its end; any status but 200 ends the program."""
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        sys.exit(f"a request was answered with {bytes(answer)[:500]}")
    return len(body) >= int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])


def ask(server, texts, clients):
    """The seconds that each request took, the seconds of all, those of this program's CPU, and the answers."""
    requests = [server.request(text) for text in texts]
    poll, waiting, seconds, answers = select.epoll(), {}, [0.0] * len(texts), [b""] * len(texts)
    sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(min(clients, len(texts)))]
    for connection in sockets:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(connection, select.EPOLLIN)
    numbers = iter(range(len(texts)))

    def send(connection):
        number = next(numbers, None)
        if number is None:
            poll.unregister(connection)
            return
        waiting[connection.fileno()] = (connection, number, bytearray(), time.perf_counter())
        connection.sendall(requests[number])

    began, cpu = time.perf_counter(), time.process_time()
    for connection in sockets:
        send(connection)
    while waiting:
        for place, _ in poll.poll():
            connection, number, answer, sent = waiting[place]
            part = connection.recv(1 << 16)
            answer += part
            if not part:
                sys.exit(f"a connection ended; the server said:\n{server.log.read_text()}")
            if whole(answer):
                seconds[number], answers[number] = time.perf_counter() - sent, answer
                del waiting[place]
                send(connection)
    taken = time.perf_counter() - began, time.process_time() - cpu
    for connection in sockets:
        connection.close()
    return seconds, *taken, answers


def vectors(answers):
    return [json.loads(answer.partition(b"\r\n\r\n")[2])["data"][0]["embedding"] for answer in answers]


def cosine(one, other):
    product = lambda a, b: sum(x * y for x, y in zip(a, b))
    return product(one, other) / (product(one, one) * product(other, other)) ** 0.5


def measure(server, texts, counts):
    """The rows of a server's life, and the vectors of its first texts."""
    rows, rest = {}, texts[WARM:]
    first = vectors(ask(server, texts[:WARM], 8)[3])
    parts = {}
    for clients, count in counts.items():
        parts[clients], rest = rest[:count], rest[count:]
    again = {"again": parts[8]} if 8 in parts else {}
    for name, part in (parts | again).items():
        before = server.used()[1]
        seconds, wall, cpu, _ = ask(server, part, 8 if name == "again" else name)
        ordered, servers = sorted(seconds), server.used()[1] - before
        rows[name] = {"requests_a_second": len(part) / wall, "p50_ms": 1000 * ordered[len(part) // 2],
                      "p99_ms": 1000 * ordered[len(part) * 99 // 100], "cpu_ms": 1000 * servers / len(part),
                      "client_cpu": cpu / wall}
    rows["memory"] = {"mib": server.used()[0]}
    return rows, first


def train(folder, args):
    """A run that keeps MiniLM's latents, in a folder that is its own."""
    quoted = lambda path: json.dumps(str(pathlib.Path(path).resolve()))
    plugins = PLUGINS.format(plugins=quoted(pathlib.Path(args.fusemix).parent), model=quoted(args.model))
    (folder / "plugins.toml").write_text(plugins)
    (folder / "fusion.toml").write_text(RECIPE)
    (folder / "pairs.tsv").write_text("text\tsame\n" + "".join(f"number {n}\tnumber {n}\n" for n in range(32)))
    command = [args.fusemix, "train", "fusion.toml", "--out", "minilm"]
    done = subprocess.run([pathlib.Path(args.fusemix).resolve(), *command[1:]], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stderr}")
    return folder / "minilm"


def start(name, place, args):
    """A server whose files are in an empty folder."""
    log = place / "log"
    if name == "infinity":
        command = [args.infinity, "v2", "--model-id", args.model.resolve(), "--served-model-name", "minilm", "--engine", args.engine,
                   "--device", "cpu", "--no-model-warmup", "--host", "127.0.0.1", "--log-level", "warning"]
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}
        return Server(command, "/embeddings", "minilm", log, offline)
    command = [args.fusemix, "serve", train(place, args), "--plugins", place / "plugins.toml"]
    return Server(command, "/v1/embeddings", "minilm/text", log, {})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--infinity", help="the program; without it, fusemix alone")
    parser.add_argument("--engine", default="torch", choices=["torch", "optimum"])
    parser.add_argument("--fusemix", default="target/release/fusemix")
    parser.add_argument("--model", type=pathlib.Path, default=pathlib.Path("target/assets/minilm"))
    parser.add_argument("--texts", type=pathlib.Path, help="a file with a text a line, instead of captions")
    parser.add_argument("--stamps", type=pathlib.Path, default=pathlib.Path("target/assets/stamps"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--requests", type=int, nargs="+", default=[1500, 4000, 6000], help="for each number of clients")
    args = parser.parse_args()
    counts = dict(zip(args.clients, args.requests, strict=True))
    texts = list(dict.fromkeys(args.texts.read_text().splitlines())) if args.texts else captions(args.stamps)
    if WARM + sum(counts.values()) > len(texts):
        parser.error(f"there are {len(texts)} texts, of which {WARM} warm the servers; ask for fewer --requests")
    names = ["infinity", "fusemix"] if args.infinity else ["fusemix"]
    rounds, least = [], 1.0
    for number in range(args.rounds):
        row, first = {}, {}
        for name in names if number % 2 == 0 else reversed(names):
            with tempfile.TemporaryDirectory() as place:
                server = start(name, pathlib.Path(place), args)
                try:
                    row[name], first[name] = measure(server, texts, counts)
                finally:
                    server.stop()
        if args.infinity:
            least = min(least, *map(cosine, first["infinity"], first["fusemix"]))
        rounds.append(row)
        told = "  ".join(f"{name} " + " ".join(f"{row[name][key]['requests_a_second']:.0f}" for key in counts) for name in names)
        print(f"round {number + 1}  requests a second: {told}", file=sys.stderr)
    print(f"{'clients':>8} {'':24}" + "".join(f"{name:>10}" for name in names) + "     ratio", file=sys.stderr)
    table = []
    for clients, kind in [(clients, kind) for clients, row in rounds[0]["fusemix"].items() for kind in row]:
        of = lambda name: [row[name][clients][kind] for row in rounds]
        middle = {name: statistics.median(of(name)) for name in names}
        ratio = statistics.median(f / i for f, i in zip(of("fusemix"), of("infinity"))) if args.infinity else None
        table.append({"clients": clients, "what": kind, **middle, "ratio": ratio})
        cells = "".join(f"{value:10.2f}" for value in middle.values())
        print(f"{clients:>8} {kind:24}{cells}" + (f"{ratio:10.2f}" if ratio else ""), file=sys.stderr)
    print(f"cosine {least:.6f}", file=sys.stderr)
    print(json.dumps({"engine": args.engine, "cosine": least, "rounds": rounds, "median": table}))


if __name__ == "__main__":
    main()
