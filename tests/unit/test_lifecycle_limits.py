"""Limits as turns decide on them: set, paused, filled and emptied by claims and ends of runs."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from a2a_server.codec import decode_spec, encode_spec
from a2a_server.lifecycle.endings import EndKind, overran
from a2a_server.lifecycle.limits import Lift, Pause, Resume, SetLimit
from a2a_server.lifecycle.runs import Claimed
from a2a_server.lifecycle.sweeping import Alarms, Tidy, Wake
from a2a_server.model.objects import TaskSpec
from a2a_server.model.rows import TaskRow
from a2a_server.policy import OWN_RULE, SECOND, Limit, Rate, Trip, limit_of
from tests.unit.turns import WORKER, MemoryTurns, cancel, claim, crash, key, report, started, submit

GPU = "resource:gpu"
RULES = MappingProxyType({"client": 2})


def phases(store: MemoryTurns) -> str:
    """The first letters of the tasks' phases, in order."""
    return "".join(row.phase.name[0] for _, row in sorted(store.tasks.items()))


def many(store: MemoryTurns, count: int, first: int = 1, **options: Any) -> None:  # noqa: ANN401 - any field of a submission
    store.do(*(submit(number, **options) for number in range(first, first + count)))


def needing(number: int, amount: int, **options: Any) -> Any:  # noqa: ANN401 - as above
    made = submit(number, **options)
    return submit(number, gates=(*made.gates, f"{GPU}*{amount}"), **options)


def claimed(store: MemoryTurns, limit: int = 10, **options: Any) -> list[TaskRow]:  # noqa: ANN401 - any field of a claim
    outcome: Claimed = store.one(claim(limit, **options))
    return list(outcome.rows)


def ended(store: MemoryTurns, number: int, kind: EndKind = EndKind.COMPLETED) -> None:
    store.one(report(store.tasks[key(number)], kind))


# Amounts


def test_a_task_counts_as_often_as_it_says() -> None:
    store = MemoryTurns()
    store.register()
    store.one(SetLimit(GPU, 3))
    store.do(needing(1, 2), needing(2, 2), needing(3, 1))
    assert [row.key for row in claimed(store)] == [key(1)]
    assert (phases(store), store.gates[GPU].used) == ("LHH", 2)
    ended(store, 1)
    assert (phases(store), store.gates[GPU].used) == ("FRH", 0)
    store.one(Wake((key(3),)))
    assert [row.key for row in claimed(store)] == [key(2), key(3)]
    assert store.gates[GPU].used == 3


def test_who_needs_much_is_not_overtaken_by_who_needs_little() -> None:
    store = MemoryTurns()
    store.register()
    store.one(SetLimit(GPU, 2))
    store.one(needing(1, 1))
    claimed(store)
    store.one(needing(2, 2))
    claimed(store)
    store.one(needing(3, 1))
    assert claimed(store) == []
    assert phases(store) == "LHH"
    assert store.one(Wake((key(2), key(3)))) == 0
    store.one(cancel(store.tasks[key(2)]))
    assert phases(store) == "LFR"


def test_a_send_that_could_run_at_once_does_not_overtake_who_needs_much() -> None:
    store = MemoryTurns()
    store.register()
    store.one(SetLimit(GPU, 2))
    store.one(needing(1, 1))
    claimed(store)
    store.one(needing(2, 2))
    claimed(store)
    assert not store.one(needing(3, 1, worker=WORKER)).leased
    assert phases(store) == "LHR"


def test_a_recount_knows_amounts() -> None:
    store = MemoryTurns()
    store.register()
    store.do(needing(1, 2), needing(2, 3))
    claimed(store)
    assert store.one(SetLimit(GPU, 4)).used == 5


def test_direct_dispatch_needs_room_for_all_of_it() -> None:
    store = MemoryTurns()
    store.one(SetLimit(GPU, 2))
    outcomes = store.do(*(needing(number, amount, worker=WORKER) for number, amount in ((1, 1), (2, 2))))
    assert [outcome.leased for outcome in outcomes] == [True, False]


# Rates


def test_a_rate_counts_starts_and_says_when_the_next_token_comes() -> None:
    store = MemoryTurns()
    store.register()
    store.one(SetLimit("rate:echo", Rate(2, 4 * SECOND)))
    many(store, 4)
    assert len(claimed(store)) == 2
    assert (phases(store), store.turn.openings) == ("LLHH", {"rate:echo": 2 * SECOND})
    ended(store, 1)
    assert phases(store) == "FLHH"
    assert store.one(Wake((key(3), key(4)))) == 0
    store.now += 2 * SECOND
    assert store.one(Wake((key(3), key(4)))) == 1
    assert [row.key for row in claimed(store)] == [key(3)]
    assert store.turn.openings == {"rate:echo": 2 * SECOND}


