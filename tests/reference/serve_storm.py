"""A storm on `fusemix serve`: good requests of all kinds, each answer checked, beside 5 % of hostile ones; then `kill -9`.

    python3 tests/reference/serve_storm.py [--minutes 10]       from the repository; needs numpy and ./quickstart

It trains a small run of pictures, captions and sounds of the stamps, and serves it with three galleries: `fixed`, and `words` and
`pictures`, to which items come and from which they go. What each good request is to be answered is known before: embeddings and
searches from `fusemix embed` and `fusemix search`, which encode each item in a process of their own, and the rest from the server
while it has nothing else to do. Hostile requests are those of storm/hostile.py. A good request that is refused with 429 is sent again.

Each half minute it prints what was answered, and the least and the most of the server's memory, descriptors and threads. After
each minute it waits until the server has nothing to do, and notes what memory has stayed. Then it waits until the last slow
client was given up, and looks for what has stayed. Last, the server is killed again and again while items are added and removed,
and started again: what was acknowledged must be there, and what was removed must not.

Ends with 1 if an answer was wrong, an item is missing, the server ended, or memory, descriptors or threads have grown.
"""
import argparse
import asyncio
import collections
import pathlib
import random
import signal
import statistics
import sys
import tempfile
import time

from storm import hostile
from storm.client import Client, learn
from storm.host import Host
from storm.wire import Wrong


