"""What runs tell of their skill, to its breakers: the one place that judges, whoever ends a run.

A run that returned speaks for its skill; one that failed, or took longer than one run may take, speaks against it. No
word of the skill are: a run that was canceled or handed back, one whose worker died (whole hosts go down), one that its
task's deadline cut short while it was still in time, and a last run, whose task has failed already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from a2a_server.lifecycle.dead_letters import Dead
from a2a_server.lifecycle.endings import End, EndKind
from a2a_server.lifecycle.turn import Turn
from a2a_server.lifecycle.undoing import is_last_run
from a2a_server.model.rows import TaskRow

VERDICTS: Final[Mapping[EndKind, bool]] = {EndKind.COMPLETED: True, EndKind.FAILED: False, EndKind.TRANSIENT: False}
"""Ends of runs that tell something about their skill: whether it works."""


def judge(turn: Turn, row: TaskRow, end: End) -> None:
    """Tell the breakers of a leased task how its run ends, before it does."""
    if (good := VERDICTS.get(end.kind)) is None or end.dead is Dead.DEADLINE or row.cancel_at:
        return
    if (breakers := turn.gates.breakers(row.gates)) and not is_last_run(row):
        turn.gates.judge(breakers, good=good)
