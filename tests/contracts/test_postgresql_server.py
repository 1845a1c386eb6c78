"""How the PostgreSQL store meets its server: errors, lost connections, PgBouncer."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from a2a_server.engine.limits import Limits
from a2a_server.errors import ConfigurationError, StoreUnavailable
from a2a_server.model.objects import Scope
from a2a_server.model.queries import DueKind, Snapshot, TallyQuery, TaskQuery
from a2a_server.model.rows import DUMPED
from a2a_server.model.turns import Changes, ClaimNeed, Loaded, Needs
from a2a_server.policy import SECOND
from a2a_server.stores import postgresql_link
from a2a_server.stores.postgresql import PostgresqlStore
from a2a_server.stores.postgresql_beat import BEAT_SECONDS
from tests.contracts import rows
from tests.contracts.postgresql_database import PostgresqlDatabase
from tests.contracts.rows import get, get_task, key, put
from tests.patience import PATIENCE
from tests.services import service
from tests.services.proxy import Proxy
from tests.services.server import free_ports

# Errors


def elsewhere(url: str, **parts: str) -> str:
    user, host, path = (parts.get(name, "") for name in ("user", "host", "path"))
    old = urlsplit(url)
    netloc = f"{user or 'postgres'}@{host or old.netloc.rpartition('@')[2]}"
    return urlunsplit(old._replace(netloc=netloc, path=path or old.path))


async def refusal(url: str, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        await PostgresqlStore(url).open()
    text = str(caught.value)
    assert "secret" not in text
    assert urlsplit(url).path in text
    return text


async def test_who_cannot_be_reached_is_named_without_the_password(postgresql: PostgresqlDatabase) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = elsewhere(postgresql.url, user="someone:secret", host=f"127.0.0.1:{closed.getsockname()[1]}")
        assert "is PostgreSQL running there?" in await refusal(url, StoreUnavailable)


async def test_what_no_waiting_mends_says_what_to_do(postgresql: PostgresqlDatabase) -> None:
    gone = elsewhere(postgresql.url, path="/a2a_test_nothing_here")
    assert "no such database. Create it" in await refusal(gone, ConfigurationError)
    nobody = elsewhere(postgresql.url, user="a2a_test_nobody:secret")
    assert "mend the user" in await refusal(nobody, ConfigurationError)
    role = f"{postgresql.name}_role"
    postgresql.run(f"CREATE ROLE {role} LOGIN")
    try:
        guest = elsewhere(postgresql.url, user=f"{role}:secret")
        assert "GRANT CREATE" in await refusal(guest, ConfigurationError)
    finally:
        postgresql.run(f"DROP ROLE {role}")
    assert "does not understand the address" in await refusal(f"{postgresql.url}&nonsense=1", ConfigurationError)
    for option in ("pool=1", "pool=x", "pgbouncer=maybe", "schema=No-Good", "pool=3&pool=4"):
        with pytest.raises(ConfigurationError, match=option.partition("=")[0]):
            PostgresqlStore(f"{postgresql.url}&{option}")


# Connections


async def test_lost_connections_are_told_and_made_again(
    postgresql: PostgresqlDatabase, stores: list[PostgresqlStore]
) -> None:
    store = stores[0]
    await put(store, new_tasks=[rows.task(1)])
    await store.register(rows.worker(8))
    assert await asyncio.to_thread(store.beat, key(8))

    def cut(loaded: Loaded) -> Changes:
        assert postgresql.cut()
        return Changes(tasks=[rows.next_rev(rows.task(1), last_n=9)])

    with pytest.raises(StoreUnavailable):
        await store.turn(Needs(tasks={key(1)}), cut)
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                assert await get_task(store, 1) == rows.task(1)
                break
            except StoreUnavailable:
                continue
    with pytest.raises(StoreUnavailable):
        await asyncio.to_thread(store.beat, key(8))
    assert await asyncio.to_thread(store.beat, key(8))
    assert await stores[1].find(Scope(), "Echo", "task-1") == rows.task(1)


async def test_beats_go_by_the_clock_of_their_store(stores: list[PostgresqlStore]) -> None:
    store = stores[0]
    await store.register(rows.worker(8))
    assert await asyncio.to_thread(store.beat, key(8))
    store._offset += 1000 * SECOND  # the clock that tests set
    now = (await get(store)).now
    assert await asyncio.to_thread(store.beat, key(8))
    assert (await get(store, workers={key(8)})).workers[key(8)].seen_at >= now


async def test_a_host_that_vanished_is_noticed_in_about_a_lease(
    stores: list[PostgresqlStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[socket.socket] = []
    watch = postgresql_link._watch

    def watched(carrier: socket.socket) -> None:
        found.append(carrier)
        watch(carrier)

    monkeypatch.setattr(postgresql_link, "_watch", watched)
    store = stores[0]
    await store.register(rows.worker(8))
    await asyncio.gather(*(store.heads([key(1)]) for _ in range(2)))  # one more connection than there was
    assert await asyncio.to_thread(store.beat, key(8))
    assert len(found) >= 2
    lease_seconds = Limits().lease_seconds
    for carrier in found:
        assert carrier.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1

        def told(name: str, carrier: socket.socket = carrier) -> int:
            return carrier.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))

        if hasattr(socket, "TCP_KEEPIDLE"):
            silent = told("TCP_KEEPIDLE") + told("TCP_KEEPINTVL") * told("TCP_KEEPCNT")
            assert 0.5 * lease_seconds <= silent <= 1.5 * lease_seconds
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert 0.5 * lease_seconds <= told("TCP_USER_TIMEOUT") / 1000 <= 1.5 * lease_seconds


async def test_a_socket_of_a_file_is_left_as_it_is() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        postgresql_link._watch(ours)
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


async def test_a_store_that_is_closed_waits_for_nobody_who_is_silent(
    postgresql: PostgresqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COMMAND_SECONDS", "READ_SECONDS"):
        monkeypatch.setattr(postgresql_link, name, 3600.0)
    with Proxy(postgresql.url) as way:
        store = PostgresqlStore(way.url)
        await store.open()
        await asyncio.gather(*(store.heads([key(1)]) for _ in range(4)))  # several that are idle
        await store.register(rows.worker(8))
        assert await asyncio.to_thread(store.beat, key(8))
        way.stall()
        reading = asyncio.create_task(store.heads([key(1)]))
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            await store.close()
        with pytest.raises(StoreUnavailable):
            await reading


async def test_a_canceled_caller_does_not_stop_its_turn(
    stores: list[PostgresqlStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_link, "_LAST_SECONDS", PATIENCE)
    decided = asyncio.Event()

    def decide(loaded: Loaded) -> Changes:
        decided.set()
        return Changes(new_tasks=[rows.task(1)])

    turn = asyncio.create_task(stores[0].turn(Needs(), decide))
    await asyncio.wait_for(decided.wait(), PATIENCE)
    turn.cancel()
    await asyncio.gather(turn, return_exceptions=True)
    assert turn.cancelled()
    await stores[0].close()  # waits for what runs
    assert await get_task(stores[1], 1) == rows.task(1)


async def test_nothing_waits_for_ever(postgresql: PostgresqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgresql_link._LIMITS, "lock_timeout", "50ms")
    store = PostgresqlStore(postgresql.url)
    await store.open()
    await put(store, new_tasks=[rows.task(1)])
    connection = await asyncpg.connect(postgresql.url)
    async with connection.transaction():
        await connection.execute("SELECT FROM task FOR UPDATE")
        with pytest.raises(StoreUnavailable, match="kept a row locked"):
            await get_task(store, 1)
    await connection.close()
    assert await get_task(store, 1) == rows.task(1)
    await store.close()


async def test_a_read_that_nobody_answers_is_given_up_soon(
    postgresql: PostgresqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that swallows everything tells nobody; who waits for a task must not wait as long as a turn may."""
    assert postgresql_link.READ_SECONDS < postgresql_link.COMMAND_SECONDS / 2
    monkeypatch.setattr(postgresql_link, "COMMAND_SECONDS", 3600.0)
    with Proxy(postgresql.url) as way:
        store = PostgresqlStore(way.url)
        await store.open()
        await put(store, new_tasks=[rows.task(1)])
        with monkeypatch.context() as short:
            short.setattr(postgresql_link, "READ_SECONDS", 0.2)
            way.stall()
            async with asyncio.timeout(PATIENCE):
                for _ in range(2):  # on a connection that was there, and on one that cannot be made
                    with pytest.raises(StoreUnavailable, match="does not answer"):
                        await store.heads([key(1)])
            way.heal()
        assert key(1) in await store.heads([key(1)])
        await store.close()


