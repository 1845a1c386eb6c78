"""One server's management API (`/api/v1`): requests, lists page by page, and its stream of many tasks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote

import httpx2
from cyclopts import Parameter

from a2a_server.cli import sse
from a2a_server.cli.failures import BusyError, CommandError, UnreachableError, UsageError
from a2a_server.cli.rpc import CONNECT_SECONDS, SILENCE_SECONDS, BrokenError, Connection, Json, refuse

Query: TypeAlias = Sequence[tuple[str, str]]
Given: TypeAlias = "Json | bytes | None"
"""A body: an object, or JSON lines as they are."""

Filters: TypeAlias = Annotated[list[str] | None, Parameter(name="--filter")]
"""Filters of a command line, as `pairs` reads them."""

Source: TypeAlias = Annotated[Path, Parameter(allow_leading_hyphen=True)]
"""A file of a command line; a hyphen is stdin."""

PREFIX = "api/v1"
TRIES = 8
LONGEST_PAUSE_SECONDS = 5.0


class Admin(Connection):
    """Talks to the management API of the server at `url`; raises as `Connection` does."""

    async def request(
        self,
        method: str,
        path: str,
        query: Query = (),
        body: Given = None,
        *,
        revision: int | None = None,
        patient: bool = False,
    ) -> Json:
        """The answer; {} where there is none.

        Args:
            method: as HTTP has it.
            path: below `/api/v1`, as `under` makes it.
            query: its parameters.
            body: what is sent.
            revision: the one that the thing must have to be changed; None = any.
            patient: the answer may take long.
        """
        kind = "application/jsonl" if isinstance(body, bytes) else "application/json"
        headers = {} if body is None else {"Content-Type": kind}
        headers |= {} if revision is None else {"If-Match": f'"{revision}"'}
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        timeout = httpx2.Timeout(None if patient else SILENCE_SECONDS, connect=CONNECT_SECONDS)
        async with self.sending():
            response = await self.http.request(
                method, self._address_of(path, query), content=content, headers=headers, timeout=timeout
            )
        if not response.is_success:
            await refuse(response, self.url)
        if not response.content:
            return {}
        try:
            found = response.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise CommandError(f"{self.url} has no management API (HTTP {response.status_code}). Check --url.")
        return found

    async def events(self, query: Query, body: Given = None) -> AsyncGenerator[sse.ServerEvent, None]:
        """The events of one stream of many tasks, as long as it lasts. body: names, where they are many."""
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        more = {} if body is None else {"Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        method = "GET" if body is None else "POST"
        address = self._address_of("events", query)
        async with (
            self.sending(),
            self.http.stream(method, address, content=content, headers={**headers, **more}) as response,
        ):
            if not response.is_success:
                await refuse(response, self.url)
            reader = sse.Reader()
            async for chunk in response.aiter_bytes():
                for event in reader.feed(chunk):
                    yield event

    def _address_of(self, path: str, query: Query) -> httpx2.URL:
        below = f"/{path}" if path else ""
        return httpx2.URL(f"{str(self.below(PREFIX)).rstrip('/')}{below}", params=list(query) or None)


class Pages:
    """Reads a list page by page.

    Args:
        admin: where from.
        path: of the list.
        query: what is asked for beside the page.
        by: the parameter that the `next` of a page goes into.
        limit: how many at most; 0 = all.
        most: the largest page that may be asked for; 0 = the server says how many.
    """

    def __init__(
        self, admin: Admin, path: str, query: Query = (), *, by: str = "cursor", limit: int = 0, most: int = 0
    ) -> None:
        self.name = ""
        """The member that is the list, once a page was read."""
        self.more = False
        """Whether there are more behind those that were read."""
        self._admin = admin
        self._path = path
        self._query = query
        self._by = by
        self._limit = limit
        self._most = most

    async def items(self) -> AsyncGenerator[Json, None]:
        """The things; raises what `Admin` raises."""
        following, count = "", 0
        while True:
            query = list(self._query)
            if self._most:
                query.append(("limit", str(min(self._most, self._limit - count) if self._limit else self._most)))
            if following:
                query = [*(one for one in query if one[0] != self._by), (self._by, following)]
            page = await self._admin.request("GET", self._path, query)
            self.name = self.name or next((key for key, value in page.items() if isinstance(value, list)), "")
            found = list(page.get(self.name) or ())
            last, following = following, str(page.get("next") or "")
            self.more = bool(following) and following != last
            if self._limit and len(found) > self._limit - count:
                found, self.more = found[: self._limit - count], True
            count += len(found)
            for one in found:
                yield one
            if not self.more or (self._limit and count >= self._limit):
                return


class Many:
    """Reads the stream of many tasks to its end through broken connections.

    names: tasks by their ids; else what `query` says. cursor: where to go on.
    """

    def __init__(
        self, admin: Admin, query: Query, names: Sequence[str] = (), notice: Callable[[str], None] = lambda _: None
    ) -> None:
        self.cursor = ""
        self._admin = admin
        self._query = query
        self._names = names
        self._notice = notice

    async def items(self) -> AsyncGenerator[tuple[str, Json], None]:
        """Kinds of events with what they say; ends behind `end`. Raises what `Admin` raises."""
        failed = 0
        begun = False
        while True:
            try:
                async for event in self._open():
                    failed, begun = 0, True
                    self.cursor = event.id or self.cursor
                    yield event.event, json.loads(event.data)
                    if event.event == "end":
                        return
                reason = "the server closed the stream"
            except BrokenError as error:
                reason = str(error)
            except (UnreachableError, BusyError) as error:
                if not begun:
                    raise
                reason = str(error)
            failed += 1
            if failed > TRIES:
                raise UnreachableError(f"lost {self._admin.url}: {reason}")
            if failed == 1:
                self._notice("connection lost, trying again")
            await asyncio.sleep(min(LONGEST_PAUSE_SECONDS, 0.25 * 2 ** (failed - 1)))

    def _open(self) -> AsyncGenerator[sse.ServerEvent, None]:
        after = {"after": self.cursor} if self.cursor else {}
        if self._names:
            return self._admin.events((), {"ids": list(self._names), **after})
        return self._admin.events([*self._query, *after.items()])


def under(*steps: str) -> str:
    """A path below `/api/v1` of these segments, whatever is in them."""
    return "/".join(quote(step, safe="") for step in steps)


def pairs(filters: Sequence[str]) -> list[tuple[str, str]]:
    """Filters of the command line (`skill=echo`) as a query. Raises UsageError."""
    found = []
    for one in filters:
        name, equals, value = one.partition("=")
        if not (name and equals):
            raise UsageError(f"--filter is NAME=VALUE, such as --filter skill=echo; not {one!r}")
        found.append((name, value))
    return found


def json_of(text: str, flag: str) -> Any:  # noqa: ANN401 - JSON
    """A JSON value of the command line. Raises UsageError."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"{flag} is not JSON: {error}") from error
