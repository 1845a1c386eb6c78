"""Requests with one field that breaks its rule, by generation and operation: what is put where, and what is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from a2a_server.wire.operations import Operation
from tests.server.asked import OPTIONS_URI, PART

Broken: TypeAlias = tuple[str, object, str]
"""Where a value is put, the value (`...` = the member is taken away), and the field that the answer names."""

LONG = "x" * 257
NO_IDS: tuple[object, ...] = (..., None, "", LONG, "a\nb", "\0", 1, [], {})
NO_LENGTHS: tuple[object, ...] = (-1, "1", 1.5, True, [], 2**31)
NO_OBJECTS: tuple[object, ...] = ("x", 1, True, [1])
NO_NUMBERS: tuple[object, ...] = ("x", "4", -1, 1.5, True, [], 2**63)

_OPTIONS = f'metadata["{OPTIONS_URI}"]'
_OPTION_VALUES: Mapping[str, tuple[object, ...]] = {
    "skil": ("x",),
    "skill": ("nothing", 1),
    "dependsOn": ("x", 1),
    "parentTaskId": ("nothing", 1, LONG),
    "onDependencyFailure": ("ignore", 1),
    "completeWhen": ("some", 0, -1, {}, [], True),
    "tags": ("x", ["y"] * 33),
    "context": ([], "x"),
    "kind": ("hobby",),
    "description": ("x" * 10_001,),
    "uniqueKey": (LONG, 1),
    "template": ("nothing", 1),
    "requires": ([], "gpu"),
    "deadline": ("2020-01-01T00:00:00Z", "soon"),
    "maxAttempts": (0, 1e20, "3"),
    "delaySeconds": (1e300, -1),
    "timeoutSeconds": (1e20, 0),
    "title": (1e300, "a\0b"),
    "parameters": (1e300, []),
    "runAt": ("2026-01-01T00:00:00", "tomorrow"),
    "priority": ("urgent",),
    "returnImmediately": ("yes",),
}
_DEEP_VALUES: Mapping[str, tuple[object, str]] = {
    "completeWhen.child": ({"child": "all"}, "completeWhen"),
    "completeWhen.children": ({"children": "some"}, "completeWhen"),
    "completeWhen.checks": ({"checks": []}, "completeWhen"),
    "completeWhen.checks[0]": ({"checks": [1]}, "completeWhen"),
    "completeWhen.checks[1]": ({"checks": ["a", "x" * 129]}, "completeWhen"),
    "dependsOn[0]": (["x"], "dependsOn"),
    "dependsOn[1]": (["x" * 256, ""], "dependsOn"),
    "tags[0]": (["a\nb"], "tags"),
    "requires.cpu": ({"cpu": -1}, "requires"),
    "requires.gpus": ({"gpus": 1}, "requires"),
    "requires.resources.gpu": ({"resources": {"gpu": 1}}, "requires"),
    "requires.memoryBytes": ({"memoryBytes": "1G"}, "requires"),
}
OPTIONS: tuple[Broken, ...] = (
    *(("metadata", {OPTIONS_URI: {name: value}}, f"{_OPTIONS}.{path}") for path, (value, name) in _DEEP_VALUES.items()),
    *(("metadata", {OPTIONS_URI: value}, _OPTIONS) for value in ("x", [1])),
    *(
        ("metadata", {OPTIONS_URI: {name: value}}, f"{_OPTIONS}.{name}")
        for name, values in _OPTION_VALUES.items()
        for value in values
    ),
)


def of(generation: str, operation: Operation) -> Iterator[Broken]:
    """Every broken field of one method; none where params are not looked at."""
    match operation:
        case Operation.SEND | Operation.STREAM:
            yield from SENDS[generation]
            yield from _each("metadata", NO_OBJECTS)
            yield from _each("metadata.afterEvent", NO_NUMBERS)
            yield from OPTIONS
        case Operation.GET:
            yield from _each("id", NO_IDS)
            yield from _each("historyLength", NO_LENGTHS)
        case Operation.CANCEL:
            yield from _each("id", NO_IDS)
            yield from _each("metadata", NO_OBJECTS)
        case Operation.SUBSCRIBE:
            yield from _each("id", NO_IDS)
            yield from _each("metadata", NO_OBJECTS)
            yield from _each("metadata.afterEvent", NO_NUMBERS)
        case Operation.LIST:
            yield from LISTS
    if generation == "1.0" and operation in _LOOKED_AT:
        yield from _each("tenant", ("x", 1))


_LOOKED_AT = {
    Operation.SEND,
    Operation.STREAM,
    Operation.GET,
    Operation.LIST,
    Operation.CANCEL,
    Operation.SUBSCRIBE,
}


def _each(path: str, values: tuple[object, ...], named: str = "") -> tuple[Broken, ...]:
    return tuple((path, value, named or path) for value in values)


LISTS: tuple[Broken, ...] = (
    *_each("pageSize", (0, 101, -1, 1.5, "5", True, [])),
    *_each("pageToken", ("x", "A" * 44, "=" * 44, LONG, 1, [])),
    *_each("historyLength", NO_LENGTHS),
    *_each("contextId", (1, [], LONG, "a\nb")),
    *_each("status", ("WORKING", "TASK_STATE_NONE", "", 9, -1, True, [])),
    *_each("includeArtifacts", ("true", 1)),
    *_each(
        "statusTimestampAfter",
        (
            1,
            "yesterday",
            "2026-05-28",
            "2026-05-28T10:00:00",
            "2026-02-30T10:00:00Z",
            "10000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
        ),
    ),
)

_LATER_MESSAGE: tuple[Broken, ...] = (
    *_each("message", (..., None, [], "x", 1)),
    *_each("message.messageId", NO_IDS),
    *_each("message.parts", (..., None, [], "x", {})),
    *_each("message.parts.0", (None, "x", [], 1), "message.parts[0]"),
    *_each("message.taskId", (1, [], LONG, "\0")),
    *_each("message.contextId", (1, [], LONG, "a\nb")),
    *_each("message.referenceTaskIds", ("x", {})),
    *_each("message.referenceTaskIds", ([1], [LONG], [""]), "message.referenceTaskIds[0]"),
    *_each("message.extensions", ("x",)),
    *_each("message.extensions", ([1],), "message.extensions[0]"),
    *_each("message.metadata", NO_OBJECTS),
    *_each("configuration", NO_OBJECTS),
    *_each("configuration.historyLength", NO_LENGTHS),
    *_each("configuration.acceptedOutputModes", ("x",)),
    *_each("configuration.acceptedOutputModes", ([1],), "configuration.acceptedOutputModes[0]"),
)

SENDS: Mapping[str, tuple[Broken, ...]] = {
    "0.1": (
        *_each("id", NO_IDS),
        *_each("sessionId", (1, [], LONG, "a\nb")),
        *_each("historyLength", NO_LENGTHS),
        *_each("message", (..., None, [], "x", 1)),
        *_each("message.role", (..., None, "agent", "ROLE_USER", 1, [])),
        *_each("message.parts", (..., None, [], "x", {})),
        *_each("message.parts.0", (None, "x", [], 1), "message.parts[0]"),
        *_each("message.parts.0", ({}, {"text": "x"}, {"type": "video"}, {"type": 1}), "message.parts[0].type"),
        *_each("message.parts", ([PART["0.1"], {"kind": "text", "text": "x"}],), "message.parts[1].type"),
        *_each("message.parts.0.text", (..., None, 1, []), "message.parts[0].text"),
        *_each("message.parts.0", ({"type": "data"}, {"type": "data", "data": 1}), "message.parts[0].data"),
        *_each(
            "message.parts.0",
            (
                {"type": "file"},
                {"type": "file", "file": 1},
                {"type": "file", "file": {}},
                {"type": "file", "file": {"bytes": "eA==", "uri": "https://a.b"}},
            ),
            "message.parts[0].file",
        ),
        *_each("message.parts.0", ({"type": "file", "file": {"bytes": "!"}},), "message.parts[0].file.bytes"),
        *_each("message.parts.0", ({"type": "file", "file": {"uri": ""}},), "message.parts[0].file.uri"),
        *_each("message.metadata", NO_OBJECTS),
    ),
    "0.3": (
        *_LATER_MESSAGE,
        *_each("message.role", (..., None, "agent", "ROLE_USER", 1, [])),
        *_each("message.parts.0", ({}, {"text": "x"}, {"kind": "video"}, {"kind": 1}), "message.parts[0].kind"),
        *_each("message.parts", ([PART["0.3"], {"type": "text", "text": "x"}],), "message.parts[1].kind"),
        *_each("message.parts.0", ({"kind": "text"}, {"kind": "text", "text": 1}), "message.parts[0].text"),
        *_each("message.parts.0", ({"kind": "data"}, {"kind": "data", "data": 1}), "message.parts[0].data"),
        *_each(
            "message.parts.0",
            (
                {"kind": "file"},
                {"kind": "file", "file": 1},
                {"kind": "file", "file": {}},
                {"kind": "file", "file": {"bytes": "eA==", "uri": "https://a.b"}},
            ),
            "message.parts[0].file",
        ),
        *_each("message.parts.0", ({"kind": "file", "file": {"bytes": "!"}},), "message.parts[0].file.bytes"),
        *_each("message.parts.0", ({"kind": "file", "file": {"uri": ""}},), "message.parts[0].file.uri"),
        *_each("configuration.blocking", ("x", 1, [])),
    ),
    "1.0": (
        *_LATER_MESSAGE,
        *_each("message.role", (..., None, "ROLE_AGENT", "ROLE_UNSPECIFIED", "user", 1, [])),
        *_each(
            "message.parts.0",
            ({}, {"kind": "text"}, {"text": "x", "data": 1}, {"raw": "eA==", "url": "https://a.b"}),
            "message.parts[0]",
        ),
        *_each("message.parts", ([PART["1.0"], {}],), "message.parts[1]"),
        *_each("message.parts.0", ({"text": 1}, {"text": []}), "message.parts[0].text"),
        *_each("message.parts.0", ({"raw": "!"}, {"raw": 1}), "message.parts[0].raw"),
        *_each("message.parts.0", ({"url": ""}, {"url": 1}), "message.parts[0].url"),
        *_each("message.parts.0.filename", (1, "x" * 256, "a\0b"), "message.parts[0].filename"),
        *_each("message.parts.0.mediaType", (1, "x" * 256), "message.parts[0].mediaType"),
        *_each("message.parts.0.metadata", NO_OBJECTS, "message.parts[0].metadata"),
        *_each("configuration.returnImmediately", ("x", 1, [])),
    ),
}
