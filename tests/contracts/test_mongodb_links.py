"""Edges, tags, records and searches as only the MongoDB store has them: its locks, its keys, its schemas."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pymongo import MongoClient

from a2a_server.errors import Conflict
from a2a_server.model.objects import State
from a2a_server.model.queries import DueKind, RowQuery, Search, Table
from a2a_server.model.rows import NO_KEY, Interest
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.ports import TaskStore
from a2a_server.stores import mongodb_content, mongodb_schema, mongodb_search, mongodb_turn
from a2a_server.stores.mongodb_rows import Document, encoded, span
from tests.contracts import rows
from tests.contracts.mongodb_database import MongodbDatabase
from tests.contracts.rows import edge, get, key, numbers, put, record, tag

DONE = int(State.COMPLETED)
SEARCH = Search("", "local", "Echo")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[MongodbDatabase]:
    database = MongodbDatabase(tmp_path)
    yield database
    database.drop()


@pytest.fixture
def raw(database: MongodbDatabase) -> Iterator[MongoClient[Document]]:
    """Somebody who writes beside all stores."""
    with database.client() as client:
        yield client


# Locks


@pytest.mark.parametrize(
    "changes", [Changes(edges=[edge(1, 2)]), Changes(ended={key(1): DONE})], ids=["an edge", "an end"]
)
async def test_an_upstream_that_changed_meanwhile_is_a_conflict_also_where_it_is_not_loaded(
    store: TaskStore, database: MongodbDatabase, raw: MongoClient[Document], changes: Changes
) -> None:
    await put(store, new_tasks=[rows.task(1)], gates=[rows.gate("seen")])
    decided = 0

    def decide(loaded: Loaded) -> Changes:
        nonlocal decided
        decided += 1
        if decided == 1:
            raw[database.name]["task"].update_one({"_id": key(1)}, {"$inc": {"rev": 1}})
        return changes

    await store.turn(Needs(gates={"seen"}), decide)
    assert decided == 2


async def test_an_end_marks_the_edges_that_came_while_it_was_decided(
    store: TaskStore, database: MongodbDatabase, raw: MongoClient[Document]
) -> None:
    """An edge that is committed after the end's turn began, which does not see it, is in the way of the end."""
    await put(store, new_tasks=[rows.task(1)], gates=[rows.gate("seen")])
    document = {**edge(1, 2)._asdict(), "_id": encoded((key(1), key(2)))}
    other = raw.start_session()
    other.start_transaction()
    db = raw[database.name]
    db["task"].update_one({"_id": key(1)}, {"$inc": {"lock": 1}}, session=other)
    db["edge"].insert_one(document, session=other)
    decided = 0

    def end(loaded: Loaded) -> Changes:
        nonlocal decided
        decided += 1
        if decided == 1:
            other.commit_transaction()
        return Changes(ended={key(1): DONE})

    await store.turn(Needs(gates={"seen"}), end)
    other.end_session()
    assert decided == 2
    assert list((await store.rows(RowQuery(Table.EDGE))).rows) == [edge(1, 2, done=DONE)]


