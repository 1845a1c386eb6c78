"""Lists in pages: ListTasks of A2A 1.0, and the token that says where a list goes on.

A token is a position in the list, the check of that position and of the list, in base64url: 44 characters. It needs no
secret, because a made-up one only begins elsewhere in what its caller may read anyway; the check keeps a token from
being used with other filters, or after somebody has changed it.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from types import MappingProxyType
from typing import cast

from a2a_server.errors import InvalidParams
from a2a_server.model.objects import Json, JsonObject, State, Task
from a2a_server.model.queries import TaskCursor
from a2a_server.model.requests import ListRequest
from a2a_server.model.rows import Key
from a2a_server.wire import fields, v10

MAX_PAGE = 100
"""Most tasks on a page."""
DEFAULT_PAGE = 50

_FORMAT = b"\x01"
_CHECK_BYTES = 8
_NUMBER_BYTES = 8
_TOKEN = re.compile(r"[A-Za-z0-9_-]{44}", re.ASCII)

_STATES: Mapping[str | int, State | None] = MappingProxyType(
    {
        "TASK_STATE_UNSPECIFIED": None,
        0: None,
        **{name: state for state, name in v10.STATES.items()},
        **{int(state): state for state in v10.STATES},
    }
)

_MOMENT = re.compile(
    r"(?P<local>\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,9}))?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>\d\d))",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - zones are added and taken away as numbers, which do not overflow
_EARLIEST, _LATEST = -62_135_596_800, 253_402_300_799


def parse_list(params: object) -> ListRequest:
    """A ListTasksRequest.

    States are names or numbers, as ProtoJSON has it; TASK_STATE_UNSPECIFIED, like every default value, is the same as
    an absent member.

    Raises:
        InvalidParams: a field breaks its rule. Whether the token is one of this list, `decode_token` says.

    Source: A2A 1.0.1 section 3.1.4; a2a.proto, ListTasksRequest.
    """
    request = v10.opened(params)
    return ListRequest(
        context_id=fields.identifier(request, "contextId") or None,
        state=_state(request.get("status")),
        status_from=_moment(fields.string(request, "statusTimestampAfter")),
        page_size=_page_size(request),
        token=fields.string(request, "pageToken"),
        history_length=fields.natural(request, "historyLength", most=fields.MAX_HISTORY),
        artifacts=fields.boolean(request, "includeArtifacts") or False,
    )


def render_list(tasks: Sequence[Task], next_token: str, page_size: int, total: int, base_url: str) -> JsonObject:
    """A ListTasksResponse; all its members are always there."""
    return {
        "tasks": [v10.render_task(task, base_url) for task in tasks],
        "nextPageToken": next_token,
        "pageSize": page_size,
        "totalSize": total,
    }


def encode_token(after: TaskCursor, listed: bytes) -> str:
    """The token that goes on behind `after` in the list that `listed` describes: its scope and filters."""
    position = after.status_at.to_bytes(_NUMBER_BYTES, "big", signed=True) + after.key
    return urlsafe_b64encode(_FORMAT + position + _check(position, listed)).decode()


def decode_token(token: str, listed: bytes) -> TaskCursor:
    """The cursor that `encode_token` was given for the same list.

    Raises:
        InvalidParams: it is no token, was changed, or belongs to another list.
    """
    if _TOKEN.fullmatch(token):
        packed = urlsafe_b64decode(token)
        position, check = packed[1:-_CHECK_BYTES], packed[-_CHECK_BYTES:]
        if packed[:1] == _FORMAT and check == _check(position, listed):
            status_at = int.from_bytes(position[:_NUMBER_BYTES], "big", signed=True)
            return TaskCursor(status_at, Key(position[_NUMBER_BYTES:]))
    raise fields.wrong(
        "pageToken", "must be the nextPageToken of a list with the same filters; leave it out to begin anew"
    )


def _check(position: bytes, listed: bytes) -> bytes:
    return blake2b(position + listed, digest_size=_CHECK_BYTES).digest()


def _page_size(request: JsonObject) -> int:
    try:
        size = fields.natural(request, "pageSize", most=MAX_PAGE)
    except InvalidParams:
        size = 0
    if size == 0:
        raise fields.wrong("pageSize", f"must be an integer from 1 to {MAX_PAGE}")
    return DEFAULT_PAGE if size is None else size


def _state(value: Json) -> State | None:
    if value is None:
        return None
    if type(value) in {str, int} and value in _STATES:
        return _STATES[cast("str | int", value)]
    raise fields.wrong("status", f"must be one of {', '.join(v10.STATES.values())}")


def _moment(text: str) -> int | None:
    """The first microsecond that is not before the moment; None for ''."""
    if not text:
        return None
    found = _MOMENT.fullmatch(text)
    seconds = _seconds(found) if found else None
    if found is None or seconds is None or not _EARLIEST <= seconds <= _LATEST:
        raise fields.wrong(
            "statusTimestampAfter",
            "must be a moment in RFC 3339 with a time zone and the year 0001 to 9999, such as 2026-05-28T10:00:00Z",
        )
    nanoseconds = int((found["fraction"] or "").ljust(9, "0"))
    return seconds * 1_000_000 + -(-nanoseconds // 1000)


def _seconds(moment: re.Match[str]) -> int | None:
    try:
        since = datetime.fromisoformat(moment["local"].upper()) - _EPOCH
    except ValueError:
        return None
    hours, minutes = int(moment["hours"] or 0), int(moment["minutes"] or 0)
    if hours >= 24 or minutes >= 60:  # noqa: PLR2004 - of a day and of an hour
        return None
    ahead = (60 * hours + minutes) * 60 * (-1 if moment["sign"] == "-" else 1)
    return since.days * 86_400 + since.seconds - ahead
