"""Last runs: what is left to do for a task whose end is decided, where its skill has something to undo.

It is no start: what lets nothing start (a pause, a rate, a breaker) does not hold it, and it takes no token and no
trial there. What only so many can use at once it uses like any other run, and waits for.
"""

from __future__ import annotations

from a2a_server.codec import decode_spec
from a2a_server.model.rows import TaskRow


def is_last_run(row: TaskRow) -> bool:
    """Whether all that is left to do for the task is to undo what it did."""
    return bool(row.fence) and bool(decode_spec(row.spec).failing)
