from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from a2a_server.model.objects import Lane
from a2a_server.model.rows import GateRow
from a2a_server.policy import SECOND, RetryPolicy, ahead, alarm, gates_of, queue_of, rank, room, skill_gate

steady = settings(max_examples=100, derandomize=True, deadline=None)
NOW = 1_000


def gate(capacity: int | None, used: int = 0, closed_until: int = 0) -> GateRow:
    return GateRow("skill:echo", capacity, used, 0, 0, closed_until, "", 1)


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (1000, 300)])
def test_the_back_off_doubles_up_to_its_limit(attempt: int, seconds: int) -> None:
    assert RetryPolicy().delay(attempt, 1.0) == seconds * SECOND


@given(st.integers(1, 2000), st.floats(0, 1), st.integers(0, 10**9), st.integers(0, 10**12))
@steady
def test_a_delay_is_never_longer_than_its_limits(attempt: int, jitter: float, base: int, limit: int) -> None:
    assert 0 <= RetryPolicy(base, limit).delay(attempt, jitter) <= limit


def test_full_jitter_reaches_from_nothing_to_all() -> None:
    assert [RetryPolicy().delay(3, jitter) for jitter in (0.0, 0.25, 1.0)] == [0, SECOND, 4 * SECOND]


@pytest.mark.parametrize(
    ("head", "virtual", "place"),
    [(None, None, NOW), (5, None, 5), (5, 3, 5), (5, 9, 9), (None, 9, NOW), (None, 2 * NOW, 2 * NOW)],
)
def test_a_rank_begins_where_the_lane_or_its_owner_stands(head: int | None, virtual: int | None, place: int) -> None:
    assert rank(head, virtual, NOW) == place


@pytest.mark.parametrize(("lane", "is_ahead"), [(Lane.HIGH, False), (Lane.NORMAL, True), (Lane.BACKLOG, True)])
def test_only_the_same_and_higher_lanes_are_ahead(lane: Lane, is_ahead: bool) -> None:
    heads = {("echo", int(Lane.NORMAL)): 7, ("other", int(Lane.CRITICAL)): 1}
    assert ahead(heads, "echo", lane) is is_ahead


@pytest.mark.parametrize(
    ("row", "most", "free"),
    [
        (gate(None, 9), 5, 5),
        (gate(3, 1), 5, 2),
        (gate(3, 1), 1, 1),
        (gate(3, 3), 5, 0),
        (gate(1, 3), 5, 0),
        (gate(0), 5, 0),
        (gate(None, closed_until=NOW + 1), 5, 0),
        (gate(None, closed_until=NOW), 5, 5),
    ],
)
def test_the_room_in_a_gate(row: GateRow, most: int, free: int) -> None:
    assert room(row, NOW, most) == free


def test_a_task_names_every_limit_that_may_ever_apply() -> None:
    gates = gates_of(owner="ann", agent="Echo", skill="say", queue="Echo/say")
    assert set(gates) == {
        "agent:Echo",
        "breaker:Echo/say",
        "agent+client:Echo+ann",
        "client+skill:ann+Echo/say",
        "queue:Echo/say",
        "rate:Echo/say",
        "skill:Echo/say",
    }
    assert skill_gate(queue_of("Echo", "say")) in gates
    assert len(gates) <= 12


def test_queues_are_named_by_agent_and_skill() -> None:
    assert (queue_of("Echo", "say"), queue_of("", "say")) == ("Echo/say", "say")


@pytest.mark.parametrize(("at", "deadline", "due"), [(0, 0, 0), (5, 0, 5), (0, 7, 7), (5, 7, 5), (9, 7, 7)])
def test_an_alarm_is_the_earlier_of_two(at: int, deadline: int, due: int) -> None:
    assert alarm(at, deadline) == due
