"""The stored form of everything that rows keep as bytes: one format byte, then compact JSON.

Stored form is never wire form: a new generation of the protocol needs no migration. Member names are single letters,
given once, here. Raw bytes of small files are base64 inside; large ones are references to the artifact store.
Source: core.md sections 6 and 11.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from functools import lru_cache
from typing import Any, Final

import orjson

from a2a_server.model.objects import (
    Artifact,
    ArtifactEvent,
    Data,
    Event,
    File,
    JsonObject,
    Message,
    Method,
    Part,
    Progress,
    Requires,
    Role,
    State,
    Status,
    StatusEvent,
    TaskSpec,
    Text,
    Wishes,
)
from a2a_server.model.rows import EventKind, EventRow, FreshRow

FORMAT: Final = 1
_HEAD: Final = bytes([FORMAT])
_SHARED_SPECS: Final = 2048
_SHARED_BYTES: Final = 512
"""Of each at most."""


class UnknownFormatError(Exception):
    """Bytes of a format that this version does not know: written by a newer one."""


def encode(value: object) -> bytes:
    """JSON with the format byte in front. Raises TypeError for values that are not JSON."""
    return _HEAD + orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


def decode(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """What `encode` was given. Raises UnknownFormatError."""
    if body[:1] != _HEAD:
        raise UnknownFormatError(body[:1].hex())
    return orjson.loads(memoryview(body)[1:])


def canonical(value: object) -> bytes:
    """JSON with sorted members: equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def pack_part(part: Part) -> JsonObject:
    """A part as compact JSON; absent members are left out."""
    packed: JsonObject
    match part:
        case Text():
            packed = {"t": part.text}
        case Data():
            packed = {"d": part.data}
        case File(raw=None):
            packed = {"o": part.stored} if part.stored else {"u": part.url}
        case File(raw=raw):
            packed = {"r": b64encode(raw or b"").decode()}
    if isinstance(part, File) and (part.size or part.sha256):
        packed |= {"z": part.size, "h": part.sha256}
    if part.media_type:
        packed["m"] = part.media_type
    if part.filename:
        packed["f"] = part.filename
    if part.metadata is not None:
        packed["x"] = part.metadata
    return packed


def unpack_part(packed: dict[str, Any]) -> Part:
    """The part that `pack_part` packed."""
    media_type, filename, metadata = packed.get("m", ""), packed.get("f", ""), packed.get("x")
    if "t" in packed:
        return Text(packed["t"], media_type, filename, metadata)
    if "d" in packed:
        return Data(packed["d"], media_type, filename, metadata)
    return File(
        filename,
        media_type,
        raw=b64decode(packed["r"]) if "r" in packed else None,
        url=packed.get("u", ""),
        stored=packed.get("o", ""),
        size=packed.get("z", 0),
        sha256=packed.get("h", ""),
        metadata=metadata,
    )


def pack_message(message: Message) -> JsonObject:
    """A message as compact JSON."""
    packed: JsonObject = {"p": list(map(pack_part, message.parts))}
    if message.role is Role.AGENT:
        packed["a"] = True
    if message.id:
        packed["i"] = message.id
    if message.context_id:
        packed["c"] = message.context_id
    if message.task_id:
        packed["k"] = message.task_id
    if message.reference_task_ids:
        packed["f"] = list(message.reference_task_ids)
    if message.extensions:
        packed["e"] = list(message.extensions)
    if message.metadata is not None:
        packed["x"] = message.metadata
    return packed


def unpack_message(packed: dict[str, Any]) -> Message:
    """The message that `pack_message` packed."""
    return Message(
        Role.AGENT if "a" in packed else Role.USER,
        tuple(map(unpack_part, packed["p"])),
        packed.get("i", ""),
        packed.get("c", ""),
        packed.get("k", ""),
        tuple(packed.get("f", ())),
        tuple(packed.get("e", ())),
        packed.get("x"),
    )


def encode_parts(parts: tuple[Part, ...], description: str = "", metadata: JsonObject | None = None) -> bytes:
    """The parts of an artifact row, with what else its chunks said of the artifact."""
    packed: list[JsonObject] = [pack_part(part) for part in parts]
    if not description and metadata is None:
        return encode(packed)
    return encode({"p": packed, "d": description, "x": metadata})


def decode_take(body: bytes) -> tuple[tuple[Part, ...], str, JsonObject | None]:
    """The parts, the description and the metadata that `encode_parts` was given."""
    packed = decode(body)
    if isinstance(packed, dict):
        return tuple(map(unpack_part, packed["p"])), packed["d"], packed["x"]
    return tuple(map(unpack_part, packed)), "", None


def decode_parts(body: bytes) -> tuple[Part, ...]:
    """The parts that `encode_parts` was given."""
    return decode_take(body)[0]


def encode_status(
    state: State, message: Message | None = None, progress: Progress | None = None, metadata: JsonObject | None = None
) -> bytes:
    """The body of a status event, also kept on the task's row while it is the latest."""
    packed: JsonObject = {"s": state.value}
    if message is not None:
        packed["m"] = pack_message(message)
    if progress is not None:
        packed["p"] = [progress.fraction, progress.done, progress.total, progress.note]
    if metadata is not None:
        packed["x"] = metadata
    return encode(packed)


def encode_chunk(artifact: Artifact, *, append: bool, last: bool) -> bytes:
    """The body of an artifact event."""
    packed: JsonObject = {"a": artifact.ordinal, "p": [pack_part(part) for part in artifact.parts]}
    if artifact.name:
        packed["n"] = artifact.name
    if append:
        packed["c"] = True
    if last:
        packed["l"] = True
    if artifact.description:
        packed["d"] = artifact.description
    if artifact.metadata is not None:
        packed["x"] = artifact.metadata
    if artifact.extensions:
        packed["e"] = list(artifact.extensions)
    return encode(packed)


