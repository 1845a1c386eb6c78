"""What every task store answers to lists: pages, counts, totals."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from a2a_server.model.objects import Phase, State
from a2a_server.model.queries import Snapshot, TallyQuery, TaskCursor, TaskQuery
from a2a_server.model.rows import TallyKey, TaskRow
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.ports import TaskStore
from tests.contracts import rows
from tests.contracts.rows import key, put


def ids(tasks: list[TaskRow]) -> list[int]:
    return [int.from_bytes(row.key, "big") for row in tasks]


async def test_pages_are_newest_first_without_gap_or_repeat(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[
            *(rows.task(n, status_at=1_000 + n // 4) for n in range(1, 24)),  # four of each moment
            rows.task(30, visible=False),
            rows.task(31, agent="Other"),
            rows.task(32, owner="other"),
            rows.task(33, tenant="other"),
        ],
    )
    found: list[TaskRow] = []
    after: TaskCursor | None = None
    for size in (5, 5, 5, 5, 3):
        page = await store.page(TaskQuery("", "local", "Echo", limit=5, after=after))
        assert len(page.rows) == size
        found += [shown.task for shown in page.rows]
        after = TaskCursor(found[-1].status_at, found[-1].key)
        assert page.more is (len(found) < 23)
    assert ids(found) == sorted(range(1, 24), reverse=True)
    assert all((a.status_at, a.key) > (b.status_at, b.key) for a, b in pairwise(found))


async def test_pages_are_filtered(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[
            rows.task(1, context="a", status_at=10),
            rows.task(2, context="b", status_at=20),
            rows.task(3, context="a", status_at=30, state=State.WORKING),
            rows.task(4, context="a", status_at=30),
            rows.task(5, context="a", status_at=40, agent="Other"),
            rows.task(6, context="a", status_at=50, visible=False),
        ],
    )

    async def listed(**filters: object) -> list[int]:
        page = await store.page(TaskQuery("", "local", "Echo", **filters))  # type: ignore[arg-type]  # any filter
        assert not page.more
        count = await store.count(TaskQuery("", "local", "Echo", **filters), 100)  # type: ignore[arg-type]  # any filter
        assert count == len(page.rows) or "after" in filters
        return ids([shown.task for shown in page.rows])

    assert await listed() == [4, 3, 2, 1]
    assert await listed(context="a") == [4, 3, 1]
    assert await listed(context="") == []
    assert await listed(state=State.SUBMITTED) == [4, 2, 1]
    assert await listed(status_from=20) == [4, 3, 2]
    assert await listed(context="a", state=State.SUBMITTED, status_from=20) == [4]
    assert await listed(context="a", after=TaskCursor(30, key(4))) == [3, 1]
    assert await listed(state=State.SUBMITTED, after=TaskCursor(30, key(3))) == [2, 1]
    assert await listed(status_from=20, after=TaskCursor(30, key(3))) == [2]
    assert await listed(status_from=51) == []
    assert await listed(state=State.AUTH_REQUIRED) == []


async def test_pages_and_counts_know_every_state(store: TaskStore) -> None:
    await put(store, new_tasks=[rows.task(int(state), state=state, status_at=int(state)) for state in State])
    everything = TaskQuery("", "local", "Echo")
    assert ids([shown.task for shown in (await store.page(everything)).rows]) == sorted(map(int, State), reverse=True)
    assert await store.count(everything, 100) == len(State)
    for state in State:
        one = TaskQuery("", "local", "Echo", state=state)
        assert [shown.task.state for shown in (await store.page(one)).rows] == [state]
        assert await store.count(one, 100) == 1


async def test_counts_stop_at_what_was_asked_for(store: TaskStore) -> None:
    await put(store, new_tasks=[rows.task(n, status_at=n) for n in range(1, 21)])
    await put(store, new_tasks=[rows.task(n, context="other", state=State.WORKING) for n in range(30, 33)])
    query = TaskQuery("", "local", "Echo")
    assert [await store.count(query, most) for most in (1, 22, 23, 24)] == [1, 22, 23, 23]
    assert await store.count(TaskQuery("", "local", "Echo", context="context", limit=1), 9) == 9
    assert await store.count(TaskQuery("", "local", "Echo", status_from=11, after=TaskCursor(15, key(15))), 99) == 13
    assert await store.count(TaskQuery("", "nobody", "Echo"), 9) == 0


async def test_a_page_brings_the_messages_and_artifacts_that_were_asked_for(store: TaskStore) -> None:
    messages = [rows.message(1, seq) for seq in (1, 2, 3)]
    opened, chunk = rows.artifact(1, take=2, first_n=3), rows.chunk(1, 3)
    await put(
        store,
        new_tasks=[rows.task(1, last_n=3), rows.task(2, status_at=999)],
        messages=[*messages, rows.message(2, 1)],
        artifacts=[opened, rows.artifact(1, take=1, first_n=2)],
        events=[rows.chunk(1, 2), chunk],
    )
    first, second = rows.task(1, last_n=3), rows.task(2, status_at=999)
    query = TaskQuery("", "local", "Echo")
    assert (await store.page(query)).rows == [Snapshot(first), Snapshot(second)]
    assert (await store.page(replace(query, history=2))).rows == [
        Snapshot(first, tuple(messages[1:])),
        Snapshot(second, (rows.message(2, 1),)),
    ]
    assert (await store.page(replace(query, artifacts=True))).rows == [
        Snapshot(first, (), (opened,), (chunk,)),
        Snapshot(second),
    ]


@pytest.mark.parametrize("where", ["spec", "status", "message", "artifact", "chunk", "object"])
async def test_a_page_ends_early_when_its_tasks_are_large(store: TaskStore, where: str) -> None:
    large = b"x" * 1000
    body = {where: large} if where in {"spec", "status"} else {}
    for n in range(1, 6):
        await put(
            store,
            new_tasks=[rows.task(n, status_at=n, **body)],
            messages=[rows.message(n, 1)._replace(body=large)] if where == "message" else [],
            events=[rows.chunk(n, 1, body=large)] if where == "chunk" else [],
            artifacts={
                "artifact": [rows.artifact(n, body=large)],
                "chunk": [rows.artifact(n)],
                "object": [rows.artifact(n, location="x/0/1", size=len(large))],
            }.get(where, []),
        )

    async def listed(limit_bytes: int, after: TaskCursor | None = None) -> tuple[list[int], bool]:
        query = TaskQuery("", "local", "Echo", history=9, artifacts=True, limit_bytes=limit_bytes, after=after)
        page = await store.page(query)
        return ids([shown.task for shown in page.rows]), page.more

    assert await listed(1) == ([5], True)
    assert await listed(2500) == ([5, 4], True)
    assert await listed(2500, TaskCursor(4, key(4))) == ([3, 2], True)
    assert await listed(2500, TaskCursor(2, key(2))) == ([1], False)
    assert await listed(9000) == ([5, 4, 3, 2, 1], False)


async def test_a_page_is_of_one_moment_while_a_writer_appends(store: TaskStore, other: TaskStore) -> None:
    await put(store, new_tasks=[rows.task(1, last_n=1)], messages=[rows.message(1, 1)])

    def append(loaded: Loaded) -> Changes:
        n = loaded.tasks[key(1)].last_n + 1
        row = rows.next_rev(loaded.tasks[key(1)], last_n=n, status_at=1_000 + n, state=State(1 + n % 2))
        return Changes(tasks=[row], messages=[rows.message(1, n)])

    async def write() -> None:
        for _ in range(60):
            await store.turn(Needs(tasks={key(1)}), append)

    writer = asyncio.create_task(write())
    while not writer.done():
        [shown] = (await other.page(TaskQuery("", "local", "Echo", history=99))).rows
        assert len(shown.messages) == shown.task.last_n
    await writer


async def test_totals_add_shards_and_leave_out_zeros(store: TaskStore) -> None:
    ready = TallyKey("", "local", "Echo", "echo", State.SUBMITTED, Phase.READY)
    done = ready._replace(state=State.COMPLETED, phase=Phase.FINAL)
    foreign = ready._replace(owner="other", tenant="t", agent="Other", queue="q")
    await put(
        store,
        tally={("a", ready): 3, ("b", ready): 4, ("a", done): 2, ("b", done): -2, ("a", foreign): 1, ("b", foreign): 0},
    )
    assert await store.totals(TallyQuery()) == {ready: 7, foreign: 1}
    for field in ("tenant", "owner", "agent", "queue"):
        assert await store.totals(TallyQuery(**{field: getattr(foreign, field)})) == {foreign: 1}
    assert await store.totals(TallyQuery(owner="local", state=State.SUBMITTED)) == {ready: 7}
    assert await store.totals(TallyQuery(tenant="", phase=Phase.READY)) == {ready: 7}
    assert await store.totals(TallyQuery(phase=Phase.FINAL)) == {}
    (found,) = await store.totals(TallyQuery(owner="local"))
    assert (type(found.state), type(found.phase)) == (State, Phase)
