"""What the runs of a worker work with."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from a2a_server.engine.limits import Limits
from a2a_server.engine.submitting import Submissions
from a2a_server.engine.writer import Writer
from a2a_server.model.rows import Key, TaskRow
from a2a_server.ports import ArtifactStore, TaskStore
from a2a_server.running import AgentRunner
from a2a_server.telemetry.observer import SILENT, Observer
from a2a_server.values import value_class


@value_class(frozen=True, slots=True)
class Workshop:
    """What all runs of a worker share. awaited: whether somebody waits for the end of a task, or for what it holds."""

    runner: AgentRunner
    store: TaskStore
    writer: Writer
    artifacts: ArtifactStore
    limits: Limits
    new_key: Callable[[], Key]
    clock: Callable[[], int]
    random: Random
    awaited: Callable[[TaskRow], bool]
    submissions: Submissions
    observer: Observer = SILENT
