"""A gallery in the stores that users have, read back by the real software.

    python3 stores.py --fusemix ../../target/release/fusemix --run RUN --from TOWER --data FILE --gallery GALLERY

Exports the gallery to each form, asks each store for the ten nearest of (at most) 100 queries, which are the first rows
of TOWER's column in FILE, and compares ids and scores with the products of all vectors. Items whose scores are within 1e-5
may change places. Prints a line a store, and ends with 1 if one differs.

Needs numpy, pyarrow, duckdb, faiss-cpu, lancedb, qdrant-client and pgserver (PostgreSQL with pgvector in a wheel). Qdrant
is the local mode of its own client behind its REST paths: the server itself is in no package registry.
"""
import argparse
import http.server
import json
import pathlib
import subprocess
import sys
import tempfile
import threading

import duckdb
import faiss
import lancedb
import numpy
import pgserver
import pyarrow.parquet
import qdrant_client
from qdrant_client import models

TOP, QUERIES = 10, 100


def duckdb_search(file, queries):
    width = queries.shape[1]
    connection = duckdb.connect()
    for query in queries:
        rows = connection.execute(
            f"SELECT id, array_inner_product(vector::FLOAT[{width}], ?::FLOAT[{width}]) AS score FROM '{file}' "
            f"ORDER BY score DESC LIMIT {TOP}", [query.tolist()])
        yield rows.fetchall()


def pyarrow_search(file, queries):
    table = pyarrow.parquet.read_table(file)
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    ids = table["id"].to_pylist()
    for scores in queries @ vectors.T:
        yield [(ids[row], scores[row]) for row in numpy.argsort(-scores, kind="stable")[:TOP]]


def lancedb_search(file, queries, folder):
    table = lancedb.connect(str(folder / "lance")).create_table("items", data=pyarrow.parquet.read_table(file))
    for query in queries:
        rows = table.search(query).distance_type("dot").limit(TOP).to_list()
        yield [(row["id"], 1 - row["_distance"]) for row in rows]


def items(file):
    with open(f"{file}.items.jsonl", encoding="utf-8") as lines:
        return [json.loads(line)["id"] for line in lines]


def faiss_search(file, queries):
    index, ids = faiss.read_index(str(file)), items(file)
    assert isinstance(index, faiss.IndexFlatIP) and index.ntotal == len(ids), index
    for scores, rows in zip(*index.search(queries, TOP)):
        yield [(ids[row], score) for row, score in zip(rows, scores)]


def npy_search(file, queries):
    vectors, ids = numpy.load(file, mmap_mode="r"), items(file)
    for scores in queries @ vectors.T:
        yield [(ids[row], scores[row]) for row in numpy.argsort(-scores, kind="stable")[:TOP]]


def clip_search(folder, queries, kind):
    name = {"image": "img_emb", "text": "text_emb"}[kind]
    vectors = numpy.load(folder / name / f"{name}_0.npy")
    ids = pyarrow.parquet.read_table(folder / "metadata" / "metadata_0.parquet")["id"].to_pylist()
    for scores in queries @ vectors.T:
        yield [(ids[row], scores[row]) for row in numpy.argsort(-scores, kind="stable")[:TOP]]


def jsonl_search(file, queries):
    with open(file, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    vectors = numpy.array([row["vector"] for row in rows], dtype=numpy.float32)
    for scores in queries @ vectors.T:
        yield [(rows[row]["id"], scores[row]) for row in numpy.argsort(-scores, kind="stable")[:TOP]]


def pgvector_search(file, queries, folder):
    server = pgserver.get_server(folder / "postgres")
    try:
        for _ in range(2):  # a second time it replaces what is there
            psql = pathlib.Path(pgserver.__file__).parent / "pginstall/bin/psql"
            subprocess.run([psql, server.get_uri(), "-q", "-f", file], check=True)
        for query in queries:
            text = "[" + ",".join(map(str, query.tolist())) + "]"
            found = server.psql(
                "\\pset format unaligned\n\\pset tuples_only\n"
                f"SELECT json_agg(json_build_array(id, score)) FROM (SELECT id, -(embedding <#> '{text}') AS score "
                f"FROM items ORDER BY embedding <#> '{text}' LIMIT {TOP}) AS best;")
            yield json.loads(next(line for line in found.splitlines() if line.startswith("[")))
    finally:
        server.cleanup()


class Rest(http.server.BaseHTTPRequestHandler):
    """The REST paths of Qdrant that an export uses, in front of its client's local mode, whose models check them."""

    protocol_version = "HTTP/1.1"
    client = qdrant_client.QdrantClient(":memory:")

    def answer(self, result, status=200):
        body = json.dumps({"result": result, "status": "ok"}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["content-length"])))

    def name(self):
        return self.path.split("/")[2].split("?")[0]

    def do_GET(self):
        if not self.client.collection_exists(self.name()):
            return self.answer(None, 404)
        return self.answer(json.loads(self.client.get_collection(self.name()).model_dump_json()))

    def do_POST(self):
        request = models.PointRequest(**self.body())
        found = self.client.retrieve(self.name(), request.ids, with_payload=request.with_payload, with_vectors=False)
        return self.answer([json.loads(record.model_dump_json()) for record in found])

    def do_PUT(self):
        if "/points" in self.path:
            points = models.PointsList(**self.body()).points
            return self.answer(json.loads(self.client.upsert(self.name(), points, wait=True).model_dump_json()))
        created = models.CreateCollection(**self.body())
        return self.answer(self.client.create_collection(self.name(), vectors_config=created.vectors))

    def log_message(self, *_):
        pass


