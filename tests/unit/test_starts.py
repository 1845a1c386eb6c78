"""When first runs began, as a process hears of it: also from turns that another process's run is only ended by."""

from __future__ import annotations

from typing import cast

import pytest

from a2a_server.codec import encode_status
from a2a_server.engine.starts import Starts
from a2a_server.lifecycle.turn import PLAIN_STATUS
from a2a_server.model.objects import Phase, State
from a2a_server.model.rows import EventRow
from a2a_server.model.turns import Bell
from a2a_server.ports import TaskStore
from tests.contracts import rows

NOBODY = cast("TaskStore", None)


def bell(state: State, phase: Phase, body: bytes) -> Bell:
    row = rows.task(1, state=state, phase=phase, fence=1, last_n=5)
    event: EventRow = rows.status(1, 5, body)._replace(fence=1, at=50)
    return Bell(row.key, row, (event,))


def test_the_turn_that_leases_a_task_first_tells_when_it_began() -> None:
    starts = Starts(NOBODY)
    heard = bell(State.WORKING, Phase.LEASED, PLAIN_STATUS[State.WORKING])
    starts.hear(heard)
    assert heard.row is not None
    assert starts.known(heard.row) == 50


@pytest.mark.parametrize(
    ("state", "phase", "body"),
    [
        (State.FAILED, Phase.FINAL, encode_status(State.FAILED, None, None, {"why": "late"})),
        (State.CANCELED, Phase.FINAL, PLAIN_STATUS[State.CANCELED]),
        (State.WORKING, Phase.READY, PLAIN_STATUS[State.WORKING]),
        (State.WORKING, Phase.LEASED, encode_status(State.WORKING, None, None, {"note": "half"})),
    ],
)
def test_what_is_said_of_a_first_run_later_is_not_its_beginning(state: State, phase: Phase, body: bytes) -> None:
    starts = Starts(NOBODY)
    heard = bell(state, phase, body)
    starts.hear(heard)
    assert heard.row is not None
    assert starts.known(heard.row) == 0
