"""What every task store keeps of which task follows which, and of how tasks are labelled."""

import asyncio

import pytest

from a2a_server.model.objects import Phase, State
from a2a_server.model.queries import DueKind, RowQuery, Table
from a2a_server.model.rows import EdgeKind, EdgeRow, TagRow
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.ports import TaskStore
from tests.contracts import rows
from tests.contracts.rows import edge, get, key, numbers, put, tag, writes

DONE = int(State.COMPLETED)
FAILED = int(State.FAILED)


async def edges(store: TaskStore, *prefix: bytes, to: bool = False) -> list[tuple[object, ...]]:
    return list((await store.rows(RowQuery(Table.EDGE_TO if to else Table.EDGE, prefix))).rows)


async def tags(store: TaskStore, *prefix: bytes) -> list[tuple[object, ...]]:
    return list((await store.rows(RowQuery(Table.TAG_OF, prefix))).rows)


# Edges


async def test_edges_come_back_as_they_went_in_either_direction(store: TaskStore) -> None:
    every = [
        edge(1, 8, EdgeKind.FAIL),
        edge(1, 9, EdgeKind.CANCEL, done=DONE),
        edge(2, 7, EdgeKind.JOIN, done=-DONE),
        edge(2, 9, EdgeKind.CHILD),
        edge(3, 9, EdgeKind.RUN),
    ]
    await put(store, edges=[every[4], *every[:4]])
    assert await edges(store) == every
    assert {type(row) for row in [*await edges(store), *await edges(store, to=True)]} == {EdgeRow}
    assert await edges(store, key(2)) == every[2:4]
    assert await edges(store, key(2), key(9)) == [every[3]]
    assert await edges(store, key(4)) == []
    assert await edges(store, to=True) == [every[index] for index in (2, 0, 1, 3, 4)]
    assert await edges(store, key(9), to=True) == [every[index] for index in (1, 3, 4)]
    assert await edges(store, key(9), key(2), to=True) == [every[3]]


async def test_edges_are_read_in_pages_in_either_direction(store: TaskStore) -> None:
    await put(store, edges=[*(edge(n, 50) for n in range(5)), *(edge(40, n) for n in range(60, 65)), edge(41, 49)])
    page = await store.rows(RowQuery(Table.EDGE_TO, (key(50),), limit=2))
    assert (list(page.rows), page.more) == ([edge(0, 50), edge(1, 50)], True)
    page = await store.rows(RowQuery(Table.EDGE_TO, (key(50),), (key(50), key(1)), limit=3))
    assert (list(page.rows), page.more) == ([edge(n, 50) for n in (2, 3, 4)], False)
    page = await store.rows(RowQuery(Table.EDGE_TO, (), (key(50), key(3)), limit=2))
    assert (list(page.rows), page.more) == ([edge(4, 50), edge(40, 60)], True)
    page = await store.rows(RowQuery(Table.EDGE, (key(40),), (key(40), key(61)), limit=2))
    assert (list(page.rows), page.more) == ([edge(40, 62), edge(40, 63)], True)
    with pytest.raises(ValueError, match="downstream, upstream"):
        await store.rows(RowQuery(Table.EDGE_TO, (), (key(50),)))


async def test_an_edge_that_exists_is_left_alone(store: TaskStore) -> None:
    await put(store, edges=[edge(1, 2), edge(1, 3, done=-DONE)])
    await put(
        store,
        edges=[edge(1, 2, EdgeKind.CANCEL, done=FAILED), edge(1, 3, EdgeKind.RUN), edge(1, 4, EdgeKind.RUN)],
        messages=[rows.message(1, 1)],
    )
    assert await edges(store) == [edge(1, 2), edge(1, 3, done=-DONE), edge(1, 4, EdgeKind.RUN)]
    assert (await store.rows(RowQuery(Table.MESSAGE))).rows == [rows.message(1, 1)]


async def test_what_ended_marks_its_open_edges_only(store: TaskStore) -> None:
    await put(
        store,
        edges=[
            edge(1, 5),
            edge(1, 6, EdgeKind.CHILD),
            edge(1, 7, done=DONE),
            edge(1, 8, done=-DONE),
            edge(2, 5),
            edge(3, 5),
            edge(5, 1),
        ],
    )
    await put(store, ended={key(1): FAILED, key(2): DONE, key(404): DONE})
    assert await edges(store) == [
        edge(1, 5, done=FAILED),
        edge(1, 6, EdgeKind.CHILD, done=FAILED),
        edge(1, 7, done=DONE),
        edge(1, 8, done=-DONE),
        edge(2, 5, done=DONE),
        edge(3, 5),
        edge(5, 1),
    ]


