"""What every artifact store does, for our own names and for 500 hostile ones."""

import asyncio
import hashlib
import itertools
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from a2a_server.errors import ObjectMissing, StoreUnavailable, TooLarge
from a2a_server.model.queries import Stored
from a2a_server.ports import ArtifactStore
from tests.contracts.artifact_stores import ARTIFACT_STORES, KEY, NAME, below, content, names, put
from tests.patience import PATIENCE

HOSTILE_WORDS = [
    *("", ".", "..", "...", "~", "-/..", "a/../b", "../etc", "..\\..", "C:", "%2e%2e", "%2f", "a%00", "\x00", "a\x00b"),
    *("a\n", "\r", "\t", " ", "a b", "a.b", ".incoming", "a_b", "a:b", "a;b", "$HOME", "`id`", "*", "?", "#", "&", "'"),
    *(
        '"',
        "|",
        "<",
        ">",
        "{}",
        "é",
        "\uff41",
        "\u2024\u2024",
        "\u2215",
        "\uff0e\uff0e",
        "\u202e",
        "\ud800",
        "😀",
        "\u0661",
        "a" * 65,
    ),
]
HOSTILE_NAMES = [
    *("/".join(("a", *(["1"] * (length - 1)))) for length in (1, 2, 5, 6)),
    *("/etc/passwd", "/a/1/1", "//a/1/1", "a/1/1/", "a//1/1", "../../../etc/passwd", "/".join(["a" * 64] * 4)),
    *(
        "/".join((*["a"] * place, word, *["1"] * (length - place - 1)))
        for word, (length, place) in itertools.product(HOSTILE_WORDS, [(n, p) for n in (3, 4) for p in range(n)])
    ),
    *(f"{KEY}/{word}/{other}" for word, other in itertools.product(HOSTILE_WORDS[:20], HOSTILE_WORDS[20:30])),
]


@pytest.fixture(params=sorted(ARTIFACT_STORES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ArtifactStore]:
    async with ARTIFACT_STORES[request.param](tmp_path) as store:
        yield store


@pytest.mark.parametrize(
    "chunks",
    [(), (b"",), (b"one",), (b"one", b"", b"two"), (b"x" * 3_000_001,), (b"0123456789",) * 60_000],
    ids=["none", "empty", "one", "some", "large", "many"],
)
async def test_what_was_put_is_read(store: ArtifactStore, chunks: tuple[bytes, ...]) -> None:
    whole = b"".join(chunks)
    stored = await put(store, NAME, *chunks)
    assert stored == Stored(NAME, len(whole), hashlib.sha256(whole).hexdigest(), "text/plain")
    assert await content(store, NAME) == whole


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, 0),
        (0, 1),
        (5, 9),
        (9, 5),
        (0, None),
        (700_000, None),
        (262_143, 524_289),
        (699_999, 800_000),
        (800_000, None),
    ],
)
async def test_a_part_is_read(store: ArtifactStore, start: int, end: int | None) -> None:
    whole = random.Random(1).randbytes(700_001)  # noqa: S311 - repeatable
    await put(store, NAME, whole)
    assert await content(store, NAME, start, end) == whole[start : max(end, start) if end is not None else None]


async def test_a_large_object_is_read_in_pieces(store: ArtifactStore) -> None:
    await put(store, NAME, b"x" * 1_000_000)
    assert max([len(piece) async for piece in store.read(NAME)]) <= 256 * 1024


async def test_a_missing_object_is_missing_at_the_first_step(store: ArtifactStore) -> None:
    reading = store.read(NAME)
    with pytest.raises(ObjectMissing):
        await anext(reading)


async def test_names_have_three_or_four_levels(store: ArtifactStore) -> None:
    for name in (f"{KEY}/0/1", f"{KEY}/in/1/2"):
        await put(store, name, name.encode())
        assert await content(store, name) == name.encode()


async def test_an_object_may_be_as_large_as_its_limit(store: ArtifactStore) -> None:
    assert (await put(store, NAME, b"12345", b"67890", limit_bytes=10)).size == 10


