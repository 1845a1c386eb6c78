"""What committed turns mean in figures: tasks created and ended, runs begun and ended.

Runs are remembered while they hold their tasks, by fence, so that a run's end is known from the rows alone, whoever
wrote it. A failure here is logged and loses figures, nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from a2a_server.model.objects import Phase
from a2a_server.model.rows import Key, TaskRow
from a2a_server.model.turns import Bell
from a2a_server.telemetry.observer import Observer

_log = logging.getLogger("a2a_server.engine.figures")


class _Run(NamedTuple):
    row: TaskRow
    began_at: float


class Figures:
    """Tells an observer of every turn that this process committed. Belongs to the event loop.

    clock: monotonic seconds. most: how many runs are remembered; those of workers elsewhere may never be seen to end.
    """

    def __init__(self, observer: Observer, clock: Callable[[], float], *, most: int) -> None:
        self._observer = observer
        self._clock = clock
        self._most = most
        self._runs: dict[Key, _Run] = {}

    def saw(self, bells: Sequence[Bell]) -> None:
        """Take in the tasks that a turn changed, once. Never raises."""
        try:
            for bell in bells:
                row = bell.row
                if row is not None:
                    run = self._runs.get(row.key)
                    if run is None or row.phase is not Phase.LEASED or row.fence != run.row.fence:
                        self._see(row, bell, run)
        except Exception:  # noqa: BLE001 - figures must not cost a doorbell
            _log.exception("A turn could not be counted.")

    def _see(self, row: TaskRow, bell: Bell, run: _Run | None) -> None:
        """run: as it was seen before, where there was one; what the turn changed is more than what it says."""
        if bell.events and bell.events[0].n == 1:
            self._observer.task_created()
        if run is not None:
            del self._runs[row.key]
            self._observer.run_ended(row.skill, _how(run.row, row))
        if row.phase is Phase.LEASED:
            if len(self._runs) >= self._most:
                del self._runs[next(iter(self._runs))]
            self._runs[row.key] = _Run(row, self._clock())
            self._observer.run_began(row.skill)
        elif row.phase is Phase.FINAL and bell.events:
            self._observer.task_ended(row.state.name.lower(), None if run is None else self._clock() - run.began_at)


def _how(began: TaskRow, row: TaskRow) -> str:
    if row.crashes > began.crashes:
        return "crashed"
    if row.phase is Phase.FINAL:
        return row.state.name.lower()
    if row.phase is Phase.PAUSED:
        return "paused"
    return "retried" if row.attempt > began.attempt else "handed_back"