def test_a_turn_that_holds_nobody_expects_no_opening() -> None:
    store = MemoryTurns()
    store.register()
    store.one(SetLimit("rate:echo", Rate(1, SECOND)))
    many(store, 1)
    claimed(store)
    assert store.gates["rate:echo"].closed_until > store.now
    assert store.turn.openings == {}


# Breakers


def failing(store: MemoryTurns, first: int, kinds: list[EndKind]) -> None:
    for number, kind in enumerate(kinds, start=first):
        store.one(submit(number, max_attempts=1))
        claimed(store)
        ended(store, number, kind)


@pytest.mark.parametrize(
    ("kinds", "opens"),
    [
        ([EndKind.FAILED, EndKind.TRANSIENT], True),
        ([EndKind.FAILED, EndKind.COMPLETED, EndKind.FAILED], False),
        ([EndKind.FAILED, EndKind.REJECTED], False),
        ([EndKind.FAILED, EndKind.CANCELED], False),
        ([EndKind.FAILED, EndKind.REJECTED, EndKind.FAILED], True),
    ],
)
def test_what_opens_a_breaker(kinds: list[EndKind], opens: bool) -> None:
    store = MemoryTurns()
    store.register()
    store.one(SetLimit("breaker:echo", Trip(2, SECOND)))
    failing(store, 1, kinds)
    assert (store.gates["breaker:echo"].closed_until > store.now) is opens


def test_a_canceled_run_and_a_crash_say_nothing_of_the_skill() -> None:
    store = MemoryTurns()
    store.register()
    store.one(SetLimit("breaker:echo", Trip(1, SECOND)))
    row = started(store, 1)
    store.one(cancel(row))
    ended(store, 1, EndKind.FAILED)
    crash(store, started(store, 2))
    assert store.gates["breaker:echo"].closed_until == 0


@pytest.mark.parametrize("by_worker", [True, False])
@pytest.mark.parametrize(("after", "opens"), [(0, True), (61, True), (60, False), (7, False)])
def test_a_run_that_took_too_long_counts_and_one_that_was_cut_short_does_not(
    after: int, *, opens: bool, by_worker: bool
) -> None:
    store = MemoryTurns()
    store.one(SetLimit("breaker:echo", Trip(1, SECOND)))
    row = started(store, 1, deadline_at=store.now + after * SECOND if after else 0)
    store.now = row.due_at
    end = overran(cut_short=decode_spec(row.spec).cut_short)
    store.one(report(row, end=end) if by_worker else Alarms((row.key,)))
    assert store.gates["breaker:echo"].closed_until == (store.now + SECOND if opens else 0)


def test_a_trial_that_was_cut_short_leaves_its_place_to_the_next() -> None:
    store = MemoryTurns()
    store.register()
    store.one(SetLimit("breaker:echo", Trip(1, SECOND)))
    failing(store, 1, [EndKind.FAILED])
    store.now += SECOND
    row = started(store, 2, deadline_at=store.now + SECOND)
    store.one(submit(3))
    assert claimed(store) == []
    store.now = row.due_at
    store.one(Alarms((row.key,)))
    assert [found.key for found in claimed(store)] == [key(3)]


def test_what_a_roll_back_does_is_no_second_failure() -> None:
    store = MemoryTurns()
    store.register()
    store.one(SetLimit("breaker:echo", Trip(2, SECOND)))
    store.one(submit(1, max_attempts=1, spec=encode_spec(TaskSpec(60.0, rolls_back=True))))
    for _ in range(2):  # the run, and the last one
        assert len(claimed(store)) == 1
        ended(store, 1, EndKind.FAILED)
    assert phases(store) == "F"
    assert store.gates["breaker:echo"].closed_until == 0


def test_half_open_lets_one_through_and_a_success_all() -> None:
    store = MemoryTurns()
    store.register()
    store.one(SetLimit("breaker:echo", Trip(1, SECOND)))
    failing(store, 1, [EndKind.FAILED])
    many(store, 3, first=2)
    assert claimed(store) == []
    assert store.turn.openings == {"breaker:echo": SECOND}
    store.now += SECOND
    assert store.one(Wake((key(2), key(3), key(4)))) == 1
    assert len(claimed(store)) == 1
    ended(store, 2)
    assert phases(store) == "FFRH"
    assert store.one(Wake((key(4),))) == 1
    assert len(claimed(store)) == 2


# Pauses


def test_a_paused_gate_starts_nothing_and_a_resumed_one_all() -> None:
    store = MemoryTurns()
    store.register()
    many(store, 3)
    claimed(store, 1)
    gate = store.one(Pause("queue:echo", reason="Upgrade."))
    assert (gate.used, gate.reason) == (1, "Upgrade.")
    assert claimed(store) == []
    assert phases(store) == "LHH"
    store.one(Resume("queue:echo"))
    assert phases(store) == "LRR"
    assert store.one(Resume("queue:other")) is None
    assert store.one(Tidy(("queue:echo",))) == 0  # something runs through it
    store.do(*(cancel(row) for row in list(store.tasks.values())))
    ended(store, 1)
    assert store.one(Tidy(("queue:echo", "queue:other"))) == 1
    assert store.gates == {}


