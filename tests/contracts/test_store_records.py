"""What every task store keeps of things that are few and named by people."""

import asyncio

import pytest

from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import RecordRow
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.ports import TaskStore
from tests.contracts import rows
from tests.contracts.rows import get, get_task, key, put, record, refused

SECOND = 1_000_000
HOUR = 3_600 * SECOND


async def records(store: TaskStore, *prefix: str) -> list[tuple[object, ...]]:
    return list((await store.rows(RowQuery(Table.RECORD, prefix))).rows)


async def test_records_come_back_as_they_went(store: TaskStore) -> None:
    every = [
        record("nightly", kind="agent", body=b""),
        record("a", body=b"\0\xff", due_at=2**53 - 1),
        record("naïve 🎈"),
        record("a", owner="other"),
        record("a", tenant="t"),
    ]
    await put(store, records=[every[4], *every[:4]])
    assert await records(store) == every
    assert {type(row) for row in await records(store)} == {RecordRow}
    loaded = await get(store, records={every[1].key, every[4].key, record("unknown").key})
    assert loaded.records == {every[1].key: every[1], every[4].key: every[4]}
    assert {type(row) for row in loaded.records.values()} == {RecordRow}


async def test_records_are_read_by_prefix_in_pages(store: TaskStore) -> None:
    every = [record(name, owner=owner) for owner in ("local", "other") for name in ("a", "b", "c")]
    await put(store, records=[*every, record("a", kind="template"), record("a", tenant="t")])
    assert await records(store, "schedule", "") == every
    assert await records(store, "schedule", "", "other") == every[3:]
    assert await records(store, "schedule", "", "other", "b") == [every[4]]
    assert await records(store, "template") == [record("a", kind="template")]
    assert await records(store, "none") == []
    page = await store.rows(RowQuery(Table.RECORD, ("schedule", ""), every[1].key, limit=3))
    assert (list(page.rows), page.more) == (every[2:5], True)
    with pytest.raises(ValueError, match="kind, tenant, owner, id"):
        await store.rows(RowQuery(Table.RECORD, (), ("schedule",)))


async def test_a_record_is_replaced_by_its_next_revision_and_deleted(store: TaskStore) -> None:
    await put(store, records=[record("a"), record("b"), record("c", owner="other")])
    changed = record("a", rev=2, due_at=5, body=b"changed")
    await put(store, records=[changed, record("d")], gone_records=[(record("b").key, 1)])
    assert await records(store) == [changed, record("d"), record("c", owner="other")]
    await put(store, gone_records=[(changed.key, 2)])
    await put(store, records=[record("a", body=b"again")])
    assert (await get(store, records={changed.key})).records == {changed.key: record("a", body=b"again")}


async def test_a_record_that_is_not_as_expected_is_a_conflict(store: TaskStore) -> None:
    kept = [record("a", rev=1), record("b")]
    await put(store, records=kept)
    message = [rows.message(1, 1)]
    for changes in (
        Changes(messages=message, records=[record("a", rev=3)]),
        Changes(messages=message, records=[record("a", rev=1, body=b"other")]),
        Changes(messages=message, records=[record("unknown", rev=2)]),
        Changes(messages=message, gone_records=[(record("a").key, 2)]),
        Changes(messages=message, gone_records=[(record("unknown").key, 1)]),
        Changes(messages=message, records=[record("b", rev=2), record("a", rev=3)]),
        Changes(messages=message, gone_records=[(record("b").key, 1), (record("a").key, 2)]),
    ):
        assert await refused(store, changes) == 6
        assert await records(store) == kept
        assert (await store.rows(RowQuery(Table.MESSAGE))).rows == []


async def test_a_record_that_changed_is_decided_again_on_fresh_rows(store: TaskStore) -> None:
    await put(store, records=[record("a")])
    seen: list[int] = []

    def decide(loaded: Loaded) -> Changes:
        row = loaded.records[record("a").key]
        seen.append(row.rev)
        return Changes(records=[row._replace(rev=row.rev + (2 if len(seen) == 1 else 1))])

    await store.turn(Needs(records={record("a").key}), decide)
    assert seen == [1, 1]
    assert await records(store) == [record("a", rev=2)]


async def test_of_two_stores_one_makes_a_record_and_the_other_sees_it(store: TaskStore, other: TaskStore) -> None:
    async def make(each: TaskStore, name: str, body: bytes) -> RecordRow | None:
        known: list[RecordRow] = []

        def decide(loaded: Loaded) -> Changes:
            known[:] = loaded.records.values()
            return Changes() if known else Changes(records=[record(name, body=body)])

        await each.turn(Needs(records={record(name).key}), decide)
        return known[0] if known else None

    for turn in range(20):
        name = f"r{turn}"
        found = await asyncio.gather(make(store, name, b"1"), make(other, name, b"2"), make(store, name, b"3"))
        [winner] = [body for body, row in zip((b"1", b"2", b"3"), found, strict=True) if row is None]
        assert [row for row in found if row] == [record(name, body=winner)] * 2


