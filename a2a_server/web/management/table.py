"""What a row of the table of routes says: all that the server needs to answer it, and the document to describe it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from a2a_server.errors import InvalidParams
from a2a_server.model.management import Asked
from a2a_server.model.objects import JsonObject, Scope
from a2a_server.values import value_class

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
MERGE: Final = "application/merge-patch+json"
LINES: Final = frozenset({"application/jsonl", "application/x-ndjson"})
"""One JSON object a line."""

QueryT = TypeVar("QueryT")
BodyT = TypeVar("BodyT")


class Query(Asked):
    """Parameters of a query string. Tuples may be given more than once, everything else once."""


class Body(Asked):
    """A JSON object that comes in."""


class NoQuery(Query):
    """Of a route that takes no parameters."""


@value_class(frozen=True, slots=True)
class Call(Generic[QueryT, BodyT]):
    """One request for a route, checked.

    path: the variables of its path by name, decoded. query, body: what the route's models made of them; body is None
    where the route takes none, or a patch. given: the body's members as they came. revisions: those that If-Match
    names, None = any will do. broken: what is wrong with JSON lines that are no JSON, by their places; they are null.
    """

    scope: Scope
    path: Mapping[str, str]
    query: QueryT
    body: BodyT
    given: JsonObject
    revisions: frozenset[int] | None
    request: Request
    broken: Mapping[int, InvalidParams] = field(default_factory=dict)


@value_class(frozen=True, slots=True)
class Reply:
    """What a handler answers: `content` is sent without its members that are None. status: None = the route's.

    revision: of the thing that is answered with, sent as its ETag.
    """

    content: BaseModel | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    revision: int | None = None


Handler: TypeAlias = Callable[[Call[Any, Any]], Awaitable[Reply | Response]]
"""Answers a call. Raises ClientError, which `problems` gives a status, and StoreUnavailable."""


@value_class(frozen=True, slots=True)
class Route:
    """A row of the table.

    method: GET, POST, PUT, PATCH or DELETE. path: below `/api/v1`, variables in braces, each a whole segment.
    operation: its unique name, camelCase. summary: one sentence. handler: what answers.
    query, body: what it takes. body_optional: a request without a body counts as `{}`. lines: the member of the body,
    an array, that a body of JSON lines fills ('' = lines are not taken). merge: the body is a merge patch, and may say
    so; what it makes of the thing is for the handler to check. result: what it answers with (None = nothing, or
    `media_type` is no JSON). status: of success; also: other ones of success, each with what is answered then. errors:
    which it can end with beside those that any request can. revised: its thing has a revision, which is its ETag:
    If-Match is heeded, and If-None-Match by GET. result_lines: whether who prefers JSON lines gets these, with the next
    page as a link.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    operation: str
    summary: str
    handler: Handler
    tag: str
    query: type[BaseModel] = NoQuery
    body: type[BaseModel] | None = None
    body_optional: bool = False
    lines: str = ""
    merge: bool = False
    result: type[BaseModel] | None = None
    status: int = 200
    also: Mapping[int, type[BaseModel] | None] = field(default_factory=dict)
    errors: tuple[int, ...] = ()
    revised: bool = False
    media_type: str = JSON
    result_lines: bool = False

    @property
    def segments(self) -> tuple[str, ...]:
        """Of its path; variables in their braces."""
        return tuple(self.path.split("/")[1:]) if self.path else ()

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the variables of its path."""
        return tuple(one[1:-1] for one in self.segments if one.startswith("{"))

    @property
    def media_types(self) -> frozenset[str]:
        """What its body may be."""
        return frozenset({JSON, *(LINES if self.lines else ()), *((MERGE,) if self.merge else ())})
