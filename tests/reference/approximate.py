"""Search of a large gallery by codes beside faiss: the same vectors, queries and threads, in turn.

    cargo build --release -p fusemix --example gallery_speed
    python3 approximate.py --program ../../target/release/examples/gallery_speed [--server ../../target/release/fusemix]

Makes --rows x --width vectors of length 1 in 2,000 clusters of 64 dimensions plus noise, all on one side of the sphere as a
modality's are. Queries are of two kinds: `same` is made as the rows are; `other` is off them by a constant and mostly by
chance, as a query of another modality is. Builds a gallery with codes and a flat index of faiss; with --ivf an IVF index of
faiss (4 sqrt(n) lists), and with --graph an HNSW graph of usearch (its defaults), both of which look at as much as gives the
recall of the codes. Times the ten nearest of single queries. Prints seconds to build, recall@10 against the exact search, the
median and the 99th percentile of milliseconds, and ratios. With --server, the same queries go
to `POST /search` of `fusemix serve` as well, over a gallery of the same vectors that the command line builds. Needs faiss-cpu
and numpy, safetensors for --server, and usearch for --graph.
"""
import argparse
import http.client
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

TOP, QUERIES = 10, 200


class Fusemix:
    def __init__(self, way, program, gallery, queries, threads):
        environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen([program, way, gallery, queries], env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def search(self, number):
        """Seconds of a search for query `number`, and its rows. The program takes the queries in order."""
        self.process.stdin.write(f"1 1 {number}\n")
        self.process.stdin.flush()
        seconds, *rows = self.process.stdout.readline().split()
        return float(seconds), [int(row) for row in rows]


RECIPE = """\
[tower.rows]
precomputed = true
adapter = "identity"
[tower.queries]
precomputed = true
adapter = "identity"
[[pairs]]
train = "pairs.safetensors"
rows = "rows"
queries = "queries"
[fit]
method = "identity"
"""


class Server:
    """`fusemix serve` of a run whose space is that of the vectors."""

    def __init__(self, program, folder, vectors, threads):
        from safetensors.numpy import save_file

        program = pathlib.Path(program).resolve()
        (folder / "plugins.toml").write_text("")
        (folder / "fusion.toml").write_text(RECIPE)
        save_file({"rows": vectors[:100].copy(), "queries": vectors[:100].copy()}, folder / "pairs.safetensors")
        environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
        for words in (["train", "fusion.toml", "--out", "run"],
                      ["gallery", "build", "run", "--tower", "rows", "--data", "vectors.npy", "--out", "built"]):
            subprocess.run([program, *words], cwd=folder, env=environment, check=True, capture_output=True)
        self.process = subprocess.Popen([program, "serve", "run", "--gallery", "built", "--port", "7799"], cwd=folder,
                                        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.connection = http.client.HTTPConnection("127.0.0.1", 7799)
        while self.answer("GET", "/ready", None) is None:
            time.sleep(0.2)

    def answer(self, method, path, body):
        try:
            self.connection.request(method, path, body, {"content-type": "application/json"})
            reply = self.connection.getresponse()
            content = reply.read()
            return json.loads(content) if reply.status == 200 else None
        except OSError:
            self.connection.close()
            return None

    def search(self, body):
        start = time.perf_counter()
        found = self.answer("POST", "/search", body)
        return time.perf_counter() - start, found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the example gallery_speed")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ivf", action="store_true", help="faiss's IVF, which takes minutes to build")
    parser.add_argument("--graph", action="store_true", help="usearch's HNSW graph, which takes many minutes to build")
    parser.add_argument("--server", metavar="PROGRAM", help="the program fusemix, to search over HTTP too")
    args = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(args.threads)
    # Its threads else go on spinning after a search, beside the next one of another program.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    import faiss
    import numpy

    faiss.omp_set_num_threads(args.threads)
    random = numpy.random.default_rng(0)

    def normal(*shape):
        return random.standard_normal(shape, dtype="f4")

    def unit(values):
        return values / numpy.linalg.norm(values, axis=1, keepdims=True)

    centres, out, side = normal(2000, 64), normal(64, args.width) / 8, normal(1, args.width)

    def made(count):
        own = centres[random.integers(0, len(centres), count)] + 0.7 * normal(count, 64)
        return unit(own @ out + 0.3 * normal(count, args.width) + side)

    queries = {"same": made(QUERIES)}
    far = made(QUERIES) - unit(side) * 0.7
    queries["other"] = unit(unit(far) * 0.45 + unit(normal(QUERIES, args.width)) * 0.75 - 0.5 * unit(normal(1, args.width)))
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        folder = pathlib.Path(folder)
        with open(folder / "vectors", "wb") as file:
            flat = faiss.IndexFlatIP(args.width)
            for first in range(0, args.rows, 100_000):
                part = made(min(100_000, args.rows - first))
                flat.add(part)
                file.write(part.tobytes())
        everything = numpy.concatenate(list(queries.values())).astype("f4")
        (folder / "queries").write_bytes(everything.tobytes())
        run = lambda *words: subprocess.run([args.program, *map(str, words)], check=True, capture_output=True, text=True)
        run("build", folder / "gallery", folder / "vectors", args.width)
        print("codes:", run("index", folder / "gallery").stdout.strip(), file=sys.stderr)
        server = None
        if args.server:
            vectors = numpy.memmap(folder / "vectors", "f4", "r", shape=(args.rows, args.width))
            numpy.save(folder / "vectors.npy", vectors)
            server = Server(args.server, folder, vectors, args.threads)
            os.remove(folder / "vectors.npy")
        os.remove(folder / "vectors")
        _, exact = flat.search(everything, TOP)
        ways = {"codes": Fusemix("approximate", args.program, folder / "gallery", folder / "queries", args.threads).search,
                "exact": Fusemix("serve", args.program, folder / "gallery", folder / "queries", args.threads).search}

        def of(index):
            def search(number):
                start = time.perf_counter()
                _, rows = index.search(everything[number:number + 1], TOP)
                return time.perf_counter() - start, rows[0].tolist()
            return search

        ways["faiss flat"] = of(flat)
        if server:
            bodies = [json.dumps({"vector": query.tolist(), "k": TOP}) for query in everything]

            def over_http(number):
                took, found = server.search(bodies[number])
                return took, [int(hit["id"].split()[-1]) - 1 for hit in found["results"][0]["found"]]

            ways["POST /search"] = over_http
        results = {}

        def measure(names):
            seconds = {name: [] for name in names}
            hits = {name: {kind: 0 for kind in queries} for name in names}
            for number in range(len(everything)):
                kind = list(queries)[number // QUERIES]
                for name in names if number % 2 else reversed(names):
                    took, rows = ways[name](number)
                    seconds[name].append(took)
                    hits[name][kind] += len(set(rows) & set(exact[number].tolist()))
            for name in names:
                took = sorted(seconds[name][5:])
                results[name] = {"recall": {kind: hit / QUERIES / TOP for kind, hit in hits[name].items()},
                                 "median": 1000 * statistics.median(took), "p99": 1000 * took[int(0.99 * len(took))]}
                recall = "  ".join(f"{kind} {value:.3f}" for kind, value in results[name]["recall"].items())
                print(f"{name:12} recall@10 {recall}  median {results[name]['median']:.2f} ms  p99 {results[name]['p99']:.2f} ms",
                      file=sys.stderr)

        measure(list(ways))
        if server:
            server.process.terminate()
            server.process.wait()
        wanted = min(results["codes"]["recall"].values())

        def beside(name, built, efforts, search):
            """Measures an index at the least of `efforts` that has the recall of the codes; `search` gives its rows."""
            for effort in efforts:
                hits = [len(set(a) & set(b)) for a, b in zip(search(everything, effort), exact.tolist())]
                if min(part.mean() / TOP for part in numpy.split(numpy.array(hits), len(queries))) >= wanted:
                    break
            print(f"{name}: built in {built:.1f} s; {effort} looked at for a recall of {wanted:.3f}", file=sys.stderr)

            def one(number):
                start = time.perf_counter()
                rows = search(everything[number:number + 1], effort)
                return time.perf_counter() - start, rows[0]

            ways[name] = one
            measure(["codes", name])
            print(f"codes / {name}: {results['codes']['median'] / results[name]['median']:.2f}", file=sys.stderr)

        parts = [(first, min(100_000, args.rows - first)) for first in range(0, args.rows, 100_000)]
        if args.ivf:
            lists = int(4 * math.sqrt(args.rows))
            start = time.perf_counter()
            ivf = faiss.IndexIVFFlat(faiss.IndexFlatIP(args.width), args.width, lists, faiss.METRIC_INNER_PRODUCT)
            ivf.train(flat.reconstruct_n(0, min(args.rows, 40 * lists)))
            for first, count in parts:
                ivf.add(flat.reconstruct_n(first, count))

            def of_lists(vectors, probes):
                ivf.nprobe = probes
                return ivf.search(vectors, TOP)[1].tolist()

            efforts = [2 ** power for power in range(11)] + [lists]
            beside("faiss IVF", time.perf_counter() - start, efforts, of_lists)
        if args.graph:
            from usearch.index import Index

            start = time.perf_counter()
            graph = Index(ndim=args.width, metric="ip", dtype="f32")
            for first, count in parts:
                graph.add(numpy.arange(first, first + count), flat.reconstruct_n(first, count), threads=args.threads)

            def of_graph(vectors, expansion):
                graph.expansion_search = expansion
                found = graph.search(vectors, TOP, threads=args.threads)
                return numpy.atleast_2d(found.keys).tolist()

            efforts = [2 ** power for power in range(6, 14)]
            beside("usearch graph", time.perf_counter() - start, efforts, of_graph)
        print(f"exact / faiss flat: {results['exact']['median'] / results['faiss flat']['median']:.2f}", file=sys.stderr)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
