"""Files that the artifact store holds, as clients name them: found for their owner, and taken in with a message.

`Files` finds an object by its name. `OwnAddresses` turns addresses of this server into references to the objects
behind them; any other address stays as it is and is never fetched. `Inbound` makes a message fit to be stored: its own
addresses become references, and inline bytes that are too large for a row become objects. A send whose message was
taken in, and that was refused or a repeat, gives it back (`Inbound.dropped`). A message without files (`brings_files`)
needs neither. Source: core.md section 6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from a2a_server.codec import decode_parts
from a2a_server.engine.engine import Engine
from a2a_server.engine.objects import as_object
from a2a_server.engine.paging import PAGE_ROWS, state_pages, takes_of
from a2a_server.engine.references import streamed_files
from a2a_server.errors import ClientError, EngineError, InvalidParams, TooLarge
from a2a_server.lifecycle.keeping import (
    CONDEMNED,
    MARK,
    TOUCHED,
    UPLOADED,
    USE,
    Keep,
    Note,
    file_of,
    object_scope,
    user_of,
)
from a2a_server.model.objects import File, Generation, Message, Part, Scope
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.requests import SendRequest
from a2a_server.model.rows import Key, StateRow
from a2a_server.ports import TaskStore

ADDRESS: Final = "/artifacts/"
"""Path of every object's address, behind the base URL; its name follows."""
RECEIVED: Final = "in"
"""Objects of messages: `{key}/in/{part}`."""
UPLOADS: Final = "upload"
"""Objects of uploads: `{key}/upload/0`."""

_NAME: Final = re.compile(
    r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/([a-z0-9]{1,20})(?:/[0-9]{1,18}){1,2}", re.ASCII
)
# What one run, by its fence, stored of a chunk: the only objects that no row names.
_OF_A_CHUNK: Final = re.compile(r"[^/]+/files/([0-9]{1,18})/[0-9]{1,18}", re.ASCII)
_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS: Final = {"http": 80, "https": 443}


class Files:
    """Finds the files behind objects' names. Concurrency: any number of callers."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store

    async def find(self, scope: Scope, name: str) -> File | None:
        """The file as its owner knows it; None = there is none, or it is not the caller's."""
        named = _NAME.fullmatch(name)
        if named is None:
            return None
        for row in await self._marks(name):
            if row.name == UPLOADED:
                return file_of(row, scope)
        if named[2] in {RECEIVED, UPLOADS}:
            return await self._used(scope, name)
        return await self._of_task(scope, Key(UUID(named[1]).bytes), name) or await self._used(scope, name)

    async def usable(self, scope: Scope, name: str) -> File | None:
        """The file, if no collector is about to delete its object; None otherwise, and where `find` says None.

        An object that was touched before the call is there for as long as unused objects are kept.
        """
        if any(row.name.startswith(CONDEMNED) for row in await self._marks(name)):
            return None
        return await self.find(scope, name)

    async def is_used(self, name: str) -> bool:
        """Whether a message ever referred to the object."""
        page = await self._store.rows(RowQuery(Table.STATE, (object_scope(name), USE), limit=1))
        return bool(page.rows)

    async def _marks(self, name: str) -> list[StateRow]:
        page = await self._store.rows(RowQuery(Table.STATE, (object_scope(name), MARK), limit=PAGE_ROWS))
        return [row for row in page.rows if isinstance(row, StateRow)]

    async def _used(self, scope: Scope, name: str) -> File | None:
        """As a message refers to it whose task still exists. All users of an object have one owner."""
        async for uses in state_pages(self._store.rows, object_scope(name), USE):
            living = await self._store.heads([user_of(row) for row in uses])
            for row in uses:
                if user_of(row) in living:
                    return file_of(row, scope)
        return None

    async def _of_task(self, scope: Scope, key: Key, name: str) -> File | None:
        snapshot = await self._store.snapshot(key, 0, artifacts=False)
        if snapshot is None or (snapshot.task.tenant, snapshot.task.owner) != (scope.tenant, scope.owner):
            return None
        async for row in takes_of(self._store, key):
            if row.location == name and row.body:
                return next((part for part in decode_parts(row.body) if isinstance(part, File)), None)
        of_a_chunk = _OF_A_CHUNK.fullmatch(name)
        if of_a_chunk is None or int(of_a_chunk[1]) > snapshot.task.fence:
            return None
        async for file in streamed_files(self._store, key):
            if file.stored == name:
                return file
        return None


