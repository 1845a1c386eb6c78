"""What a task costs on PostgreSQL, process by process, and what the database alone can do on the same machine.

All that serves (servers, PostgreSQL, Redis) shares the servers' core, the load has the other one. Two figures of
PostgreSQL alone stand beside: pgbench with one row in each transaction, from as many clients, and one connection that
inserts a hundred rows with each commit. The rows are a task's, in a table with a task's indexes; a real task is some
twelve rows in two turns.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

import asyncpg

from a2a_server.stores.postgresql import PostgresqlStore
from a2a_server.stores.postgresql_tables import TASK
from tests.bench.costs import PARTS, Bench, Series, wall_seconds
from tests.bench.load import connections, work_off
from tests.bench.scale.places import Family, broker_settings, connected, database, port_of, running
from tests.bench.servers import OURS, Failed
from tests.bench.speech import Speaker
from tests.contracts.rows import task
from tests.services import programs

CLIENTS = 32
ONE, TWO, BARE = "1 server, Redis", "2 servers, Redis", "1 server, no broker"
PGBENCH, RAW = "pgbench, a row a transaction", "raw insert, 100 rows a commit"
DEPLOYMENTS = {ONE: (1, "redis"), TWO: (2, "redis"), BARE: (1, "store")}
_ROWS = 100
# Six as a task has them; without a colon, behind which pgbench sees a variable.
_GATES = ("agent.Echo", "breaker.echo", "client.local", "queue.echo", "rate.echo", "skill.echo")
_CALIBRATION = 64
_TRANSACTIONS = 50  # of each of pgbench's clients at least, which takes longer than to connect


@dataclass
class Side:
    """Something that works: `work(amount)` does that many units. families: whose time counts, by name.

    amount: of each of so many `parts` of a round. start: what `work` does beside its units, whose time does not count.
    """

    name: str
    work: Callable[[int], Awaitable[object]]
    families: Mapping[str, Sequence[Family]]
    parts: int = PARTS
    start: Callable[[], Awaitable[object]] | None = None
    amount: int = 0
    cpu: dict[str, float] = field(default_factory=dict)
    wall: float = 0.0

    async def do(self, amount: int) -> None:
        """Work, and add what it took."""
        if self.start is not None:
            await self._timed(self.start(), -1)
        await self._timed(self.work(amount), 1)

    def taken(self) -> tuple[dict[str, float], float]:
        """Seconds of processors by family, and on the clock, since it was last asked."""
        found = (self.cpu, self.wall)
        self.cpu, self.wall = {}, 0.0
        return found

    async def _timed(self, work: Awaitable[object], sign: int) -> None:
        before = self._cpu()
        self.wall += sign * await wall_seconds(work)
        after = self._cpu()
        for name in after:
            self.cpu[name] = self.cpu.get(name, 0.0) + sign * (after[name] - before[name])

    def _cpu(self) -> dict[str, float]:
        return {name: sum(each.cpu_seconds() for each in families) for name, families in self.families.items()}


def parts(name: str) -> list[str]:
    """The columns of a deployment: the whole, and whose share."""
    shares = ["servers", "PostgreSQL", *(["Redis"] if DEPLOYMENTS[name][1] == "redis" else [])]
    return [name, *(f"{name}: {share}" for share in shares)]


async def echoes(bench: Bench) -> dict[str, Series]:
    """Milliseconds a task, `cpu` by process and `wall`."""
    async with AsyncExitStack() as stack:
        sides = [await _deployed(bench, stack, name, *DEPLOYMENTS[name]) for name in DEPLOYMENTS]
        sides += await _limits(bench, stack)
        for side in sides:
            bench.say(f"warming up: {side.name}")
            await side.do(_CALIBRATION * 4)
            side.taken()
            await side.do(_CALIBRATION * 4)
            cpu, _ = side.taken()
            per_unit = max(sum(cpu.values()) / (_CALIBRATION * 4), 1e-5)
            least = _TRANSACTIONS if side.start else 1
            side.amount = max(round(bench.counts.seconds / per_unit / side.parts / CLIENTS), least) * CLIENTS
        found: dict[str, Series] = {"cpu": {}, "wall": {}}
        for number in range(bench.counts.rounds):
            for part in range(PARTS):
                bench.say(f"round {number + 1} of {bench.counts.rounds}, part {part + 1} of {PARTS}")
                for side in sides:
                    if part < side.parts:
                        await side.do(side.amount)
            for side in sides:
                _note(found, side)
        return found


def _note(found: dict[str, Series], side: Side) -> None:
    cpu, wall = side.taken()
    units = side.amount * side.parts
    named = {side.name: sum(cpu.values())}
    if side.name in DEPLOYMENTS:
        named |= {f"{side.name}: {share}": seconds for share, seconds in cpu.items()}
    for name, seconds in named.items():
        found["cpu"].setdefault(name, []).append(max(seconds, 1e-6) / units * 1000)
    found["wall"].setdefault(side.name, []).append(max(wall, 1e-6) / units * 1000)


async def _deployed(bench: Bench, stack: AsyncExitStack, name: str, servers: int, broker: str) -> Side:
    bench.say(f"starting {name}")
    cores, services = bench.server_cores, bench.services
    postgresql = await services.get("postgresql", cores)
    settings = {
        "STORE": stack.enter_context(database(postgresql)),
        **await broker_settings(services, broker, cores),
    }
    directory = bench.fresh_directory(name)
    members = await stack.enter_async_context(running(directory, settings, cores, servers=servers))
    speaker = Speaker(OURS)

    async def work(amount: int) -> None:
        async with AsyncExitStack() as opened:
            clients = [
                client
                for member in members
                for client in await opened.enter_async_context(connections(port_of(member), CLIENTS // servers))
            ]
            await work_off(clients, amount, lambda client, _: speaker.echo(client))

    families: dict[str, Sequence[Family]] = {
        "servers": [Family(member.name, member.process.pid) for member in members],
        "PostgreSQL": [services.family("postgresql")],
    }
    if broker == "redis":
        families["Redis"] = [services.family("redis")]
    return Side(name, work, families)


async def _limits(bench: Bench, stack: AsyncExitStack) -> list[Side]:
    postgresql = await bench.services.get("postgresql", bench.server_cores)
    url = stack.enter_context(database(postgresql))
    store = PostgresqlStore(url)
    await store.open()
    await store.close()
    raw = await stack.enter_async_context(connected(url))
    await raw.execute("CREATE TABLE limits (LIKE task INCLUDING ALL)")
    script = bench.fresh_directory("pgbench").with_suffix(".sql")
    script.write_text(f"INSERT INTO limits {_rows('gen_random_uuid()')};\n")
    families = {"PostgreSQL": [bench.services.family("postgresql")]}
    return [
        Side(PGBENCH, partial(_pgbench, url, script), families, 1, partial(_pgbench, url, script, CLIENTS)),
        Side(RAW, partial(_inserted, raw), families),
    ]


async def _pgbench(url: str, script: Path, amount: int) -> None:
    program = programs.postgresql() / "pgbench"
    words = ("-n", "-M", "prepared", "-c", str(CLIENTS), "-t", str(amount // CLIENTS), "-f", str(script), url)
    process = await asyncio.create_subprocess_exec(
        str(program), *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode or not re.search(rb"number of transactions actually processed: %d/" % amount, said):
        raise Failed(f"pgbench did not do {amount} transactions: {said[-1000:]!r}")


async def _inserted(raw: asyncpg.Connection, amount: int) -> None:
    for start in range(0, amount, _ROWS):
        keys = [uuid4() for _ in range(min(_ROWS, amount - start))]
        await raw.execute(f"INSERT INTO limits {_rows('key')} FROM unnest($1::uuid[]) AS key", keys)


def _rows(key: str) -> str:
    """A SELECT of a task's row with a key of its own; the same values as text for both ways."""
    row = task(1, gates=_GATES, status=b"s" * 64, spec=b"s" * 256)
    values = dict(zip(TASK.names, TASK.unmake(row), strict=True))
    own = {"key": f"uuid_send({key})", "id": f"{key}::text", "context": f"{key}::text"}
    return f"SELECT {', '.join(own.get(name) or _literal(value) for name, value in values.items())}"


def _literal(value: object) -> str:
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'::bytea"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(int(value))
    return "'" + str(value).replace("'", "''") + "'"
