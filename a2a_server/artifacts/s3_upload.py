"""One object on its way into a bucket: a single request if it fits into one part, else a multipart upload."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any, Final, Protocol, TypeVar

from a2a_server.artifacts.s3_bucket import Bucket
from a2a_server.errors import StoreUnavailable

PART_BYTES: Final = 8 << 20
MAX_PARTS: Final = 10_000
"""S3 takes no more of one object."""
PARTS_AT_ONCE: Final = 2
"""Parts of an object that are in memory, whether they are sent or filled."""

T = TypeVar("T")


class Starts(Protocol):
    """Begins to run a function in a thread."""

    def __call__(self, function: Callable[..., T], /, *args: object) -> asyncio.Future[T]:
        """What it will return."""
        ...


class Upload:
    """An object `name` that is given part by part, each full but the last. Its methods are called one after another.

    `abandon` may be called at any time, and more than once; whatever was begun is forgotten by the service then.
    """

    def __init__(self, bucket: Bucket, start: Starts, name: str, media_type: str) -> None:
        self._bucket = bucket
        self._start = start
        self._name = name
        self._media_type = media_type
        self._hash = hashlib.sha256()
        self._begun: asyncio.Future[str] | None = None
        self._sending: set[asyncio.Future[Any]] = set()
        self._parts: list[asyncio.Future[dict[str, Any]]] = []
        self._abandoned = False

    @property
    def sha256(self) -> str:
        """Of all that was given."""
        return self._hash.hexdigest()

    async def add(self, part: BytesIO) -> None:
        """Send a part that others follow; waits until there is room for the next one. Raises StoreUnavailable."""
        await self._send(part)
        while len(self._sending) >= PARTS_AT_ONCE:
            await self._sent(asyncio.FIRST_COMPLETED)

    async def finish(self, part: BytesIO) -> bool:
        """Send the last part and make the object of all. False = there is one of this name. Raises StoreUnavailable."""
        if self._begun is None:
            await self._prepare(part)
            return await self._done(self._start(self._bucket.put, self._name, part, self._media_type, self.sha256))
        await self._send(part)
        while self._sending:
            await self._sent(asyncio.ALL_COMPLETED)
        parts = [part.result() for part in self._parts]
        return await self._done(self._start(self._bucket.complete, self._name, self._begun.result(), parts))

    async def abandon(self) -> None:
        """Wait for what is on its way, and have all of it forgotten."""
        if self._abandoned:
            return
        self._abandoned = True
        if self._sending:
            await asyncio.wait(self._sending)
        for future in (*self._parts, *self._sending):
            future.exception()  # heard, so that asyncio does not tell of it
        if self._begun is not None and self._begun.exception() is None:
            with suppress(StoreUnavailable):  # then it is aborted as a stale one
                await self._start(self._bucket.abort, self._name, self._begun.result())

    async def _send(self, part: BytesIO) -> None:
        await self._prepare(part)
        if self._begun is None:
            self._begun = self._start(self._bucket.begin, self._name, self._media_type)
            await self._done(self._begun)
        number = len(self._parts) + 1
        sent = self._start(self._bucket.part, self._name, self._begun.result(), number, part)
        self._parts.append(sent)
        self._sending.add(sent)

    async def _prepare(self, part: BytesIO) -> None:
        part.seek(0)
        await self._done(self._start(self._read, part))

    def _read(self, part: BytesIO) -> None:
        with part.getbuffer() as view:
            self._hash.update(view)

    async def _sent(self, until: str) -> None:
        done, self._sending = await asyncio.wait(self._sending, return_when=until)
        for part in done:
            part.result()
        self._check()

    async def _done(self, future: asyncio.Future[T]) -> T:
        """What comes of it; it stays among what is on its way when the caller is canceled meanwhile."""
        self._sending.add(future)
        await asyncio.wait((future,))
        self._sending.discard(future)
        self._check()
        return future.result()

    def _check(self) -> None:
        if self._abandoned:
            raise StoreUnavailable("the artifact store is closed")
