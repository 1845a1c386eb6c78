from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from a2a_server.codec import (
    FORMAT,
    UnknownFormatError,
    canonical,
    decode,
    decode_event,
    decode_parts,
    decode_spec,
    decode_status,
    encode,
    encode_chunk,
    encode_parts,
    encode_spec,
    encode_status,
    pack_message,
    pack_part,
    unpack_message,
    unpack_part,
)
from a2a_server.model.objects import (
    Artifact,
    ArtifactEvent,
    Data,
    File,
    Message,
    Method,
    Progress,
    Role,
    State,
    Status,
    StatusEvent,
    TaskSpec,
    Text,
    Wishes,
)
from a2a_server.model.rows import EventKind, EventRow, Key

steady = settings(max_examples=150, derandomize=True, deadline=None)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | numbers | texts
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
objects = st.dictionaries(texts, json_values, max_size=3)
metadata = st.none() | objects
hashes = st.text(string.hexdigits, min_size=64, max_size=64)
labels = {"media_type": texts, "filename": texts, "metadata": metadata}
files = st.one_of(
    st.builds(File, raw=st.binary(max_size=50), **labels),
    st.builds(File, url=texts.filter(bool), **labels),
    st.builds(File, stored=texts.filter(bool), size=st.integers(0, 2**40), sha256=hashes, **labels),
)
parts = st.one_of(st.builds(Text, texts, **labels), st.builds(Data, json_values, **labels), files)
many_parts = st.lists(parts, max_size=4).map(tuple)
ids = st.lists(texts, max_size=3).map(tuple)
messages = st.builds(
    Message,
    st.sampled_from(Role),
    many_parts,
    id=texts,
    context_id=texts,
    task_id=texts,
    reference_task_ids=ids,
    extensions=ids,
    metadata=metadata,
)
progresses = st.builds(Progress, st.none() | numbers, st.none() | numbers, st.none() | numbers, texts)
artifacts = st.builds(
    Artifact, texts, many_parts, texts, metadata, ids, ordinal=st.integers(0, 1000), closed=st.just(False)
)


def event(kind: EventKind, body: bytes) -> EventRow:
    return EventRow(Key(b"k"), 7, kind, 99, 1, None, body)


@given(parts)
@steady
def test_a_part_comes_back(part: Text | Data | File) -> None:
    assert unpack_part(decode(encode(pack_part(part)))) == part


@given(many_parts)
@steady
def test_parts_come_back(given_parts: tuple[Text | Data | File, ...]) -> None:
    assert decode_parts(encode_parts(given_parts)) == given_parts


@given(messages)
@steady
def test_a_message_comes_back(message: Message) -> None:
    assert unpack_message(decode(encode(pack_message(message)))) == message


@given(st.sampled_from(State), st.none() | messages, st.none() | progresses, metadata)
@steady
def test_a_status_comes_back(
    state: State, message: Message | None, progress: Progress | None, given_metadata: dict[str, Any] | None
) -> None:
    body = encode_status(state, message, progress, given_metadata)
    status = Status(state, 99, message, given_metadata)
    assert decode_status(body, 99) == (status, progress)
    assert decode_event(event(EventKind.STATUS, body)) == StatusEvent(7, status, progress)


@given(artifacts, st.booleans(), st.booleans())
@steady
def test_a_chunk_comes_back(artifact: Artifact, append: bool, last: bool) -> None:
    found = decode_event(event(EventKind.CHUNK, encode_chunk(artifact, append=append, last=last)))
    assert isinstance(found, ArtifactEvent)
    assert (found.n, found.at, found.append, found.last) == (7, 99, append, last)
    assert (found.artifact.name, found.artifact.parts) == (artifact.name, artifact.parts)
    assert (found.artifact.ordinal, found.artifact.description) == (artifact.ordinal, artifact.description)
    assert (found.artifact.metadata, found.artifact.extensions) == (artifact.metadata, artifact.extensions)
    assert found.artifact.closed is last


@given(st.builds(TaskSpec, numbers, texts, objects, metadata))
@steady
def test_a_specification_comes_back(spec: TaskSpec) -> None:
    assert decode_spec(encode_spec(spec)) == spec


@given(
    st.builds(
        TaskSpec,
        numbers,
        failing_code=texts,
        method=st.sampled_from(Method),
        through=texts,
        requeued=st.integers(0, 2**31),
        cut_short=st.booleans(),
    )
)
@steady
def test_where_a_task_came_from_comes_back(spec: TaskSpec) -> None:
    assert decode_spec(encode_spec(spec)) == spec


@pytest.mark.parametrize(
    "spec",
    [
        TaskSpec(parameters={"list": [1]}),
        TaskSpec(metadata={"list": [1]}),
        TaskSpec(wishes=Wishes(context={"list": [1]})),
    ],
    ids=["parameters", "metadata", "context"],
)
def test_who_changes_free_values_changes_them_for_nobody_else(spec: TaskSpec) -> None:
    body = encode_spec(spec)
    for _ in range(2):
        found = decode_spec(body)
        assert found == spec
        for free in (found.parameters, found.metadata, found.wishes.context if found.wishes else None):
            if isinstance(free, dict):
                free["list"] = []


def test_a_specification_of_before_says_nothing_of_where_its_task_came_from() -> None:
    found = decode_spec(encode({"o": 60.0, "t": "title"}))
    assert (found.title, found.method, found.through, found.failing_code) == ("title", Method.UNKNOWN, "", "")
    assert found.requeued == 0


@given(json_values)
@steady
def test_equal_values_have_equal_canonical_bytes(value: Any) -> None:  # noqa: ANN401 - JSON
    turned = {name: value[name] for name in reversed(list(value))} if isinstance(value, dict) else value
    assert canonical(turned) == canonical(value)


def test_the_first_byte_is_the_format() -> None:
    assert encode({"a": 1}) == bytes([FORMAT]) + b'{"a":1}'
    assert encode_status(State.WORKING) == b'\x01{"s":2}', "stored form: changing it needs a new format"


@pytest.mark.parametrize("body", [b"", b"\x00{}", b"\x02{}", b"{}", b"\xff"])
def test_an_unknown_format_is_refused(body: bytes) -> None:
    for reading in (decode, decode_parts, decode_spec, lambda body: decode_status(body, 0)):
        with pytest.raises(UnknownFormatError, match=f"^{body[:1].hex()}$"):
            reading(body)
    with pytest.raises(UnknownFormatError):
        decode_event(event(EventKind.STATUS, body))


@pytest.mark.parametrize("value", [object(), {"a": {1, 2}}, "\ud800", 2**64, b"bytes"], ids=repr)
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        encode(value)


def test_stored_files_carry_no_content_and_keep_their_hash() -> None:
    empty = File("a", stored="object", size=0, sha256="0" * 64)
    assert unpack_part(decode(encode(pack_part(empty)))) == empty
    assert "r" not in pack_part(empty)
    assert pack_part(File(raw=b"")) == {"r": ""}
