"""How the PostgreSQL store brings a database's schema up to date, and which ones it serves or refuses."""

import asyncio
from dataclasses import replace

import pytest

from a2a_server.errors import SchemaMismatch, StoreUnavailable
from a2a_server.model.objects import Lane, Phase
from a2a_server.model.queries import DueKind, RowQuery, Search, Table
from a2a_server.model.turns import ClaimNeed
from a2a_server.stores.postgresql import PostgresqlStore
from a2a_server.stores.postgresql_schema import Schema, known_migrations
from tests.contracts import rows
from tests.contracts.postgresql_database import PostgresqlDatabase
from tests.contracts.rows import get, get_task, key, put

NOW = len(known_migrations())


def older() -> Schema:
    return Schema(known_migrations())


def newer() -> Schema:
    return Schema((*known_migrations(), "CREATE TABLE later (name text); ALTER TABLE gate ADD COLUMN later text"))


def first() -> Schema:
    """As the version before this one knew it."""
    return Schema(known_migrations()[:1])


async def test_the_first_schema_is_served_as_it_is_and_brought_up_to_date_meanwhile(
    postgresql: PostgresqlDatabase,
) -> None:
    old, new = PostgresqlStore(postgresql.url, schema=first()), PostgresqlStore(postgresql.url)
    await old.open()
    await put(old, new_tasks=[rows.task(n, rank=n, parent=key(9)) for n in (1, 2, 3)])
    await new.open()
    assert postgresql.run("SELECT value FROM meta")[0][0] == "1"
    await serves(new, 10)
    assert "schema version 1 of 2; `a2a-server migrate`" in await new.examine()
    assert await new.migrate() == (1, 2)
    assert "schema version 2 of 2" in await new.examine()
    await serves(new, 20)
    assert (await get(old, claims=[ClaimNeed(("echo",), 5)])).claims == [(key(1), key(2), key(3))]
    for store in (old, new):
        await store.close()
    for refused in (
        PostgresqlStore(postgresql.url, schema=first()).open,
        PostgresqlStore(postgresql.url, schema=first()).migrate,
    ):
        with pytest.raises(SchemaMismatch, match=r"has schema 2, this version knows up to 1: start the newer server"):
            await refused()
    assert postgresql.faults() == []


async def serves(store: PostgresqlStore, number: int) -> None:
    """Everything that is written and asked since the second schema, beside a claim."""
    edge, tag, record = rows.edge(1, number), rows.tag(number, f"env:{number}"), rows.record(str(number), due_at=number)
    await put(store, new_tasks=[rows.task(number, parent=key(number))], edges=[edge], tags=[tag], records=[record])
    need = ClaimNeed(("echo",), 3, lanes=(Lane.NORMAL, Lane.BACKLOG))
    loaded = await get(store, claims=[need], waits={key(number)}, records={record.key})
    assert loaded.claims == [(key(number), key(1), key(2))]
    assert (loaded.waits, loaded.records) == ({key(number): {(1, 0): 1}}, {record.key: record})
    await put(store, ended={key(1): 3})
    done = edge._replace(done=3)
    assert list(await store.due(DueKind.SETTLE, 5)) == [key(number)]
    assert (await get(store, waits={key(number)})).arrived == {key(number): (done,)}
    await put(store, settled=[done])
    assert (await store.due(DueKind.SETTLE, 5), await store.next_alarm(("schedule",))) == ([], 0)
    assert list(await store.due_records(("schedule",), 5)) == [record]
    assert list((await store.rows(RowQuery(Table.EDGE_TO, (key(number),)))).rows) == [done._replace(done=-3)]
    assert list((await store.rows(RowQuery(Table.TAG_OF, (key(number),)))).rows) == [tag]
    search = Search("", "local", "Echo")
    for filters in (
        {"parent": key(number)},
        {"tag": tag.tag},
        {"tag_prefix": tag.tag},
        {"created_from": 1_000, "tags": (tag.tag,)},
    ):
        assert [row.key for row in (await store.search(replace(search, **filters))).rows] == [key(number)]
    ended = rows.next_rev(await get_task(store, number), phase=Phase.FINAL)
    await put(store, tasks=[ended], gone_records=[(record.key, 1)])
    assert await store.erase([key(number)]) == 1
    assert [*(await store.rows(RowQuery(Table.EDGE))).rows, *(await store.rows(RowQuery(Table.TAG_OF))).rows] == []