@pytest.mark.parametrize(
    "chunks", [(b"12345678901",), (b"x" * 10, b"x"), (b"x" * 600_000,) * 2], ids=["1", "2", "large"]
)
async def test_nothing_is_left_of_one_that_is_too_large(store: ArtifactStore, chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(TooLarge):
        await put(store, NAME, *chunks, limit_bytes=min(sum(map(len, chunks)) - 1, 600_000))
    assert await names(store) == []


async def test_the_same_again_is_fine(store: ArtifactStore) -> None:
    assert await put(store, NAME, b"same") == await put(store, NAME, b"sa", b"me")
    assert await names(store) == [NAME]
    assert await content(store, NAME) == b"same"


async def test_the_same_by_many_at_once_is_fine(store: ArtifactStore) -> None:
    whole = b"same" * 100_000
    results = await asyncio.gather(*(put(store, NAME, whole[:n], whole[n:]) for n in range(16)))
    assert set(results) == {Stored(NAME, len(whole), hashlib.sha256(whole).hexdigest(), "text/plain")}
    assert await content(store, NAME) == whole


class Interrupted(Exception):
    pass


async def test_an_object_stays_readable_while_the_same_is_put_again_and_fails(store: ArtifactStore) -> None:
    await put(store, NAME, b"same" * 100_000)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"same" * 90_000
        assert await content(store, NAME) == b"same" * 100_000
        raise Interrupted

    with pytest.raises(Interrupted):
        await store.put(NAME, chunks(), limit_bytes=1 << 30, media_type="")
    assert await content(store, NAME) == b"same" * 100_000
    assert await names(store) == [NAME]


async def test_an_object_is_invisible_until_it_is_whole(store: ArtifactStore) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 1_000_000
        reached.set()
        await go_on.wait()
        yield b"y"

    putting = asyncio.create_task(store.put(NAME, chunks(), limit_bytes=1 << 30, media_type=""))
    async with asyncio.timeout(PATIENCE):
        await reached.wait()
    assert await names(store) == []
    with pytest.raises(ObjectMissing):
        await content(store, NAME)
    go_on.set()
    await putting
    assert len(await content(store, NAME)) == 1_000_001


async def test_nothing_is_left_when_the_chunks_end_in_an_error(store: ArtifactStore) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 1_000_000
        raise Interrupted

    with pytest.raises(Interrupted):
        await store.put(NAME, chunks(), limit_bytes=1 << 30, media_type="")
    assert await names(store) == []


async def test_nothing_is_left_of_a_canceled_put(store: ArtifactStore) -> None:
    async def chunks(after: int, reached: asyncio.Event) -> AsyncIterator[bytes]:
        for number in itertools.count():
            if number == after:
                reached.set()
            yield b"x" * 300_000

    for after in range(4):
        reached = asyncio.Event()
        putting = asyncio.create_task(store.put(NAME, chunks(after, reached), limit_bytes=1 << 40, media_type=""))
        async with asyncio.timeout(PATIENCE):
            await reached.wait()
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
    assert await names(store) == []


async def test_deleted_objects_are_missing_and_unknown_names_are_fine(store: ArtifactStore) -> None:
    kept, gone = f"{KEY}/1/1", f"{KEY}/1/2"
    await put(store, kept, b"1")
    await put(store, gone, b"2")
    await store.delete([gone, f"{KEY}/9/9", "../nothing", ""])
    await store.delete([gone])
    assert await names(store) == [kept]
    with pytest.raises(ObjectMissing):
        await content(store, gone)


async def test_names_are_listed_in_order_and_in_pages(store: ArtifactStore) -> None:
    keys = [
        KEY,
        KEY[:-1] + "0",
        "01938a6f" + KEY[8:],
        "02" + KEY[2:],
        "a",
        "a-b",
        "ab",
        "abcdef",
        "abcdef-",
        "abcdefgh",
    ]
    expected = sorted(f"{key}/{rest}" for key in keys for rest in ("1/1", "10/1", "2/1", "in/1/1"))
    for name in random.Random(3).sample(expected, len(expected)):  # noqa: S311 - repeatable
        await put(store, name, b"x")
    assert await names(store) == expected
    for limit in (1, 7, 100):
        paged: list[str] = []
        while page := await store.list(paged[-1] if paged else "", limit):
            assert len(page) <= limit
            paged += [stored.name for stored in page]
        assert paged == expected
    between = expected[5] + "0"
    assert [stored.name for stored in await store.list(between, 2)] == [n for n in expected if n > between][:2]


async def test_a_listed_name_tells_its_size_and_when_it_was_stored(store: ArtifactStore) -> None:
    before = time.time_ns() // 1000
    await put(store, NAME, b"12345")
    [stored] = await store.list("", 10)
    assert stored.size == 5
    assert before - 1_000_000 <= stored.stored_at <= time.time_ns() // 1000 + 1_000_000


async def test_a_link_is_an_address_or_none(store: ArtifactStore) -> None:
    await put(store, NAME, b"x")
    link = await store.link(NAME, "report.txt", "text/plain", 60)
    assert link is None or link.startswith("http")


async def test_a_closed_store_is_unavailable_and_may_be_closed_again(store: ArtifactStore) -> None:
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await put(store, NAME, b"x")
    with pytest.raises(StoreUnavailable):
        await content(store, NAME)


async def test_no_name_but_ours_is_stored_or_read(store: ArtifactStore, tmp_path: Path) -> None:
    assert len(set(HOSTILE_NAMES)) >= 500
    await put(store, NAME, b"x")
    before = below(tmp_path.parent)
    for name in HOSTILE_NAMES:
        with pytest.raises(ValueError, match="name"):
            await put(store, name, b"evil")
        with pytest.raises(ObjectMissing):
            await content(store, name)
        await store.delete([name])
        await store.list(name, 1)
    assert below(tmp_path.parent) == before
    assert await names(store) == [NAME]
