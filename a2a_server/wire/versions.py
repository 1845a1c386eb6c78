"""Which wire serves a method: one table keyed by (method, version).

Generations tell themselves apart by the spelling of their methods (`tasks/send`, `SendMessage`); an explicit
`A2A-Version` must agree with it. Whoever asks is answered in the wire of the method's name, whatever generation the
task was created in: who writes `tasks/get` cannot read 1.0. Methods that only 0.2 and 0.3 have are in no wire yet;
their -32601 says so. Only what 0.3 shares with v0.1 is taken under its version.

Source: A2A 1.0.1 section 3.6 (version negotiation).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from a2a_server.errors import ClientError, MethodNotFound, VersionNotSupported
from a2a_server.model.objects import Event, Generation, JsonObject, Task
from a2a_server.model.requests import CancelRequest, GetRequest, SendRequest, SubscribeRequest
from a2a_server.wire import v01, v10
from a2a_server.wire.fields import shown
from a2a_server.wire.operations import Operation


class Wire(Protocol):
    """What every generation's module offers. All of it is pure.

    parse_*: params as parsed JSON (None = absent) to a request of the model; raise `InvalidParams` with the field's
    path, parse_send also `PushNotSupported`. render_*: dicts that orjson can encode; `base_url` is the server's public
    address without a slash at its end. render_start gives the stream items that stand for a snapshot, in order.
    """

    @property
    def GENERATION(self) -> Generation: ...  # noqa: D102, N802 - a module's constant
    @property
    def METHODS(self) -> Mapping[str, Operation]: ...  # noqa: D102, N802 - a module's constant
    def parse_send(self, params: object) -> SendRequest: ...  # noqa: D102
    def parse_get(self, params: object) -> GetRequest: ...  # noqa: D102
    def parse_cancel(self, params: object) -> CancelRequest: ...  # noqa: D102
    def parse_subscribe(self, params: object) -> SubscribeRequest: ...  # noqa: D102
    def render_task(self, task: Task, base_url: str) -> JsonObject: ...  # noqa: D102
    def render_send(self, task: Task, base_url: str) -> JsonObject: ...  # noqa: D102
    def render_start(self, task: Task, base_url: str) -> list[JsonObject]: ...  # noqa: D102
    def render_event(self, event: Event, task_id: str, context_id: str, base_url: str) -> JsonObject: ...  # noqa: D102
    def render_error(self, error: ClientError) -> JsonObject: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Route:
    """How one method of one version is served: `wire` parses and answers it, `operation` is what it asks for."""

    wire: Wire
    operation: Operation


def route(method: str, version: str | None) -> Route:
    """The route of a method.

    Args:
        method: as the request names it.
        version: `A2A-Version` as it came, from the header or the query; None or empty = not said.

    Raises:
        VersionNotSupported: the version is not served, or does not have the method.
        MethodNotFound: no version that is served has the method.
    """
    said = _major_minor(version)
    found = _ROUTES.get((method, said))
    if found is not None:
        return found
    if said and said not in {*VERSIONS, _MIDDLE}:
        served = " or ".join(VERSIONS)
        raise VersionNotSupported(f"A2A-Version {shown(said)} is not served; send {served}")
    if _ONLY_MIDDLE.fullmatch(method):
        raise MethodNotFound(f"A2A 0.2–0.3 ({method}) is not served yet; use SendMessage (1.0) or tasks/send (v0.1)")
    if (method, "") not in _ROUTES:
        raise MethodNotFound(f"Method not found: {shown(method)}")
    has = next(version for version in VERSIONS if (method, version) in _ROUTES)
    raise VersionNotSupported(f"A2A {said} has no method {shown(method)}; send A2A-Version {has} or none with it")


VERSIONS = ("1.0", "0.1")
"""The versions that are served, the best first."""

SHARED = frozenset({"tasks/get", "tasks/cancel", "tasks/resubscribe"})
"""Methods that v0.1 and 0.3 spell alike and with the same params; a request without a version could be either."""

_MIDDLE = "0.3"
_ONLY_MIDDLE = re.compile(
    r"message/(send|stream)|tasks/pushNotificationConfig/(set|get|list|delete)|agent/getAuthenticatedExtendedCard"
)
_RELEASE = re.compile(r"([0-9]{1,4}\.[0-9]{1,4})(\.[0-9]{1,4})?", re.ASCII)


def _table() -> Mapping[tuple[str, str], Route]:
    table: dict[tuple[str, str], Route] = {}
    for wire, version in ((v01, "0.1"), (v10, "1.0")):
        for method, operation in wire.METHODS.items():
            table[method, version] = table[method, ""] = Route(wire, operation)
            if method in SHARED:
                table[method, _MIDDLE] = table[method, version]
    return MappingProxyType(table)


_ROUTES = _table()


def _major_minor(version: str | None) -> str:
    said = (version or "").strip()
    release = _RELEASE.fullmatch(said)
    return release[1] if release else said
