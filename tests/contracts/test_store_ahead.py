"""Who stands before a task in its queue, and what workers run, as every task store counts it."""

from a2a_server.model.objects import Lane, Phase
from a2a_server.ports import TaskStore
from tests.contracts import rows
from tests.contracts.rows import key, put


async def test_those_before_a_task_are_counted_by_lane(store: TaskStore) -> None:
    normal, high = Lane.NORMAL, Lane.HIGH
    mine = rows.task(50, lane=normal, rank=7)
    await put(
        store,
        new_tasks=[
            mine,
            *(rows.task(n, lane=Lane.CRITICAL, rank=900 + n) for n in (1, 2)),
            *(rows.task(n, lane=high, rank=0) for n in (11, 12, 13)),
            rows.task(21, lane=normal, rank=6),
            rows.task(22, lane=normal, rank=7),
            rows.task(60, lane=normal, rank=6),
        ],
    )
    others = [
        rows.task(70, lane=normal, rank=7),  # the key breaks the tie
        rows.task(31, lane=normal, rank=8),
        rows.task(32, lane=Lane.LOW, rank=0),
        rows.task(33, lane=high, rank=0, queue="another"),
        rows.task(34, lane=high, rank=0, phase=Phase.SCHEDULED),
        rows.held(35, "gate", lane=high, rank=0),
        rows.leased(36, key(90), lane=high, rank=0),
        rows.final(37, lane=high, rank=0),
    ]
    await put(store, new_tasks=others)
    assert await store.ahead(mine, 100) == {Lane.CRITICAL: 2, high: 3, normal: 3}
    assert await store.ahead(mine._replace(lane=Lane.CRITICAL, rank=0), 100) == {}
    assert await store.ahead(mine._replace(queue="none"), 100) == {}


async def test_those_that_a_gate_holds_before_a_task_are_counted(store: TaskStore) -> None:
    normal, high = Lane.NORMAL, Lane.HIGH
    mine = rows.held(50, "gate", lane=normal, rank=7)
    before = [rows.held(1, "gate", lane=high, rank=9, queue="another"), rows.held(2, "gate", lane=normal, rank=7)]
    others = [
        rows.held(60, "gate", lane=normal, rank=7),
        rows.held(3, "gate", lane=Lane.LOW, rank=0),
        rows.held(4, "other gate", lane=high, rank=0),
        rows.task(5, lane=high, rank=0),
    ]
    await put(store, new_tasks=[mine, *before, *others])
    assert await store.ahead(mine, 100) == {high: 1, normal: 1}
    assert await store.ahead(mine, 1) == {high: 1}


async def test_no_more_are_counted_than_asked_for(store: TaskStore) -> None:
    await put(store, new_tasks=[rows.task(n, lane=Lane(1 + n % 2), rank=n) for n in range(1, 21)])
    last = rows.task(99, lane=Lane.BACKLOG, rank=0)
    assert await store.ahead(last, 20) == {Lane.CRITICAL: 10, Lane.HIGH: 10}
    assert await store.ahead(last, 13) == {Lane.CRITICAL: 10, Lane.HIGH: 3}
    assert await store.ahead(last, 4) == {Lane.CRITICAL: 4}
    assert await store.ahead(last, 0) == {}


async def test_what_workers_run_is_counted_by_queue(store: TaskStore) -> None:
    first, second, third = key(90), key(91), key(92)
    await put(
        store,
        new_tasks=[
            *(rows.leased(n, first) for n in (1, 2, 3)),
            rows.leased(4, first, queue="echo#class"),
            rows.leased(5, second, queue="echo#class"),
            rows.leased(6, third),
            rows.task(7),
            rows.held(8, "gate"),
            rows.final(9),
        ],
    )
    plain = rows.task(1).queue
    held = {(first, plain): 3, (first, "echo#class"): 1, (second, "echo#class"): 1}
    assert await store.leased([first, second, key(99)], 100) == held
    assert await store.leased([], 100) == {}
    assert sum((await store.leased([first, second], 2)).values()) == 2
    assert await store.leased([first, second], 0) == {}
