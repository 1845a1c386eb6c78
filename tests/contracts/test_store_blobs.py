"""Room for large content inside a store: parts of objects, by name and number."""

import random

import pytest

from a2a_server.errors import StoreUnavailable
from a2a_server.ports import Blobs, TaskStore

PART = bytes(range(256)) * 1024
"""The largest that a part may be."""


@pytest.fixture
def blobs(store: TaskStore) -> Blobs:
    blobs = store.blobs()
    if blobs is None:
        pytest.skip("a store without the capability `blobs`")
    return blobs


async def names(blobs: Blobs, after: str = "", limit: int = 1_000) -> list[str]:
    return [name for name, _ in await blobs.list(after, limit)]


async def test_the_capability_is_told(store: TaskStore) -> None:
    assert store.capabilities.blobs == (store.blobs() is not None)


async def test_a_part_comes_back_as_it_went(blobs: Blobs) -> None:
    for part, body in ((0, b"described"), (1, PART), (2, b""), (1_000_000, b"\0\xff")):
        await blobs.write("name", part, body)
        assert await blobs.read("name", part) == body
    assert isinstance(await blobs.read("name", 1), bytes)


async def test_what_was_not_written_is_none(blobs: Blobs) -> None:
    await blobs.write("name", 1, b"x")
    assert await blobs.read("name", 0) is None
    assert await blobs.read("name", 2) is None
    assert await blobs.read("nam", 1) is None
    assert await blobs.read("name/1", 1) is None


async def test_a_part_replaces_the_one_before(blobs: Blobs) -> None:
    await blobs.write("name", 1, PART)
    await blobs.write("name", 1, b"short")
    assert await blobs.read("name", 1) == b"short"


async def test_another_process_sees_what_was_written(blobs: Blobs, other: TaskStore) -> None:
    await blobs.write("name", 0, b"x")
    there = other.blobs()
    assert there is not None
    assert await there.read("name", 0) == b"x"
    assert await names(there) == ["name"]


async def test_all_parts_of_the_named_are_forgotten(blobs: Blobs) -> None:
    for name in ("a", "b", "c"):
        for part in range(3):
            await blobs.write(name, part, b"x")
    await blobs.delete(["a", "unknown", "c", "a"])
    await blobs.delete([])
    assert [await blobs.read(name, part) for name in ("a", "c") for part in range(3)] == [None] * 6
    assert [await blobs.read("b", part) for part in range(3)] == [b"x"] * 3
    assert await names(blobs) == ["b"]


async def test_an_object_of_many_parts_is_forgotten(blobs: Blobs) -> None:
    for part in range(1_100):
        await blobs.write("many", part, b"x")
    await blobs.write("next", 0, b"x")
    await blobs.delete(["many", "next"])
    assert await names(blobs) == []
    assert [await blobs.read("many", part) for part in range(1_100)] == [None] * 1_100


async def test_names_come_in_the_order_of_their_bytes_with_part_0(blobs: Blobs) -> None:
    words = "a A a!1 a- a/1 a/10 a/2 ab a1 b é z Z 0 \uffee 🎈"
    expected = sorted(words.split(), key=str.encode)
    for name in random.Random(3).sample(expected, len(expected)):  # noqa: S311 - repeatable
        await blobs.write(name, 0, name.encode())
        await blobs.write(name, 1, PART)
    await blobs.write("aa-without-description", 1, b"x")
    assert await blobs.list("", 1_000) == [(name, name.encode()) for name in expected]
    for limit in (1, 5, 100):
        paged: list[str] = []
        while page := await names(blobs, paged[-1] if paged else "", limit):
            assert len(page) <= limit
            paged += page
        assert paged == expected
    assert await names(blobs, "a/", 2) == ["a/1", "a/10"]


async def test_a_closed_store_is_unavailable(store: TaskStore, blobs: Blobs) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable):
        await blobs.read("name", 0)
    with pytest.raises(StoreUnavailable):
        await blobs.write("name", 0, b"x")