async def test_new_code_serves_the_schema_before_until_it_is_migrated_and_old_code_refuses_the_next(
    postgresql: PostgresqlDatabase,
) -> None:
    old, new = PostgresqlStore(postgresql.url, schema=older()), PostgresqlStore(postgresql.url, schema=newer())
    await old.open()
    await put(old, new_tasks=[rows.task(1)], gates=[rows.gate("a")])
    await new.open()
    assert await get_task(new, 1) == rows.task(1)
    assert await PostgresqlStore(postgresql.url, schema=newer()).migrate() == (NOW, NOW + 1)
    assert await PostgresqlStore(postgresql.url, schema=newer()).migrate() == (NOW + 1, NOW + 1)
    for store in (old, new):  # a rolling upgrade: both go on meanwhile
        assert (await get(store, gates={"a"})).gates == {"a": rows.gate("a")}
        await store.close()
    refusal = f"has schema {NOW + 1}, this version knows up to {NOW}: start the newer server"
    with pytest.raises(SchemaMismatch, match=refusal):
        await PostgresqlStore(postgresql.url, schema=older()).open()
    with pytest.raises(SchemaMismatch, match=refusal):
        await PostgresqlStore(postgresql.url, schema=older()).migrate()


async def test_a_schema_that_is_too_old_is_refused_until_it_is_migrated(postgresql: PostgresqlDatabase) -> None:
    assert await PostgresqlStore(postgresql.url, schema=older()).migrate() == (0, NOW)
    latest = replace(newer(), oldest=NOW + 1)
    served = f"has schema {NOW}, this version serves {NOW + 1} to {NOW + 1}: run `a2a-server migrate`"
    with pytest.raises(SchemaMismatch, match=served):
        await PostgresqlStore(postgresql.url, schema=latest).open()
    assert await PostgresqlStore(postgresql.url, schema=latest).migrate() == (NOW, NOW + 1)
    store = PostgresqlStore(postgresql.url, schema=latest)
    await store.open()
    await store.close()


async def test_each_migration_is_applied_once_by_many_at_once(postgresql: PostgresqlDatabase) -> None:
    stores = [PostgresqlStore(postgresql.url, schema=newer()) for _ in range(5)]
    found = await asyncio.gather(*(store.migrate() for store in stores[:3]), *(store.open() for store in stores[3:]))
    assert [after for _, after in filter(None, found)] == [NOW + 1] * 3
    assert postgresql.run("SELECT value FROM meta")[0][0] == str(NOW + 1)
    await asyncio.gather(*(store.close() for store in stores))


async def test_a_migration_that_fails_leaves_nothing(postgresql: PostgresqlDatabase) -> None:
    broken = Schema((*known_migrations(), "CREATE TABLE later (name text); CREATE TABLE task (name text)"))
    with pytest.raises(StoreUnavailable, match="42P07"):
        await PostgresqlStore(postgresql.url, schema=broken).open()
    assert postgresql.run("SELECT value FROM meta")[0][0] == str(NOW)
    assert postgresql.run("SELECT FROM pg_class WHERE relname = 'later'") == []


async def test_schemas_of_one_database_are_stores_of_their_own(postgresql: PostgresqlDatabase) -> None:
    blue, green = (PostgresqlStore(f"{postgresql.url}&schema={name}") for name in ("blue", "green"))
    postgresql.run("CREATE TABLE public.foreign_one (name text)")
    for number, store in enumerate((blue, green)):
        await store.open()
        await put(store, new_tasks=[rows.task(number)])
        assert await asyncio.to_thread(store.beat, key(8)) is False
    assert await blue.heads([key(0), key(1)]) != await green.heads([key(0), key(1)])
    await blue.close()
    await green.close()
    postgresql.run("DROP SCHEMA blue CASCADE; DROP SCHEMA green CASCADE")
