"""What only the MongoDB store can be asked: its deployment, its locks, its keys, its large bodies."""

import asyncio
import random
import re
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import bson
import pytest
from pymongo import MongoClient

from a2a_server.errors import ConfigurationError, Conflict, DataRejected, SchemaMismatch, StoreUnavailable
from a2a_server.model.objects import Phase, Scope, State
from a2a_server.model.queries import RowQuery, Table, TaskQuery
from a2a_server.model.rows import GateRow, StateRow, TaskRow
from a2a_server.model.turns import Changes, ClaimNeed, Loaded, Needs
from a2a_server.ports import TaskStore
from a2a_server.stores import mongodb_content, mongodb_schema, mongodb_turn
from a2a_server.stores.mongodb import MongodbStore
from a2a_server.stores.mongodb_link import pause
from a2a_server.stores.mongodb_rows import Document, encoded, span
from tests.contracts import rows
from tests.contracts.mongodb_database import MongodbDatabase, closed_port
from tests.contracts.rows import get, get_task, key, put, writes
from tests.patience import PATIENCE

REPLICA = {"setName": "rs0", "maxWireVersion": 21, "logicalSessionTimeoutMinutes": 30}


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


# The deployment


@pytest.mark.parametrize(
    ("hello", "lack"),
    [
        (REPLICA, None),
        ({**REPLICA, "setName": "secantus", "maxWireVersion": 27}, None),
        ({"msg": "isdbgrid", "maxWireVersion": 17, "logicalSessionTimeoutMinutes": 30}, None),
        ({"maxWireVersion": 25, "logicalSessionTimeoutMinutes": 30}, "no transactions.*replica set"),
        ({**REPLICA, "maxWireVersion": 13}, "older than MongoDB 6.0.*upgrade"),
        ({**REPLICA, "logicalSessionTimeoutMinutes": None}, "no sessions"),
    ],
)
def test_a_deployment_says_what_it_lacks(hello: Document, lack: str | None) -> None:
    found = mongodb_schema.lacking(hello)
    assert found is None if lack is None else re.search(lack, found or "")


