"""The one writer of this process: many callers, one turn of the store.

Theory of operation
-------------------
Callers post operations. While one turn is being committed the next ones gather; then they are loaded, decided and
committed together, and every caller gets its own outcome, after the commit. What a turn changed is told to the world
(`Telling`) only then. An operation once posted is executed whatever happens to its caller.

Two classes: operations of clients are refused when the writer is full; the engine's own wait and are never refused,
their number is bounded by the slots. An operation that raises fails alone: those it shares the turn with go on. A turn
whose data the store refuses is halved until the culprit stands alone.

A turn whose commit is in doubt is run again, with the rows that it wrote added to its needs: where the store has one of
them as it was written, and as nobody else can have written it, the turn had been committed, and its outcomes stand.
Until that is known it stays whole, also when another turn is in its way. After `patience_seconds` without the store its
callers get StoreUnavailable.

Weaknesses: a turn in doubt whose rows have all been changed by others since counts as not committed; and an
operation that decides slowly delays all others of its turn (decisions are small on purpose).

Source: core.md section 2.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from a2a_server.errors import ClientError, Conflict, DataRejected, EngineError, Overloaded, StoreUnavailable
from a2a_server.lifecycle.operation import Operation
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import Phase
from a2a_server.model.rows import Key, TaskRow
from a2a_server.model.turns import Bell, Changes, Hint, Loaded, Needs
from a2a_server.ports import TaskStore
from a2a_server.telemetry.observer import SILENT, Observer

ResultT = TypeVar("ResultT")

TURN_OPERATIONS: Final = 1000
TURN_BYTES: Final = 4 << 20
GATHER_SECONDS: Final = 0.001
"""How long an operation that nobody waits for may wait for company: one commit instead of two."""

_log = logging.getLogger("a2a_server.engine.writer")


class Telling(Protocol):
    """Whoever spreads the news of a committed turn. Never raises; hints only, nothing here has to arrive."""

    async def __call__(self, bells: Sequence[Bell], hints: Sequence[Hint], alarm: int | None) -> None:
        """bells: tasks that changed. hints: those that became claimable. alarm: µs until the earliest that was set."""
        ...


@dataclass(slots=True, eq=False)
class _Entry:
    operation: Operation[Any]
    future: asyncio.Future[Any]
    settled: Callable[[Any], None] | None
    weight: int


class Writer:
    """Commits operations in groups. Concurrency: every method belongs to the event loop that runs `run`.

    shard: under which this process counts. learn: is told the store's time after every turn. opens: is
    told after how many microseconds gates open that hold tasks.
    """

    def __init__(
        self,
        store: TaskStore,
        tell: Telling,
        *,
        shard: str,
        max_operations: int,
        max_bytes: int,
        patience_seconds: float,
        observer: Observer = SILENT,
        learn: Callable[[int], None] = lambda _: None,
        opens: Callable[[Mapping[str, int]], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._tell = tell
        self._learn = learn
        self._opens = opens
        self._observer = observer
        self._shard = shard
        self._max_operations = max_operations
        self._max_bytes = max_bytes
        self._patience = patience_seconds
        self._entries: deque[_Entry] = deque()
        self._bytes = 0
        self._idle: asyncio.Future[None] | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._closing = False

    def post(
        self,
        operation: Operation[ResultT],
        settled: Callable[[ResultT | BaseException], None] | None = None,
        *,
        patient: bool = False,
    ) -> asyncio.Future[ResultT]:
        """Queue an operation; the future has its outcome after the commit, or what it raised.

        settled: called once with the outcome or the exception, before the future, also when nobody waits any more.
        patient: nobody waits for it, so an idle writer may wait `GATHER_SECONDS` for another one to commit it with.
        Raises Overloaded (clients' operations only), having queued nothing.
        """
        if not operation.urgent and self._full():
            raise Overloaded("The server has too much to write at the moment; try again.", retry_after_seconds=1)
        if self._closing:
            raise Overloaded("The server is stopping; try again.", retry_after_seconds=1)
        future: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        weight = operation.weight
        self._entries.append(_Entry(operation, future, settled, weight))
        self._bytes += weight
        if patient:
            self._rouse_soon()
        else:
            self._rouse()
        return future

    async def submit(self, operation: Operation[ResultT]) -> ResultT:
        """`post` and wait. A caller that is canceled stops waiting; the operation is executed all the same."""
        return await self.post(operation)

    async def run(self) -> None:
        """Commit until `close`. Canceled, it tells everyone who waits that the store did not answer."""
        batch: list[_Entry] = []
        try:
            while self._entries or await self._more():
                batch = self._batch()
                await self._commit(batch)
        except asyncio.CancelledError:
            self._closing = True
            for entry in (*batch, *self._entries):
                if not entry.future.done():
                    _settle(entry, StoreUnavailable("the process ended before the store answered"))
                    entry.future.exception()  # nobody may be left to ask for it
            self._entries.clear()
            raise

    async def _more(self) -> bool:
        while not self._entries:
            if self._closing:
                return False
            self._idle = asyncio.get_running_loop().create_future()
            try:
                await self._idle
            finally:
                self._idle = None
        return True

    def close(self) -> None:
        """Refuse what comes from now on; `run` returns when everything queued is committed."""
        self._closing = True
        self._rouse()

    def _rouse_soon(self) -> None:
        if self._idle is not None and self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._rouse)

    def _rouse(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        idle = self._idle
        if idle is not None and not idle.done():
            idle.set_result(None)

    @property
    def takes(self) -> bool:
        """Whether it takes operations of clients at the moment."""
        return not (self._closing or self._full())

    @property
    def waiting(self) -> int:
        """How many operations wait."""
        return len(self._entries)

    @property
    def waiting_bytes(self) -> int:
        """How large they are together."""
        return self._bytes

    def _full(self) -> bool:
        return len(self._entries) >= self._max_operations or self._bytes >= self._max_bytes

    def _batch(self) -> list[_Entry]:
        batch: list[_Entry] = []
        weight = 0
        while self._entries and len(batch) < TURN_OPERATIONS:
            together = weight + self._entries[0].weight
            if batch and together > TURN_BYTES:
                break
            weight = together
            batch.append(self._entries.popleft())
        self._bytes -= weight
        return batch

    async def _commit(self, batch: list[_Entry]) -> None:
        turn = _GroupTurn([entry.operation for entry in batch], self._shard)
        try:
            await self._persist(turn)
        except (DataRejected, Conflict) as error:
            if len(batch) == 1:
                _settle(batch[0], error)
                return
            middle = len(batch) // 2
            await self._commit(batch[:middle])
            await self._commit(batch[middle:])
        except Exception as error:  # noqa: BLE001 - whatever a turn raises, its callers must hear and the writer go on
            if not isinstance(error, EngineError):
                _log.exception("A turn failed; its %d operations wrote nothing.", len(batch))
            for entry in batch:
                _settle(entry, error)
        else:
            for entry, outcome in zip(batch, turn.outcomes, strict=True):
                _settle(entry, outcome)
            await self._spread(turn.turn)

    async def _spread(self, turn: Turn) -> None:
        try:
            if openings := turn.openings:
                self._opens(openings)
            if bells := turn.bells:
                await self._tell(bells, turn.hints, turn.alarm)
        except Exception:  # noqa: BLE001 - the writer must not end with whoever listens
            _log.exception("News of a turn could not be spread; polls find it.")

    async def _persist(self, turn: _GroupTurn) -> None:
        began_at, delay, committed = time.perf_counter(), 0.05, False
        try:
            while not committed:
                try:
                    self._learn((await self._store.turn(turn.needs, turn.decide)).now)
                    committed = True
                except (StoreUnavailable, Conflict) as error:
                    unavailable = isinstance(error, StoreUnavailable)
                    if unavailable:
                        turn.doubt()
                    elif not turn.in_doubt:
                        raise
                    if time.perf_counter() - began_at + delay > self._patience:
                        if unavailable:
                            raise
                        raise StoreUnavailable("whether a turn was committed could not be found out") from error
                    _log.warning("The store did not answer; the turn is run again in %.2f s.", delay)
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, 1.0)
        finally:
            self._observer.turn(turn.size, time.perf_counter() - began_at, committed=committed)


class _GroupTurn:
    """Several operations as one decision of the store; `decide` may run again on fresh rows."""

    def __init__(self, operations: Sequence[Operation[Any]], shard: str) -> None:
        self._operations = operations
        self._shard = shard
        self.needs = Needs()
        for operation in operations:
            operation.needs(self.needs, shard)
        self.turn: Turn
        self.outcomes: list[Any] = []
        self._written = Changes()
        self._doubted: dict[Key, TaskRow] = {}
        self._signed: list[TaskRow] = []

    @property
    def size(self) -> int:
        """How many operations it has."""
        return len(self._operations)

    @property
    def in_doubt(self) -> bool:
        """Whether a decision of it may have been committed without its callers knowing."""
        return bool(self._doubted)

    def doubt(self) -> None:
        """Whether the last decision was committed is unknown: find out before deciding again."""
        written = self._written
        self._doubted = {row.key: row for row in (*written.new_tasks, *written.tasks)}
        self._signed = [*written.new_tasks, *(row for row in written.tasks if self._is_signed(row))]
        self.needs.tasks.update(self._doubted)

    def _is_signed(self, row: TaskRow) -> bool:
        """Whether only this turn can have written the row: it bears its time, or what one caller alone says of it.

        That is a run's own worker, and who requeues a task. Others are the same whoever writes them, as when two
        sweepers wake one task.
        """
        now, before = self.turn.now, self.turn.before(row.key)
        if before is None or row.status_at == now != before.status_at or row.cancel_at == now != before.cancel_at:
            return True
        if Phase.LEASED in (before.phase, row.phase):
            return row != before._replace(rev=row.rev, visible=row.visible)
        told = row.journal_n - before.journal_n  # one entry where an alarm rings, one more where it is requeued
        return before.phase is Phase.SCHEDULED and told > (row.phase is not Phase.SCHEDULED)

    def decide(self, loaded: Loaded) -> Changes:
        if self._doubted and self._committed(loaded):
            return Changes()
        self._written = self._decided(loaded)
        return self._written

    def _committed(self, loaded: Loaded) -> bool:
        found = [(loaded.tasks.get(key), row) for key, row in self._doubted.items()]
        since = all(now is not None and now.rev >= row.rev for now, row in found)
        return since and any(loaded.tasks[row.key] == row for row in self._signed)

    def _decided(self, loaded: Loaded) -> Changes:
        broken: dict[int, Exception] = {}
        while True:
            self.turn = Turn(loaded, self._shard, self.needs.claims)
            self.outcomes = []
            for index, operation in enumerate(self._operations):
                if index in broken:
                    self.outcomes.append(broken[index])
                    continue
                try:
                    self.outcomes.append(operation.decide(self.turn))
                except (ClientError, EngineError) as refusal:
                    self.outcomes.append(refusal)
                except Exception as error:  # noqa: BLE001 - a bug in one decision must not fail the whole turn
                    _log.exception("%s could not be decided.", type(operation).__name__)
                    broken[index] = error
                    break
            else:
                return self.turn.changes()


def _settle(entry: _Entry, outcome: Any) -> None:  # noqa: ANN401 - each operation has its own result
    if entry.settled is not None:
        try:
            entry.settled(outcome)
        except Exception:  # noqa: BLE001 - the writer must not end with whoever posted
            _log.exception("What follows from %s failed.", type(entry.operation).__name__)
    if entry.future.done():
        return
    if isinstance(outcome, BaseException):
        entry.future.set_exception(outcome)
        if entry.settled is not None:
            entry.future.exception()
    else:
        entry.future.set_result(outcome)
