"""The fuzz drill's own parts: mutations that are what they say, and a judge that lets nothing pass."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.drills.judge import CODES, Judge
from tests.drills.mutations import Mutation, encode, mutated, mutations, tree

REQUEST: dict[str, Any] = {"id": 1, "params": {"parts": [{"text": "x"}, None], "deep": {"a": {}}}}
JSON = {"content-type": "application/json"}


def rng(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeatable, not secret


def spoken(code: int, message: str = "No.") -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}).encode()


def test_a_tree_is_the_same_json() -> None:
    assert json.loads(encode(tree(REQUEST))) == REQUEST


def test_every_place_is_dropped_duplicated_retyped_and_enlarged() -> None:
    whole = tree(REQUEST)
    made = set(mutations(whole))
    places = {mutation.path for mutation in made}
    assert len(places) == 9  # the root, and whatever is in it
    for place in places - {()}:
        assert {mutation.kind for mutation in made if mutation.path == place} >= {
            "drop",
            "duplicate",
            "retype",
            "enlarge",
        }
    for mutation in made:
        for seed in range(5):
            once, again = (encode(mutated(whole, mutation, rng(seed))) for _ in range(2))
            assert once == again
            assert once != encode(whole)


def test_a_member_may_come_twice() -> None:
    twice = encode(mutated(tree({"a": 1}), Mutation("duplicate", (0,)), rng(1)))
    assert twice.count(b'"a":') == 2


GOOD = [
    (200, JSON, b'{"jsonrpc":"2.0","id":1,"result":null}'),
    (200, JSON, b"[" + spoken(-32600) + b"]"),
    (204, {}, b""),
    (503, {**JSON, "retry-after": "1"}, spoken(-32050)),
    (200, {"content-type": "text/event-stream"}, b"retry: 1\n\ndata: " + spoken(-32004) + b'\n\ndata: {"jsonrpc":"2.'),
    *((200, JSON, spoken(code)) for code in CODES),
]
BAD = [
    (500, {}, b""),
    (503, JSON, spoken(-32050)),
    (200, JSON, spoken(-32603)),
    (200, JSON, spoken(-32000)),
    (200, JSON, spoken(-32602, "")),
    (200, JSON, b'{"jsonrpc":"2.0","id":1}'),
    (200, JSON, b'{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":-32602,"message":"No."}}'),
    (200, JSON, b'{"jsonrpc":"2.0","id":1,"result":'),
    (200, {"content-type": "text/event-stream"}, b"data: " + spoken(-32603) + b"\n\n"),
    (400, {"content-type": "text/plain"}, b"Traceback (most recent call last)"),
    *(
        (200, JSON, spoken(-32602, text))
        for text in ("KeyError: 1", "no such file /usr/lib/x", "x.py", "<object object at 0x7f>", "a2a_server.wire")
    ),
]


@pytest.mark.parametrize("answer", GOOD)
def test_good_answers(answer: tuple[int, dict[str, str], bytes]) -> None:
    assert list(Judge().answered(*answer)) == []


@pytest.mark.parametrize("answer", BAD)
def test_bad_answers(answer: tuple[int, dict[str, str], bytes]) -> None:
    assert list(Judge().answered(*answer))


def test_what_was_never_seen() -> None:
    judge = Judge()
    for code in CODES:
        assert code in judge.unseen()
        assert not list(judge.answered(200, JSON, spoken(code)))
    assert judge.unseen() == []
