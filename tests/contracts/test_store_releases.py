"""No release is lost on any store: upstreams that end while somebody is tied to them, as two processes do it.

The whole rule is here: the operations of `lifecycle`, each in a turn of its own, over two stores on one database.
"""

import asyncio
from typing import TypeVar

import pytest

from a2a_server.lifecycle.dependencies import Extras, Settle
from a2a_server.lifecycle.endings import EndKind
from a2a_server.lifecycle.labels import id_of
from a2a_server.lifecycle.operation import Operation
from a2a_server.lifecycle.runs import Claimed
from a2a_server.lifecycle.submission import Submitted
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import Phase, State
from a2a_server.model.queries import DueKind, RowQuery, Table
from a2a_server.model.rows import EdgeKind, EdgeRow, Interest, TaskRow
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.policy import SECOND
from a2a_server.ports import TaskStore
from tests.contracts.rows import key
from tests.unit.turns import LIVING, cancel, claim, report, submit

ResultT = TypeVar("ResultT")


async def do(store: TaskStore, operation: Operation[ResultT]) -> ResultT:
    """The outcome of the operation, decided and committed alone."""
    needs = Needs()
    operation.needs(needs, "shard")
    outcomes: list[ResultT] = []

    def decide(loaded: Loaded) -> Changes:
        turn = Turn(loaded, "shard", needs.claims)
        outcomes.append(operation.decide(turn))
        return turn.changes()

    await store.turn(needs, decide)
    return outcomes[-1]


async def started(store: TaskStore, number: int) -> TaskRow:
    await store.register(LIVING)
    sent: Submitted = await do(store, submit(number))
    claimed: Claimed = await do(store, claim(1, hinted=(sent.row.key,)))
    (row,) = claimed.rows
    assert row.key == key(number)
    return row


async def edge_of(store: TaskStore, upstream: int, downstream: int) -> EdgeRow:
    page = await store.rows(RowQuery(Table.EDGE, (key(upstream), key(downstream))))
    (row,) = page.rows
    assert isinstance(row, EdgeRow)
    return row


async def task(store: TaskStore, number: int) -> TaskRow:
    snapshot = await store.snapshot(key(number), 0)
    assert snapshot is not None
    return snapshot.task


def behind(number: int, *upstreams: int, **options: EdgeKind | str) -> Operation[Submitted]:
    ids = tuple(id_of(key(upstream)) for upstream in upstreams)
    return submit(number, extras=Extras(depends_on=ids, **options))  # type: ignore[arg-type]  # any field of it


async def settle(store: TaskStore) -> None:
    keys = tuple(await store.due(DueKind.SETTLE, 100))
    await do(store, Settle(keys, SECOND))


@pytest.mark.parametrize("first", ["end", "tie"])
@pytest.mark.parametrize("known", [True, False])
async def test_an_end_and_a_tie_that_meet_lose_nobody(
    store: TaskStore, other: TaskStore, first: str, known: bool
) -> None:
    """known: the upstream knows of others who wait, so that the tie writes nothing of it, and only its lock counts."""
    for number in range(1, 31, 2):
        row = await started(store, number)
        if known:
            await do(store, behind(number + 100, number, on_failure=EdgeKind.CANCEL))
            row = await task(store, number)
        ending, tying = do(store, report(row, EndKind.COMPLETED)), do(other, behind(number + 1, number))
        await asyncio.gather(*((ending, tying) if first == "end" else (tying, ending)))
        edge = await edge_of(store, number, number + 1)
        assert abs(edge.done) == State.COMPLETED
        if edge.done > 0:  # the end came second, and has to be acted on
            assert (await task(store, number + 1)).phase is Phase.WAITING
            await settle(store)
        if known:
            await do(store, cancel(await task(store, number + 100)))
        waited = await task(store, number + 1)
        assert (waited.phase, waited.unmet) == (Phase.READY, 0)
        (leased,) = (await do(store, claim(1, hinted=(waited.key,)))).rows
        await do(store, report(leased, EndKind.COMPLETED))
    await settle(store)  # of those that were canceled
    assert not await store.due(DueKind.SETTLE, 10)


async def test_upstreams_that_end_together_release_once(store: TaskStore, other: TaskStore) -> None:
    upstreams = [await started(store, number) for number in range(1, 9)]
    await do(store, behind(9, *range(1, 9)))
    assert (await task(store, 9)).unmet == 8

    async def end(each: TaskStore, row: TaskRow) -> None:
        await do(each, report(row, EndKind.COMPLETED))
        await settle(each)

    await asyncio.gather(*(end((store, other)[index % 2], row) for index, row in enumerate(upstreams)))
    await settle(store)
    waited = await task(store, 9)
    assert (waited.phase, waited.unmet, waited.rev) >= (Phase.READY, 0, 2)
    assert not await store.due(DueKind.SETTLE, 10)


async def test_a_parent_and_children_that_end_as_they_are_tied(store: TaskStore, other: TaskStore) -> None:
    for number in range(1, 21, 2):
        parent = await started(store, number)
        ending = do(store, report(parent, EndKind.CANCELED))
        child = do(other, submit(number + 1, extras=Extras(parent=id_of(key(number)))))
        outcomes = await asyncio.gather(ending, child, return_exceptions=True)
        assert (await task(store, number)).state is State.CANCELED
        if isinstance(outcomes[1], BaseException):
            assert "has ended (canceled)" in str(outcomes[1])
            continue
        if await store.due(DueKind.SETTLE, 10):
            await settle(store)
        assert (await task(store, number + 1)).state is State.CANCELED
        assert (await task(store, number)).pushes == Interest.WAITED | Interest.PARENT