async def test_edges_of_a_turn_are_written_before_what_ended_in_it(store: TaskStore) -> None:
    await put(store, edges=[edge(1, 2), edge(1, 3, done=-FAILED), edge(4, 2)], ended={key(1): DONE})
    assert await edges(store) == [edge(1, 2, done=DONE), edge(1, 3, done=-FAILED), edge(4, 2)]


async def test_waits_count_edges_and_arrived_are_those_not_settled(store: TaskStore) -> None:
    arrived = [edge(3, 9, done=DONE), edge(4, 9, done=FAILED), edge(5, 9, EdgeKind.JOIN, done=DONE)]
    await put(
        store,
        new_tasks=[rows.task(9)],
        edges=[
            *reversed(arrived),
            edge(1, 9),
            edge(2, 9),
            edge(6, 9, EdgeKind.CHILD),
            edge(7, 9, done=-DONE),
            edge(1, 8),
            edge(9, 1, done=DONE),
            edge(1, 7, done=DONE),
        ],
    )
    loaded = await get(store, waits={key(9), key(8), key(404)})
    fail, join, child = int(EdgeKind.FAIL), int(EdgeKind.JOIN), int(EdgeKind.CHILD)
    assert loaded.waits == {
        key(9): {(fail, 0): 2, (fail, DONE): 1, (fail, FAILED): 1, (join, DONE): 1, (child, 0): 1, (fail, -DONE): 1},
        key(8): {(fail, 0): 1},
    }
    assert loaded.arrived == {key(9): tuple(arrived)}
    assert {type(row) for row in loaded.arrived[key(9)]} == {EdgeRow}
    assert loaded.tasks == {}


async def test_waits_of_many_tasks_with_many_edges(store: TaskStore) -> None:
    await put(store, edges=[edge(upstream, n) for n in range(1_000, 1_300) for upstream in (1, 2)])
    await put(store, edges=[edge(n, 999) for n in range(1, 700)], ended={key(2): DONE})
    loaded = await get(store, waits={key(n) for n in range(999, 1_300)})
    kind = int(EdgeKind.FAIL)
    assert loaded.waits.pop(key(999)) == {(kind, 0): 698, (kind, DONE): 1}
    assert loaded.arrived.pop(key(999)) == (edge(2, 999, done=DONE),)
    assert loaded.waits == {key(n): {(kind, 0): 1, (kind, DONE): 1} for n in range(1_000, 1_300)}
    assert loaded.arrived == {key(n): (edge(2, n, done=DONE),) for n in range(1_000, 1_300)}


async def test_what_is_settled_changes_sign_once(store: TaskStore) -> None:
    await put(store, edges=[edge(1, 9, done=DONE), edge(2, 9, done=FAILED), edge(3, 9), edge(1, 8, done=DONE)])
    arrived = [edge(1, 9, done=DONE), edge(2, 9, done=FAILED)]
    for _ in range(2):
        await put(store, settled=[*arrived, edge(3, 9, done=DONE), edge(404, 9, done=DONE)])
        assert await edges(store, key(9), to=True) == [edge(1, 9, done=-DONE), edge(2, 9, done=-FAILED), edge(3, 9)]
    assert await edges(store, key(8), to=True) == [edge(1, 8, done=DONE)]
    assert (await get(store, waits={key(9)})).arrived == {}
    await put(store, ended={key(1): FAILED})
    assert await edges(store, key(1)) == [edge(1, 8, done=DONE), edge(1, 9, done=-DONE)]


async def test_due_are_tasks_that_something_ended_for(store: TaskStore) -> None:
    assert await store.due(DueKind.SETTLE, 10) == []
    await put(
        store,
        edges=[
            *(edge(n, 8, done=DONE) for n in range(1, 6)),
            edge(1, 9, EdgeKind.CHILD, done=FAILED),
            edge(2, 9),
            edge(1, 10),
            edge(1, 11, done=-DONE),
        ],
    )
    assert sorted(numbers(await store.due(DueKind.SETTLE, 10))) == [8, 9]
    assert sorted(numbers(await store.due(DueKind.SETTLE, 2))) == [8, 9]
    assert len(await store.due(DueKind.SETTLE, 1)) == 1
    await put(store, settled=[edge(n, 8, done=DONE) for n in range(1, 6)])
    assert numbers(await store.due(DueKind.SETTLE, 10)) == [9]
    await put(store, ended={key(1): DONE})
    assert sorted(numbers(await store.due(DueKind.SETTLE, 10))) == [9, 10]