@asynccontextmanager
async def standing_in(answer: Callable[[Document], Document]) -> AsyncIterator[int]:
    """A port where every command gets this answer, in MongoDB's protocol."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length, request, _, opcode = struct.unpack("<iiii", await reader.readexactly(16))
                body = await reader.readexactly(length - 16)
                start = 5 if opcode == 2013 else body.index(b"\0", 4) + 9
                size = struct.unpack_from("<i", body, start)[0]
                said = bson.encode({"ok": 1, **answer(bson.decode(body[start : start + size]))})
                kind, head = (2013, b"\0\0\0\0\0") if opcode == 2013 else (1, struct.pack("<iqii", 8, 0, 0, 1))
                writer.write(struct.pack("<iiii", 16 + len(head) + len(said), 1, request, kind) + head + said)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_a_single_server_is_refused_with_the_reason() -> None:
    hello = {"isWritablePrimary": True, "maxWireVersion": 25, "minWireVersion": 0, "logicalSessionTimeoutMinutes": 30}
    async with standing_in(lambda command: {**hello, "maxBsonObjectSize": 1 << 24}) as port:
        with pytest.raises(ConfigurationError, match=rf"127.0.0.1:{port}/own is a single.*no transactions.*--replSet"):
            await MongodbStore(f"mongodb://127.0.0.1:{port}/own").open()


async def test_who_takes_no_transaction_is_refused_with_the_reason() -> None:
    def answer(command: Document) -> Document:
        if "find" in command:
            return {"ok": 0, "code": 20, "errmsg": "Transaction numbers are only allowed on a replica set member"}
        hosts = [f"127.0.0.1:{port}"]
        return {**REPLICA, "isWritablePrimary": True, "minWireVersion": 0, "hosts": hosts, "primary": hosts[0]}

    async with standing_in(answer) as port:
        with pytest.raises(ConfigurationError, match=r"refuses transactions.*replica set"):
            await MongodbStore(f"mongodb://127.0.0.1:{port}/own").open()


async def test_errors_name_the_address_and_never_the_password(database: MongodbDatabase) -> None:
    port = closed_port()
    nobody = f"mongodb://me:hidden@127.0.0.1:{port}/own?serverSelectionTimeoutMS=200"
    with pytest.raises(StoreUnavailable, match=rf"mongodb://127\.0\.0\.1:{port}/own does not answer") as unreachable:
        await MongodbStore(nobody).open()
    stranger = database.url.replace("mongodb://", "mongodb://me:hidden@")
    with pytest.raises(ConfigurationError, match="user or password is wrong") as refused:
        await MongodbStore(stranger).open()
    with pytest.raises(ConfigurationError, match="percent-encoded") as unreadable:
        await MongodbStore("mongodb://me:hid@den@127.0.0.1/own").open()
    with pytest.raises(ConfigurationError, match="must be an integer"):
        await MongodbStore("mongodb://me:hidden@127.0.0.1/own?serverSelectionTimeoutMS=soon").open()
    for error in (unreachable, refused, unreadable):
        assert "hid" not in str(error.value)


async def test_a_database_is_migrated_once_by_any_number(database: MongodbDatabase) -> None:
    stores = [MongodbStore(database.url) for _ in range(4)]
    before = {await each for each in asyncio.as_completed([store.migrate() for store in stores])}
    assert before <= {(0, mongodb_schema.NEWEST), (mongodb_schema.NEWEST, mongodb_schema.NEWEST)}
    assert await stores[0].migrate() == (mongodb_schema.NEWEST, mongodb_schema.NEWEST)


async def test_doorbells_may_be_there_first_and_nobody_else(
    database: MongodbDatabase, raw: MongoClient[Document]
) -> None:
    raw[database.name]["bell"].insert_one({"rung": 1})
    store = MongodbStore(database.url)
    await store.open()
    await store.close()
    raw.drop_database(database.name)
    raw[database.name]["theirs"].insert_one({"x": 1})
    with pytest.raises(SchemaMismatch, match="another program"):
        await MongodbStore(database.url).open()


async def test_an_older_schema_than_this_code_serves_waits_for_migrate(
    store: TaskStore, database: MongodbDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongodb_schema, "OLDEST", mongodb_schema.NEWEST + 1)
    with pytest.raises(SchemaMismatch, match="a2a-server migrate"):
        await MongodbStore(database.url).open()


# Keys


def test_the_order_of_keys_is_the_order_of_tuples() -> None:
    values: tuple[list[str], list[bytes], list[int]] = (
        ["", "\0", "\0\0", "\1", "a", "a\0", "a\0b", "a\1", "ab", "b", "é", "\uffff", "\U0001f388", "\U0010ffff"],
        [b"", b"\0", b"\0\0", b"\0\xff", b"a", b"a\0", b"\xff"],
        [-(2**63), -1, 0, 1, 9, 10, 255, 2**31, 2**63 - 1],
    )
    keys = [(a, b, c, d) for a in values[0] for b in values[1] for c in values[2] for d in values[0][:6]]
    random.Random(5).shuffle(keys)  # noqa: S311 - no secret
    assert sorted(keys, key=lambda each: encoded(each).encode()) == sorted(keys)
    assert len({encoded(each) for each in keys}) == len(keys)
    for prefix in [(), ("a",), ("a\0",), ("", b"a"), ("", b""), ("\U0010ffff", b"\xff", 9)]:
        bounds = span(prefix)
        low, high = bounds["$gte"].encode(), bounds.get("$lt", "\U0010ffff" * 9).encode()
        inside = [each for each in keys if low <= encoded(each).encode() < high]
        assert inside == [each for each in keys if each[: len(prefix)] == prefix]


async def test_rows_stand_in_the_order_of_their_keys_whatever_their_length(store: TaskStore) -> None:
    scopes = [b"", b"\0", b"\1\2\3", b"\2", b"\2\0", b"\xff"]
    values = [StateRow(scope, "s", name, 1, 1, b"-") for scope in scopes for name in ("", "\0", "Z", "a", "a b", "é")]
    await put(store, states=values[::-1])
    assert (await store.rows(RowQuery(Table.STATE))).rows == values
    assert (await store.rows(RowQuery(Table.STATE, (b"\2",)))).rows == values[18:24]


# Locks and conflicts


def next_gate(row: GateRow, used: int) -> GateRow:
    return row._replace(rev=row.rev + 1, used=used)


@pytest.mark.parametrize("table", ["task", "gate"])
async def test_a_turn_waits_for_whoever_has_a_row_and_decides_on_what_they_leave(
    store: TaskStore, database: MongodbDatabase, raw: MongoClient[Document], table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, new_tasks=[rows.task(1)], gates=[rows.gate("skill:echo", capacity=1)])
    waited, decided = asyncio.Event(), list[Loaded]()

    async def counted(tries: int) -> None:
        if tries == 3:
            waited.set()
        await pause(tries)

    monkeypatch.setattr(mongodb_turn, "pause", counted)

    def decide(loaded: Loaded) -> Changes:
        decided.append(loaded)
        row, gate = loaded.tasks[key(1)], loaded.gates["skill:echo"]
        return Changes(tasks=[rows.next_rev(row, last_n=row.last_n + 1)], gates=[next_gate(gate, used=1)])

    id = key(1) if table == "task" else "skill:echo"
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as turns:
        with raw.start_session() as session, session.start_transaction():
            raw[database.name][table].update_one({"_id": id}, {"$inc": {"rev": 1, "lock": 1}}, session=session)
            turns.create_task(store.turn(Needs(tasks={key(1)}), decide))
            await waited.wait()
            assert not decided
    assert len(decided) == 1
    assert (await get_task(store, 1)).rev == (3 if table == "task" else 2)
    assert (await get(store, gates={"skill:echo"})).gates["skill:echo"].rev == (3 if table == "gate" else 2)


async def test_a_lock_that_stays_is_a_conflict_and_readers_do_not_wait_for_it(
    store: TaskStore, database: MongodbDatabase, raw: MongoClient[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, new_tasks=[rows.task(1)])
    monkeypatch.setattr(mongodb_turn, "LOCK_SECONDS", 0.1)
    with raw.start_session() as session, session.start_transaction():
        raw[database.name]["task"].update_one({"_id": key(1)}, {"$inc": {"rev": 1}}, session=session)
        with pytest.raises(Conflict, match="keeps a row"):
            await get(store, tasks={key(1)})
        assert await store.find(Scope(), "Echo", "task-1") == rows.task(1)
        assert await store.snapshot(key(1), None) is not None
        assert len((await store.page(TaskQuery("", "local", "Echo"))).rows) == 1
        session.abort_transaction()
    assert await get_task(store, 1) == rows.task(1)


async def test_a_row_that_somebody_makes_meanwhile_is_decided_on_again(
    store: TaskStore, database: MongodbDatabase, raw: MongoClient[Document]
) -> None:
    seen: list[int] = []

    def decide(loaded: Loaded) -> Changes:
        gate = loaded.gates.get("g")
        seen.append(gate.used if gate else -1)
        if gate is None:
            raw[database.name]["gate"].insert_one({**rows.gate("g", used=7)._asdict(), "_id": "g"})
            return Changes(gates=[rows.gate("g", used=1)], events=[rows.status(1, 1)])
        return Changes(gates=[next_gate(gate, used=gate.used + 1)])

    await store.turn(Needs(gates={"g"}), decide)
    assert seen == [-1, 7]
    assert (await get(store, gates={"g"})).gates["g"] == rows.gate("g", used=8, rev=2)
    assert list(await store.events(key(1), 0, 9, 99)) == []


async def test_an_update_that_finds_nothing_undoes_all_others_of_its_turn(store: TaskStore) -> None:
    """core.md, section 2: the third of the measured races, an update of many rows of which one is not as expected."""
    await put(store, new_tasks=[rows.task(n) for n in range(1, 5)], gates=[rows.gate("a"), rows.gate("b")])
    changed = [rows.next_rev(rows.task(n), last_n=9) for n in range(1, 5)]
    stale = [*changed[:3], changed[3]._replace(rev=7)]
    with pytest.raises(Conflict):
        await store.turn(Needs(), writes(Changes(tasks=stale)))
    stale_gates = [rows.gate("a", used=1, rev=2), rows.gate("b", used=1, rev=7)]
    with pytest.raises(Conflict):
        await store.turn(Needs(), writes(Changes(tasks=changed, gates=stale_gates)))
    assert [await get_task(store, n) for n in range(1, 5)] == [rows.task(n) for n in range(1, 5)]
    assert (await get(store, gates={"a"})).gates["a"].used == 0


async def test_claims_of_several_stores_never_overlap(database: MongodbDatabase) -> None:
    stores = [MongodbStore(database.url) for _ in range(3)]
    await asyncio.gather(*(store.open() for store in stores))
    await put(
        stores[0],
        new_tasks=[rows.task(n, rank=n, gates=("g",)) for n in range(60)],
        gates=[rows.gate("g", capacity=100)],
    )

    async def work(store: TaskStore, worker: int) -> list[bytes]:
        mine: list[bytes] = []
        taken: list[TaskRow] = []

        def decide(loaded: Loaded) -> Changes:
            taken[:] = [loaded.tasks[each] for each in loaded.claims[0]]
            if not taken:
                return Changes()
            assert all(row.phase is Phase.READY for row in taken)
            gate = loaded.gates["g"]
            return Changes(
                tasks=[
                    rows.next_rev(row, phase=Phase.LEASED, worker=key(worker), fence=row.fence + 1) for row in taken
                ],
                gates=[next_gate(gate, used=gate.used + len(taken))],
            )

        while True:
            await store.turn(Needs(claims=[ClaimNeed(("echo",), 3)]), decide)
            if not taken:
                return mine
            mine += [row.key for row in taken]

    claimed = await asyncio.gather(*(work(stores[n % 3], 900 + n) for n in range(6)))
    every = [each for mine in claimed for each in mine]
    assert sorted(every) == [key(n) for n in range(60)]
    loaded = await get(stores[0], tasks=set(every))
    assert all(row.fence == 1 for row in loaded.tasks.values())
    assert loaded.gates["g"].used == 60
    await asyncio.gather(*(store.close() for store in stores))


# Large bodies


async def test_bodies_that_no_document_can_hold_are_kept_in_parts(
    store: TaskStore, other: TaskStore, database: MongodbDatabase, raw: MongoClient[Document]
) -> None:
    large = bytes(range(256)) * (9 << 12)  # 9 MiB
    task = rows.final(1, spec=large, status=large[1:], last_n=2)
    beyond = large[: mongodb_content.LARGE_BYTES + 1]
    chunk, message = rows.chunk(1, 2, body=beyond), rows.message(1, 1)._replace(body=beyond[::-1])
    take = rows.artifact(1, body=beyond)
    await put(store, new_tasks=[task, rows.final(2)], events=[chunk], messages=[message], artifacts=[take])
    assert await get_task(other, 1) == task
    assert await other.find(Scope(), "Echo", "task-1") == task
    shown = await other.snapshot(key(1), None)
    assert shown is not None
    assert (shown.task, *shown.messages, *shown.artifacts) == (task, message, take)
    assert list(await other.events(key(1), 0, 9, 1)) == [chunk]
    changed = rows.next_rev(task, status=b"small")
    await store.turn(Needs(tasks={key(1)}), writes(Changes(tasks=[changed])))
    assert await get_task(other, 1) == changed
    assert database.faults() == []
    assert await store.erase([key(1)]) == 1
    assert raw[database.name]["content"].count_documents({}) == 0


async def test_large_rows_are_dumped_and_filled_once(store: TaskStore, tmp_path: Path) -> None:
    size = 2 * mongodb_content.LARGE_BYTES + 1
    task, chunk = rows.task(1, spec=b"s" * size), rows.chunk(1, 1, body=b"c" * size)
    await put(store, new_tasks=[task, rows.task(2)], events=[chunk, rows.status(2, 1)])
    second = MongodbDatabase(tmp_path)
    copy = second.store()
    await copy.open()
    async for table, page in store.dump():
        assert await copy.fill(table, page) == len(page)
        assert await copy.fill(table, page) == 0
    assert [await get_task(copy, n) for n in (1, 2)] == [task, rows.task(2)]
    assert list(await copy.events(key(1), 0, 9, 1)) == [chunk]
    with pytest.raises(DataRejected, match="name of another"):
        await copy.fill("task", [rows.task(3, id="task-1")])
    await copy.close()
    second.drop()


async def test_what_is_too_large_for_mongodb_is_rejected_and_nothing_written(store: TaskStore) -> None:
    value = StateRow(key(1), "step", "a", 1, 1, b"x" * (17 << 20))
    with pytest.raises(DataRejected):
        await put(store, new_tasks=[rows.task(1, state=State.WORKING)], states=[value])
    assert await store.find(Scope(), "Echo", "task-1") is None


async def test_a_canceled_caller_is_canceled_whatever_the_driver_makes_of_it(tmp_path: Path) -> None:
    """The driver swallows a cancellation that meets its answer; who was canceled must not go on."""
    database = MongodbDatabase(tmp_path)
    store = database.store()
    await store.open()
    blobs = store.blobs()
    assert blobs is not None
    canceled = 0
    for number in range(300):
        writing = asyncio.create_task(blobs.write("object", 1, b"x" * 1000))
        for _ in range(number % 60):
            await asyncio.sleep(0)
        if writing.done():
            continue
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        canceled += 1
    await store.close()
    database.drop()
    assert canceled > 5, "most of the others were done before they could be"


async def test_a_store_that_is_closed_leaves_no_transaction_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers may be gone; a lock that nobody gives back would be in the way of everybody else for a minute."""
    database = MongodbDatabase(tmp_path)
    store, other = database.store(), database.store()
    await store.open()
    await other.open()
    await put(store, new_tasks=[rows.task(1)])
    for _ in range(20):
        turning = asyncio.create_task(get(store, tasks={key(1)}))
        await asyncio.sleep(0)
        turning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turning
    await store.close()
    monkeypatch.setattr(mongodb_turn, "LOCK_SECONDS", 0.0)  # the server itself ends what is left, after a minute
    monkeypatch.setattr(mongodb_turn, "LOCK_TRIES", 0)
    async with asyncio.timeout(PATIENCE):
        assert (await get(other, tasks={key(1)})).tasks.keys() == {key(1)}
    await other.close()
    database.drop()
