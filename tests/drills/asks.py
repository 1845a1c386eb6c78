"""Good requests for every method of every generation, with as many members as each takes, and the tasks they name."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx2

from a2a_server.wire.operations import Operation
from tests.drills.server import ServerFailure
from tests.server.asked import METHODS

Json: TypeAlias = dict[str, Any]

OPTIONS_URI = "urn:a2a-task-server:task-options:v1"
RESULT = 0
"""Stands among error codes for an answer that is none."""
_FEW, _MANY = 2, 12


@dataclass
class Tasks:
    """Tasks of one generation that stand on the server: ended ones, and working ones to be canceled or followed."""

    done: list[str] = field(default_factory=list)
    working: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Ask:
    """One good request. expected: the error codes, or `RESULT`, that may answer it as it is. name: of this kind."""

    generation: str
    operation: Operation
    name: str
    params: Json | None
    expected: frozenset[int]

    @property
    def method(self) -> str:
        """As the generation spells it."""
        return METHODS[self.generation][self.operation]

    @property
    def streams(self) -> bool:
        """Whether the answer may be a stream."""
        return self.operation.streams

    def request(self, id: str) -> Json:
        """The JSON-RPC request."""
        plain = {"jsonrpc": "2.0", "id": id, "method": self.method}
        return plain if self.params is None else {**plain, "params": self.params}


class Asker:
    """Makes good requests against one server. http: sends what has to stand there first."""

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self.tasks: dict[str, Tasks] = {}
        self._http = http
        self._url = url

    async def prepare(self) -> None:
        """Tasks of every generation stand on the server. Raises ServerFailure."""
        for generation in METHODS:
            self.tasks[generation] = Tasks()
            for number in range(_FEW):
                self.tasks[generation].done.append(await self._send(generation, "echo done", f"done-{number}"))
            for number in range(_MANY):
                await self.replace(generation, "", f"working-{number}")

    async def replace(self, generation: str, task: str, new: str) -> None:
        """Another working task stands in the place of one that was canceled."""
        tasks = self.tasks[generation]
        if task in tasks.working:
            tasks.working.remove(task)
        tasks.working.append(await self._send(generation, "sleep 36000", new))

    def asks(self, generation: str, operation: Operation, rng: random.Random, unique: str) -> list[Ask]:
        """The kinds of good requests for one method; `unique` goes into ids that clients make."""
        tasks = self.tasks[generation]
        done, working = rng.choice(tasks.done), rng.choice(tasks.working)
        return [
            Ask(generation, operation, name, params, frozenset(expected))
            for name, params, expected in _KINDS[operation](generation, done, working, unique)
        ]

    async def _send(self, generation: str, text: str, unique: str) -> str:
        params = said(generation, unique, part(generation, text))
        params["metadata"] = {OPTIONS_URI: {"returnImmediately": text.startswith("sleep")}}
        request = {"jsonrpc": "2.0", "id": 1, "method": METHODS[generation][Operation.SEND], "params": params}
        answer: Json = (await self._http.post(self._url, json=request)).json()
        if "result" not in answer:
            raise ServerFailure(f"{generation}: a good send was answered with {answer}")
        result = answer["result"]
        return str(result["task"]["id"] if generation == "1.0" else result["id"])


_Kind: TypeAlias = tuple[str, Json | None, set[int]]
_Kinds: TypeAlias = Callable[[str, str, str, str], Iterator[_Kind]]


def part(generation: str, text: str) -> Json:
    """A text part."""
    named = {"0.1": {"type": "text"}, "0.3": {"kind": "text"}, "1.0": {"mediaType": "text/plain", "filename": "a.txt"}}
    return {**named[generation], "text": text, "metadata": {"a": 1}}


def said(generation: str, unique: str, *parts: Json) -> Json:
    """The params of a send that opens a task."""
    if generation == "0.1":
        return {"id": unique, "message": {"role": "user", "parts": list(parts)}}
    role = "ROLE_USER" if generation == "1.0" else "user"
    return {"message": {"messageId": unique, "role": role, "parts": list(parts)}}


def _sends(generation: str, done: str, _working: str, unique: str) -> Iterator[_Kind]:
    plain = said(generation, unique, part(generation, "echo fuzz"))
    configuration = {"acceptedOutputModes": ["text/plain"], "historyLength": 2}
    if generation == "0.1":
        full = {**plain, "sessionId": f"s-{unique}", "historyLength": 2, "acceptedOutputModes": ["text"]}
    else:
        waits = {"returnImmediately": False} if generation == "1.0" else {"blocking": True}
        message = {"contextId": f"c-{unique}", "referenceTaskIds": [done], "extensions": ["urn:x"]}
        full = {"configuration": {**configuration, **waits}, "message": {**plain["message"], **message}}
    full["message"]["metadata"] = {"a": {"b": [1, None]}}
    yield "full", {**full, "metadata": {"c": [{"d": 1}]}}, {RESULT}

    options = {"skill": "workbench", "title": "Fuzz", "priority": "low", "delaySeconds": 0.01, "timeoutSeconds": 30.5}
    options |= {"maxAttempts": 2, "runAt": "2026-01-01T00:00:00Z", "deadline": "2099-01-01T00:00:00+01:00"}
    now = {OPTIONS_URI: {**options, "returnImmediately": True, "parameters": {}}}
    parts = [part(generation, "echo options"), *_other_parts(generation)]
    yield "options", {**said(generation, f"o-{unique}", *parts), "metadata": now}, {RESULT, -32602}

    more = said(generation, f"m-{unique}", part(generation, "echo more"))
    holder = more if generation == "0.1" else more["message"]
    holder["id" if generation == "0.1" else "taskId"] = done
    yield "ended", more, {-32004}


def _other_parts(generation: str) -> list[Json]:
    if generation == "1.0":
        return [{"data": {"x": [1, 2]}}, {"raw": "aGk=", "mediaType": "text/plain"}, {"url": "https://example.org/x"}]
    tag = "type" if generation == "0.1" else "kind"
    inline = {tag: "file", "file": {"name": "a", "mimeType": "text/plain", "bytes": "aGk="}}
    return [{tag: "data", "data": {"x": [1, 2]}}, inline, {tag: "file", "file": {"uri": "https://example.org/x"}}]


def _gets(_generation: str, done: str, _working: str, _unique: str) -> Iterator[_Kind]:
    yield "done", {"id": done, "historyLength": 3, "metadata": {"a": 1}}, {RESULT}
    yield "unknown", {"id": "nobody knows it", "historyLength": 0}, {-32001}


def _cancels(_generation: str, done: str, working: str, _unique: str) -> Iterator[_Kind]:
    yield "working", {"id": working, "metadata": {"a": 1}}, {RESULT, -32002}
    yield "ended", {"id": done}, {-32002}


def _subscribes(generation: str, done: str, working: str, _unique: str) -> Iterator[_Kind]:
    yield "working", {"id": working, "metadata": {"afterEvent": 0}, "historyLength": 1}, {RESULT}
    yield "replay", {"id": done, "metadata": {"afterEvent": 1}}, {RESULT}
    yield "ended", {"id": done}, {RESULT if generation == "0.1" else -32004}


def _lists(_generation: str, _done: str, _working: str, unique: str) -> Iterator[_Kind]:
    filters = {"contextId": f"c-{unique}", "status": "TASK_STATE_COMPLETED", "pageSize": 3, "pageToken": ""}
    more = {"historyLength": 1, "statusTimestampAfter": "2026-01-01T00:00:00Z", "includeArtifacts": True}
    yield "filters", {**filters, **more}, {RESULT}
    yield "all", {"pageSize": 2}, {RESULT}


def _pushes(generation: str, done: str, _working: str, _unique: str) -> Iterator[_Kind]:
    config: Json = {"url": "https://example.org/hook", "token": "k"}
    if generation == "1.0":
        config["authentication"] = {"scheme": "Bearer", "credentials": "s"}
        params = {"taskId": done, "id": "p", **config}
    else:
        config["authentication"] = {"schemes": ["Bearer"], "credentials": "s"}
        params = {"id": done, "taskId": done, "pushNotificationConfigId": "p", "pushNotificationConfig": config}
    yield "push", params, {-32003}


def _cards(generation: str, _done: str, _working: str, _unique: str) -> Iterator[_Kind]:
    yield "card", {"tenant": ""} if generation == "1.0" else None, {-32004 if generation == "1.0" else -32007}


_KINDS: Mapping[Operation, _Kinds] = {
    Operation.SEND: _sends,
    Operation.STREAM: _sends,
    Operation.GET: _gets,
    Operation.CANCEL: _cancels,
    Operation.SUBSCRIBE: _subscribes,
    Operation.LIST: _lists,
    Operation.PUSH_SET: _pushes,
    Operation.PUSH_GET: _pushes,
    Operation.PUSH_LIST: _pushes,
    Operation.PUSH_DELETE: _pushes,
    Operation.EXTENDED_CARD: _cards,
}
