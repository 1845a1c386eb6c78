"""Workers as operators see them: which live, what they take, and the word that has one of them go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from a2a_server.codec import decode
from a2a_server.engine.engine import Engine
from a2a_server.errors import NothingThere, UnsupportedOperation
from a2a_server.lifecycle.draining import DRAIN, SPACE, Drain
from a2a_server.model.objects import Scope
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import Key, WorkerRow
from a2a_server.service.pullers import PULLS, worker_key
from a2a_server.values import value_class

MOST_WORKERS: Final = 10_000
"""Workers that one list looks at."""
_NONE: Final = "There is no such worker; the list of workers names those that there are."


@value_class(frozen=True, slots=True)
class WorkerView:
    """A worker. about: what its row says of it. running: runs that hold a slot, None = another process knows.

    draining: whether it was told to go, and has not heard it, or is an agent that has not left.
    """

    row: WorkerRow
    about: Mapping[str, Any]
    alive: bool
    draining: bool
    running: int | None

    @property
    def pulls(self) -> Mapping[str, Any] | None:
        """What an agent that pulls its work said of itself; None = it is a process of ours."""
        found: Mapping[str, Any] | None = self.about.get(PULLS)
        return found


class Workers:
    """The workers of one engine's store. Concurrency: any number of callers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.backends.store

    async def known(self, scope: Scope, *, dead: bool = False) -> Sequence[WorkerView]:
        """Every worker, the oldest first; dead: those too that are."""
        page = await self._store.rows(RowQuery(Table.WORKER, limit=MOST_WORKERS))
        views = [self._view(row) for row in page.rows if isinstance(row, WorkerRow)]
        return [await self._told(view) for view in views if (dead or view.alive) and _is_theirs(scope, view)]

    async def get(self, scope: Scope, worker_id: str) -> WorkerView:
        """One of them. Raises NothingThere."""
        page = await self._store.rows(RowQuery(Table.WORKER, (worker_key(worker_id),), limit=1))
        view = next((self._view(row) for row in page.rows if isinstance(row, WorkerRow)), None)
        if view is None or not _is_theirs(scope, view):
            raise NothingThere(_NONE)
        return await self._told(view)

    async def drain(self, scope: Scope, worker_id: str) -> WorkerView:
        """Tell it to end what it runs and go. Idempotent.

        Raises NothingThere; UnsupportedOperation: it is dead, or the only process of its store.
        """
        view = await self.get(scope, worker_id)
        if view.pulls is None and not self._store.capabilities.many_writers:
            raise UnsupportedOperation(
                "This store has one process alone, and its worker cannot be drained without it: stop the server with "
                "SIGTERM, it drains."
            )
        if not await self._engine.submit(Drain(view.row.id)):
            raise UnsupportedOperation("This worker is dead, or has gone; its tasks are others' by now.")
        return await self.get(scope, worker_id)

    def _view(self, row: WorkerRow) -> WorkerView:
        about = decode(row.body) if row.body else {}
        worker = self._engine.worker
        alive = not row.dead and row.seen_at + row.ttl >= self._engine.clock()
        return WorkerView(row, about, alive, False, worker.running if worker.id == row.id else None)  # noqa: FBT003

    async def _told(self, view: WorkerView) -> WorkerView:
        return WorkerView(view.row, view.about, view.alive, await self._drains(view.row.id), view.running)

    async def _drains(self, worker: Key) -> bool:
        page = await self._store.rows(RowQuery(Table.STATE, (worker, SPACE, DRAIN), limit=1))
        return bool(page.rows)


def _is_theirs(scope: Scope, view: WorkerView) -> bool:
    pulls = view.pulls
    return pulls is None or (pulls["tenant"], pulls["owner"]) == (scope.tenant, scope.owner)
