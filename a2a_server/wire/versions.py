"""Which wire serves a method: one table keyed by (method, version).

Generations tell themselves apart by the spelling of their methods (`tasks/send`, `message/send`, `SendMessage`); an
explicit `A2A-Version` must agree with it. Three methods are spelled alike in v0.1 and 0.3, with the same params;
without a version they are answered in the generation that the task was created in, and in 0.3 where that is 1.0. An
absent version is not taken for 0.3: a name that one generation alone has cannot be misunderstood, and people who try a
method by hand leave headers out.

Source: A2A 1.0.1 section 3.6 (version negotiation).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from a2a_server.errors import ClientError, MethodNotFound, VersionNotSupported
from a2a_server.model.objects import Event, Generation, JsonObject, Message, Task
from a2a_server.model.requests import CancelRequest, GetRequest, SendRequest, SubscribeRequest
from a2a_server.values import value_class
from a2a_server.wire import shared, v01, v03, v10
from a2a_server.wire.fields import shown
from a2a_server.wire.operations import Operation


class Wire(Protocol):
    """What every generation's module offers. All of it is pure.

    parse_*: params as parsed JSON (None = absent) to a request of the model; raise `InvalidParams` with the field's
    path, parse_send also `PushNotSupported`. render_*: dicts that orjson can encode; `base_url` is the server's public
    address without a slash at its end. A message in the place of a task is a direct answer; v0.1 has none (TypeError).
    render_start gives the stream items that stand for a snapshot, in order, or the one that is the direct answer.
    """

    @property
    def GENERATION(self) -> Generation: ...  # noqa: D102, N802 - a module's constant
    @property
    def METHODS(self) -> Mapping[str, Operation]: ...  # noqa: D102, N802 - a module's constant
    def parse_send(self, params: object) -> SendRequest: ...  # noqa: D102 - said above
    def parse_get(self, params: object) -> GetRequest: ...  # noqa: D102 - said above
    def parse_cancel(self, params: object) -> CancelRequest: ...  # noqa: D102 - said above
    def parse_subscribe(self, params: object) -> SubscribeRequest: ...  # noqa: D102 - said above
    def render_task(self, task: Task, base_url: str) -> JsonObject: ...  # noqa: D102 - said above
    def render_send(self, answer: Task | Message, base_url: str) -> JsonObject: ...  # noqa: D102 - said above
    def render_start(self, start: Task | Message, base_url: str) -> list[JsonObject]: ...  # noqa: D102 - said above
    def render_event(self, event: Event, task_id: str, context_id: str, base_url: str) -> JsonObject: ...  # noqa: D102 - said above
    def render_error(self, error: ClientError) -> JsonObject: ...  # noqa: D102 - said above


VERSIONS = ("1.0", "0.3", "0.1")
"""The versions that are served, the best first."""

SHARED = frozenset(v01.METHODS.keys() & v03.METHODS.keys())
"""Methods that v0.1 and 0.3 spell alike and with the same params; a request without a version could be either."""

_ALIASES: Mapping[str, str] = MappingProxyType({"0.2": "0.3"})
_RELEASE = re.compile(r"([0-9]{1,4}\.[0-9]{1,4})(\.[0-9]{1,4})?", re.ASCII)
_WIRES: Mapping[Generation, Wire] = MappingProxyType({wire.GENERATION: wire for wire in (v01, v03, v10)})


@value_class(frozen=True, slots=True)
class Route:
    """How one method of one version is served: `operation` is what it asks for, `wire` parses it and tells its errors.

    undecided: v0.1 and 0.3 both have it, and the request does not say which of them it means. The task then decides who
    answers; params and errors are the same in both.
    """

    wire: Wire
    operation: Operation
    undecided: bool = False

    def parse_get(self, params: object) -> GetRequest:
        """As the wire does it; without a generation where the task decides."""
        return shared.parse_get(params, None) if self.undecided else self.wire.parse_get(params)

    def parse_subscribe(self, params: object) -> SubscribeRequest:
        """As the wire does it; without a generation where the task decides."""
        return shared.parse_subscribe(params, None) if self.undecided else self.wire.parse_subscribe(params)

    def answering(self, created: Generation) -> Wire:
        """The wire that tells of a task which was created in `created`."""
        return wire_of(shared.answering(created)) if self.undecided else self.wire


def wire_of(generation: Generation) -> Wire:
    """The wire of a generation."""
    return _WIRES[generation]


def route(method: str, version: str | None) -> Route:
    """The route of a method.

    Args:
        method: as the request names it.
        version: `A2A-Version` as it came, from the header or the query; None or empty = not said. 0.2 is served as 0.3.

    Raises:
        VersionNotSupported: the version is not served, or does not have the method.
        MethodNotFound: no version has the method.
    """
    if (found := _ROUTES.get((method, version))) is not None:  # as nearly every request says it
        return found
    said = _major_minor(version)
    found = _ROUTES.get((method, _ALIASES.get(said, said)))
    if found is not None:
        return found
    if said and said not in {*VERSIONS, *_ALIASES}:
        served = f"{', '.join(VERSIONS[:-1])} or {VERSIONS[-1]}"
        raise VersionNotSupported(f"A2A-Version {shown(said)} is not served; send {served}")
    if (method, "") not in _ROUTES:
        raise MethodNotFound(f"Method not found: {shown(method)}")
    has = next(version for version in VERSIONS if (method, version) in _ROUTES)
    raise VersionNotSupported(f"A2A {said} has no method {shown(method)}; send A2A-Version {has} or none with it")


def _table() -> Mapping[tuple[str, str | None], Route]:
    table: dict[tuple[str, str | None], Route] = {}
    for version, wire in zip(VERSIONS, (v10, v03, v01), strict=True):
        for method, operation in wire.METHODS.items():
            table[method, version] = table[method, ""] = Route(wire, operation)
    for method in SHARED:
        table[method, ""] = Route(v03, v03.METHODS[method], undecided=True)
    return MappingProxyType(table)


_ROUTES: Mapping[tuple[str, str | None], Route] = _table()


def _major_minor(version: str | None) -> str:
    said = (version or "").strip()
    release = _RELEASE.fullmatch(said)
    return release[1] if release else said
