"""Good requests of serve_storm.py, each with the answer that is right."""
import asyncio
import pathlib
import random

import numpy as np

from storm.host import CLOSE
from storm.wire import Wire, Wrong, form, request, uri

QUERIES = 24


def same_hits(answer, right):
    """Refuses an answer of /search with other items; those of one score may change places."""
    found, right = ({result["gallery"]: result["found"] for result in one["results"]} for one in (answer, right))
    if found.keys() != right.keys():
        raise Wrong(f"other galleries: {list(found)}")
    for name, hits in found.items():
        scores = {hit["id"]: hit["score"] for hit in right[name]}
        last = min(scores.values(), default=0.0)
        if len(hits) != len(right[name]):
            raise Wrong(f"{len(hits)} items of {name}, and right are {len(right[name])}")
        for hit, place in zip(hits, right[name]):
            if abs(hit["score"] - place["score"]) > CLOSE or abs(scores.get(hit["id"], last) - hit["score"]) > CLOSE:
                raise Wrong(f"rank {hit['rank']} of {name} is {hit['id']} ({hit['score']}), and right is {place['id']} ({place['score']})")


class Client:
    """A client that sends good requests on a connection that stays open."""

    def __init__(self, host, name):
        self.host, self.name, self.wire, self.busy, self.number = host, name, None, 0, 0
        # The numbers of its items by gallery and id, and what they become by a change that is not yet acknowledged.
        self.own, self.pending = {"words": {}, "pictures": {}}, {}

    async def send(self, data):
        """The answer, once there is one other than 429."""
        while True:
            if self.wire is None:
                self.wire = await Wire.open(self.host.port)
            answer = await asyncio.wait_for(self.wire.ask(data), self.host.longest)
            if answer is None:
                raise Wrong("the connection was ended")
            if answer.headers.get("connection") == "close":
                self.wire.close()
                self.wire = None
            if answer.status != 429:
                return answer
            self.busy += 1
            await asyncio.sleep(random.uniform(0.1, 1.0))

    async def post(self, path, body, *kind):
        answer = await self.send(request("POST", path, body, *kind))
        if answer.status != 200:
            raise Wrong(f"{path}: {answer}")
        return answer.json()

    async def get(self, path):
        answer = await self.send(request("GET", path))
        if answer.status != 200:
            raise Wrong(f"{path}: {answer}")
        return answer

    def some(self, modality, most=1):
        return random.sample(self.host.items[modality], random.randint(1, most))

    async def text(self):
        (text, vector), = self.some("text")
        self.host.same_vectors(await self.send(self.host.embed_text(text)), [vector])

    async def texts(self):
        chosen = self.some("text", 8)
        body = {"model": "run/text", "input": [text for text, _ in chosen], "encoding_format": random.choice(["base64", "float"])}
        self.host.same_vectors(await self.send(request("POST", "/v1/embeddings", body)), [vector for _, vector in chosen])

    async def picture(self):
        chosen = self.some("image", 3)
        body = {"input": [uri(content, "image") for content, _ in chosen], "modality": "image"}
        self.host.same_vectors(await self.send(request("POST", "/v1/embeddings", body)), [vector for _, vector in chosen])

    async def form(self):
        (content, vector), = self.some("image")
        data = request("POST", "/v1/embeddings", *form([("model", None, "text/plain", b"run"), ("file", "a.png", "image/png", content)]))
        self.host.same_vectors(await self.send(data), [vector])

    async def sound(self):
        (content, vector), = self.some("audio")
        data = request("POST", "/v1/embeddings", {"input": [{"audio": uri(content, "audio")}]})
        self.host.same_vectors(await self.send(data), [vector])

    async def mixed(self):
        (text, of_text), (content, of_image) = self.some("text") + self.some("image")
        data = request("POST", "/v1/embeddings", {"input": [{"image": uri(content, "image")}, {"text": text}]})
        self.host.same_vectors(await self.send(data), [of_image, of_text])

    async def cohere(self):
        chosen = self.some("text", 4)
        body = {"model": "run", "texts": [text for text, _ in chosen], "input_type": "search_query", "embedding_types": ["float"]}
        answer = await self.post("/v2/embed", body)
        self.host.same([np.array(row) for row in answer["embeddings"]["float"]], [vector for _, vector in chosen])

    async def search(self):
        body, right = random.choice(self.host.searches)
        same_hits(await self.post("/search", body), right)

    async def look(self):
        path, right = random.choice(self.host.pages)
        if (await self.get(path)).body != right:
            raise Wrong(f"{path} is another one")

    async def metrics(self):
        if b"fusemix_requests_total" not in (await self.get("/metrics")).body:
            raise Wrong("/metrics has no count of requests")

    async def change(self, gallery, becomes, data):
        """Changes items, and returns what is acknowledged."""
        self.pending = {(gallery, name): number for name, number in becomes.items()}
        answer = await self.send(data)
        if answer.status != 200:
            raise Wrong(f"a change of {gallery}: {answer}")
        self.pending = {}
        return answer.json()

    async def add(self, gallery):
        """Adds items, or puts others into their places, and finds each as its twin of the beginning is found."""
        own, items, twins = self.own[gallery], [], {}
        for _ in range(random.randint(1, 3)):
            number = random.randrange(len(self.host.rows))
            self.number += 1
            name = random.choice(list(own)) if own and random.random() < 0.3 else f"{self.name}-{self.number}"
            if name in twins:
                continue
            twins[name] = number
            content = {"text": self.host.rows[number]["caption"]} if gallery == "words" else {
                "image": uri(self.host.files["image"][number], "image"), "url": f"https://pictures.example/{number}"}
            items.append({"id": name, "metadata": {"number": number}} | content)
        answer = await self.change(gallery, twins, request("POST", "/items", {"gallery": gallery, "items": items}))
        replaced = len(own.keys() & twins.keys())
        if answer != {"new": len(items) - replaced, "replaced": replaced}:
            raise Wrong(f"{answer} for {len(items)} items, {replaced} of them again")
        own |= twins
        await self.find(gallery, *random.choice(list(twins.items())))

    async def find(self, gallery, name, number):
        query = random.choice(self.host.rows)["caption"]
        body = {"text": query, "to": [gallery], "k": 2, "where": f"id = '{name}' or id = 'base-{number}'"}
        found = (await self.post("/search", body))["results"][0]["found"]
        hits = {hit["id"]: hit for hit in found}
        row = self.host.rows[number]
        item = row["caption"] if gallery == "words" else f"https://pictures.example/{number}"
        if hits.keys() != {name, f"base-{number}"} or abs(found[0]["score"] - found[1]["score"]) > CLOSE:
            raise Wrong(f"{name} of {gallery} beside its twin base-{number}: {found}")
        if (hits[name]["item"], hits[name]["metadata"]["number"]) != (item, number):
            raise Wrong(f"{name} of {gallery}: {hits[name]}")

    async def remove(self, gallery):
        own = self.own[gallery]
        if not own:
            return await self.add(gallery)
        name = random.choice(list(own))
        answer = await self.change(gallery, {name: None}, request("DELETE", f"/items/{name}?gallery={gallery}"))
        if answer != {"removed": 1}:
            raise Wrong(f"to remove {name}: {answer}")
        del own[name]
        found = await self.post("/search", {"text": "a dog", "to": [gallery], "where": f"id = '{name}'"})
        if found["results"][0]["found"]:
            raise Wrong(f"{name} was removed, and is found")

    def kinds(self):
        return {self.text: 40, self.texts: 10, self.picture: 8, self.form: 3, self.sound: 1, self.mixed: 3, self.cohere: 3, self.search: 20,
                self.look: 4, self.metrics: 1, self.of(self.add, "words"): 6, self.of(self.remove, "words"): 4,
                self.of(self.add, "pictures"): 2, self.of(self.remove, "pictures"): 2}

    def of(self, change, gallery):
        async def done():
            await change(gallery)
        done.__name__ = f"{change.__name__} {gallery}"
        return done


