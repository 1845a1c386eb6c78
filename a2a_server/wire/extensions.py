"""What this server adds to A2A through metadata, the same in every generation.

In: task options and `afterEvent`. Out: event numbers, progress, and what a task's owner sees of its scheduling.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple, cast

import orjson
from pydantic import ValidationError

from a2a_server.errors import InvalidParams
from a2a_server.model.objects import (
    EVENT_URI,
    OPTIONS_URI,
    PROGRESS_URI,
    TASK_URI,
    Event,
    JsonObject,
    Progress,
    StatusEvent,
    Task,
)
from a2a_server.model.options import NO_OPTIONS, TaskOptions, spelled
from a2a_server.wire import fields
from a2a_server.wording import of_name, plain_rule

AFTER = "afterEvent"
"""Member of a request's metadata: continue behind this event, as the Last-Event-ID header says it."""

_EXACT = 2.0**53
_OPTIONS_PATH = f'metadata["{OPTIONS_URI}"]'
_OPTION_NAMES = tuple(field.alias or name for name, field in TaskOptions.model_fields.items())


class Asked(NamedTuple):
    """What a request's metadata asks of this server, and what remains of it (None = nothing)."""

    options: TaskOptions
    after: int | None
    metadata: JsonObject | None


_NOTHING_ASKED = Asked(NO_OPTIONS, None, None)


def asked(params: JsonObject) -> Asked:
    """Take the task options and `afterEvent` out of a request's `metadata`.

    Raises:
        InvalidParams: metadata is no object, an option is unknown or breaks its rule, afterEvent is not a number.
    """
    metadata = fields.optional_object(params, "metadata")
    if metadata is None:
        return _NOTHING_ASKED
    after = fields.natural(metadata, AFTER, "metadata.")
    given = metadata.get(OPTIONS_URI)
    options = NO_OPTIONS if given is None else _options(fields.members(given, _OPTIONS_PATH))
    kept = {name: value for name, value in metadata.items() if name not in {OPTIONS_URI, AFTER}}
    return Asked(options, after, kept or None)


def after_of(params: JsonObject) -> int | None:
    """`metadata.afterEvent` of a subscription.

    Raises:
        InvalidParams: metadata is no object, or afterEvent no number.
    """
    metadata = fields.optional_object(params, "metadata")
    return None if metadata is None else fields.natural(metadata, AFTER, "metadata.")


def event_metadata(event: Event) -> JsonObject:
    """An event's own metadata with its number, and with how far the run is on progress notes."""
    shown: JsonObject = {}
    if isinstance(event, StatusEvent):
        if event.status.metadata:
            shown.update(event.status.metadata)
        if event.metadata:
            shown.update(event.metadata)
        if event.progress is not None:
            shown[PROGRESS_URI] = _progress(event.progress)
    shown[EVENT_URI] = {"n": event.n}
    return shown


def snapshot_metadata(task: Task) -> JsonObject:
    """What a stream's first item says beside the snapshot: the number of the last event that it includes."""
    return {EVENT_URI: {"n": task.n}}


def task_metadata(task: Task) -> JsonObject:
    """The client's own metadata as it came, what the agent said with the status, and what only the owner sees."""
    said = task.status.metadata or {}
    shown: JsonObject = {**said, **(task.metadata or {})}
    if task.info:
        about = said.get(TASK_URI)
        shown[TASK_URI] = {**(about if isinstance(about, dict) else {}), **task.info}
    return shown


def _progress(progress: Progress) -> JsonObject:
    shown: JsonObject = {}
    if progress.fraction is not None:
        shown["progress"] = progress.fraction
    if progress.done is not None:
        shown["done"] = progress.done
    if progress.total is not None:
        shown["total"] = progress.total
    if progress.note:
        shown["note"] = progress.note
    return shown


def _options(given: JsonObject) -> TaskOptions:
    said: JsonObject = {}
    for name, value in given.items():
        if value is None and name in _OPTION_NAMES:
            continue
        # Numbers that passed through google.protobuf.Struct are doubles: 3.0 attempts are 3.
        whole = type(value) is float and value.is_integer() and abs(value) < _EXACT
        said[name] = int(cast("float", value)) if whole else value
    try:
        return TaskOptions.model_validate_json(orjson.dumps(said), strict=True)
    except ValidationError as error:
        raise _broken(error) from None


def _broken(error: ValidationError) -> InvalidParams:
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        return _unknown(name)
    loc, rule = of_name(first["loc"], _rule(name, first["msg"], first["type"]))
    *place, last = [fields.shown(step) if isinstance(step, str) else step for step in loc] or [""]
    path = f"{_OPTIONS_PATH}.{spelled([*place, last])}"
    if first["type"] == "extra_forbidden":
        return fields.wrong(path, f"is nothing that {place[-1]} has")
    return fields.wrong(path, rule)


def _unknown(name: str) -> InvalidParams:
    shown = fields.shown(name)
    near = get_close_matches(_plain(shown), _PLAIN_NAMES, n=1)
    hint = f"did you mean {_PLAIN_NAMES[near[0]]}?" if near else f"known options: {', '.join(_OPTION_NAMES)}"
    return fields.wrong(f"{_OPTIONS_PATH}.{shown}", f"is not an option of this server; {hint}")


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _rule(name: str, text: str, kind: str) -> str:
    if name == "priority":
        return "must be critical, high, normal, low, backlog, or 1 to 5"
    if kind.startswith("datetime") or kind == "timezone_aware":
        return "must be a moment in RFC 3339 with a time zone, such as 2026-05-28T10:00:00Z"
    return plain_rule(text)


_PLAIN_NAMES = {_plain(name): name for name in _OPTION_NAMES}