async def test_a_record_is_locked_where_it_is_only_read(
    store: TaskStore, database: MongodbDatabase, raw: MongoClient[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, records=[record("a")])
    monkeypatch.setattr(mongodb_turn, "LOCK_SECONDS", 0.1)
    with raw.start_session() as session, session.start_transaction():
        where = {"_id": encoded(record("a").key)}
        raw[database.name]["record"].update_one(where, {"$inc": {"rev": 1}}, session=session)
        with pytest.raises(Conflict, match="keeps a row"):
            await get(store, records={record("a").key})
        assert list((await store.rows(RowQuery(Table.RECORD))).rows) == [record("a")]


# Keys


def test_a_span_holds_what_begins_so_and_nothing_else() -> None:
    texts = ["", "\0", "\0\1", "a", "a\0", "a\0b", "ab", "aé", "b", "\ud7ff", "\ud7ffa", "\ue000", "\U0010ffff", "é"]
    texts += ["\U0010ffff\U0010ffff", "a\U0010ffff", "a\U0010ffffb"]
    keys = [(scope, text, n) for scope in ("", "s", "s\0", "\U0010ffff") for text in texts for n in (0, 7)]
    random.Random(5).shuffle(keys)  # noqa: S311 - no secret
    for scope in ("", "s", "\U0010ffff"):
        for begins in texts:
            bounds = span((scope,), begins)
            low, high = bounds["$gte"].encode(), bounds["$lt"].encode()
            inside = {each for each in keys if low <= encoded(each).encode() < high}
            assert inside == {each for each in keys if each[0] == scope and each[1].startswith(begins)}


# Schemas


def indexes(client: MongoClient[Document], name: str) -> dict[str, set[str]]:
    db = client[name]
    return {table: set(db[table].index_information()) for table in sorted(db.list_collection_names())}


async def test_a_former_schema_is_served_as_it_is_and_brought_up_to_date(
    database: MongodbDatabase, raw: MongoClient[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as former:
        former.setattr(mongodb_schema, "_MIGRATIONS", mongodb_schema._MIGRATIONS[:1])
        former.setattr(mongodb_schema, "NEWEST", 1)
        assert await database.store().migrate() == (0, 1)
    before = indexes(raw, database.name)
    assert "edge_downstream" in before["edge"]

    store = database.store()
    await store.open()
    await put(
        store,
        new_tasks=[rows.task(n, parent=key(9), pushes=Interest.PARENT) for n in (1, 2)],
        edges=[edge(1, 2, done=DONE), edge(1, 3)],
        tags=[tag(1), tag(2)],
        records=[record("a", due_at=5)],
    )
    assert await served(store) == ([2, 1], [2, 1], [1, 2], [2], ["a"])
    assert indexes(raw, database.name) == before
    await store.close()

    assert await store.migrate() == (1, mongodb_schema.NEWEST)
    fresh = MongodbDatabase(tmp_path)
    assert await fresh.store().migrate() == (0, mongodb_schema.NEWEST)
    assert indexes(raw, database.name) == indexes(raw, fresh.name) != before
    assert "edge_downstream" not in indexes(raw, database.name)["edge"]
    fresh.drop()
    await store.open()
    assert await served(store) == ([2, 1], [2, 1], [1, 2], [2], ["a"])
    await store.close()


async def served(store: TaskStore) -> tuple[list[int], list[int], list[int], list[int], list[str]]:
    children = await store.search(replace(SEARCH, parent=key(9)))
    labelled = await store.search(replace(SEARCH, tag="blue", parents=True))
    assert len((await store.rows(RowQuery(Table.EDGE_TO))).rows) == 2
    assert len((await store.rows(RowQuery(Table.TAG_OF))).rows) == 2
    assert await store.next_alarm(("schedule",)) == 0
    return (
        numbers(row.key for row in children.rows),
        numbers(row.key for row in labelled.rows),
        numbers(row.key for row in await store.oldest(NO_KEY, 9)),
        numbers(await store.due(DueKind.SETTLE, 9)),
        [row.id for row in await store.due_records(("schedule",), 9)],
    )


# Searches


async def test_searches_go_on_over_many_rounds(store: TaskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongodb_search, "_AT_ONCE", 7)
    await put(
        store,
        new_tasks=[rows.task(n, status_at=n // 3, skill="rare" if n % 10 == 0 else "often") for n in range(1, 61)],
        tags=[tag(n, f"env:{label}") for n in range(1, 61) for label in range(n % 3)],
    )
    rare = replace(SEARCH, skills=frozenset({"rare"}))
    assert numbers(row.key for row in (await store.search(rare)).rows) == [60, 50, 40, 30, 20, 10]
    first = await store.search(replace(rare, limit=4))
    assert numbers(row.key for row in first.rows) == [60, 50, 40, 30]
    rest = await store.search(replace(rare, limit=4, after=first.after))
    assert (numbers(row.key for row in rest.rows), rest.after) == ([20, 10], None)
    tagged = await store.search(replace(rare, tag_prefix="env:"))
    assert numbers(row.key for row in tagged.rows) == [50, 20, 40, 10]


async def test_tasks_with_large_bodies_are_found_whole(store: TaskStore) -> None:
    large = rows.task(1, spec=b"x" * (mongodb_content.LARGE_BYTES + 1))
    await put(store, new_tasks=[large, rows.task(2)])
    assert list((await store.search(SEARCH)).rows) == [rows.task(2), large]
    assert list(await store.oldest(NO_KEY, 9)) == [large, rows.task(2)]
    assert (await get(store, tasks={key(1)})).tasks == {key(1): large}