def qdrant_search(export, queries):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Rest)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    first, again = (export("qdrant", "--collection", "items", "--url", f"http://127.0.0.1:{server.server_port}")
                    for _ in range(2))
    assert again["items"] == 0 and again["unchanged"] == first["items"], (first, again)
    for query in queries:
        points = Rest.client.query_points("items", query=query.tolist(), limit=TOP).points
        yield [(point.payload["id"], point.score) for point in points]
    server.shutdown()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fusemix", required=True, type=pathlib.Path)
    parser.add_argument("--run", required=True)
    parser.add_argument("--from", dest="tower", required=True, help="the tower of the queries")
    parser.add_argument("--data", required=True, help="the file of the queries")
    parser.add_argument("--gallery", required=True)
    parser.add_argument("--kind", default="image", choices=["image", "text"], help="what the gallery's items are")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)

        def fusemix(*arguments):
            ran = subprocess.run([given.fusemix.resolve(), *map(str, arguments), "--json"], capture_output=True, text=True)
            if ran.returncode:
                sys.exit(f"fusemix {' '.join(map(str, arguments))}: {ran.stderr}")
            return json.loads(ran.stdout)

        def export(form, *options):
            return fusemix("gallery", "export", given.gallery, "--to", form, *options)

        def file(form, ending, *options):
            path = folder / f"out-{form}{ending}"
            export(form, "--out", path, *options)
            return path

        queries = folder / "queries.npy"
        fusemix("embed", given.run, "--tower", given.tower, "--data", given.data, "--out", queries)
        queries = numpy.load(queries)
        queries = numpy.ascontiguousarray(queries[numpy.isfinite(queries).all(axis=1)][:QUERIES])
        exact = list(npy_search(file("npy", ".npy"), queries))

        parquet = file("parquet", ".parquet")
        stores = {
            "duckdb": lambda: duckdb_search(parquet, queries),
            "pyarrow": lambda: pyarrow_search(parquet, queries),
            "lancedb": lambda: lancedb_search(file("lancedb", ".parquet"), queries, folder),
            "faiss": lambda: faiss_search(file("faiss", ".index"), queries),
            "clip-retrieval": lambda: clip_search(file("clip-retrieval", "", "--modality", given.kind), queries, given.kind),
            "jsonl": lambda: jsonl_search(file("jsonl", ".jsonl"), queries),
            "pgvector": lambda: pgvector_search(file("pgvector", ".sql"), queries, folder),
            "qdrant": lambda: qdrant_search(export, queries),
        }
        differs = False
        for name, search in stores.items():
            apart, worst = 0, 0.0
            for found, expected in zip(search(), exact, strict=True):
                of = dict(expected)
                scores = numpy.array([score for _, score in found]), numpy.array([score for _, score in expected])
                off = float(numpy.abs(scores[0] - scores[1]).max())
                # A tie at the end may bring in another item.
                strange = [score for key, score in found if key not in of and score > expected[-1][1] + 1e-5]
                worst, apart = max(worst, off), apart + (off > 1e-5 or bool(strange) or len(found) != len(expected))
            differs |= apart > 0
            print(f"{name}: the {TOP} nearest of {len(exact)} queries, {apart} differ, scores within {worst:.1e}")
    sys.exit(differs)


if __name__ == "__main__":
    main()