class Storm:
    def __init__(self, host):
        self.host, self.good, self.bad, self.wrong = host, collections.Counter(), collections.Counter(), []
        self.clients = [Client(host, f"client-{number}") for number in range(host.args.clients)]
        self.attacks = hostile.attacks(host)
        self.under_way, self.resident, self.seconds = set(), [], []

    def note(self, what, error):
        self.wrong.append(f"{what}: {error}")
        if len(self.wrong) <= 20:
            print(f"WRONG {what}: {error}"[:1000], flush=True)

    async def attack(self):
        name, _, run = random.choices(self.attacks, [weight for _, weight, _ in self.attacks])[0]
        try:
            self.bad[name, await run()] += 1
        except (Wrong, OSError, TimeoutError, ValueError, KeyError) as error:
            self.note(name, error if isinstance(error, Wrong) else repr(error))

    async def work(self, client, end):
        kinds = client.kinds()
        while time.monotonic() < end:
            if random.random() < self.host.args.hostile / 100:
                task = asyncio.create_task(self.attack())
                self.under_way.add(task)
                task.add_done_callback(self.under_way.discard)
            kind = random.choices(list(kinds), list(kinds.values()))[0]
            start = time.monotonic()
            try:
                await kind()
                self.good[kind.__name__] += 1
                self.seconds.append(time.monotonic() - start)
            except (Wrong, OSError, TimeoutError, ValueError, KeyError) as error:
                self.note(f"{client.name}, {kind.__name__}", error if isinstance(error, Wrong) else repr(error))
                client.wire = None
                if self.host.process.poll() is not None:
                    return
                await asyncio.sleep(0.2)

    async def watch(self, began):
        while True:
            usages = []
            for _ in range(60):
                usages.append(self.host.usage())
                await asyncio.sleep(0.5)
            rss, _, files, threads = zip(*usages)
            busy = sum(client.busy for client in self.clients)
            print(f"{time.monotonic() - began:4.0f} s  good {sum(self.good.values()):7}  wrong {len(self.wrong)}  429 {busy}  hostile "
                  f"{sum(self.bad.values()):6}, {len(self.under_way):3} under way  memory {min(rss):.0f} to {max(rss):.0f} MiB  "
                  f"descriptors {min(files)} to {max(files)}  threads {min(threads)} to {max(threads)}", flush=True)

    async def calm(self):
        """Waits until the server has nothing to do, but for clients that send nothing; false if it has ended."""
        still, before = 0, 0
        while self.host.process.poll() is None and still < 4:
            ticks = self.host.ticks()
            still, before = (still + 1 if ticks - before < 3 else 0), ticks
            await asyncio.sleep(1)
        return self.host.process.poll() is None

    async def run(self, minutes):
        first, began = self.host.usage(), time.monotonic()
        watching = asyncio.create_task(self.watch(began))
        for wave in range(1, max(1, round(minutes)) + 1):
            end = began + 60 * minutes * wave / max(1, round(minutes))
            await asyncio.gather(*[self.work(client, end) for client in self.clients])
            if not await self.calm():
                break
            self.resident.append(self.host.resident())
        for client in self.clients:
            if client.wire:
                client.wire.close()
        if self.under_way:
            await asyncio.wait(self.under_way)
        watching.cancel()
        if self.host.process.poll() is not None:
            return self.note("the server", f"ended with {self.host.process.returncode}")
        # Threads that have nothing to do end after ten seconds.
        await asyncio.sleep(20)
        last = self.host.usage()
        print(f"descriptors and threads before {first[2:]}, after {last[2:]}; memory before {first[0]:.0f} MiB, after {last[0]:.0f} MiB, at "
              f"the peak {last[1]:.0f} MiB")
        for what, before, after in zip(("descriptors", "threads"), first[2:], last[2:]):
            if after > before + 4:
                self.note(what, f"{before} before, {after} after")
        for what, sizes in zip(("own memory", "files that are mapped"), zip(*self.resident)):
            print(f"{what} at rest after each minute: {' '.join(f'{size:.0f}' for size in sizes)} MiB")
        # The first minute fills what is kept. The system takes back what is mapped of the galleries, which grow.
        kept = [own for own, _ in self.resident[1:]]
        early, late = kept[:len(kept) // 2], kept[len(kept) // 2:]
        if early and statistics.median(late) > 1.1 * statistics.median(early) + 32:
            self.note("memory", "grows")

    def report(self):
        print(f"good: {dict(self.good.most_common())}")
        half, *_, most = statistics.quantiles(self.seconds, n=100)[49:]
        print(f"seconds of one, with the waits after 429: p50 {half:.3f}, p99 {most:.3f}")
        outcomes = collections.defaultdict(collections.Counter)
        for (name, outcome), count in self.bad.items():
            outcomes[name][outcome] += count
        print(f"hostile: {sum(self.bad.values())} in {len(outcomes)} of {len(self.attacks)} ways")
        for name, counts in sorted(outcomes.items()):
            print(f"  {name}: {dict(counts)}")


def compare(host, clients, note):
    """Looks whether the galleries on disk hold the items of the beginning and those of the clients, and no others; returns how many
    changes were not acknowledged, and how many of those are there all the same."""
    pending = {key: number for client in clients for key, number in client.pending.items()}
    there = 0
    for gallery in ("words", "pictures"):
        listed = {item["id"]: item["number"] for item in host.run("gallery", "list", gallery)["items"]}
        right = {row["id"]: row["number"] for row in host.rows}
        for client in clients:
            right |= client.own[gallery]
        for name in sorted(listed.keys() | right.keys()):
            found = listed.get(name)
            if (gallery, name) in pending and found == pending[gallery, name]:
                there += 1
            elif found != right.get(name):
                note(f"gallery {gallery}", f"{name} is {found}, and right is {right.get(name)}")
        for client in clients:
            for _, name in (key for key in client.pending if key[0] == gallery):
                client.own[gallery].pop(name, None)
                if name in listed:
                    client.own[gallery][name] = listed[name]
    for client in clients:
        client.pending = {}
    return len(pending), there


async def kill(host, clients, note):
    """Kills the server while items come and go, starts it again, and looks for each."""
    async def change(client):
        """Acknowledged changes, until the server is gone."""
        for count in range(1 << 30):
            gallery = random.choice(["words", "words", "words", "pictures"])
            try:
                await (client.remove if random.random() < 0.3 else client.add)(gallery)
            except (Wrong, OSError) as error:
                if host.process.poll() is None:
                    note(client.name, error)
                client.wire = None
                return count

    for client in clients:
        client.wire = None
    changing = [asyncio.create_task(change(client)) for client in clients]
    await asyncio.sleep(random.uniform(1.0, 4.0))
    host.process.kill()
    host.process.wait()
    changes = sum(await asyncio.gather(*changing))
    host.start()
    pending, there = compare(host, clients, note)
    found = 0
    for client in clients:
        for gallery, own in client.own.items():
            for name, number in random.sample(sorted(own.items()), min(8, len(own))):
                try:
                    await client.find(gallery, name, number)
                    found += 1
                except (Wrong, OSError) as error:
                    note(f"after a kill, {client.name}", error)
    kept = sum(len(own) for client in clients for own in client.own.values())
    print(f"killed after {changes} changes: {kept} items acknowledged, {found} of them searched for; {pending} not acknowledged, {there} of "
          f"those done", flush=True)


async def storm(host, args):
    host.start()
    try:
        await learn(host)
        storm = Storm(host)
        print(f"{len(storm.attacks)} hostile ways; {len(host.searches)} searches, {len(host.texts)} texts", flush=True)
        await storm.run(args.minutes)
        storm.report()
        if host.process.poll() is None:
            compare(host, storm.clients, storm.note)
            host.process.send_signal(signal.SIGTERM)
            if code := host.process.wait():
                storm.note("the server", f"ended with {code}")
        for _ in range(args.kills):
            if host.process.poll() is not None:
                host.start()
            await kill(host, storm.clients, storm.note)
        print(f"{sum(storm.good.values())} good answers, {len(storm.wrong)} wrong")
        return storm.wrong
    finally:
        host.process.kill()
        if host.args.log:
            pathlib.Path(host.args.log).write_text(host.path("log").read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=12, help="that send good requests")
    parser.add_argument("--hostile", type=float, default=5, help="in 100 requests")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--fusemix", default="target/release/fusemix")
    parser.add_argument("--target", type=pathlib.Path, default=pathlib.Path("target"), help="with assets/ and quickstart/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", help="a file for what the server says")
    args = parser.parse_args()
    random.seed(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(1 if asyncio.run(storm(Host(pathlib.Path(folder), args), args)) else 0)


if __name__ == "__main__":
    main()
