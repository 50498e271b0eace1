"""The cost of `isolated = true`: `fusemix encode` with the plugin in the program's process and in one of its own, in turn.

    python3 isolated_cost.py PAIRS.tsv caption --fusemix BINARY --encoder minilm

Every round runs both with an empty cache, every other round in the other order. Prints, on standard output, each way's
median of items a second, by the program's own count from the first item read to the last latent stored, the median of
the rounds' ratios of time (isolated / not), and the medians of seconds of the whole command.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time


def encode(args, plugins):
    """Items a second by the program's own count, and seconds of the whole command."""
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        done = subprocess.run([args.fusemix, "encode", "--plugins", plugins, "--cache", cache, "--data", args.table,
                               "--encoder", args.encoder, "--column", args.column, "--json"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        whole = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"`fusemix encode` ended with {done.returncode}:\n{done.stderr}")
    summary = json.loads(done.stdout)
    return summary["encoded"] / summary["seconds"], whole


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("column")
    parser.add_argument("--fusemix", required=True, help="the binary")
    parser.add_argument("--plugins", type=pathlib.Path, default=pathlib.Path("plugins.toml"))
    parser.add_argument("--encoder", required=True, help="its name in plugins.toml")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()

    text = args.plugins.read_text()
    # Beside the original, as its paths start from its folder.
    with tempfile.NamedTemporaryFile("w", dir=args.plugins.parent, prefix=".isolated-", suffix=".toml") as isolated:
        isolated.write(text.replace("[[plugin]]", "[[plugin]]\nisolated = true"))
        isolated.flush()
        ways = {"here": args.plugins, "isolated": isolated.name}
        rounds = []
        for number in range(args.rounds):
            order = list(ways) if number % 2 == 0 else list(reversed(ways))
            rounds.append({way: encode(args, ways[way]) for way in order})
    median = lambda of: statistics.median(map(of, rounds))
    print(json.dumps({
        "items_a_second": {way: round(median(lambda row: row[way][0]), 1) for way in ways},
        "ratio_of_time": round(median(lambda row: row["here"][0] / row["isolated"][0]), 4),
        "seconds_of_command": {way: round(median(lambda row: row[way][1]), 2) for way in ways},
    }))


if __name__ == "__main__":
    main()
