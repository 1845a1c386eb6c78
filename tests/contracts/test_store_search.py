"""Searches by any filters, and the order in which tasks were made, in every task store."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from a2a_server.model.objects import Lane, Phase, State
from a2a_server.model.queries import Found, Search, SearchCursor
from a2a_server.model.rows import NO_KEY, Interest, TaskRow
from a2a_server.ports import TaskStore
from tests.contracts import rows
from tests.contracts.rows import get_task, key, numbers, put, tag

SEARCH = Search("", "local", "Echo")
ODD = (
    "100%",
    "100_",
    "1000",
    "a\\b",
    "a_b",
    "a%b",
    "axb",
    "A_b",
    "naïve",
    "naïve 🎈",
    "\ud7ff",
    "\ue000",
    "\U0010ffff",
    "é",
    "z",
)
"""Tags that a pattern, a case or another order than that of code points would mistake for each other."""


def ids(tasks: Sequence[TaskRow]) -> list[int]:
    return numbers(row.key for row in tasks)


async def walk(store: TaskStore, query: Search) -> list[Found]:
    """Every page from the first to the last one."""
    pages = [await store.search(query)]
    while (after := pages[-1].after) is not None:
        assert len(pages) < 1_000, "no end"
        pages.append(await store.search(replace(query, after=after)))
        assert pages[-1].after != after
    assert all(len(page.rows) <= min(query.limit, query.scan) for page in pages)
    return pages


async def search(store: TaskStore, **filters: Any) -> list[int]:  # noqa: ANN401 - any filter
    """What is found, the same in one page and in small ones."""
    query = replace(SEARCH, **filters)
    found = await store.search(query)
    assert found.after is None
    for small in (replace(query, limit=1), replace(query, limit=2), replace(query, scan=1), replace(query, scan=3)):
        pages = await walk(store, small)
        assert [row for page in pages for row in page.rows] == list(found.rows)
    return ids(found.rows)


async def write(store: TaskStore) -> None:
    """Tasks that differ in everything that can be asked for, and some that must never be found."""
    parent, waited = Interest.PARENT, Interest.WAITED
    tasks = [
        rows.task(1, status_at=60, created_at=10, context="a", skill="write", parent=key(9)),
        rows.task(2, status_at=50, created_at=20, context="b", queue="slow", parent=key(9), pushes=parent | waited),
        rows.leased(3, key(90), status_at=50, created_at=30, context="a", lane=Lane.HIGH, parent=key(8)),
        rows.final(4, status_at=40, created_at=40, context="a", skill="write", lane=Lane.LOW, parent=key(9)),
        rows.final(5, status_at=30, created_at=50, context="b", state=State.FAILED, pushes=waited),
        rows.task(6, status_at=20, created_at=60, context="c", phase=Phase.WAITING, pushes=parent),
        rows.held(7, "gate", status_at=10, created_at=70, skill="read", queue="slow"),
    ]
    hidden = [
        rows.task(21, context="a", parent=key(9), visible=False),
        rows.task(22, context="a", parent=key(9), agent="Other"),
        rows.task(23, context="a", parent=key(9), owner="other"),
        rows.task(24, context="a", parent=key(9), tenant="other"),
    ]
    scopes: dict[int, dict[str, Any]] = {23: {"owner": "other"}, 24: {"tenant": "other"}}
    tagged = {1: ("blue", "env:a"), 2: ("blue", "env:b", "env:c"), 3: ("red",), 4: ("env:a", "red"), 6: ("blue", "red")}
    labels = [*((n, label) for n, some in tagged.items() for label in some)]
    labels += [(n, label) for n in (21, 22, 23, 24) for label in ("blue", "env:a", "env:x")]
    await put(
        store,
        new_tasks=[*tasks, *hidden],
        tags=[tag(n, label)._replace(**scopes.get(n, {})) for n, label in labels],
    )


async def test_each_filter_finds_its_tasks_in_its_order(store: TaskStore) -> None:
    await write(store)
    assert await search(store) == [1, 3, 2, 4, 5, 6, 7]
    assert await search(store, context="a") == [1, 3, 4]
    assert await search(store, context="none") == []
    assert await search(store, parent=key(9)) == [4, 2, 1]
    assert await search(store, parent=key(404)) == []
    assert await search(store, tag="blue") == [6, 2, 1]
    assert await search(store, tag="blu") == []
    assert await search(store, tags=("red",)) == [3, 4, 6]
    assert await search(store, tags=("red", "env:a")) == [4]
    assert await search(store, tags=("red", "none")) == []
    assert await search(store, skills=frozenset({"write"})) == [1, 4]
    assert await search(store, skills=frozenset({"write", "read", "none"})) == [1, 4, 7]
    assert await search(store, queues=frozenset({"slow"})) == [2, 7]
    assert await search(store, lanes=frozenset({Lane.HIGH, Lane.LOW})) == [3, 4]
    assert await search(store, parents=True) == [2, 6]
    assert await search(store, parents=False) == [1, 3, 4, 5, 7]
    assert await search(store, created_from=30) == [3, 4, 5, 6, 7]
    assert await search(store, created_to=30) == [1, 2]
    assert await search(store, status_from=40) == [1, 3, 2, 4]
    assert await search(store, status_to=40) == [5, 6, 7]
    assert await search(store, status_from=30, status_to=50, created_from=40, created_to=50) == [4]


async def test_tasks_are_found_by_state_and_phase(store: TaskStore) -> None:
    await write(store)
    ready, waiting, held = ((State.SUBMITTED, phase) for phase in (Phase.READY, Phase.WAITING, Phase.HELD))
    failed, leased = (State.FAILED, Phase.FINAL), (State.WORKING, Phase.LEASED)
    assert await search(store, stands=frozenset({ready})) == [1, 2]
    assert await search(store, stands=frozenset({waiting, held})) == [6, 7]
    assert await search(store, stands=frozenset({failed, leased, waiting})) == [3, 5, 6]
    assert await search(store, stands=frozenset({failed, ready}), context="b") == [2, 5]
    assert await search(store, stands=frozenset({(State.FAILED, Phase.READY)})) == []
    assert await search(store, stands=frozenset({ready, leased}), parent=key(9)) == [2, 1]
    assert await search(store, stands=frozenset({ready, waiting}), tag="blue", created_from=20) == [6, 2]


async def test_filters_hold_together_whichever_decides_the_order(store: TaskStore) -> None:
    await write(store)
    assert await search(store, parent=key(9), tag="blue") == [2, 1]
    assert await search(store, parent=key(9), tag_prefix="env:a") == [4, 1]
    assert await search(store, parent=key(9), tags=("env:a",), skills=frozenset({"write"})) == [4, 1]
    assert await search(store, parent=key(9), context="a", status_to=60) == [4]
    assert await search(store, parent=key(9), parents=False, status_from=40) == [4, 1]
    assert await search(store, tag="blue", tag_prefix="env:") == [2, 1]
    assert await search(store, tag="blue", tags=("red",)) == [6]
    assert await search(store, tag="blue", context="a") == [1]
    assert await search(store, tag="blue", queues=frozenset({"slow"}), parents=True) == [2]
    assert await search(store, tag="red", lanes=frozenset({Lane.HIGH})) == [3]
    assert await search(store, tag_prefix="env:", tags=("blue",)) == [2, 1]
    assert await search(store, tag_prefix="env:", context="a", status_from=50) == [1]
    assert await search(store, tag_prefix="env:", stands=frozenset({(State.COMPLETED, Phase.FINAL)})) == [4]
    assert await search(store, context="a", skills=frozenset({"write"}), status_to=60, tags=("red",)) == [4]
    assert await search(store, context="a", status_from=50, status_to=60) == [3]


async def test_what_is_empty_asks_for_nothing(store: TaskStore) -> None:
    await write(store)
    every = [1, 3, 2, 4, 5, 6, 7]
    assert await search(store, context="", parent=b"", tag="", tag_prefix="") == every


async def test_other_scopes_and_agents_see_their_own_tasks(store: TaskStore) -> None:
    await write(store)
    for mine, number in (({"agent": "Other"}, 22), ({"owner": "other"}, 23), ({"tenant": "other"}, 24)):
        for filters in ({}, {"tag": "blue"}, {"tag_prefix": "env:"}, {"parent": key(9)}, {"context": "a"}):
            assert await search(store, **mine, **filters) == [number], (mine, filters)
    for filters in ({}, {"tag": "blue"}, {"tag_prefix": "b"}, {"parent": key(9)}, {"context": "a"}):
        assert await search(store, agent="None", **filters) == []
        assert await search(store, tenant="other", owner="other", **filters) == []


# Tags by prefix


async def test_tags_that_begin_so_come_last_tag_first(store: TaskStore) -> None:
    labelled = {1: "env:a", 2: "env:b", 3: "env:a", 4: "env:b:1", 5: "env", 6: "env;", 7: "Env:a", 8: "env:"}
    await put(
        store,
        new_tasks=[rows.task(n, status_at=100 - n) for n in labelled],
        tags=[tag(n, label) for n, label in labelled.items()],
    )
    assert await search(store, tag_prefix="env:") == [4, 2, 3, 1, 8]
    assert await search(store, tag_prefix="env:b") == [4, 2]
    assert await search(store, tag_prefix="env") == [6, 4, 2, 3, 1, 8, 5]
    assert await search(store, tag_prefix="x") == []


async def test_a_task_with_several_such_tags_is_found_once_by_the_last(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[rows.task(n) for n in (1, 2, 3)],
        tags=[
            *(tag(1, f"env:{letter}") for letter in "ace"),
            *(tag(2, f"env:{letter}") for letter in "bd"),
            *(tag(3, label) for label in ("env:a", "other", "z")),
        ],
    )
    assert await search(store, tag_prefix="env:") == [1, 2, 3]
    assert await search(store, tag_prefix="env:", tags=("env:a",)) == [1, 3]
    assert await search(store, tag_prefix="env:b") == [2]


@pytest.mark.parametrize(
    "prefix", ["1", "100", "100%", "100_", "a", "a\\", "a_", "a%", "A", "na", "naïve", "\ud7ff", "\U0010ffff", "é"]
)
async def test_a_prefix_means_nothing_but_its_characters(store: TaskStore, prefix: str) -> None:
    await put(
        store, new_tasks=[rows.task(n) for n in range(len(ODD))], tags=[tag(n, each) for n, each in enumerate(ODD)]
    )
    expected = sorted((each for each in ODD if each.startswith(prefix)), reverse=True)
    assert expected
    assert await search(store, tag_prefix=prefix) == [ODD.index(each) for each in expected]
    assert await search(store, tag_prefix=prefix, tags=(expected[0],)) == [ODD.index(expected[0])]


async def test_odd_tags_are_found_as_they_are(store: TaskStore) -> None:
    await put(
        store, new_tasks=[rows.task(n) for n in range(len(ODD))], tags=[tag(n, each) for n, each in enumerate(ODD)]
    )
    for n, each in enumerate(ODD):
        assert await search(store, tag=each) == await search(store, tags=(each,)) == [n]


# Pages


@pytest.mark.parametrize(
    "filters",
    [{}, {"context": "context"}, {"tag": "blue"}, {"tag_prefix": "shard:"}, {"parent": key(9_999)}],
    ids=["all", "context", "tag", "tag_prefix", "parent"],
)
async def test_a_walk_sees_every_task_that_is_unchanged_once(store: TaskStore, filters: dict[str, Any]) -> None:
    many = range(1, 121)
    await put(
        store,
        new_tasks=[
            rows.task(n, status_at=1_000 + n // 7, state=State(1 + n % 3), skill=f"skill-{n % 4}", parent=key(9_999))
            for n in many
        ],
        tags=[tag(n, label) for n in many for label in ("blue", f"shard:{n % 3}", f"shard:{n % 5}")],
    )
    query = replace(SEARCH, skills=frozenset({"skill-1", "skill-2"}), limit=9, scan=13, **filters)
    wanted = {n for n in many if n % 4 in {1, 2}}
    found: list[int] = []
    changed = 0
    while True:
        page = await store.search(query)
        found += ids(page.rows)
        if page.after is None:
            break
        query = replace(query, after=page.after)
        changed += 1  # meanwhile tasks come, move to the front, and go
        row = await get_task(store, changed)
        labels = [tag(1_000 + changed, label) for label in ("blue", "shard:1")]
        new = rows.task(1_000 + changed, skill="skill-3", status_at=9_000, parent=key(9_999))
        moved = rows.next_rev(row, status_at=9_000 + changed, skill="skill-3", state=State.FAILED)
        await put(store, new_tasks=[new], tags=labels, tasks=[moved])
    assert len(found) == len(set(found))
    assert set(found) <= wanted
    assert set(found) >= {n for n in wanted if n > changed}
    assert changed < len(many) // 2


@pytest.mark.parametrize(
    "filters",
    [{}, {"context": "context"}, {"tag": "blue"}, {"tag_prefix": "bl"}, {"parent": key(99)}],
    ids=["all", "context", "tag", "tag_prefix", "parent"],
)
async def test_no_more_rows_are_looked_at_than_scan(store: TaskStore, filters: dict[str, Any]) -> None:
    await put(
        store,
        new_tasks=[
            rows.task(n, status_at=n, parent=key(99), skill="rare" if n in {1, 2} else "often") for n in range(1, 21)
        ],
        tags=[tag(n) for n in range(1, 21)],
    )
    query = replace(SEARCH, skills=frozenset({"rare"}), scan=6, **filters)
    pages = await walk(store, query)
    assert [ids(page.rows) for page in pages] == [[], [], [], [2, 1]]
    assert ids((await store.search(replace(query, scan=18))).rows) == []
    assert ids((await store.search(replace(query, scan=19))).rows) == [2]
    found = await store.search(replace(query, scan=20))
    assert (ids(found.rows), found.after) == ([2, 1], None)


async def test_a_cursor_is_the_place_of_a_row(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[rows.task(n, status_at=n // 2, parent=key(99)) for n in range(1, 7)],
        tags=[tag(n, label) for n in range(1, 7) for label in ("blue", f"env:{n % 2}")],
    )

    async def after(order: int | str, number: int, **filters: Any) -> list[int]:  # noqa: ANN401 - any filter
        return await search(store, after=SearchCursor(order, key(number)), **filters)

    first = replace(SEARCH, limit=2)
    cursors = [
        (await store.search(query)).after
        for query in (
            first,
            replace(first, context="context"),
            replace(first, parent=key(99)),
            replace(first, tag="blue"),
            replace(first, tag_prefix="env:"),
        )
    ]
    orders: list[int | str] = [2, 2, 0, "blue", "env:1"]
    assert [cursor and cursor.order for cursor in cursors] == orders
    assert [cursor and cursor.key for cursor in cursors] == [key(n) for n in (5, 5, 5, 5, 3)]
    assert await after(2, 5) == [4, 3, 2, 1]
    assert await after(2, 4, context="context") == [3, 2, 1]
    assert await after(2, 5, status_to=2) == [3, 2, 1]
    assert await after(1, 3, status_to=3, status_from=1) == [2]
    assert await after(9, 9, status_to=2) == [3, 2, 1]
    assert await after(0, 4, parent=key(99)) == [3, 2, 1]
    assert await after("blue", 3, tag="blue") == [2, 1]
    assert await after("env:1", 3, tag_prefix="env:") == [1, 6, 4, 2]
    assert await after("env:0", 4, tag_prefix="env:") == [2]


async def test_a_page_that_is_full_with_the_last_task_is_the_last_one(store: TaskStore) -> None:
    await put(store, new_tasks=[rows.task(n, status_at=n) for n in range(1, 6)])
    assert (await store.search(replace(SEARCH, limit=5))).after is None
    assert (await store.search(replace(SEARCH, scan=5))).after is None
    for query in (replace(SEARCH, limit=4), replace(SEARCH, scan=4)):
        found = await store.search(query)
        assert (ids(found.rows), found.after) == ([5, 4, 3, 2], SearchCursor(2, key(2)))


async def test_found_tasks_are_whole_rows(store: TaskStore) -> None:
    row = rows.leased(1, key(90), gates=("a", "b*2"), status=b"\0\xff", spec=b"x" * 100_000, lane=Lane.HIGH)
    await put(store, new_tasks=[row], tags=[tag(1)])
    for query in (SEARCH, replace(SEARCH, tag="blue")):
        assert list((await store.search(query)).rows) == [row]


# The order in which tasks were made


async def test_the_oldest_tasks_of_every_scope_come_by_key(store: TaskStore) -> None:
    assert list(await store.oldest(NO_KEY, 10)) == []
    tasks = [
        rows.task(1, status_at=9),
        rows.final(2, owner="other"),
        rows.task(3, tenant="other", visible=False),
        rows.leased(4, key(90), agent="Other", status_at=1),
        rows.task(5),
    ]
    await put(store, new_tasks=tasks[::-1])
    assert list(await store.oldest(NO_KEY, 10)) == tasks
    assert list(await store.oldest(NO_KEY, 2)) == tasks[:2]
    assert list(await store.oldest(key(2), 2)) == tasks[2:4]
    assert list(await store.oldest(key(4), 2)) == tasks[4:]
    assert list(await store.oldest(key(5), 2)) == []