@pytest.mark.parametrize(("name", "limit"), [("skill:echo", 1), ("rate:echo", Rate(1, SECOND))])
def test_tidying_leaves_limits_alone(name: str, limit: Limit) -> None:
    store = MemoryTurns()
    store.one(SetLimit(name, limit))
    assert store.one(Tidy((name,))) == 0
    store.one(SetLimit(name, None))
    assert store.one(Tidy((name,))) == 1


# Limits for everybody


def test_a_rule_bounds_everybody_for_himself_and_leaves_no_row() -> None:
    store = MemoryTurns()
    store.register()
    store.do(*(submit(number, owner=owner) for number, owner in enumerate("aaabb", start=1)))
    assert len(claimed(store, standing=RULES)) == 4
    assert phases(store) == "LLHLL"
    assert {name: (row.used, row.tokens) for name, row in store.gates.items()} == {
        "client:a": (2, OWN_RULE),
        "client:b": (2, OWN_RULE),
    }
    ended(store, 1)
    assert phases(store) == "FLRLL"
    assert len(claimed(store, standing=RULES)) == 1
    for number in (2, 3, 4, 5):
        ended(store, number)
    assert store.gates == {}


def test_a_rule_holds_for_direct_dispatch_too() -> None:
    store = MemoryTurns()
    outcomes = store.do(*(submit(number, worker=WORKER, standing=RULES) for number in range(1, 5)))
    assert [outcome.leased for outcome in outcomes] == [True, True, False, False]
    assert store.gates["client:local"].used == 2


def test_a_person_may_set_another_limit_than_the_rule() -> None:
    store = MemoryTurns()
    store.register()
    many(store, 5)
    store.one(SetLimit("client:local", 3))
    assert len(claimed(store, standing=RULES)) == 3
    for number in (1, 2, 3):
        ended(store, number)
    assert store.gates["client:local"].capacity == 3


def test_a_pause_of_a_client_is_no_way_around_the_rule() -> None:
    store = MemoryTurns()
    store.register()
    many(store, 5)
    assert len(claimed(store, 1, standing=RULES)) == 1
    store.one(Pause("client:local"))
    assert claimed(store, standing=RULES) == []
    store.one(Resume("client:local"))
    store.one(Wake(tuple(store.tasks)))
    assert len(claimed(store, standing=RULES)) == 1
    store.gates["client:local"] = store.gates["client:local"]._replace(capacity=None, tokens=0)
    store.one(submit(9))
    assert claimed(store, standing=RULES) == []


# Operators


@pytest.mark.parametrize(
    ("name", "theirs", "codes"),
    [
        ("skill:echo", 7, 2),
        ("resource:gpu", 0, 2),
        ("rate:echo", Rate(2, SECOND), Rate(9, SECOND)),
        ("breaker:echo", Trip(2, SECOND), Trip(9, SECOND)),
    ],
)
@pytest.mark.parametrize("bound", [True, False])
def test_what_an_operator_sets_holds_until_it_is_lifted(name: str, theirs: Limit, codes: Limit, *, bound: bool) -> None:
    store = MemoryTurns()
    said = codes if bound else None
    store.one(SetLimit(name, said))
    store.one(SetLimit(name, theirs, operator=True))
    kept = store.gates[name]
    assert limit_of(kept) == theirs
    assert store.one(SetLimit(name, said)) == kept  # a process starts
    assert limit_of(store.gates[name]) == theirs
    assert store.one(Lift(name, said)).key == name
    assert limit_of(store.gates[name]) == said
    assert store.records == {}
    store.one(SetLimit(name, codes))
    assert limit_of(store.gates[name]) == codes


def test_what_an_operator_set_comes_back_with_a_gate_that_went_away() -> None:
    store = MemoryTurns()
    store.one(SetLimit("skill:echo", 7, operator=True))
    store.gates.clear()
    store.one(SetLimit("skill:echo", 2))
    assert store.gates["skill:echo"].capacity == 7
    store.one(SetLimit("skill:echo", 3, operator=True))
    store.one(SetLimit("skill:echo", 2))
    assert store.gates["skill:echo"].capacity == 3


def test_lifting_opens_what_was_paused_and_lets_go_on_what_it_held() -> None:
    store = MemoryTurns()
    store.register()
    store.one(SetLimit("skill:echo", 0, operator=True))
    many(store, 2)
    claimed(store)
    assert phases(store) == "HH"
    store.one(Lift("skill:echo"))
    assert phases(store) == "RR"