async def test_who_stands_still_in_a_turn_does_not_keep_its_locks(
    postgresql: PostgresqlDatabase, stores: list[PostgresqlStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Least of all for as long as a lease: among them may be the rows of workers that live, whose beats then wait."""
    kept = float(postgresql_link._LIMITS["idle_in_transaction_session_timeout"].removesuffix("s"))
    assert kept + BEAT_SECONDS <= Limits().lease_seconds
    monkeypatch.setitem(postgresql_link._LIMITS, "idle_in_transaction_session_timeout", "300ms")
    await stores[0].register(rows.worker(8))
    locked, going_on = threading.Event(), threading.Event()

    def stand_still(loaded: Loaded) -> Changes:
        locked.set()
        assert going_on.wait(PATIENCE)
        return Changes(workers=[rows.worker(8, dead=True)])

    async def stopped() -> None:
        store = PostgresqlStore(postgresql.url)
        await store.open()
        try:
            while True:
                try:
                    await store.turn(Needs(workers={key(8)}), stand_still)
                except StoreUnavailable:
                    if locked.is_set():
                        raise  # otherwise the machine itself stood still, before there was a lock
                else:
                    return
        finally:
            await store.close()

    stopping = asyncio.create_task(asyncio.to_thread(asyncio.run, stopped()))
    assert await asyncio.to_thread(locked.wait, PATIENCE)
    assert await asyncio.to_thread(stores[0].beat, key(8))
    going_on.set()
    with pytest.raises(StoreUnavailable):
        await stopping
    assert await asyncio.to_thread(stores[0].beat, key(8))


# Behind PgBouncer


@pytest.fixture
def bouncer(postgresql: PostgresqlDatabase, tmp_path: Path) -> Iterator[str]:
    """Its address, in transaction mode with two server connections; the server's own where it is not installed."""
    direct = elsewhere(postgresql.url).partition("?")[0]
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        yield f"{direct}?pgbouncer=true"
        return
    server = urlsplit(service("postgresql"))
    [port] = free_ports(1)
    settings = tmp_path / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n{postgresql.name} = user={server.username} host={server.hostname} port={server.port or 5432}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 100\n"
    )
    lowered = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    process = subprocess.Popen([program, "-q", settings], stderr=subprocess.DEVNULL, **lowered)  # type: ignore[call-overload]  # who runs it
    try:
        yield f"{elsewhere(direct, host=f'127.0.0.1:{port}')}?pgbouncer=true"
    finally:
        process.terminate()
        process.wait(PATIENCE)


async def test_behind_pgbouncer_nothing_is_a_matter_of_the_session(bouncer: str) -> None:
    stores = [PostgresqlStore(f"{bouncer}&schema=pooled") for _ in range(3)]
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await stores[0].open()
                break
            except StoreUnavailable:
                await asyncio.sleep(0.02)
    await asyncio.gather(*(store.open() for store in stores[1:]))
    every = [rows.task(n, rank=n) for n in range(60)]
    await put(stores[0], new_tasks=every, gates=[rows.gate("client:local")], sent=[rows.sent(1)])
    await stores[1].register(rows.worker(8))

    def touch(loaded: Loaded) -> Changes:
        gate = loaded.gates["client:local"]
        return Changes(
            tasks=[rows.next_rev(row, last_n=row.last_n + 1) for row in loaded.tasks.values()],
            gates=[gate._replace(used=gate.used + 1, rev=gate.rev + 1)],
        )

    needs = [Needs(tasks={key(n % 5), key(30 - n)}, sent={rows.sent_key()}) for n in range(30)]
    await asyncio.gather(*(store.turn(each, touch) for each, store in zip(needs, stores * 10, strict=True)))
    found = await asyncio.gather(
        *(store.page(TaskQuery("", "local", "Echo", history=1, artifacts=True)) for store in stores * 3),
        *(store.snapshot(key(1), None) for store in stores),
        *(asyncio.to_thread(store.beat, key(8)) for store in stores),
        *(store.due(kind, 5) for kind in DueKind for store in stores),
        *(get(store, claims=[ClaimNeed(("echo", "other"), 5)], queues={"echo"}, held=1) for store in stores),
    )
    assert all(found[12:15])
    assert isinstance(found[9], Snapshot)
    assert (await get(stores[2], gates={"client:local"})).gates["client:local"].used == 30
    assert await stores[2].totals(TallyQuery()) == {}
    async for table, page in stores[0].dump():
        assert table in DUMPED
        assert page
    await asyncio.gather(*(store.close() for store in stores))


def test_no_statement_names_a_setting_of_the_session() -> None:
    """Behind PgBouncer such a setting would go to whoever comes next."""
    here = Path(postgresql_link.__file__).parent
    for file in here.glob("postgresql*.py"):
        assert not re.search(r"\bSET (?!LOCAL|STORAGE|\{|[a-z_]+ =)|pg_advisory_lock\(", file.read_text()), file