def decode_event(row: EventRow) -> Event:
    """The event that a row of the log holds."""
    if type(row) is FreshRow and (said := row.said) is not None:
        return ArtifactEvent(row.n, row.at, said.artifact, said.append, said.last)
    if row.kind is EventKind.STATUS:
        return StatusEvent(row.n, *decode_status(row.body, row.at))
    packed = decode(row.body)
    artifact = Artifact(
        name=packed.get("n", ""),
        parts=tuple(map(unpack_part, packed["p"])),
        description=packed.get("d", ""),
        metadata=packed.get("x"),
        extensions=tuple(packed.get("e", ())),
        ordinal=packed["a"],
        closed="l" in packed,
    )
    return ArtifactEvent(row.n, row.at, artifact, append="c" in packed, last="l" in packed)


def decode_status(body: bytes, at: int) -> tuple[Status, Progress | None]:
    """The status that a task's row holds, with the progress that came with it."""
    if len(body) <= _PLAIN_BYTES and (state := _PLAIN_STATES.get(body)) is not None:
        return Status(state, at), None
    packed = decode(body)
    message = unpack_message(packed["m"]) if "m" in packed else None
    progress = Progress(*packed["p"]) if "p" in packed else None
    return Status(State(packed["s"]), at, message, packed.get("x")), progress


def encode_spec(spec: TaskSpec) -> bytes:
    """What a task was asked to be."""
    packed: JsonObject = {"o": spec.timeout_seconds}
    for letter, name in _SPEC.items():
        if value := getattr(spec, name):
            packed[letter] = value
    if spec.parameters:
        packed["p"] = dict(spec.parameters)
    if spec.metadata is not None:
        packed["x"] = spec.metadata
    if spec.heard != 1:
        packed["h"] = spec.heard
    if spec.wishes is not None:
        packed["w"] = _pack_wishes(spec.wishes)
    if spec.returned:
        packed["r"] = 2 if spec.left else True
    return encode(packed)


def _pack_wishes(wishes: Wishes) -> JsonObject:
    packed: JsonObject = {}
    for letter, name in _WISHES.items():
        if value := getattr(wishes, name):
            packed[letter] = list(value) if isinstance(value, tuple) else value
    if wishes.requires is not None:
        packed["r"] = {letter: given for letter, name in _NEEDS.items() if (given := getattr(wishes.requires, name))}
    return packed


def _unpack_wishes(packed: dict[str, Any]) -> Wishes:
    given = {_WISHES[letter]: _frozen(value) for letter, value in packed.items() if letter != "r"}
    needs = packed.get("r")
    if needs is not None:
        given["requires"] = Requires(**{_NEEDS[letter]: _frozen(value) for letter, value in needs.items()})
    return Wishes(**given)


def _frozen(value: Any) -> Any:  # noqa: ANN401 - JSON
    return tuple(value) if isinstance(value, list) else value


def decode_spec(body: bytes) -> TaskSpec:
    """What `encode_spec` was given."""
    spec = _shared_spec(body) if len(body) <= _SHARED_BYTES else None
    return _unpack_spec(body) if spec is None else spec


@lru_cache(maxsize=_SHARED_SPECS)
def _shared_spec(body: bytes) -> TaskSpec | None:
    """One without free JSON, which somebody may change: every turn of its task reads it, and every reader of many."""
    spec = _unpack_spec(body)
    context = spec.wishes.context if spec.wishes is not None else None
    return None if spec.parameters or spec.metadata is not None or context is not None else spec


def shelf_scope(tenant: str, owner: str, context: str = "") -> bytes:
    """The scope of values that the tasks of an owner share, or those of one of its contexts. No task's key looks so."""
    return canonical([tenant, owner, context] if context else [tenant, owner])


def _unpack_spec(body: bytes) -> TaskSpec:
    packed = decode(body)
    return TaskSpec(
        packed["o"],
        packed.get("t", ""),
        packed.get("p", {}),
        packed.get("x"),
        packed.get("h", 1),
        "b" in packed,
        packed.get("f", ""),
        _unpack_wishes(packed["w"]) if "w" in packed else None,
        packed.get("a", 0),
        "r" in packed,
        packed.get("r") == 2,  # noqa: PLR2004 - a stored form
        packed.get("c", ""),
        Method(packed.get("m", 0)),
        packed.get("g", ""),
        packed.get("q", 0),
        "d" in packed,
    )


_SPEC: Final = {
    "t": "title",
    "b": "rolls_back",
    "f": "failing",
    "a": "starts_at",
    "c": "failing_code",
    "m": "method",
    "g": "through",
    "q": "requeued",
    "d": "cut_short",
}
_WISHES: Final = {
    "d": "description",
    "k": "kind",
    "c": "context",
    "t": "tags",
    "u": "depends_on",
    "p": "parent",
    "o": "retry_of",
    "f": "forked_from",
    "b": "batch",
    "s": "schedule",
    "m": "template",
    "a": "complete_when",
    "v": "checks",
}
_NEEDS: Final = {
    "t": "tags",
    "l": "tools",
    "a": "agents",
    "c": "cpu",
    "m": "memory_bytes",
    "s": "storage_bytes",
    "r": "resources",
    "d": "duration_seconds",
}

# Most states come without a word: such bodies are few, and are decoded once.
_PLAIN_STATES: Final = {encode_status(state): state for state in State}
_PLAIN_BYTES: Final = max(map(len, _PLAIN_STATES))