async def learn(host):
    """What the server answers before the storm; what `fusemix search` finds must be the same."""
    client = Client(host, "first")
    host.searches, host.pages = [], []
    asked = [("text", {"text": row["caption"]}, row["caption"]) for row in random.Random(2).sample(host.rows, QUERIES)]
    asked += [("image", {"image": uri(pathlib.Path(row["file"]).read_bytes(), "image")}, row["file"]) for row in host.rows[:QUERIES]]
    asked += [("audio", {"audio": uri(content, "audio")}, path) for content, path in zip(host.files["audio"][:6], host.sounds)]
    for tower in ("text", "image", "audio"):
        queries = [(query, word) for other, query, word in asked if other == tower]
        words = [word for _, word in queries]
        by_hand = host.run("search", "run", "--from", tower, "--gallery", "fixed", "-k", "7", *words)["queries"]
        for (query, _), found in zip(queries, by_hand, strict=True):
            body, right = query | {"to": ["fixed"], "k": 7}, {"results": [{"gallery": "fixed", "found": found["found"]}]}
            same_hits(await client.post("/search", body), right)
            host.searches.append((body, right))
    vectors = [vector.tolist() for _, vector in host.items["text"][:QUERIES]]
    bodies = [{"vector": vector, "to": ["fixed"], "k": 9} for vector in vectors]
    bodies += [{"id": f"base-{number}", "gallery": "words", "to": ["fixed"], "k": 3} for number in range(QUERIES)]
    bodies += [{"text": "a bird", "to": ["fixed"], "k": 64, "where": f"number < {number}"} for number in range(QUERIES)]
    bodies += [{"text": "a bird", "to": ["fixed", "words"], "k": 64, "where": f"id = 'base-{number}' or id = base-3"} for number in range(QUERIES)]
    host.searches += [(body, await client.post("/search", body)) for body in bodies]
    for body, right in host.searches[-2 * QUERIES:-QUERIES]:
        if sorted(hit["metadata"]["number"] for hit in right["results"][0]["found"]) != list(range(int(body["where"].split()[-1]))):
            raise Wrong(f"{body['where']}: {right}")
    paths = ["/health", "/ready", "/v1/models", "/openapi.json", "/", "/galleries/fixed/map"]
    host.pages = [(path, (await client.get(path)).body) for path in paths]
    host.pages += [(f"/galleries/fixed/content?id={row['id']}", pathlib.Path(row["file"]).read_bytes()) for row in host.rows]
