"""When a task starts that waits for its time: as its row and its specification tell it together."""

from __future__ import annotations

from a2a_server.lifecycle.turn import ended
from a2a_server.model.objects import Phase, TaskSpec
from a2a_server.model.rows import TaskRow


def starts_at_of(row: TaskRow, spec: TaskSpec) -> int:
    """When a task starts that has not run and waits for its time, 0 = it does not."""
    if row.fence or ended(row):
        return 0
    if row.phase is not Phase.SCHEDULED:
        return spec.starts_at
    return max(row.due_at, spec.starts_at) if row.due_at == row.deadline_at else row.due_at


def remembered_start(spec: TaskSpec, starts_at: int, deadline_at: int) -> int:
    """What the specification of a task keeps of its start, which the alarm does not tell if the deadline is first."""
    return starts_at if spec.starts_at or 0 < deadline_at <= starts_at else 0
