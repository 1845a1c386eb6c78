"""One thing made wrong in a good request: a member dropped, renamed, given twice, given another type, or made huge.

Objects are lists of members here, so that one may come twice; a scalar may be bytes that are no JSON at all.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

Path: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Members:
    """An object."""

    pairs: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that stand where a value should."""

    text: bytes


class Mutation(NamedTuple):
    """What is done at which place: positions from the root, -1 = an object's or array's own."""

    kind: str
    path: Path


OTHERS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1e300, -0.0, 2**31, 2**53 + 1, 2**63, 2**64 - 1, "", " ", "x", "0", "null"),
    *("\0", "\x1b[31m", "\u2028", "\U0001d11e", "../../x", "'; --", "${x}", "%s%n", "urn:x", [], [None], [[]], ["x"]),
    *([{}], {}, {"x": 1}, {"": {}}, {"__proto__": {}}, {"kind": "text", "text": "x"}),
    *(Raw(text) for text in (b"NaN", b"-Infinity", b"18446744073709551616", b"-9223372036854775809", b"1" * 400)),
    *(Raw(text) for text in (b'"\\ud800"', b'"\xff"', b"[" * 70 + b"]" * 70, b"01", b"'x'", b"", b"[1,]", b'"\\x"')),
)


def tree(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Parsed JSON as it is mutated here."""
    if isinstance(value, dict):
        return Members(tuple((name, tree(inner)) for name, inner in value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(tree(inner) for inner in value)
    return value


def encode(node: Any) -> bytes:  # noqa: ANN401 - a tree
    """The tree as bytes."""
    if isinstance(node, Members):
        return b"{" + b",".join(json.dumps(name).encode() + b":" + encode(value) for name, value in node.pairs) + b"}"
    if isinstance(node, tuple):
        return b"[" + b",".join(map(encode, node)) + b"]"
    return node.text if isinstance(node, Raw) else json.dumps(node).encode()


def mutations(node: Any, at: Path = ()) -> Iterator[Mutation]:  # noqa: ANN401 - a tree
    """Every mutation of every place."""
    yield from (Mutation(kind, at) for kind in ("retype", "retype", "enlarge"))
    inner = [value for _, value in node.pairs] if isinstance(node, Members) else node if isinstance(node, tuple) else ()
    for position, value in enumerate(inner):
        here = (*at, position)
        yield from (Mutation(kind, here) for kind in ("drop", "duplicate"))
        if isinstance(node, Members):
            yield Mutation("rename", here)
        yield from mutations(value, here)


def mutated(node: Any, mutation: Mutation, rng: random.Random) -> Any:  # noqa: ANN401 - a tree
    """The tree with one mutation; the same `rng` does the same."""
    if mutation.kind in _VALUES:
        change = _VALUES[mutation.kind]
        return _replaced(node, mutation.path, lambda value: change(value, rng))
    *way, position = mutation.path
    return _replaced(node, tuple(way), lambda holder: _held(holder, position, mutation.kind, rng))


def _replaced(node: Any, path: Path, change: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - trees
    if not path:
        return change(node)
    position, *rest = path
    items = list(node.pairs if isinstance(node, Members) else node)
    if isinstance(node, Members):
        name, value = items[position]
        items[position] = (name, _replaced(value, tuple(rest), change))
        return Members(tuple(items))
    items[position] = _replaced(items[position], tuple(rest), change)
    return tuple(items)


def _held(holder: Any, position: int, kind: str, rng: random.Random) -> Any:  # noqa: ANN401 - trees
    items = list(holder.pairs if isinstance(holder, Members) else holder)
    if kind == "drop":
        del items[position]
    elif kind == "duplicate":
        twice = items[position]
        if isinstance(holder, Members) and rng.random() < 0.5:
            twice = (twice[0], tree(rng.choice(OTHERS)))
        items.insert(rng.randint(0, len(items)), twice)
    else:
        name, value = items[position]
        items[position] = (_renamed(name, rng), value)
    return Members(tuple(items)) if isinstance(holder, Members) else tuple(items)


def _renamed(name: str, rng: random.Random) -> str:
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    names = (snake, name.upper(), f"{name}s", f" {name}", name[:-1], "", "\0", "x" * 300, f"{name}\u0301")
    return rng.choice([other for other in names if other != name])


def _retyped(value: Any, rng: random.Random) -> Any:  # noqa: ANN401 - trees
    other = rng.choice([other for other in OTHERS if type(other) is not type(value)])
    return tree(other)


def _enlarged(value: Any, rng: random.Random) -> Any:  # noqa: ANN401 - trees
    if isinstance(value, str):
        return (value or "x") * rng.choice((33, 257, 1000, 20_000))
    if isinstance(value, Members):
        return Members((*value.pairs, *((f"more {n}", n) for n in range(rng.choice((50, 9_000, 10_001))))))
    if isinstance(value, tuple):
        return (*value, *((value[0] if value else 0,) * rng.choice((101, 1001, 20_000))))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return rng.choice((2**31, 2**53, 2**63 - 1, 2**63, 1e18, 1e308, -(2**31)))
    return (value,) * 300


_VALUES: dict[str, Callable[[Any, random.Random], Any]] = {"retype": _retyped, "enlarge": _enlarged}
