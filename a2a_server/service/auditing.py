"""What the runs of a task took of its worker and of shared resources, as operators read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any, Final

from a2a_server.codec import decode
from a2a_server.engine.engine import Engine
from a2a_server.lifecycle.auditing import AUDIT, GIVEN_BACK, TAKEN, USED, amounts, entry_name, run_and_kind
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import StateRow, TaskRow
from a2a_server.values import value_class

MOST_RUNS: Final = 100
"""Runs of a task that are told, the newest."""


@value_class(frozen=True, slots=True)
class Allocation:
    """What one run had, and what it used. Moments in microseconds, sizes in bytes, cpu in cores.

    released_at: 0 = it runs. used: entry of `lifecycle.auditing.spent`, {} = it runs, or its worker died.
    """

    run: int
    worker: str
    allocated_at: int
    released_at: int = 0
    cpu: float = 0.0
    memory_bytes: int = 0
    storage_bytes: int = 0
    resources: dict[str, int] = field(default_factory=dict)
    used: dict[str, Any] = field(default_factory=dict)


class Auditing:
    """Reads the audits of one engine's tasks. Concurrency: any number of callers."""

    def __init__(self, engine: Engine) -> None:
        self._store = engine.backends.store

    async def of(self, row: TaskRow) -> Sequence[Allocation]:
        """What the task's runs had, oldest first; of a task that asked for no amount nothing is read."""
        if not row.fence or not amounts(row):
            return ()
        key = bytes(row.key)
        after = (key, AUDIT, entry_name(max(0, row.fence - MOST_RUNS + 1)))
        page = await self._store.rows(RowQuery(Table.STATE, (key, AUDIT), after, 3 * MOST_RUNS))
        runs: dict[int, dict[str, dict[str, Any]]] = {}
        for entry in page.rows:
            if isinstance(entry, StateRow):
                run, kind = run_and_kind(entry.name)
                runs.setdefault(run, {})[kind] = decode(entry.body)
        return [_allocation(run, told) for run, told in sorted(runs.items()) if TAKEN in told]


def _allocation(run: int, told: dict[str, dict[str, Any]]) -> Allocation:
    taken = told[TAKEN]
    return Allocation(
        run,
        taken["worker"],
        taken["at"],
        told[GIVEN_BACK]["at"] if GIVEN_BACK in told else 0,
        taken.get("cpu", 0.0),
        taken.get("memory", 0),
        taken.get("storage", 0),
        taken.get("resources", {}),
        told.get(USED, {}),
    )
