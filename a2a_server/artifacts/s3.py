"""The artifact store in a bucket of S3, or of anything that speaks its protocol.

Theory of operation: boto3 blocks, so each of its calls runs in a small pool of threads. An object that fits into one
part is one conditional request; a larger one is a multipart upload, of which two parts at most are in memory. Both make
the object visible at once and whole, and never in the place of another one: names are never used twice, so where one
exists already, its content is compared instead. An upload that ends early is aborted; what a kill leaves is aborted a
day later, when somebody begins to walk over all names, as the collector of unused objects does every so often.

Reading asks for a range at a time, so a slow reader holds no connection.

Weaknesses: a `put` that is canceled during its last request may leave the object; the collector removes what no row
names. An upload of more than a day is taken for what a kill left. The sha256 is kept as metadata with objects of one
part only, since metadata is given at the beginning; a larger one is read to compare it. Ranges come without checksum.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Final, ParamSpec, TypeVar

from a2a_server.artifacts.names import askable, is_name, require_name
from a2a_server.artifacts.s3_address import S3Address
from a2a_server.artifacts.s3_bucket import BATCH, Bucket
from a2a_server.artifacts.s3_upload import MAX_PARTS, PART_BYTES, Upload
from a2a_server.errors import DataRejected, ObjectMissing, StoreUnavailable, TooLarge
from a2a_server.model.queries import Stored, StoredName

THREADS: Final = 8
RANGE_BYTES: Final = 1 << 20
PIECE_BYTES: Final = 256 * 1024
STALE: Final = timedelta(days=1)
CLEANUP_SECONDS: Final = 5.0
"""How long a failed or canceled `put` waits for its upload to be aborted; that goes on if it takes longer."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class S3Artifacts:
    """An `ArtifactStore` at the `s3://` address `url` (s3_address); any number of processes may share it.

    A name is a key below the prefix; other keys there are passed over. `put` raises ValueError for a name that is not
    one of ours and DataRejected for one that has other content already; `read` finds no object of such a name, and
    `delete` passes over it.

    Args:
        url: `s3://bucket/prefix?region=…&endpoint=…&path_style=…&sse=…&kms_key=…&links=…`; credentials are found by
            boto3's own chain.
        create: Make the bucket when it is missing.
        stale: Unfinished uploads older than this are aborted; for tests.

    Raises:
        ConfigurationError: The address cannot be meant.

    Concurrency: any number of coroutines of one event loop.
    """

    def __init__(self, url: str, *, create: bool = False, stale: timedelta = STALE) -> None:
        self._address = S3Address.of(url)
        self._create = create
        self._stale = stale
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
        self._bucket: Bucket | None = None
        self._uploads: set[Upload] = set()
        self._cleanups: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._bucket = await self._start(self._opened)

    def _opened(self) -> Bucket:
        bucket = Bucket(self._address, threads=THREADS)
        try:
            bucket.open(create=self._create)
        except BaseException:
            bucket.close()
            raise
        return bucket

    async def put(self, name: str, chunks: AsyncIterable[bytes], *, limit_bytes: int, media_type: str) -> Stored:
        require_name(name)
        upload = Upload(self._ready(), self._start, name, media_type)
        self._uploads.add(upload)
        try:
            size, last = await self._receive(upload, chunks, limit_bytes)
            self._ready()
            is_new = await upload.finish(last)
            stored = Stored(name, size, upload.sha256, media_type)
            if not is_new:
                await self._compare(stored)
        except BaseException:
            await self._abandon(upload)
            raise
        finally:
            self._uploads.discard(upload)
        if not is_new:
            await self._abandon(upload)
        return stored

    async def _receive(self, upload: Upload, chunks: AsyncIterable[bytes], limit_bytes: int) -> tuple[int, BytesIO]:
        """Pass on every part that others follow. Returns the size of all, and the last part."""
        limit_bytes = min(limit_bytes, MAX_PARTS * PART_BYTES)
        size = 0
        part = BytesIO()  # what boto3 sends without a copy
        async for chunk in chunks:
            size += len(chunk)
            if size > limit_bytes:
                raise TooLarge(f"an object may have {limit_bytes} bytes")
            rest = memoryview(chunk)
            while rest:
                if part.tell() == PART_BYTES:
                    self._ready()
                    await upload.add(part)
                    part = BytesIO()
                rest = rest[part.write(rest[: PART_BYTES - part.tell()]) :]
        return size, part

    async def _compare(self, stored: Stored) -> None:
        """An object of this name exists, and is the same. Raises DataRejected, StoreUnavailable."""
        try:
            found = await self._run(self._ready().head, stored.name)
            sha256 = found.sha256
            if found.size == stored.size and not sha256:
                whole = hashlib.sha256()
                async for piece in self.read(stored.name):
                    whole.update(piece)
                sha256 = whole.hexdigest()
        except ObjectMissing as error:
            raise StoreUnavailable(f"{self._address.shown} refused an object that does not exist") from error
        if (found.size, sha256) != (stored.size, stored.sha256):
            raise DataRejected(f"the object {stored.name} exists with other content; names are never used twice")

    async def _abandon(self, upload: Upload) -> None:
        cleanup = asyncio.create_task(upload.abandon())
        self._cleanups.add(cleanup)
        cleanup.add_done_callback(self._cleanups.discard)
        await asyncio.wait((cleanup,), timeout=CLEANUP_SECONDS)

    async def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        if start < 0:
            raise ValueError("start is a count of bytes, 0 or more")
        if not is_name(name):
            raise ObjectMissing("no object has such a name")
        if end is not None and end <= start:
            await self._run(self._ready().head, name)
            return
        size = start + 1
        while start < size and (end is None or start < end):
            stop = start + RANGE_BYTES if end is None else min(end, start + RANGE_BYTES)
            data, size = await self._run(self._ready().range, name, start, stop)
            if not data:
                return
            for at in range(0, len(data), PIECE_BYTES):
                yield data[at : at + PIECE_BYTES]
            start += len(data)

    async def link(self, name: str, filename: str, media_type: str, expires_seconds: int) -> str | None:
        if not self._address.links or not is_name(name):
            return None
        return await self._run(self._ready().link, name, filename, media_type, expires_seconds)

    async def delete(self, names: Collection[str]) -> None:
        ours = [name for name in dict.fromkeys(names) if is_name(name)]
        for start in range(0, len(ours), BATCH):
            await self._run(self._ready().delete, ours[start : start + BATCH])

    async def list(self, after: str, limit: int) -> Sequence[StoredName]:
        bucket = self._ready()
        if not after:
            await self._run(bucket.abort_stale, datetime.now(UTC) - self._stale)
        found: list[StoredName] = []
        behind, more = askable(after), True
        while more and len(found) < limit:
            page, behind = await self._run(bucket.page, behind, limit - len(found))
            found += page
            more = behind != ""
        return found

    async def close(self) -> None:
        bucket, self._bucket = self._bucket, None
        for upload in self._uploads:
            self._cleanups.add(asyncio.create_task(upload.abandon()))
        if self._cleanups:
            await asyncio.wait(self._cleanups)
        await asyncio.to_thread(self._threads.shutdown)
        if bucket is not None:
            bucket.close()

    def _ready(self) -> Bucket:
        if self._bucket is None:
            raise StoreUnavailable("the artifact store is closed")
        return self._bucket

    def _start(self, function: Callable[..., Result], /, *args: object) -> asyncio.Future[Result]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    async def _run(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """What the function returns. One that is canceled ends by itself, unheard."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(*args, **kwargs))
