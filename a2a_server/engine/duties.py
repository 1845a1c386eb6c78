"""What every process does beside runs, for all of its agents: sweeping, settling, collecting, retiring, scheduling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from random import Random
from typing import Any

from a2a_server.engine.agenda import Agenda
from a2a_server.engine.aging import Aging
from a2a_server.engine.collector import Collector
from a2a_server.engine.gathering import Gatherer
from a2a_server.engine.limits import Limits
from a2a_server.engine.retiring import Retiring, retention_of
from a2a_server.engine.settling import Settler
from a2a_server.engine.sweeper import Sweeper
from a2a_server.engine.tidying import Tidying
from a2a_server.engine.writer import Writer
from a2a_server.lifecycle.batch_keys import BATCH_RECORD
from a2a_server.lifecycle.duties import DUTY
from a2a_server.policy import SECOND
from a2a_server.ports import ArtifactStore, TaskStore
from a2a_server.telemetry.observer import Observer


class Duties:
    """Made once in a process; each of them may be done by any number of processes at the same time.

    name: this process's, among collectors. checks: what else has to look at the store at every poll. queues: those that
    this process's workers serve, None = it has none. clock: the store's time, microseconds.
    """

    def __init__(
        self,
        store: TaskStore,
        artifacts: ArtifactStore,
        writer: Writer,
        limits: Limits,
        *,
        name: str,
        checks: tuple[Callable[[], Awaitable[None]], ...],
        queues: Callable[[], Sequence[str]] | None,
        clock: Callable[[], int],
        random: Random,
        observer: Observer,
    ) -> None:
        self.settler = Settler(
            store,
            writer,
            poll_seconds=limits.poll_seconds,
            grace=round(limits.cancel_grace_seconds * SECOND),
            random=random,
            end=Gatherer(store, artifacts, writer, limits).end,
        )
        tidying = Tidying(store, writer, clock)
        self.agenda = Agenda(store)
        self.sweeper = Sweeper(
            store,
            writer,
            poll_seconds=min(limits.poll_seconds, limits.scheduling_seconds),
            random=random,
            checks=checks,
            more=(Aging(writer, queues, limits.aging_seconds).age_ready,) if queues and limits.aging_seconds else (),
            tidies=(
                tidying.tidy_gates,
                tidying.tidy_contexts,
                tidying.tidy_classes,
                tidying.tidy_turns,
                self.agenda.mend_records,
            ),
            first=(self.agenda.ring_records,),
            kinds=lambda: self.agenda.kinds,
            observer=observer,
        )
        self.collector = Collector(
            store,
            artifacts,
            writer,
            id=name,
            collect_seconds=limits.collect_seconds,
            unused_object_seconds=limits.unused_object_seconds,
            clock=clock,
            random=random,
        )
        self.retiring = Retiring(
            store,
            artifacts,
            self.collector,
            writer,
            retention_of(limits),
            period_seconds=limits.retire_seconds,
            clock=clock,
            random=random,
            observer=observer,
        )
        self.agenda.serve(DUTY, self.retiring.act)
        self.agenda.serve(BATCH_RECORD, tidying.tidy_batches)

    def endless(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """All that goes on until it is canceled."""
        return (
            self.sweeper.run(),
            self.sweeper.look(),
            self.settler.run(),
            self.collector.run(),
            self.retiring.run(),
        )
