"""How much of task management is measured: for a quick look, and for figures to be published."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """How much the rows about task management measure, each round where nothing else is said.

    rounds: of each comparison. stored: tasks beside which the management API is asked. calls: of each kind. echoes: how
    many clients have tasks run meanwhile. batch, large: tasks of a batch. few, many: tasks that are ready while claims
    are made. claims: of one task each; allocated: tasks that are claimed, one by one and together. hints: through the
    memory queue; sent: through Redis. operations: that the store carries out, one by one and together. watched: tasks
    that are watched, and notes: how often each says how far it is. graph: tasks of a graph.
    """

    rounds: int
    stored: int
    calls: int
    echoes: int
    batch: int
    large: int
    few: int
    many: int
    claims: int
    allocated: int
    hints: int
    sent: int
    operations: int
    watched: int
    notes: int
    graph: int


FULL_TASKS = TaskCounts(
    rounds=5,
    stored=100_000,
    calls=40,
    echoes=4,
    batch=1_000,
    large=10_000,
    few=1_000,
    many=100_000,
    claims=400,
    allocated=1_000,
    hints=100_000,
    sent=1_000,
    operations=500,
    watched=300,
    notes=20,
    graph=5_000,
)
QUICK_TASKS = replace(
    FULL_TASKS, rounds=3, calls=10, claims=80, allocated=400, hints=20_000, sent=400, operations=250, watched=100
)
"""The same sizes, as far as a row's title says them, in fewer and shorter rounds."""
