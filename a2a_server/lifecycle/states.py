"""The transition tables of state and phase. Everything that affects transitions lives here.

Theory of operation
-------------------
A task has two coordinates. `State` is the A2A state that clients see; `Phase` is where the scheduler has the task. They
move together through `moved`, which refuses every pair of moves that the tables do not list and leaves the row as it
was. A task is in phase FINAL exactly when its state is terminal; the terminal states are those without a way out, and
they are derived here and written nowhere else.

What the columns mean in each phase: WAITING until `unmet` is 0; SCHEDULED until `due_at`; READY until claimed in the
order (lane, rank, key); HELD until the gate `held_by` has room; LEASED while `worker` runs it under `fence`, at most
until `due_at`; PAUSED until somebody answers, at most until `due_at`. In every phase but FINAL `due_at` is an alarm:
`lifecycle.sweeping` says what it does.

Weakness: the tables say what may happen, not what should; a LEASED task may legally go back to READY without limit, and
only the counters in `lifecycle.runs` end that.

The picture in docs/lifecycle.md is drawn from these tables by `scripts/diagram`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Unpack

from a2a_server.lifecycle.changing import Fields, changed
from a2a_server.model.objects import Phase, State
from a2a_server.model.rows import TaskRow

S, P = State, Phase

START_STATE: Final = S.SUBMITTED
START_PHASES: Final = frozenset({P.WAITING, P.SCHEDULED, P.READY})

STATE_MOVES: Final[Mapping[State, frozenset[State]]] = {
    S.SUBMITTED: frozenset({S.WORKING, S.REJECTED, S.FAILED, S.CANCELED}),
    S.WORKING: frozenset({S.COMPLETED, S.FAILED, S.CANCELED, S.REJECTED, S.INPUT_REQUIRED, S.AUTH_REQUIRED}),
    S.INPUT_REQUIRED: frozenset({S.WORKING, S.FAILED, S.CANCELED}),
    S.AUTH_REQUIRED: frozenset({S.WORKING, S.FAILED, S.CANCELED}),
    S.COMPLETED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELED: frozenset(),
    S.REJECTED: frozenset(),
}

PHASE_MOVES: Final[Mapping[Phase, frozenset[Phase]]] = {
    P.WAITING: frozenset({P.READY, P.SCHEDULED, P.FINAL}),
    P.SCHEDULED: frozenset({P.READY, P.WAITING, P.FINAL}),
    P.READY: frozenset({P.LEASED, P.HELD, P.WAITING, P.FINAL}),
    P.HELD: frozenset({P.READY, P.WAITING, P.FINAL}),
    P.LEASED: frozenset({P.READY, P.SCHEDULED, P.PAUSED, P.WAITING, P.FINAL}),
    P.PAUSED: frozenset({P.READY, P.FINAL}),
    P.FINAL: frozenset(),
}

TERMINAL: Final = frozenset(state for state, moves in STATE_MOVES.items() if not moves)
INTERRUPTED: Final = frozenset({S.INPUT_REQUIRED, S.AUTH_REQUIRED})
EXPLAINED: Final = frozenset({P.LEASED, P.PAUSED, P.FINAL})
"""Phases that need no explanation: nothing holds the task, or its status says what it waits for."""

PHASES_OF: Final[Mapping[State, frozenset[Phase]]] = {
    S.SUBMITTED: frozenset({P.WAITING, P.SCHEDULED, P.READY, P.HELD}),
    S.WORKING: frozenset({P.WAITING, P.SCHEDULED, P.READY, P.HELD, P.LEASED}),
    **dict.fromkeys(INTERRUPTED, frozenset({P.PAUSED})),
    **dict.fromkeys(TERMINAL, frozenset({P.FINAL})),
}


class IllegalMoveError(Exception):
    """A decision tried a move that the tables do not list; nothing was changed."""


def moved(row: TaskRow, state: State, phase: Phase, **fields: Unpack[Fields]) -> TaskRow:
    """The row in its new state and phase, with what else changes. Raises IllegalMoveError.

    Staying where one is counts as no move.
    """
    if state is not row.state and state not in STATE_MOVES[row.state]:
        message = f"no move from state {row.state.name} to {state.name}"
        raise IllegalMoveError(message)
    if phase is not row.phase and phase not in PHASE_MOVES[row.phase]:
        message = f"no move from phase {row.phase.name} to {phase.name}"
        raise IllegalMoveError(message)
    if phase not in PHASES_OF[state]:
        message = f"no task is {state.name} in phase {phase.name}"
        raise IllegalMoveError(message)
    return changed(row, state=state, phase=phase, **fields)


def settled(state: State) -> bool:
    """Whether a blocking wait ends here and a stream may close: terminal or interrupted. Source: A2A 1.0.1, 3.2.2."""
    return state in TERMINAL or state in INTERRUPTED


def status_word(state: State, phase: Phase, *, assigned: bool = False, children: bool = False) -> str:
    """The management documents' word for where a task is, a function of these four and nothing else."""
    if state in TERMINAL:
        return "failed" if state is S.REJECTED else state.name.lower()
    if phase is P.WAITING:
        return "decomposed" if children else "blocked"
    if phase is P.SCHEDULED and state is S.SUBMITTED:
        return "created"
    words = {P.LEASED: "in_progress", P.HELD: "blocked", P.PAUSED: "blocked"}
    return words.get(phase, "assigned" if assigned else "queued")
