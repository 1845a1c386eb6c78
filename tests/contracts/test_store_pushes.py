"""What every task store keeps of who is told of a task's events."""

from __future__ import annotations

from a2a_server.model.objects import State
from a2a_server.model.queries import DueKind, RowQuery, Table
from a2a_server.model.rows import Interest, PushRow
from a2a_server.ports import TaskStore
from tests.contracts import rows
from tests.contracts.rows import get, key, put

NOW = 1_000


def push(number: int, name: str = "agent", **fields: object) -> PushRow:
    return PushRow(key(number), name, 0, 1, 0, 0, dead=False, body=b"states")._replace(**fields)  # type: ignore[arg-type]  # any field of a row


async def test_pushes_come_back_as_they_went_and_are_replaced(store: TaskStore) -> None:
    first = push(1, due_at=NOW, tries=3)
    await put(store, new_tasks=[rows.task(1, pushes=Interest.TOLD)], pushes=[first])
    page = await store.rows(RowQuery(Table.PUSH, (key(1),)))
    assert list(page.rows) == [first]
    later = first._replace(generation=10, cursor_n=7, due_at=0, tries=0, dead=True, body=b"")
    await put(store, pushes=[later])
    assert list((await store.rows(RowQuery(Table.PUSH, (key(1), "agent")))).rows) == [later]


async def test_pushes_are_loaded_with_the_tasks_that_have_any(store: TaskStore) -> None:
    pushes = [push(1, "a"), push(1, "b"), push(3)]
    tasks = [rows.task(1, pushes=Interest.TOLD), rows.task(2), rows.task(3, pushes=Interest.TOLD)]
    await put(store, new_tasks=tasks, pushes=pushes)
    loaded = await get(store, tasks={key(1), key(2)})
    assert loaded.pushes == {key(1): (pushes[0], pushes[1])}
    loaded = await get(store, names={rows.task(3).name})
    assert loaded.pushes == {key(3): (pushes[2],)}


async def test_due_are_tasks_with_a_push_whose_moment_is_past(store: TaskStore) -> None:
    far = 2**62
    await put(
        store,
        new_tasks=[rows.task(number, pushes=Interest.TOLD) for number in range(1, 6)],
        pushes=[
            push(1, due_at=NOW + 1),
            push(1, "other", due_at=NOW),
            push(2, due_at=far),
            push(3, due_at=0),
            push(4, due_at=NOW, dead=True),
            push(5, due_at=NOW + 2),
        ],
    )
    assert set(await store.due(DueKind.PUSH, 10)) == {key(1), key(5)}
    assert list(await store.due(DueKind.PUSH, 1)) == [key(1)]


async def test_an_erased_task_takes_its_pushes_along(store: TaskStore) -> None:
    ended = rows.task(1, pushes=Interest.TOLD, state=State.COMPLETED, phase=7)
    await put(store, new_tasks=[ended], pushes=[push(1, due_at=NOW)])
    assert await store.erase([key(1)]) == 1
    assert list(await store.due(DueKind.PUSH, 10)) == []
    assert list((await store.rows(RowQuery(Table.PUSH, (key(1),)))).rows) == []
