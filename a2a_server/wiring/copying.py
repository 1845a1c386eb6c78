"""One store copied into another, whatever kinds they are, and checked: each table by its count and a hash of its rows.

Theory of operation
-------------------
The rows go as the source dumps them into an empty store, which is marked as unfinished first; then the target is dumped
and summed up, and compared with what was copied. Then the objects go, where that is asked for, and the mark comes off.
Rows that are there are left alone, so a copy that was interrupted goes on when it is begun again; if the source has
changed meanwhile, the sums differ and say so. One page of rows is in memory at a time.

Workers are not copied. What they had leased in the source is an orphan in the target, and runs again at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final, NamedTuple, TypeAlias

from a2a_server.errors import ConfigurationError, DataRejected
from a2a_server.ports import TaskStore
from a2a_server.settings import Settings
from a2a_server.wiring.dumps import Pages, Row, Sum, Sums, compare, dumped, line_of, sum_of, sums_of, tables
from a2a_server.wiring.objects import Moved, Named, copy_objects, objects_of
from a2a_server.wiring.places import called, filled_objects, identity, read_objects, source, target

Tell: TypeAlias = Callable[[str, int, int | None], None]
"""Told what is being done, how much of it is done and, where it is known, of how much."""

ANEW: Final = "make the target anew, and begin again from a store that nobody serves."
LIVE: Final = "; or, with --live, copy what is there at this moment: what comes later stays behind"


class Copied(NamedTuple):
    """What was copied: sums by table, and the objects. missing: objects that rows name, and that were not there."""

    sums: Sums
    moved: Moved
    missing: Sequence[str] = ()

    @property
    def tasks(self) -> int:
        """How many tasks."""
        return self.sums.get("task", Sum()).rows

    @property
    def rows(self) -> int:
        """How many rows, of all tables."""
        return sum(one.rows for one in self.sums.values())


async def copy_store(origin: Settings, goal: Settings, *, artifacts: bool, live: bool, tell: Tell) -> Copied:
    """`goal`'s store holds what `origin`'s holds, and with `artifacts` its artifact store too.

    Raises ConfigurationError: one of them is served, or `goal` is not empty; Damaged: the copy is not the same;
    SchemaMismatch.
    """
    name = identity(origin.store)
    if name == identity(goal.store):
        raise ConfigurationError(f"{called(origin.store)} is both the source and the target; name two stores.")
    if artifacts and identity(origin.artifacts) == identity(goal.artifacts) != identity("store://"):
        raise ConfigurationError(f"{called(origin.artifacts)} is both ends; leave both options out.")
    chosen, named = tables(blobs=not artifacts), Named()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        from_store = await enter(source(origin, live=live, way_out=LIVE))
        from_artifacts = await enter(read_objects(origin, from_store)) if artifacts else None
        filled = await enter(target(goal, f"{name}, with {identity(origin.artifacts)}" if artifacts else name))
        to_artifacts = await enter(filled_objects(goal, filled)) if artifacts else None
        await filled.begin()
        async with dumped(from_store, chosen) as pages:
            sums = await pour(pages, filled.store, tell, saw=named.saw)
        await check(sums, filled.store, chosen, tell, where=called(goal.store))
        moved = Moved()
        if from_artifacts is not None and to_artifacts is not None:
            moved = await copy_objects(from_artifacts, to_artifacts, lambda done: tell("copying objects", done, None))
            async for one in objects_of(to_artifacts):
                named.found(one.name)
    return Copied(sums, moved, named.missing if artifacts else ())


async def pour(
    pages: Pages,
    store: TaskStore,
    tell: Tell,
    expected: Sums | None = None,
    saw: Callable[[str, Sequence[Row]], None] = lambda _table, _rows: None,
) -> Sums:
    """All these rows are in the store. Returns what they add up to. Raises DataRejected, with the table."""
    sums: dict[str, Sum] = defaultdict(Sum)
    async for table, rows in pages:
        try:
            await store.fill(table, rows)
        except DataRejected as error:
            raise DataRejected(f"the store cannot keep what the table {table} holds: {error}") from error
        sums[table] += sum_of([line_of(row) for row in rows])
        saw(table, rows)
        tell(f"copying {table}", sums[table].rows, expected[table].rows if expected else None)
    return sums


async def check(wanted: Sums, store: TaskStore, chosen: tuple[str, ...], tell: Tell, *, where: str) -> None:
    """Raises Damaged where the tables of `store` are not what is wanted."""

    def checked(table: str, rows: int) -> None:
        tell(f"checking {table}", rows, wanted.get(table, Sum()).rows)

    compare(wanted, await sums_of(store, chosen, checked), chosen, where=where, way_out=ANEW)