async def test_no_edge_stays_open_when_its_upstream_ends_meanwhile(store: TaskStore, other: TaskStore) -> None:
    def end(loaded: Loaded) -> Changes:
        [row] = loaded.tasks.values()
        ended = rows.next_rev(row, state=State.COMPLETED, phase=Phase.FINAL)
        return Changes(tasks=[ended], ended={row.key: DONE})

    async def follow(each: TaskStore, number: int) -> None:
        def decide(loaded: Loaded) -> Changes:
            ended = loaded.tasks[key(number)].phase is Phase.FINAL
            return Changes(edges=[edge(number, 1_000 + number, done=DONE if ended else 0)])

        await each.turn(Needs(tasks={key(number)}), decide)

    numbers_ = range(1, 21)
    await put(store, new_tasks=[rows.task(n) for n in numbers_])
    for n in numbers_:
        await asyncio.gather(store.turn(Needs(tasks={key(n)}), end), follow(other, n))
    assert await edges(store) == [edge(n, 1_000 + n, done=DONE) for n in numbers_]


async def test_edges_of_a_turn_that_is_refused_are_not_written(store: TaskStore) -> None:
    await put(store, edges=[edge(1, 2)], tags=[tag(1)])
    changes = Changes(
        edges=[edge(1, 3)], ended={key(1): DONE}, tags=[tag(2)], gone_tags=[tag(1)], tasks=[rows.task(404, rev=2)]
    )
    assert await rows.refused(store, changes) == 6
    assert await edges(store) == [edge(1, 2)]
    assert await tags(store) == [tag(1)]


# Tags


async def test_tags_are_kept_once_and_taken_away(store: TaskStore) -> None:
    every = [tag(1, "a%"), tag(1, "blue"), tag(1, "naïve 🎈"), tag(2, "blue")]
    await put(store, tags=[every[3], *every[:3]])
    assert await tags(store) == every
    assert {type(row) for row in await tags(store)} == {TagRow}
    await put(store, tags=[tag(1), tag(2, "red")], gone_tags=[tag(1, "a%"), tag(2, "never")])
    assert await tags(store) == [*every[1:], tag(2, "red")]
    assert await tags(store, key(1)) == every[1:3]
    await put(store, gone_tags=[tag(1), tag(2)])
    assert await tags(store) == [tag(1, "naïve 🎈"), tag(2, "red")]
    await put(store, tags=[tag(1)])
    assert await tags(store, key(1)) == [tag(1), tag(1, "naïve 🎈")]


async def test_tags_of_a_task_are_read_in_pages(store: TaskStore) -> None:
    await put(store, tags=[tag(n, f"tag-{label}") for n in (1, 2) for label in range(5)])
    page = await store.rows(RowQuery(Table.TAG_OF, (key(1),), (key(1), "tag-1"), limit=2))
    assert (list(page.rows), page.more) == ([tag(1, "tag-2"), tag(1, "tag-3")], True)
    page = await store.rows(RowQuery(Table.TAG_OF, (), (key(1), "tag-3"), limit=2))
    assert (list(page.rows), page.more) == ([tag(1, "tag-4"), tag(2, "tag-0")], True)
    page = await store.rows(RowQuery(Table.TAG_OF, (key(2), "tag-4")))
    assert (list(page.rows), page.more) == ([tag(2, "tag-4")], False)
    with pytest.raises(ValueError, match="task, tag"):
        await store.rows(RowQuery(Table.TAG_OF, (), (key(1),)))


async def test_two_stores_give_one_tag_and_one_edge(store: TaskStore, other: TaskStore) -> None:
    for n in range(1, 21):
        changes = Changes(tags=[tag(n)], edges=[edge(n, 1_000)])
        await asyncio.gather(*(each.turn(Needs(), writes(changes)) for each in (store, other, store)))
    assert await tags(store) == [tag(n) for n in range(1, 21)]
    assert await edges(store) == [edge(n, 1_000) for n in range(1, 21)]


# Erasing


async def test_an_erased_task_takes_its_edges_and_tags_along(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[rows.final(1), rows.final(2), rows.task(3)],
        edges=[edge(1, 2, done=DONE), edge(2, 3, done=DONE), edge(3, 1), edge(4, 3)],
        tags=[tag(1), tag(1, "red"), tag(2), tag(3)],
    )
    assert await store.erase([key(1), key(3)]) == 1
    assert await edges(store) == await edges(store, to=True) == [edge(2, 3, done=DONE), edge(4, 3)]
    assert await tags(store) == [tag(2), tag(3)]
    assert numbers(await store.due(DueKind.SETTLE, 10)) == [3]
    assert await store.erase([key(2)]) == 1
    assert await edges(store) == [edge(4, 3)]
    assert await tags(store) == [tag(3)]
    assert await store.due(DueKind.SETTLE, 10) == []
