"""Asks a server of tests/serve through public clients: ask.py URL KEY. The run is that of `trained`."""

import math
import sys

import cohere
import openai

url, key = sys.argv[1:]


def near(one, other):
    return len(one) == len(other) == 32 and all(math.isclose(a, b, abs_tol=1e-5) for a, b in zip(one, other))


client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
assert [model.id for model in client.models.list()] == ["run", "run/left", "run/right"]
# The client asks for base64 unless told otherwise.
packed = client.embeddings.create(model="run/left", input=["w1 v1", "w2 v3"])
plain = client.embeddings.create(model="run/left", input=["w1 v1", "w2 v3"], encoding_format="float")
assert [item.index for item in plain.data] == [0, 1]
for one, other in zip(packed.data, plain.data):
    assert near(one.embedding, other.embedding)
    assert math.isclose(sum(value * value for value in one.embedding), 1, abs_tol=1e-4)
assert plain.usage.total_tokens == 0
for wrong, error in [
    ({"model": "text-embedding-3-small", "input": "w1"}, openai.NotFoundError),
    ({"model": "run/left", "input": ["w1", " "]}, openai.BadRequestError),
    ({"model": "run/left", "input": "w1", "dimensions": 3}, openai.BadRequestError),
]:
    try:
        client.embeddings.create(**wrong)
    except error as refused:
        assert refused.body["message"], refused
    else:
        raise AssertionError(f"{wrong} was answered")
try:
    openai.OpenAI(base_url=f"{url}/v1", api_key="another", max_retries=0).models.list()
except openai.AuthenticationError:
    pass
else:
    raise AssertionError("a wrong key was let in")

answer = cohere.ClientV2(api_key=key, base_url=url).embed(
    model="run/left", texts=["w1 v1", "w2 v3"], input_type="search_query", embedding_types=["float"]
)
for one, other in zip(answer.embeddings.float_, plain.data):
    assert near(one, other.embedding)
print("all answered")
