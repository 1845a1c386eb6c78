from __future__ import annotations

from itertools import product

import pytest

from a2a_server.lifecycle.states import (
    INTERRUPTED,
    PHASE_MOVES,
    PHASES_OF,
    START_PHASES,
    START_STATE,
    STATE_MOVES,
    TERMINAL,
    IllegalMoveError,
    moved,
    settled,
    status_word,
)
from a2a_server.model.objects import Phase, State
from a2a_server.model.rows import TaskRow
from tests.unit.turns import MemoryTurns, submit

S, P = State, Phase
STANDS = [(state, phase) for state in State for phase in Phase if phase in PHASES_OF[state]]
MOVES = list(product(STANDS, product(State, Phase)))


def row_in(state: State, phase: Phase) -> TaskRow:
    row: TaskRow = MemoryTurns().one(submit(1)).row
    return row._replace(state=state, phase=phase)


def is_legal(start: tuple[State, Phase], to: tuple[State, Phase]) -> bool:
    return (
        (to[0] is start[0] or to[0] in STATE_MOVES[start[0]])
        and (to[1] is start[1] or to[1] in PHASE_MOVES[start[1]])
        and to[1] in PHASES_OF[to[0]]
    )


def test_the_terminal_states_are_those_of_the_protocol() -> None:
    """A2A 1.0.1, TaskState: completed, failed, canceled and rejected are terminal."""
    assert {S.COMPLETED, S.FAILED, S.CANCELED, S.REJECTED} == TERMINAL
    assert {S.INPUT_REQUIRED, S.AUTH_REQUIRED} == INTERRUPTED


def test_the_tables_name_every_state_and_phase() -> None:
    assert set(STATE_MOVES) == set(PHASES_OF) == set(State)
    assert set(PHASE_MOVES) == set(Phase)


def test_a_task_is_final_exactly_when_its_state_is_terminal() -> None:
    for state, phases in PHASES_OF.items():
        assert (P.FINAL in phases) == (state in TERMINAL)
        assert phases == {P.FINAL} or P.FINAL not in phases
    assert not PHASE_MOVES[P.FINAL]


def test_tasks_begin_where_the_tables_allow() -> None:
    assert PHASES_OF[START_STATE] >= START_PHASES


def test_every_state_and_phase_can_be_reached() -> None:
    reached = {(START_STATE, phase) for phase in START_PHASES}
    while more := {to for start in reached for to in STANDS if is_legal(start, to)} - reached:
        reached |= more
    assert reached == set(STANDS)


def test_a_task_can_end_from_everywhere() -> None:
    for start in STANDS:
        if start[0] not in TERMINAL:
            assert is_legal(start, (S.CANCELED, P.FINAL))
            assert is_legal(start, (S.FAILED, P.FINAL))


def test_only_a_start_is_submitted() -> None:
    """core.md 13: after its first claim a task is never SUBMITTED again."""
    assert all(S.SUBMITTED not in moves for moves in STATE_MOVES.values())


@pytest.mark.parametrize("start", STANDS, ids=lambda pair: f"{pair[0].name}-{pair[1].name}")
def test_moves_are_accepted_exactly_as_listed(start: tuple[State, Phase]) -> None:
    row = row_in(*start)
    before = row._asdict()
    for to in product(State, Phase):
        if is_legal(start, to):
            assert moved(row, *to) == row._replace(state=to[0], phase=to[1])
        else:
            with pytest.raises(IllegalMoveError):
                moved(row, *to)
        assert row._asdict() == before


def test_a_refused_move_says_which() -> None:
    with pytest.raises(IllegalMoveError, match="state COMPLETED to WORKING"):
        moved(row_in(S.COMPLETED, P.FINAL), S.WORKING, P.READY)
    with pytest.raises(IllegalMoveError, match="phase SCHEDULED to LEASED"):
        moved(row_in(S.SUBMITTED, P.SCHEDULED), S.WORKING, P.LEASED)
    with pytest.raises(IllegalMoveError, match="WORKING in phase FINAL"):
        moved(row_in(S.WORKING, P.LEASED), S.WORKING, P.FINAL)


def test_a_wait_settles_on_terminal_and_interrupted_states() -> None:
    assert {state for state in State if settled(state)} == TERMINAL | INTERRUPTED


WORDS = {
    (S.SUBMITTED, P.WAITING): "blocked",
    (S.SUBMITTED, P.SCHEDULED): "created",
    (S.SUBMITTED, P.READY): "queued",
    (S.SUBMITTED, P.HELD): "blocked",
    (S.WORKING, P.WAITING): "blocked",
    (S.WORKING, P.SCHEDULED): "queued",
    (S.WORKING, P.READY): "queued",
    (S.WORKING, P.HELD): "blocked",
    (S.WORKING, P.LEASED): "in_progress",
    (S.INPUT_REQUIRED, P.PAUSED): "blocked",
    (S.AUTH_REQUIRED, P.PAUSED): "blocked",
    (S.COMPLETED, P.FINAL): "completed",
    (S.FAILED, P.FINAL): "failed",
    (S.CANCELED, P.FINAL): "canceled",
    (S.REJECTED, P.FINAL): "failed",
}


def test_every_stand_has_its_word() -> None:
    assert {stand: status_word(*stand) for stand in STANDS} == WORDS


def test_words_for_assigned_tasks_and_parents() -> None:
    assert status_word(S.SUBMITTED, P.READY, assigned=True) == "assigned"
    assert status_word(S.WORKING, P.LEASED, assigned=True) == "in_progress"
    assert status_word(S.WORKING, P.WAITING, children=True) == "decomposed"
    assert status_word(S.COMPLETED, P.FINAL, assigned=True, children=True) == "completed"
