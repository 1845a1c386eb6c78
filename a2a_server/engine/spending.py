"""What a run used, as it ends: what it wrote, which is always known, and what was measured of it, if anything was."""

from __future__ import annotations

from a2a_server.context.metering import METER
from a2a_server.engine.takes import Takes
from a2a_server.lifecycle.auditing import amounts, spent
from a2a_server.lifecycle.endings import End
from a2a_server.model.rows import StateRow, TaskRow


def spent_by(row: TaskRow, takes: Takes, end: End) -> tuple[StateRow, ...]:
    """What the report with the run's end adds to the task's audit: one entry, or none where it has no audit."""
    if not amounts(row):
        return ()
    said = end.message if end.pause is None else end.pause.message
    meter = METER.get()
    return (spent(row, takes.written_with(said), None if meter is None else meter.used),)
