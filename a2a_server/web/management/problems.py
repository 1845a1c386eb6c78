"""What requests of the management API are refused with: the status of each error, and the fields at fault.

What is refused as one of many is told with its item, in one form everywhere: `ProblemShown`.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

from a2a_server.errors import (
    Changed,
    ClientError,
    ContentTypeNotSupported,
    InvalidParams,
    NothingThere,
    Overloaded,
    TaskNotCancelable,
    TaskNotFound,
    UnsupportedOperation,
)
from a2a_server.model.objects import OPTIONS_URI
from a2a_server.service.showing import Shown
from a2a_server.web.refusals import Detail, refusal
from a2a_server.wire.fields import shown
from a2a_server.wording import of_name, plain_rule

STATUSES: Final = MappingProxyType(
    {
        TaskNotFound: 404,
        NothingThere: 404,
        TaskNotCancelable: 409,
        UnsupportedOperation: 409,
        Changed: 412,
        ContentTypeNotSupported: 415,
        Overloaded: 503,
    }
)
"""Every other error of a client is 400."""
INVALID: Final = 400
MOST_DETAILS: Final = 20

_OPTIONS: Final = f'metadata["{OPTIONS_URI}"].'
_MOMENT: Final = "must be a moment in RFC 3339 with a time zone, such as 2026-05-28T10:00:00Z"


class Refused(Exception):
    """A request that no handler sees: its status, the text, and what is wrong with which field."""

    def __init__(self, status: int, message: str, details: Sequence[Detail] = ()) -> None:
        self.status = status
        self.message = message
        self.details = details
        super().__init__(message)


class ProblemShown(Shown):
    """Why something was not done."""

    code: int = Field(description="The HTTP status that it would have had by itself.")
    message: str
    field: str | None = None


def answer(error: ClientError | Refused) -> Response:
    """The error as a response."""
    if isinstance(error, Refused):
        return refusal(error.status, error.message, details=error.details)
    message, details = words(error)
    status = STATUSES.get(type(error), INVALID)
    headers = {"Retry-After": str(error.retry_after_seconds)} if error.retry_after_seconds else {}
    return refusal(status, message, headers, details)


def shown_as_item(error: ClientError) -> ProblemShown:
    """The error of one thing of many."""
    message, details = words(error)
    field = details[0].field if details else None
    return ProblemShown(code=STATUSES.get(type(error), INVALID), message=message, field=field)


def words(error: ClientError) -> tuple[str, tuple[Detail, ...]]:
    """The error's text and the field at fault, where task options stand by themselves and not in metadata."""
    message, path = error.message.replace(_OPTIONS, ""), error.path.replace(_OPTIONS, "")
    if not message.endswith((".", ")")):
        message += "."
    if not path:
        return message, ()
    item, _, said = message.partition(": ")
    if said and path.startswith(f"{item}."):  # of one item of many: its member says where, once
        message = f"{item}.{said}" if said.startswith(path.removeprefix(f"{item}.")) else f"{path}: {said}"
    names = message.startswith((f"{path} ", f"{path}:"))
    rule = (message.removeprefix(path).lstrip(": ") if names else message).removesuffix(".")
    if not isinstance(error, InvalidParams) or names:
        return message, (Detail(path, rule),)
    return f"{path}: {message}", (Detail(path, rule),)


def invalid(error: ValidationError, model: type[BaseModel], at: str = "") -> Refused:
    """What pydantic says of a request, in this house's words. at: the path that leads to what was validated."""
    details: dict[str, Detail] = {}
    for one in error.errors(include_url=False, include_input=False):
        loc, rule = of_name(one["loc"], _rule(one["type"], one["msg"], one["loc"], model))
        field = _path(at, loc) or "body"
        if one["type"] == "too_short" and any(wrong.startswith(f"{field}[") for wrong in details):
            continue  # it only misses those elements that were refused already
        details.setdefault(field, Detail(field, rule))
    first, *others = details.values()
    more = f" ({len(others)} more in details.)" if others else ""
    return Refused(400, f"{first.field} {first.rule}.{more}", [first, *others][:MOST_DETAILS])


def _path(at: str, steps: Sequence[str | int]) -> str:
    path = at
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{shown(step)}"
    return path.removeprefix(".")


def _rule(kind: str, text: str, steps: Sequence[str | int], model: type[BaseModel]) -> str:
    if kind == "extra_forbidden":
        return _unknown(str(steps[-1]), model) if len(steps) == 1 else "is not known here; leave it out"
    if kind.startswith("datetime") or kind == "timezone_aware":
        return _MOMENT
    if "priority" in steps:
        return "must be critical, high, normal, low, backlog, or 1 to 5"
    return plain_rule(text)


def _unknown(name: str, model: type[BaseModel]) -> str:
    names = {_plain(known): known for known in (field.alias or key for key, field in model.model_fields.items())}
    near = get_close_matches(_plain(name), names, n=1)
    if near:
        return f"is not known here (did you mean {names[near[0]]}?)"
    return f"is not known here; known are: {', '.join(names.values()) or 'none'}"


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
