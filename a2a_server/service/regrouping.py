"""What a task that is tried again is tied to: what the old one waited for, and the parts that others had given it.

A task that ended badly stands for its newest retry, and so on; one that was not tried again is left out. Parts that the
handler spawns itself are not looked at: the new task's handler makes its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from a2a_server.codec import decode
from a2a_server.engine.children import SPAWNED
from a2a_server.engine.engine import Engine
from a2a_server.engine.graph import edges_to
from a2a_server.engine.paging import state_pages
from a2a_server.errors import UnsupportedOperation
from a2a_server.lifecycle.dependencies import DEPENDENCIES
from a2a_server.lifecycle.joining import Count
from a2a_server.lifecycle.labels import RETRY, id_of
from a2a_server.lifecycle.states import TERMINAL
from a2a_server.model.objects import Scope, State, Wishes
from a2a_server.model.options import MOST_UPSTREAMS, OnDependencyFailure
from a2a_server.model.queries import Search
from a2a_server.model.rows import EdgeKind, Key, TaskRow
from a2a_server.values import value_class

MOST_RETRIES: Final = 100
"""Retries of retries that are followed."""
NAMED: Final = 5
"""Tasks that a text names at most."""
NOTHING: Final[Mapping[str, Key]] = MappingProxyType({})
_KINDS: Final = {
    EdgeKind.FAIL: OnDependencyFailure.FAIL,
    EdgeKind.CANCEL: OnDependencyFailure.CANCEL,
    EdgeKind.RUN: OnDependencyFailure.RUN,
}


@value_class(frozen=True, slots=True)
class Ties:
    """depends_on: ids; on_failure: what becomes of it if one of them does not complete. notes: for its journal.

    parts: tasks that count as parts of it.
    """

    depends_on: tuple[str, ...] = ()
    on_failure: OnDependencyFailure = OnDependencyFailure.FAIL
    notes: tuple[str, ...] = ()
    parts: tuple[Key, ...] = ()


class Regrouping:
    """Finds what retries of one engine's tasks are tied to. Concurrency: any number of callers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.backends.store

    async def ties(self, scope: Scope, row: TaskRow, wishes: Wishes, renewed: Mapping[str, Key] = NOTHING) -> Ties:
        """What a retry of the task is tied to.

        renewed: tasks that are tried again in the same turn, with the keys that their retries will have. Raises
        UnsupportedOperation: it could not complete with its parts.
        """
        if not (wishes.depends_on or wishes.complete_when):
            return Ties()
        edges = [edge async for edge in edges_to(self._store, row.key)]
        kinds = {edge.on_failure for edge in edges}
        kind = next((kind for kind in _KINDS if kind in kinds & DEPENDENCIES), EdgeKind.FAIL)
        kept: dict[str, None] = {}
        notes: list[str] = []
        for task_id in wishes.depends_on:
            upstream = await self._store.find(scope, self._engine.agent, task_id)
            found = None if upstream is None else await self._newest(scope, upstream, renewed)
            if found is not None:
                kept[id_of(renewed[found.id]) if _is_renewed(found, renewed) else found.id] = None
            else:
                became = "is not there any more" if upstream is None else f"ended as {upstream.state.name.lower()}"
                notes.append(
                    f"It does not wait for {task_id}, as {row.id} did: that one {became}, and was not retried."
                )
        parts: tuple[Key, ...] = ()
        if wishes.complete_when:
            keys = [edge.upstream for edge in edges if edge.on_failure == EdgeKind.JOIN]
            parts = await self._parts(scope, row, keys, wishes.complete_when, renewed)
        return Ties(tuple(kept), _KINDS[kind], tuple(notes), parts)

    async def _parts(
        self, scope: Scope, row: TaskRow, keys: list[Key], criterion: str, renewed: Mapping[str, Key]
    ) -> tuple[Key, ...]:
        spawned = await self._spawned(row)
        given = [key for key in keys if key not in spawned]
        if len(given) > MOST_UPSTREAMS:
            raise UnsupportedOperation(
                f"The task has more than {MOST_UPSTREAMS} parts that others sent; send it anew, with its parts."
            )
        good: list[TaskRow] = []
        bad: list[TaskRow] = []
        for key in given:
            snapshot = await self._store.snapshot(key, 0, artifacts=False)
            if snapshot is not None:
                found = await self._newest(scope, snapshot.task, renewed)
                (bad if found is None else good).append(found or snapshot.task)
        completed = sum(part.state is State.COMPLETED for part in good)
        count = Count(len(good) - completed, completed, len(bad))
        if bad and (criterion == "all" or not spawned) and count.lost(criterion):
            names = ", ".join(f"{part.id} ({part.state.name.lower()})" for part in bad[:NAMED])
            more = f" and {len(bad) - NAMED} others" if len(bad) > NAMED else ""
            raise UnsupportedOperation(
                f"The task completes by its parts (completeWhen: {criterion}), and these did not complete: "
                f"{names}{more}. Retry them first, or together with it; their retries count for the retry of this task."
            )
        return tuple(dict.fromkeys(renewed[part.id] if _is_renewed(part, renewed) else part.key for part in good))

    async def _spawned(self, row: TaskRow) -> set[Key]:
        found: set[Key] = set()
        async for page in state_pages(self._store.rows, row.key, SPAWNED):
            found |= {Key(bytes.fromhex(decode(one.body))) for one in page}
        return found

    async def _newest(self, scope: Scope, row: TaskRow, renewed: Collection[str] = NOTHING) -> TaskRow | None:
        """The task, or what stands for it now; None = it ended badly, and nobody retried it, or is about to."""
        for _ in range(MOST_RETRIES):
            if row.state not in TERMINAL or row.state is State.COMPLETED or row.id in renewed:
                return row
            query = Search(scope.tenant, scope.owner, self._engine.agent, tag=RETRY + row.id, limit=1)
            again = (await self._store.search(query)).rows
            if not again:
                return None
            row = again[0]
        return None


def _is_renewed(row: TaskRow, renewed: Collection[str]) -> bool:
    """Whether its retry of the same turn stands for the task; one that completed stands for itself."""
    return row.state is not State.COMPLETED and row.id in renewed
