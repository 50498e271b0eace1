"""The report of a machine with a GPU: fusemix beside PyTorch, section by section.

    ./check --gpu BUNDLE [--only SECTION ...] [--seconds 350] [--out FOLDER] [--rehearse]

Each section is a script beside this one, run by itself under a time limit; it prints a row of JSON as soon as it has
measured one. Writes FOLDER/CARD.json and .txt (by default in BUNDLE/report) after every section, so that whoever stops it
keeps what was measured. A section that fails is a line of the report. --rehearse takes small sizes, whatever Vulkan
driver is there, and PyTorch on the CPU: it shows that all of this runs, and measures nothing.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time

import bench
import libraries
import table
import vulkan

HERE = pathlib.Path(__file__).resolve().parent
# In the order of their worth, each with the most seconds that it may take.
SECTIONS = {"twins": 70, "step": 100, "product": 80, "encode": 90, "train": 50, "large": 60}


def run(name, seconds, environment, arguments):
    """The rows of a section, and what went wrong with it, if anything did."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen([sys.executable, str(HERE / f"{name}.py"), *arguments], env=environment, stdout=out,
                                 stderr=errors, start_new_session=True, preexec_fn=bench.end_with_parent)
        try:
            code = child.wait(max(seconds, 1))
            failure = f"ended with {code}" if code else None
        except subprocess.TimeoutExpired:
            failure = f"took more than {seconds:.0f} s"
        finally:
            stop(child)
        out.seek(0)
        errors.seek(0)
        rows = [json.loads(line) for line in out if line.startswith("{") and line.endswith("}\n")]
        last = errors.read().strip().splitlines()[-12:]
    return rows, failure and "\n".join([failure, *last])


def stop(child):
    """Ends a section and what it has started."""
    try:
        os.killpg(child.pid, 9)
    except ProcessLookupError:
        pass
    child.wait()


def torch_says():
    """PyTorch's version and card, asked for in a process of its own."""
    ask = ("import json, torch; there = torch.cuda.is_available(); print(json.dumps({'torch': torch.__version__, "
           "'cuda': torch.version.cuda, 'card': torch.cuda.get_device_name() if there else None}))")
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else {"torch": None, "why": done.stderr[-500:]}


def driver():
    """What nvidia-smi says of the first card, if it is there."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.strip().splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--seconds", type=float, default=350)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--rehearse", action="store_true")
    args = parser.parse_args()
    start = time.monotonic()
    bundle = args.bundle.resolve()
    folder = args.out or bundle / "report"
    folder.mkdir(parents=True, exist_ok=True)

    environment = libraries.environment(os.environ)
    environment, adapters = vulkan.environment(bundle, environment, args.rehearse)
    environment["PYTHONPATH"] = os.pathsep.join([str(bundle / "python"), *filter(None, [environment.get("PYTHONPATH")])])
    environment |= {"PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    machine = {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "rehearsal": args.rehearse,
               "commit": (bundle / "commit").read_text().strip(), "driver": driver(), **torch_says(), **adapters,
               "cpu_cores": os.cpu_count(), "system": platform.platform()}
    report = {"machine": machine, "sections": {}}
    card = machine.get("card") or adapters.get("adapter", {}).get("name") or "none"
    stem = folder / re.sub(r"[^A-Za-z0-9]+", "-", card.lower()).strip("-")

    def write():
        report["seconds"] = round(time.monotonic() - start, 1)
        for suffix, text in {".json": json.dumps(report, indent=1) + "\n", ".txt": table.text(report)}.items():
            part = stem.with_suffix(suffix + ".part")
            try:
                part.write_text(text)
                part.replace(stem.with_suffix(suffix))
            except OSError as error:  # what is there already stays, and the sections go on
                print(f"{stem}{suffix} could not be written: {error}", file=sys.stderr)
                part.unlink(missing_ok=True)

    write()
    arguments = [str(bundle), *(["--rehearse"] if args.rehearse else [])]
    for name in [name for name in SECTIONS if name in args.only]:
        began = time.monotonic()
        left = args.seconds - (began - start) - 2
        if left < 5:
            rows, failure = [], "no time was left for it; --only or a larger --seconds gives it some"
        elif name != "encode" and "adapter" not in adapters:
            rows, failure = [], "Vulkan shows no GPU: see `tried` above; training needs one"
        else:
            rows, failure = run(name, min(SECTIONS[name], left), environment, arguments)
        report["sections"][name] = {"seconds": round(time.monotonic() - began, 1), "rows": rows, "failure": failure}
        write()
        print(f"{name}: {report['sections'][name]['seconds']} s{', ' + failure if failure else ''}", file=sys.stderr)
    print(table.text(report))
    print(f"{stem}.json and .txt hold this report", file=sys.stderr)
    return any(section["failure"] for section in report["sections"].values())


if __name__ == "__main__":
    # A section ends with this process, which so ends in order.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