class OwnAddresses:
    """Makes addresses of this server in what is said references to objects, for messages and for agents that pull.

    base_url: where clients reach this server, without a slash at its end.
    """

    def __init__(self, engine: Engine, base_url: Callable[[], str]) -> None:
        self._engine = engine
        self._base_url = base_url
        self._files = Files(engine.backends.store)

    async def usable(self, scope: Scope, parts: Iterable[Part]) -> dict[str, File]:
        """The caller's files behind this server's own addresses in the parts, by their names; kept for a while."""
        names = {name for part in parts if (name := self._name(part)) is not None}
        found = [name for name in sorted(names) if await self._files.find(scope, name) is not None]
        if not found:
            return {}
        await self._engine.submit(Keep(tuple(Note(name, MARK, TOUCHED, {}) for name in found)))
        files = {name: await self._files.usable(scope, name) for name in found}
        return {name: file for name, file in files.items() if file is not None}

    def resolved(self, part: Part, usable: Mapping[str, File], path: str) -> Part:
        """The part as it is stored; of a part without such an address the part itself.

        Raises InvalidParams: the address, which the request has at `path`, is ours, and none of the usable ones
        (unknown and foreign look the same).
        """
        name = self._name(part)
        if not isinstance(part, File) or name is None:
            return part
        file = usable.get(name)
        if file is None:
            raise InvalidParams(
                f"{path} is an address of this server, and there is no such file, or it is not yours; upload it again.",
                path=path,
            )
        return replace(
            part,
            filename=part.filename or file.filename,
            media_type=part.media_type or file.media_type,
            url="",
            stored=name,
            size=file.size,
            sha256=file.sha256,
        )

    def _name(self, part: Part) -> str | None:
        return own_name(part.url, self._base_url()) if isinstance(part, File) else None


class Inbound:
    """Makes messages fit to be stored. base_url: where clients reach this server, without a slash at its end."""

    def __init__(self, engine: Engine, base_url: Callable[[], str]) -> None:
        self._limits = engine.limits
        self._artifacts = engine.backends.artifacts
        self._files = Files(engine.backends.store)
        self._addresses = OwnAddresses(engine, base_url)

    async def taken(self, scope: Scope, key: Key, request: SendRequest) -> SendRequest:
        """The request with its message as it is stored. Only for one that brings files (`brings_files`).

        Args:
            scope: the caller.
            key: names the objects that are made; of the task, should the send make one. Not used for any other send.
            request: what the client said.

        Raises:
            InvalidParams: a file's address is one of ours, and no file of the caller is there (unknown and foreign
                look the same); or its bytes are more than an artifact may have. Nothing is left then.
            Overloaded, StoreUnavailable: not now.
        """
        message = request.message
        usable = await self._addresses.usable(scope, message.parts)
        parts = [
            self._addresses.resolved(part, usable, _path(request.generation, place, "url"))
            for place, part in enumerate(message.parts)
        ]
        placed = replace(request, message=replace(message, parts=tuple(parts)))
        for place, part in enumerate(parts):
            try:
                parts[place] = await self._stored(key, placed, place, part)
            except (ClientError, EngineError):
                await self.dropped(key, _with(request, parts))
                raise
        return (
            request if all(new is old for new, old in zip(parts, message.parts, strict=True)) else _with(request, parts)
        )

    async def dropped(self, key: Key, request: SendRequest) -> None:
        """Delete what `taken` stored for a send that did not come to be; what a message refers to stays."""
        names = [part.stored for part in request.message.parts if isinstance(part, File) and part.stored]
        mine = [name for name in names if name.startswith(f"{UUID(bytes=key)}/{RECEIVED}/")]
        with suppress(EngineError):  # then the collector does it
            await self._artifacts.delete([name for name in mine if not await self._files.is_used(name)])

    async def _stored(self, key: Key, request: SendRequest, place: int, part: Part) -> Part:
        limits = self._limits
        if not isinstance(part, File) or part.raw is None or len(part.raw) <= limits.inline_bytes:
            return part
        name = f"{UUID(bytes=key)}/{RECEIVED}/{place}"
        try:
            return await as_object(self._artifacts, name, part, limit_bytes=limits.artifact_limit_bytes)
        except TooLarge:
            path = _path(request.generation, place, "raw")
            raise InvalidParams(
                f"{path} is larger than {limits.artifact_limit_bytes} bytes (artifact_limit_bytes).", path=path
            ) from None


def brings_files(message: Message) -> bool:
    """Whether there is anything to take in."""
    for part in message.parts:  # noqa: SIM110 - a generator costs as much as all else here
        if isinstance(part, File):
            return True
    return False


def own_name(url: str, base_url: str) -> str | None:
    """The name of the object that an address of this server stands for; None = the address is no such one."""
    if not url or len(url) > 4096:  # noqa: PLR2004 - no address of ours is longer than a few hundred characters
        return None
    try:
        said, base = urlsplit(url), urlsplit(base_url)
        path = base.path + ADDRESS if said.netloc or said.scheme else ADDRESS
        if (said.netloc or said.scheme) and _site(said) != _site(base):
            return None
    except ValueError:  # no address at all
        return None
    return said.path.removeprefix(path) if said.path.startswith(path) else None


def _site(address: SplitResult) -> tuple[object, ...]:
    host = "localhost" if address.hostname in _THIS_MACHINE else address.hostname
    return address.scheme, address.username, host, address.port or _PORTS.get(address.scheme)


def _with(request: SendRequest, parts: list[Part]) -> SendRequest:
    message: Message = replace(request.message, parts=tuple(parts))
    return replace(request, message=message)


def _path(generation: Generation, place: int, member: str) -> str:
    at = f"message.parts[{place}]"
    if generation is Generation.V10:
        return f"{at}.{member}"
    return f"{at}.file.{'uri' if member == 'url' else 'bytes'}"