async def test_two_stores_that_count_in_a_record_lose_nothing(store: TaskStore, other: TaskStore) -> None:
    name = record("counter").key
    await put(store, new_tasks=[rows.task(1)])

    def count(loaded: Loaded) -> Changes:
        row = loaded.records.get(name)
        changed = row._replace(rev=row.rev + 1, due_at=row.due_at + 1) if row else record("counter", due_at=1)
        task = loaded.tasks[key(1)]
        return Changes(records=[changed], tasks=[rows.next_rev(task, last_n=task.last_n + 1)])

    turns = [each.turn(Needs(records={name}, tasks={key(1)}), count) for each in [store, other] * 20]
    await asyncio.gather(*turns)
    assert await records(store) == [record("counter", rev=40, due_at=40)]
    assert (await get_task(store, 1)).last_n == 41


async def test_one_of_two_stores_deletes_a_record(store: TaskStore, other: TaskStore) -> None:
    async def delete(each: TaskStore, name: str) -> bool:
        deleted = False

        def decide(loaded: Loaded) -> Changes:
            nonlocal deleted
            deleted = bool(loaded.records)
            return Changes(gone_records=[(row.key, row.rev) for row in loaded.records.values()])

        await each.turn(Needs(records={record(name).key}), decide)
        return deleted

    names = [f"r{turn}" for turn in range(20)]
    await put(store, records=[record(name) for name in names])
    for name in names:
        assert sorted(await asyncio.gather(delete(store, name), delete(other, name))) == [False, True]
    assert await records(store) == []


KINDS = ("schedule", "agent")


async def test_due_records_are_those_whose_moment_is_past_earliest_first(store: TaskStore) -> None:
    assert await store.due_records(KINDS, 10) == []
    now = (await get(store)).now
    due = [record("z", due_at=1), record("a", due_at=2, kind="agent"), record("b", due_at=now - 1, tenant="t")]
    await put(store, records=[record("later", due_at=now + HOUR), record("never"), due[1], due[2], due[0]])
    assert list(await store.due_records(KINDS, 10)) == due
    assert list(await store.due_records(KINDS, 2)) == due[:2]
    assert {type(row) for row in await store.due_records(KINDS, 10)} == {RecordRow}
    await put(store, records=[due[0]._replace(rev=2, due_at=0)], gone_records=[(due[1].key, 1)])
    assert list(await store.due_records(KINDS, 10)) == due[2:]


async def test_records_of_other_kinds_are_not_due(store: TaskStore) -> None:
    mine, theirs = record("a", due_at=3), record("a", due_at=1, kind="schedule/other")
    await put(store, records=[mine, theirs, *(record(str(n), due_at=1, kind="many") for n in range(20))])
    assert list(await store.due_records(("schedule",), 2)) == [mine]
    assert list(await store.due_records(("schedule", "schedule/other"), 2)) == [theirs, mine]
    assert list(await store.due_records(("other",), 2)) == []
    assert list(await store.due_records((), 2)) == []
    await put(store, gone_records=[(mine.key, 1)])
    assert await store.next_alarm(("schedule",)) is None
    assert await store.next_alarm() is None
    assert await store.next_alarm(("schedule", "schedule/other")) == 0


async def test_the_next_alarm_is_the_earliest_of_tasks_and_records(store: TaskStore) -> None:
    assert await store.next_alarm(KINDS) is None
    await put(store, records=[record("never")], new_tasks=[rows.task(1)])
    assert await store.next_alarm(KINDS) is None
    now = (await get(store)).now
    await put(store, records=[record("later", due_at=now + 2 * HOUR)])
    assert await store.next_alarm(KINDS) == pytest.approx(2 * HOUR, abs=60 * SECOND)
    await put(store, new_tasks=[rows.task(2, due_at=now + HOUR)])
    assert await store.next_alarm(KINDS) == pytest.approx(HOUR, abs=60 * SECOND)
    await put(store, records=[record("soon", due_at=now + HOUR // 2)])
    assert await store.next_alarm(KINDS) == pytest.approx(HOUR // 2, abs=60 * SECOND)
    await put(store, records=[record("past", due_at=1)])
    assert await store.next_alarm(KINDS) == 0
    await put(store, gone_records=[(record(name).key, 1) for name in ("past", "soon", "later")])
    assert await store.next_alarm(KINDS) == pytest.approx(HOUR, abs=60 * SECOND)
