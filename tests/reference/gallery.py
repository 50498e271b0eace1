"""Exact search over a gallery beside faiss's flat index: same vectors, same queries, same threads, in turn.

    cargo build --release -p fusemix --example gallery_speed
    python3 gallery.py --program ../../target/release/examples/gallery_speed

Makes 200,000 x 512 vectors of length 1, builds a gallery and an IndexFlatIP of them, and times the top 10 of single
queries and of batches of 64, every other round in the other order. faiss searches as it does by itself and, since that
is the slower way on some machines, through BLAS; the ratio is to the faster of the two. Both sides must find the same
rows. Prints medians in milliseconds and their ratio (fusemix / faiss) on standard error, each round as JSON on standard
output. Needs faiss-cpu and numpy.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

TOP, BATCH, SINGLES = 10, 64, 16


class Fusemix:
    """The program that has the gallery open, and answers line by line."""

    def __init__(self, program, folder, threads):
        environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
        vectors, queries, gallery = (str(folder / name) for name in ("vectors", "queries", "gallery"))
        width = (folder / "width").read_text()
        command = [program, "build", gallery, vectors, width]
        built = subprocess.run(command, env=environment, capture_output=True, text=True)
        if built.returncode:
            sys.exit(f"building the gallery failed:\n{built.stderr}")
        print(f"built in {built.stdout.strip()}", file=sys.stderr)
        self.process = subprocess.Popen([program, "serve", gallery, queries], env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        print(f"opened in {1000 * float(self.process.stdout.readline()):.2f} ms", file=sys.stderr)

    def search(self, count, repeats):
        """Seconds a search of that many queries, and the rows that the last one found."""
        self.process.stdin.write(f"{count} {repeats}\n")
        self.process.stdin.flush()
        seconds, *rows = self.process.stdout.readline().split()
        return float(seconds), [int(row) for row in rows]


def faiss_search(index, queries, count, repeats):
    start = time.perf_counter()
    for repeat in range(repeats):
        at = repeat * count % len(queries)
        _, rows = index.search(queries[at:at + count], TOP)
    return (time.perf_counter() - start) / repeats, rows.ravel().tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the example gallery_speed")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(args.threads)
    import faiss
    import numpy

    faiss.omp_set_num_threads(args.threads)
    random = numpy.random.default_rng(0)
    vectors, queries = (random.standard_normal((rows, args.width), dtype="f4") for rows in (args.rows, BATCH))
    for values in (vectors, queries):
        values /= numpy.linalg.norm(values, axis=1, keepdims=True)
    index = faiss.IndexFlatIP(args.width)
    index.add(vectors)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "vectors").write_bytes(vectors.tobytes())
        (folder / "queries").write_bytes(queries.tobytes())
        (folder / "width").write_text(str(args.width))
        fusemix = Fusemix(args.program, folder, args.threads)

        def blas(count, repeats):
            threshold = faiss.cvar.distance_compute_blas_threshold
            faiss.cvar.distance_compute_blas_threshold = 1
            try:
                return faiss_search(index, queries, count, repeats)
            finally:
                faiss.cvar.distance_compute_blas_threshold = threshold

        def usual(count, repeats):
            return faiss_search(index, queries, count, repeats)

        ways = {"fusemix": fusemix.search, "faiss": usual, "faiss, BLAS": blas}
        rounds = {}
        for kind, count, repeats in (("single", 1, SINGLES), ("batch of 64", BATCH, 2)):
            rounds[kind] = []
            for number in range(args.rounds + 1):
                seconds, found = {}, {}
                for name in list(ways) if number % 2 == 0 else reversed(ways):
                    seconds[name], found[name] = ways[name](count, repeats)
                if any(rows != found["faiss"] for rows in found.values()):
                    sys.exit(f"{kind}: the two sides find other rows")
                seconds["ratio"] = seconds["fusemix"] / min(seconds["faiss"], seconds["faiss, BLAS"])
                if number:  # the first warms up
                    rounds[kind].append(seconds)
            median = {name: statistics.median(row[name] for row in rounds[kind]) for name in rounds[kind][0]}
            times = "  ".join(f"{name} {1000 * median[name]:.1f} ms" for name in ways)
            print(f"{kind:12} {times}  ratio {median['ratio']:.2f}", file=sys.stderr)
    print(json.dumps({"rows": args.rows, "width": args.width, "threads": args.threads, "rounds": rounds}))


if __name__ == "__main__":
    main()
