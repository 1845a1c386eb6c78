"""What the artifact store in a database does beyond the contract: parts that nobody points to, and reads by part."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence

import pytest

from a2a_server.artifacts.store import PART_BYTES, STALE_US, StoreArtifacts
from a2a_server.errors import DataRejected, ObjectMissing, StoreUnavailable
from a2a_server.ports import Blobs, TaskStore
from tests.contracts.artifact_stores import KEY, NAME, content, names, put
from tests.patience import PATIENCE


class Watched:
    """Blobs that tell what is asked of them, and fail when they are told to."""

    def __init__(self, inner: Blobs) -> None:
        self.inner = inner
        self.asked: list[tuple[str, str, int]] = []
        self.fails = ""

    async def write(self, name: str, part: int, body: bytes) -> None:
        self._ask("write", name, part)
        assert len(body) <= PART_BYTES
        await self.inner.write(name, part, body)

    async def read(self, name: str, part: int) -> bytes | None:
        self._ask("read", name, part)
        return await self.inner.read(name, part)

    async def delete(self, names: Collection[str]) -> None:
        self._ask("delete", ",".join(names), 0)
        await self.inner.delete(names)

    async def list(self, after: str, limit: int) -> Sequence[tuple[str, bytes]]:
        self._ask("list", after, limit)
        return await self.inner.list(after, limit)

    def _ask(self, what: str, name: str, part: int) -> None:
        self.asked.append((what, name, part))
        if what == self.fails:
            raise StoreUnavailable("silent")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def blobs(store: TaskStore) -> Watched:
    inner = store.blobs()
    if inner is None:
        pytest.skip("a store without the capability `blobs`")
    return Watched(inner)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def objects(blobs: Watched, clock: Clock) -> StoreArtifacts:
    return StoreArtifacts(blobs, clock=clock)


async def entries(blobs: Watched) -> list[str]:
    return [name for name, _ in await blobs.inner.list("", 1_000)]


async def test_a_range_reads_only_its_parts(objects: StoreArtifacts, blobs: Watched) -> None:
    whole = bytes(range(251)) * 10_000
    await put(objects, NAME, whole)
    for start, end, parts in (
        (0, 1, [1]),
        (PART_BYTES - 1, PART_BYTES + 1, [1, 2]),
        (2 * PART_BYTES, None, range(3, 11)),
    ):
        blobs.asked.clear()
        assert await content(objects, NAME, start, end) == whole[start:end]
        assert [part for what, name, part in blobs.asked] == [0, *parts]


async def test_nothing_is_written_under_the_name_before_the_end(objects: StoreArtifacts, blobs: Watched) -> None:
    await put(objects, NAME, b"x" * (2 * PART_BYTES + 1))
    written = [(name == NAME, part) for what, name, part in blobs.asked if what == "write"]
    assert written == [(False, 0), (False, 1), (False, 2), (False, 3), (True, 0)]


async def test_other_content_of_a_name_is_refused(objects: StoreArtifacts, blobs: Watched) -> None:
    await put(objects, NAME, b"one")
    before = await entries(blobs)
    with pytest.raises(DataRejected, match="never used twice"):
        await put(objects, NAME, b"two")
    assert await content(objects, NAME) == b"one"
    assert await entries(blobs) == before


async def test_nothing_is_left_of_what_failed_or_was_canceled(objects: StoreArtifacts, blobs: Watched) -> None:
    reached = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(1_000_000):
            if number == 3:
                reached.set()
            yield b"x" * PART_BYTES

    putting = asyncio.create_task(objects.put(NAME, chunks(), limit_bytes=1 << 40, media_type=""))
    async with asyncio.timeout(PATIENCE):
        await reached.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert await entries(blobs) == []
    blobs.fails = "read"
    with pytest.raises(StoreUnavailable):
        await put(objects, NAME, b"x")
    assert await entries(blobs) == []


async def test_deleting_leaves_no_part(objects: StoreArtifacts, blobs: Watched) -> None:
    for fence in range(3):
        await put(objects, f"{KEY}/1/{fence}", b"x" * PART_BYTES * 2)
    await objects.delete([f"{KEY}/1/{fence}" for fence in range(3)])
    assert await entries(blobs) == []


async def test_what_a_kill_left_is_removed_a_day_later(objects: StoreArtifacts, blobs: Watched, clock: Clock) -> None:
    await put(objects, NAME, b"kept")
    await put(objects, f"{KEY}/1/2", b"kept too")
    blobs.fails = "delete"  # as if the process was gone
    for name in (NAME, f"{KEY}/1/9"):
        with pytest.raises(RuntimeError):
            await objects.put(name, failing(), limit_bytes=1 << 30, media_type="")
    blobs.fails = ""
    everything = await entries(blobs)
    assert len(everything) == 6
    clock.now += STALE_US
    assert await names(objects) == [NAME, f"{KEY}/1/2"]
    assert await entries(blobs) == everything
    clock.now += 1
    for limit in (1, 10_000):  # a page may begin between a name and its uploads
        after = ""
        while page := await objects.list(after, limit):
            after = page[-1].name
    assert len(await entries(blobs)) == 4
    assert await content(objects, NAME) == b"kept"
    assert await content(objects, f"{KEY}/1/2") == b"kept too"


async def failing() -> AsyncIterator[bytes]:
    yield b"x" * PART_BYTES
    raise RuntimeError


async def test_other_things_in_the_room_are_passed_over(objects: StoreArtifacts, blobs: Watched, clock: Clock) -> None:
    await put(objects, NAME, b"x")
    before = await entries(blobs)
    others = ["", "other", "other!upload", f"{KEY}/1", "é/1/1", "zz"]
    for name in others:
        await blobs.inner.write(name or "a!b!c", 0, b"not ours")
    clock.now += 2 * STALE_US
    assert await names(objects) == [NAME]
    await objects.delete(others)
    assert len(await entries(blobs)) == len(before) + len(others)


async def test_an_object_that_goes_while_it_is_read_is_missing(objects: StoreArtifacts) -> None:
    await put(objects, NAME, b"x" * PART_BYTES * 2)
    reading = objects.read(NAME)
    assert await anext(reading) == b"x" * PART_BYTES
    await objects.delete([NAME])
    with pytest.raises(ObjectMissing):
        await anext(reading)
