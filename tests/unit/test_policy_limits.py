"""What the kinds of gates make of their numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings, strategies as st

from a2a_server.model.gates import gate_of
from a2a_server.model.rows import GateRow
from a2a_server.policy import (
    BREAKER_DOUBLINGS,
    FOREVER,
    OWN_RULE,
    SECOND,
    Limit,
    Rate,
    Trip,
    context_gate,
    counted,
    entered,
    gates_of,
    is_idle,
    is_shared,
    judged,
    left,
    limited,
    paused,
    resumed,
    room,
    skill_gate,
)

steady = settings(max_examples=200, derandomize=True, deadline=None)
NOW = 1_700_000_000 * SECOND


def gate(key: str, limit: Limit = None) -> GateRow:
    return limited(GateRow(key, None, 0, 0, 0, 0, "", 1), limit)


# Rates


@given(
    st.integers(1, 50),
    st.integers(1, 10 * SECOND),
    st.lists(st.tuples(st.integers(0, 3 * SECOND), st.integers(1, 4)), max_size=60),
)
@steady
def test_in_no_window_are_more_starts_than_its_tokens_and_a_burst(
    starts: int, period: int, tries: list[tuple[int, int]]
) -> None:
    row, now, begun = gate("rate:echo", Rate(starts, period)), NOW, list[int]()
    for wait, wanted in tries:
        now += wait
        for _ in range(room(row, now, wanted)):
            row = entered(row, now, 1)
            begun.append(now)
    for first, at in enumerate(begun):
        for last in range(first + starts, len(begun)):
            more = last - first + 1 - starts
            assert (begun[last] - at) * starts >= more * period


@given(st.integers(1, 50), st.integers(1, 10 * SECOND), st.integers(1, 120))
@steady
def test_an_empty_bucket_opens_exactly_with_its_next_token(starts: int, period: int, tries: int) -> None:
    row, now = gate("rate:echo", Rate(starts, period)), NOW
    for _ in range(tries):
        if not room(row, now, 1):
            assert row.closed_until > now
            assert not room(row, row.closed_until - 1, 1)
            now = row.closed_until
        assert room(row, now, 1) == 1
        row = entered(row, now, 1)
    assert now - NOW <= max(0, tries - starts) * (period // starts + 1)


def test_all_tokens_come_back_and_no_more() -> None:
    row = gate("rate:echo", Rate(3, 3 * SECOND))
    assert room(row, NOW, 10) == 3
    row = entered(row, NOW, 2)
    assert [room(row, NOW + seconds * SECOND, 10) for seconds in (0, 1, 2, 9)] == [1, 2, 3, 3]
    assert entered(row, NOW, 1).closed_until == NOW + SECOND


def test_what_runs_does_not_count_at_a_rate() -> None:
    row = entered(gate("rate:echo", Rate(2, SECOND)), NOW, 1)
    assert (row.used, left(row, 1), counted(row, 7)) == (0, row, row)


def test_a_rate_set_again_forgets_no_start() -> None:
    row = entered(entered(gate("rate:echo", Rate(2, SECOND)), NOW, 1), NOW, 1)
    assert limited(row, Rate(2, SECOND)) == row
    assert not room(limited(row, Rate(3, 3 * SECOND)), NOW, 1) or room(limited(row, Rate(3, 3 * SECOND)), NOW, 9) < 3
    assert limited(row, None)[1:7] == (None, 0, 0, 0, 0, "")


def test_who_wants_several_tokens_waits_for_all_of_them() -> None:
    row = entered(gate("rate:echo", Rate(2, 2 * SECOND)), NOW, 1)
    assert [room(row, NOW + wait * SECOND, 2) >= 2 for wait in (0, 1)] == [False, True]


# Breakers


@dataclass
class Broken:
    """A breaker and the time."""

    row: GateRow = field(default_factory=lambda: gate("breaker:echo", Trip(3, 10 * SECOND)))
    now: int = NOW

    def run(self, *outcomes: bool) -> None:
        for good in outcomes:
            self.row = judged(self.row, self.now, good=good)

    @property
    def open_for(self) -> int:
        return max(0, self.row.closed_until - self.now) // SECOND

    def rest(self) -> None:
        self.now = max(self.now, self.row.closed_until)


def test_only_failures_in_a_row_open_a_breaker() -> None:
    breaker = Broken()
    breaker.run(False, False, True, False, False)
    assert (breaker.open_for, room(breaker.row, breaker.now, 9)) == (0, 9)
    breaker.run(False)
    assert (breaker.open_for, room(breaker.row, breaker.now, 9)) == (10, 0)


def test_ends_of_earlier_runs_change_nothing_while_it_is_open() -> None:
    breaker = Broken()
    breaker.run(False, False, False)
    before = breaker.row
    breaker.run(False, True, False)
    assert breaker.row == before


def test_an_open_breaker_lets_one_try_at_a_time_and_closes_by_a_success() -> None:
    breaker = Broken()
    breaker.run(False, False, False)
    breaker.rest()
    assert room(breaker.row, breaker.now, 9) == 1
    breaker.row = entered(breaker.row, breaker.now, 1)
    assert room(breaker.row, breaker.now, 9) == 0
    breaker.run(True)
    breaker.row = left(breaker.row, 1)
    assert (room(breaker.row, breaker.now, 9), breaker.row.reason) == (9, "")
    breaker.run(False, False)
    assert breaker.open_for == 0


def test_every_failed_trial_doubles_the_rest_up_to_a_limit() -> None:
    breaker = Broken()
    breaker.run(False, False, False)
    rests = [breaker.open_for]
    for _ in range(BREAKER_DOUBLINGS + 2):
        breaker.rest()
        breaker.run(False)
        rests.append(breaker.open_for)
    assert rests == [10, 20, 40, 80, 160, 320, 320, 320]
    breaker.rest()
    breaker.run(True, False, False, False)
    assert breaker.open_for == 10


def test_a_breaker_set_again_stays_as_it_is() -> None:
    breaker = Broken()
    breaker.run(False, False)
    assert limited(breaker.row, Trip(3, 10 * SECOND)) == breaker.row
    breaker.run(False)
    assert limited(breaker.row, Trip(3, 10 * SECOND)) == breaker.row
    lower = limited(breaker.row, Trip(1, SECOND))
    assert (lower.capacity, lower.closed_until) == (1, breaker.row.closed_until)
    assert limited(breaker.row, None)[1:7] == (None, 0, 0, 0, 0, "")


def test_a_person_closes_a_breaker_for_good() -> None:
    breaker = Broken()
    breaker.run(False, False, False)
    row = resumed(breaker.row)
    assert (room(row, NOW, 9), row.reason) == (9, "")
    assert judged(judged(row, NOW, good=False), NOW, good=False).closed_until == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 500)), max_size=80))
@steady
def test_a_breaker_is_closed_open_or_half_open_and_nothing_else(steps: list[tuple[bool, int]]) -> None:
    breaker, failed = Broken(), 0
    for good, wait in steps:
        breaker.now += wait * SECOND
        is_open, was_half = breaker.row.closed_until > breaker.now, breaker.row.capacity == 1
        before = breaker.row
        breaker.run(good)
        if is_open:
            assert breaker.row == before
        elif good:
            failed = 0
            assert (breaker.row.capacity, breaker.row.closed_until <= breaker.now) == (None, True)
        else:
            failed += 1
            assert (breaker.row.closed_until > breaker.now) is (was_half or failed == 3)
            failed = 0 if breaker.row.closed_until > breaker.now else failed


# Pauses, and what all have in common


@pytest.mark.parametrize(
    ("key", "limit"), [("skill:echo", 2), ("rate:echo", Rate(2, SECOND)), ("breaker:echo", Trip(2, SECOND))]
)
def test_a_pause_lasts_until_it_is_resumed_and_leaves_the_limit(key: str, limit: Limit) -> None:
    row = gate(key, limit)
    stopped = paused(row, 0, "Upgrade.")
    assert (room(stopped, NOW, 1), stopped.closed_until, stopped.reason) == (0, FOREVER, "Upgrade.")
    assert limited(stopped, limit).closed_until == FOREVER
    assert room(resumed(stopped), NOW, 9) == room(row, NOW, 9)
    assert room(paused(row, NOW + 1, "Short."), NOW + 1, 1) == 1


@pytest.mark.parametrize(
    ("key", "limit"), [("rate:echo", 2), ("rate:echo", Trip(1, 1)), ("skill:echo", Rate(1, 1)), ("breaker:echo", 3)]
)
def test_a_gate_takes_only_limits_of_its_kind(key: str, limit: Limit) -> None:
    with pytest.raises(ValueError, match=key):
        gate(key, limit)


def test_rows_that_say_nothing_are_idle() -> None:
    bare = gate("queue:echo")
    assert is_idle(bare, NOW)
    assert not is_idle(paused(bare, 0, "x"), NOW)
    assert not is_idle(gate("skill:echo", 2), NOW)
    assert not is_idle(gate("rate:echo", Rate(1, 1)), NOW)
    assert not is_idle(gate("breaker:echo", Trip(1, 1)), NOW)
    own = gate("client:ann", 2)._replace(tokens=OWN_RULE)
    assert is_idle(own, NOW)
    assert not is_idle(own._replace(used=1), NOW)


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=8
) | st.sampled_from(["a*2", "*", "%2A", "a/b", "%", "a%2Fb"])


@given(NAMES, NAMES, NAMES)
@steady
def test_no_name_is_taken_for_an_amount_and_no_two_for_one(tenant: str, owner: str, context: str) -> None:
    names = (*gates_of(owner=owner, agent=tenant, skill=context, queue=owner), context_gate(tenant, owner, context))
    assert [gate_of(name) for name in names] == [(name, 1) for name in names]
    assert context_gate(tenant, owner, context) != context_gate(tenant, f"{owner}/{context}", "")
    assert (skill_gate(owner) == skill_gate(context)) is (owner == context)
    assert len({skill_gate(name) for name in ("*", "%2A", "%", "%25")}) == 4
    assert is_shared(names)
    assert not is_shared(names[:-1])
