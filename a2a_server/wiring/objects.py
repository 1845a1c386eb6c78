"""Objects from one artifact store into another, each read once and held in pieces.

Objects are never changed and have their names for ever, so one that is there in its whole size is left alone: a copy
that was interrupted goes on. What the collector deletes while they are copied, no row of the copy needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, NamedTuple

from a2a_server.errors import Damaged, ObjectMissing, TooLarge
from a2a_server.model.queries import StoredName
from a2a_server.model.rows import ArtifactRow
from a2a_server.ports import ArtifactStore

AT_ONCE: Final = 8
"""Objects that are copied at once; each holds some pieces in memory."""
PAGE: Final = 1000
MEDIA_TYPE: Final = "application/octet-stream"
"""Of every copy: what clients are told stands in the rows, and links say it anew."""


REMEMBERED: Final = 100_000
"""Names whose objects are looked for: enough to notice an artifact store that is not the one of these rows."""


class Moved(NamedTuple):
    """How many objects there are, and their bytes."""

    objects: int = 0
    size: int = 0


async def copy_objects(
    source: ArtifactStore, target: ArtifactStore, tell: Callable[[int], None] = lambda _: None
) -> Moved:
    """Every object of `source` is in `target`. tell: is told how many of them are done.

    Raises Damaged: an object did not come whole.
    """
    there = _Walk(target)
    moved = Moved()
    some: list[StoredName] = []

    async def move() -> None:
        nonlocal moved
        sizes = await asyncio.gather(*(_copied(source, target, one) for one in some), return_exceptions=True)
        for size in sizes:
            if isinstance(size, BaseException):
                raise size
            moved = Moved(moved.objects + (size is not None), moved.size + (size or 0))
        some.clear()
        tell(moved.objects)

    async for one in objects_of(source):
        if await there.size(one.name) == one.size:
            moved = Moved(moved.objects + 1, moved.size + one.size)
            continue
        some.append(one)
        if len(some) == AT_ONCE:
            await move()
    await move()
    return moved


async def objects_of(store: ArtifactStore) -> AsyncIterator[StoredName]:
    """Every object, in order."""
    after = ""
    while page := await store.list(after, PAGE):
        for one in page:
            yield one
        after = page[-1].name


class Named:
    """Which objects the rows of a dump name as artifacts, and which of these are not there; the first ones of many."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    @property
    def missing(self) -> tuple[str, ...]:
        """Those that were not found, in order."""
        return tuple(sorted(self._names))

    def saw(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Remember what these rows name."""
        if table == "artifact" and len(self._names) < REMEMBERED:
            self._names.update(row.location for row in rows if isinstance(row, ArtifactRow) and row.location)

    def found(self, name: str) -> None:
        """There is an object of this name."""
        self._names.discard(name)


class _Walk:
    """Looks names up in a store, in order."""

    def __init__(self, store: ArtifactStore) -> None:
        self._objects = objects_of(store)
        self._next: StoredName | None = None
        self._ended = False

    async def size(self, name: str) -> int | None:
        """Of the object of this name; None = there is none."""
        while not self._ended and (self._next is None or self._next.name < name):
            self._next = await anext(self._objects, None)
            self._ended = self._next is None
        return self._next.size if self._next is not None and self._next.name == name else None


async def _copied(source: ArtifactStore, target: ArtifactStore, one: StoredName) -> int | None:
    """How large the copy is; None = the object is not there any more."""
    try:
        stored = await target.put(one.name, source.read(one.name), limit_bytes=one.size, media_type=MEDIA_TYPE)
    except ObjectMissing:
        return None
    except TooLarge as error:
        raise Damaged(
            f"the object {one.name} is larger than the {one.size:,} bytes that it is said to have."
        ) from error
    if stored.size != one.size:
        raise Damaged(
            f"the object {one.name} came with {stored.size:,} of {one.size:,} bytes; begin again, all else goes on."
        )
    return stored.size
