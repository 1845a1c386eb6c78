"""A witness inside PostgreSQL: every change of a task's or a gate's place, in the order in which the store made them.

Theory of operation. Triggers write a line of their own table in the same transaction as the change, so a line is there
exactly if the change was committed. Its number is drawn while the transaction holds the row that it changed (and, for a
claim, the gate's row), so for one task, and for the tasks of one gate, numbers are in the order of commits. What the
server believes of itself, its journal and its clocks, plays no part.

Weakness: it watches rows, not handlers. A handler whose lease was lost runs on until it hears of it; that is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg  # type: ignore[import-untyped,unused-ignore]

from a2a_server.model.objects import Phase
from tests.drills.laws import GateStep, Step

_WATCH = """
CREATE SCHEMA drill;
CREATE TABLE drill.step (
  seq bigserial PRIMARY KEY, task bytea, phase int2, fence int4, worker bytea, last_n int4, crashes int4, gates text,
  lane int2, rank int8, held_by text,
  turn int8 DEFAULT pg_current_xact_id()::text::int8, at timestamptz DEFAULT clock_timestamp()
);
CREATE TABLE drill.gate (seq bigserial PRIMARY KEY, key text, capacity int8, used int8);
CREATE FUNCTION drill.step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO drill.step (task, phase, fence, worker, last_n, crashes, gates, lane, rank, held_by)
  VALUES (NEW.key, NEW.phase, NEW.fence, NEW.worker, NEW.last_n, NEW.crashes, NEW.gates, NEW.lane, NEW.rank,
          NEW.held_by);
  RETURN NULL;
END $$;
CREATE FUNCTION drill.gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO drill.gate (key, capacity, used) VALUES (NEW.key, NEW.capacity, NEW.used);
  RETURN NULL;
END $$;
CREATE FUNCTION drill.gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO drill.gate (key, capacity, used) VALUES (OLD.key, OLD.capacity, 0);
  RETURN NULL;
END $$;
CREATE TRIGGER drill_new AFTER INSERT ON task FOR EACH ROW EXECUTE FUNCTION drill.step();
CREATE TRIGGER drill_step AFTER UPDATE ON task FOR EACH ROW
  WHEN ((OLD.phase, OLD.fence, OLD.worker, OLD.crashes) IS DISTINCT FROM (NEW.phase, NEW.fence, NEW.worker, NEW.crashes)
        OR (OLD.phase = {final} AND OLD.last_n <> NEW.last_n))
  EXECUTE FUNCTION drill.step();
CREATE TRIGGER drill_gate AFTER INSERT OR UPDATE ON gate FOR EACH ROW EXECUTE FUNCTION drill.gate();
CREATE TRIGGER drill_gone AFTER DELETE ON gate FOR EACH ROW EXECUTE FUNCTION drill.gone();
"""


class Witness:
    """Of the database at `url`; every call connects anew, because the database comes and goes.

    Raises: what asyncpg and the network raise.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    async def watch(self) -> None:
        """From now on it watches. The schema must be there, and no task yet."""
        await self._run(_WATCH.format(final=Phase.FINAL.value))

    async def unfinished(self) -> list[tuple[str, str]]:
        """Ids and phases of the tasks that have not ended."""
        found = await self._fetch("SELECT id, phase FROM task WHERE phase <> $1 ORDER BY key", Phase.FINAL.value)
        return [(row[0], Phase(row[1]).name.lower()) for row in found]

    async def steps(self) -> list[Step]:
        """Every change of a task's place."""
        found = await self._fetch(
            "SELECT seq, coalesce(task.id, encode(step.task, 'hex')), step.phase, step.fence, step.worker, "
            "step.last_n, step.crashes, step.gates, step.turn, step.lane, step.rank, step.held_by, "
            "(extract(epoch FROM step.at) * 1000000)::int8 "
            "FROM drill.step LEFT JOIN task ON task.key = step.task ORDER BY seq"
        )
        return [
            Step(row[0], row[1], Phase(row[2]), row[3], row[4].hex(), row[5], row[6], _names(row[7]), *row[8:])
            for row in found
        ]

    async def gates(self) -> list[GateStep]:
        """Every change of a gate; one that is deleted counts nothing any more."""
        found = await self._fetch("SELECT seq, key, capacity, used FROM drill.gate ORDER BY seq")
        return [GateStep(*row) for row in found]

    async def living(self) -> frozenset[str]:
        """The workers that are not declared dead, in hexadecimal."""
        found = await self._fetch("SELECT encode(id, 'hex') FROM worker WHERE NOT dead")
        return frozenset(str(row[0]) for row in found)

    async def counts(self) -> dict[str, int]:
        """Rows of every table of the store."""
        tables = [
            row[0] for row in await self._fetch("SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'public'")
        ]
        each = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM \"{name}\"" for name in sorted(tables))  # noqa: S608 - its own tables
        return {row[0]: row[1] for row in await self._fetch(each)}

    async def connections(self) -> int:
        """Of clients of the server."""
        found = await self._fetch("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        return int(found[0][0])

    async def _run(self, sql: str) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def _fetch(self, sql: str, *values: object) -> Sequence[Any]:
        connection = await asyncpg.connect(self._url)
        try:
            return list(await connection.fetch(sql, *values))
        finally:
            await connection.close()


def _names(gates: str) -> tuple[str, ...]:
    return tuple(gates.split("\n"))
