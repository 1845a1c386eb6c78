"""What drills of limits, fairness and races look for is found where it was planted, and nowhere else."""

from __future__ import annotations

import random

import pytest

from a2a_server.model.objects import Lane, Phase, State
from tests.drills.fairness import Turn, before, check_lanes
from tests.drills.gates import rooms
from tests.drills.graph import edges
from tests.drills.idleness import Idle, Idleness, check_idle, deaths
from tests.drills.laws import Step, check_steps
from tests.drills.races import Race, check_race

GPU = "resource:gpu"
SECOND = 1_000_000


class Log:
    """Steps, one second apart unless `at` says otherwise."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def add(self, task: str, phase: Phase, worker: str = "", *gates: str, at: float = 0, held_by: str = "") -> Log:
        seq = len(self.steps) + 1
        fence = 0 if phase in {Phase.READY, Phase.HELD} else 1
        step = Step(seq, task, phase, fence, worker, gates=gates, held_by=held_by, at=round((at or seq) * SECOND))
        self.steps.append(step)
        return self

    def idle(self, slots: int = 1, **rooms: int) -> Idle:
        return Idleness(slots, {f"resource:{name}": room for name, room in rooms.items()}).play(self.steps)


def ready(log: Log, task: str, *gates: str, at: float = 0) -> None:
    log.add(task, Phase.READY, "", *gates, at=at)


def test_amounts_count_at_a_gate() -> None:
    log = Log().add("a", Phase.LEASED, "w", f"{GPU}*2").add("b", Phase.LEASED, "w", GPU)
    assert check_steps(log.steps, {GPU: 3}) == []
    assert [one.rule for one in check_steps(log.steps, {GPU: 2})] == ["gate"]
    log.add("a", Phase.FINAL, "", f"{GPU}*2").add("c", Phase.LEASED, "w", f"{GPU}*2")
    assert check_steps(log.steps, {GPU: 3}) == []


def test_a_task_that_a_free_worker_leaves_is_found() -> None:
    log = Log().add("a", Phase.LEASED, "w", at=1).add("a", Phase.FINAL, at=2)
    ready(log, "b", at=3)
    log.add("c", Phase.LEASED, "v", at=20)
    idle = log.idle()
    assert idle == Idle(17 * SECOND, 20 * SECOND, "b", "w")
    assert [one.rule for one in check_idle(idle, 16 * SECOND)] == ["left-lying"]
    assert check_idle(idle, 17 * SECOND) == []


def test_a_full_worker_and_one_that_claims_others_are_not_idle() -> None:
    log = Log().add("a", Phase.LEASED, "w", at=1)
    ready(log, "b", at=2)
    log.add("a", Phase.FINAL, at=20)
    assert log.idle().time == 0
    log.add("c", Phase.LEASED, "w", at=21).add("d", Phase.READY, at=22)
    assert log.idle(2).time == 19 * SECOND
    assert log.idle(1).time == SECOND


def test_the_dead_are_not_idle() -> None:
    log = Log().add("a", Phase.LEASED, "w", at=1).add("a", Phase.FINAL, at=2)
    ready(log, "b", at=3)
    log.add("c", Phase.LEASED, "v", at=20).add("d", Phase.READY, at=21)
    assert deaths(log.steps, {"v"}) == {"w": SECOND}
    assert Idleness(1, {}, deaths(log.steps, {"v"})).play(log.steps).time == 0
    assert Idleness(1, {}, deaths(log.steps, {"v", "w"})).play(log.steps).time == 18 * SECOND


def test_a_full_gate_is_a_reason_and_one_with_room_is_none() -> None:
    log = Log().add("a", Phase.LEASED, "w", f"{GPU}*2", at=1)
    ready(log, "b", f"{GPU}*2", at=2)
    log.add("x", Phase.READY, at=2.5).add("x", Phase.LEASED, "w", at=2.5).add("y", Phase.WAITING, at=30)
    assert log.idle(3, gpu=3).time == 0
    assert log.idle(3, gpu=4).time == round(27.5 * SECOND)


def test_the_first_that_a_gate_holds_must_go_on_when_there_is_room() -> None:
    log = Log().add("a", Phase.LEASED, "w", GPU, at=1).add("b", Phase.HELD, "", GPU, at=2, held_by=GPU)
    log.add("c", Phase.HELD, "", GPU, at=3, held_by=GPU)
    log.add("a", Phase.FINAL, "", GPU, at=4).add("y", Phase.WAITING, at=9)
    idle = log.idle(gpu=1)
    assert (idle.time, idle.task) == (5 * SECOND, "b")


def test_who_waits_behind_what_needs_more_is_not_left() -> None:
    log = Log().add("a", Phase.LEASED, "w", GPU, at=1).add("big", Phase.HELD, "", f"{GPU}*3", at=2, held_by=GPU)
    ready(log, "small", GPU, at=3)
    log.add("y", Phase.WAITING, at=30)
    assert log.idle(2, gpu=3).time == 0


def test_rooms_are_those_of_the_settings() -> None:
    log = Log().add("a", Phase.READY, "", "client:ann", "rate:x", "context:/ann/talk", "resource:gpu*2", "skill:narrow")
    found = rooms(log.steps)
    assert {"client:ann", "context:/ann/talk", "resource:gpu", "skill:narrow"} <= found.keys()
    assert found["context:/ann/talk"] == 1
    assert "rate:x" not in found


def test_who_went_first_is_counted() -> None:
    bob = Turn("bob", Lane.NORMAL, 10, 20)
    backlog = [Turn(str(at), Lane.NORMAL, 1, at) for at in (9, 10, 11, 19, 20, 21, 0)]
    assert before(bob, backlog) == 2


def test_a_lower_lane_that_went_before_a_critical_task_is_found() -> None:
    critical = Turn("c", Lane.CRITICAL, 10, 20)
    good = [critical, Turn("early", Lane.LOW, 1, 9), Turn("same turn", Lane.HIGH, 1, 20), Turn("late", Lane.LOW, 1, 21)]
    assert check_lanes(good) == []
    assert [one.task for one in check_lanes([*good, Turn("bad", Lane.HIGH, 1, 15)])] == ["bad"]


WON = Race("a", State.CANCELED, State.CANCELED, State.CANCELED, ("submitted", "working", "canceled"))
LOST = Race("a", State.COMPLETED, None, State.COMPLETED, ("submitted", "working", "", "completed"))


def test_a_race_has_one_winner_of_which_all_hear() -> None:
    assert check_race(WON) == check_race(LOST) == []


@pytest.mark.parametrize(
    ("race", "rule"),
    [
        (WON._replace(canceled=None), "told-otherwise"),
        (WON._replace(waited=State.COMPLETED), "told-otherwise"),
        (LOST._replace(canceled=State.CANCELED), "told-otherwise"),
        (LOST._replace(canceled=State.WORKING), "told-otherwise"),
        (LOST._replace(told=(*LOST.told, "canceled")), "terminal-twice"),
        (LOST._replace(told=(*LOST.told, "working")), "terminal-twice"),
        (LOST._replace(told=LOST.told[:-1]), "terminal-twice"),
        (LOST._replace(stored=State.FAILED, waited=State.FAILED, told=("failed",)), "wrong-end"),
    ],
)
def test_a_race_with_two_winners_is_caught(race: Race, rule: str) -> None:
    assert rule in {violation.rule for violation in check_race(race)}


def test_a_graph_follows_only_what_stands_before() -> None:
    shape = edges(random.Random(1), 300)  # noqa: S311 - no secret
    assert all(one < position for position, after in enumerate(shape) for one in after)
    assert sum(map(len, shape)) > 300
