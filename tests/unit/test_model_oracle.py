"""The oracle of the model allows what may be, and notices every planted fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from a2a_server.model.objects import Lane, Phase, State
from a2a_server.model.rows import NO_KEY, TaskRow
from tests.drills.bench import check_end
from tests.drills.oracle import Known, Oracle, Place, Stage
from tests.unit.turns import MemoryTurns, claim, key, submit

WIDE, NARROW = "wide", "narrow"
READY, HELD = Place(Phase.READY, State.SUBMITTED), Place(Phase.HELD, State.SUBMITTED)
RUNS, WAITS = Place(Phase.LEASED, State.WORKING), Place(Phase.WAITING, State.SUBMITTED)
JOINS = Place(Phase.WAITING, State.WORKING)


def over(state: State) -> Place:
    return Place(Phase.FINAL, state)


class Scene:
    """An oracle of two slots, and where its tasks are."""

    def __init__(self) -> None:
        self.oracle = Oracle(2, {NARROW: 1}, 3)
        self.seen: dict[str, Place] = {}

    def send(
        self, name: str, *after: str, skill: str = WIDE, how: str = "fail", parent: str = "", lane: int = 3
    ) -> None:
        self.oracle.send(Known(name, skill, Lane(lane), after, how, parent))

    def see(self, **places: Place) -> list[str]:
        self.seen |= places
        return self.oracle.look(self.seen)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_chain_goes_in_its_order(scene: Scene) -> None:
    scene.send("a")
    scene.send("b", "a")
    assert scene.see(a=RUNS, b=WAITS) == []
    assert scene.see(b=RUNS) != []
    assert scene.see(b=READY) != []
    scene.oracle.end("a", State.COMPLETED)
    assert scene.see(a=over(State.COMPLETED), b=WAITS) != []
    assert scene.see(b=RUNS) == []


@pytest.mark.parametrize(
    ("how", "allowed"), [("fail", State.FAILED), ("cancel", State.CANCELED), ("run", State.COMPLETED)]
)
def test_a_failure_breaks_what_is_behind_it(scene: Scene, how: str, allowed: State) -> None:
    scene.send("a")
    scene.send("b", "a", how=how)
    scene.oracle.end("a", State.FAILED)
    if how == "run":
        assert scene.see(a=over(State.FAILED), b=RUNS) == []
        scene.oracle.end("b", State.COMPLETED)
    for state in (State.COMPLETED, State.FAILED, State.CANCELED, State.REJECTED):
        if state is not allowed:
            assert scene.see(a=over(State.FAILED), b=over(state)) != []
    assert scene.see(b=over(allowed)) == []


def test_a_race_may_have_either_end_and_no_other(scene: Scene) -> None:
    for name in ("a", "b", "c"):
        scene.send(name)
        scene.oracle.end(name, State.COMPLETED, State.CANCELED)
    assert scene.see(a=over(State.COMPLETED), b=over(State.CANCELED), c=over(State.FAILED)) != []
    assert scene.see(c=RUNS) != []
    assert scene.see(c=over(State.CANCELED)) == []


def test_nobody_ends_without_a_reason(scene: Scene) -> None:
    scene.send("a")
    assert scene.see(a=over(State.COMPLETED)) != []


def test_a_task_that_is_not_there_is_noticed(scene: Scene) -> None:
    scene.send("a")
    assert scene.see() == ["a is not there"]


def test_no_slot_stays_empty_and_none_is_used_twice(scene: Scene) -> None:
    for name in ("a", "b", "c"):
        scene.send(name)
    assert scene.see(a=RUNS, b=READY, c=READY) != []
    assert scene.see(b=RUNS) == []
    assert scene.see(c=RUNS) != []


def test_a_skill_has_its_room_and_no_more(scene: Scene) -> None:
    scene.send("a", skill=NARROW)
    scene.send("b", skill=NARROW)
    assert scene.see(a=HELD, b=HELD) != []
    assert scene.see(a=RUNS) == []
    assert scene.see(b=RUNS) != []


def test_a_closed_queue_starts_nothing_and_an_open_one_does(scene: Scene) -> None:
    scene.oracle.paused.add(WIDE)
    scene.send("a")
    assert scene.see(a=HELD) == []
    scene.oracle.paused.discard(WIDE)
    assert scene.see(a=HELD) != []


def test_a_parent_waits_for_its_parts_and_takes_them_along(scene: Scene) -> None:
    scene.send("p")
    scene.see(p=RUNS)
    scene.send("c", parent="p")
    assert scene.see(c=RUNS) == []
    scene.oracle.join("p")
    assert scene.see() != []
    assert scene.see(p=JOINS) == []
    scene.oracle.cancel("p")
    assert scene.see(p=over(State.CANCELED)) != []  # the part goes on
    assert scene.see(c=over(State.CANCELED)) == []


def test_a_parent_goes_on_when_the_last_part_has_ended(scene: Scene) -> None:
    scene.send("p")
    for part in ("c", "d"):
        scene.send(part, parent="p")
    scene.see(p=RUNS, c=RUNS, d=READY)
    scene.oracle.join("p")
    scene.oracle.end("c", State.FAILED)
    assert scene.see(p=JOINS, c=over(State.FAILED), d=RUNS) == []
    scene.oracle.end("d", State.COMPLETED)
    assert scene.see(d=over(State.COMPLETED)) != []
    assert scene.see(p=RUNS) == []


@pytest.mark.parametrize(("how", "ends"), [("fail", State.FAILED), ("cancel", State.CANCELED)])
def test_who_joins_only_parts_that_were_made_as_ended_goes_on_in_its_run(scene: Scene, how: str, ends: State) -> None:
    scene.send("p")
    scene.send("c", parent="p")
    scene.see(p=RUNS, c=RUNS)
    scene.oracle.end("c", State.FAILED)
    scene.see(c=over(State.FAILED))
    scene.send("d", "c", how=how, parent="p")
    scene.send("e", "d", how=how, parent="p")
    scene.oracle.join("p")
    parent, *parts = (scene.oracle.tasks[name] for name in ("p", "d", "e"))
    assert [part.state for part in parts] == [ends, ends]
    assert (parent.joins, parent.running) == (0, True)
    assert scene.see(p=JOINS) != []
    assert scene.see(p=RUNS) == []


def test_who_joins_a_part_that_runs_whatever_failed_waits_for_it(scene: Scene) -> None:
    scene.send("p")
    scene.send("c", parent="p")
    scene.see(p=RUNS, c=RUNS)
    scene.oracle.end("c", State.FAILED)
    scene.see(c=over(State.FAILED))
    scene.send("d", "c", how="run", parent="p")
    scene.oracle.join("p")
    assert scene.oracle.tasks["p"].joins == 1
    assert scene.see(d=RUNS) != []
    assert scene.see(p=JOINS) == []


def test_retries_are_counted(scene: Scene) -> None:
    scene.send("a")
    later = Place(Phase.SCHEDULED, State.WORKING)
    for _ in range(2):
        assert scene.see(a=RUNS) == []
        scene.oracle.retry("a", 10)
        assert scene.see() != []
        assert scene.see(a=later) == []
        scene.oracle.pass_by(10)
        assert scene.see() != []
    scene.see(a=RUNS)
    scene.oracle.retry("a", 10)
    assert scene.see(a=later) != []
    assert scene.see(a=over(State.FAILED)) == []


def test_a_question_and_its_answer(scene: Scene) -> None:
    scene.send("a")
    scene.see(a=RUNS)
    scene.oracle.ask("a")
    assert scene.see(a=Place(Phase.PAUSED, State.WORKING)) != []
    assert scene.see(a=Place(Phase.PAUSED, State.INPUT_REQUIRED)) == []
    scene.oracle.answer("a")
    assert scene.see() != []
    assert scene.see(a=RUNS) == []


def test_what_has_begun_is_never_submitted_again(scene: Scene) -> None:
    scene.send("a")
    scene.see(a=RUNS)
    scene.oracle.paused.add(WIDE)
    assert scene.see(a=Place(Phase.READY, State.SUBMITTED)) != []
    assert scene.see(a=Place(Phase.READY, State.WORKING)) == []


@pytest.mark.parametrize(
    ("waiting", "began", "wrong"),
    [
        ((WIDE, 1), (WIDE, 3), True),
        ((WIDE, 1), (NARROW, 3), True),
        ((NARROW, 1), (NARROW, 3), True),
        ((NARROW, 1), (WIDE, 3), False),
        ((WIDE, 3), (WIDE, 1), False),
        ((WIDE, 3), (WIDE, 3), False),
    ],
)
def test_a_lower_lane_does_not_go_first(
    scene: Scene, waiting: tuple[str, int], began: tuple[str, int], *, wrong: bool
) -> None:
    for name, (skill, lane) in (("a", waiting), ("b", began)):
        scene.send(name, skill=skill, lane=lane)
    assert bool(scene.oracle.order(["a"], ["b"])) == wrong


TOLD = ("submitted", "working", "completed")


def ended() -> tuple[Known, TaskRow, Sequence[str]]:
    store = MemoryTurns()
    [made] = store.do(submit(1))
    store.do(claim())
    row = store.tasks[key(1)]._replace(phase=Phase.FINAL, state=State.COMPLETED, last_n=3, fence=1, worker=NO_KEY)
    known = Known(made.row.id, WIDE, stage=Stage.ENDED, state=State.COMPLETED)
    return known, row, TOLD


def test_a_good_end_passes() -> None:
    assert check_end(*ended()) == []


SPOILED: Mapping[str, tuple[dict[str, object], Sequence[str]]] = {
    "ends twice": ({"last_n": 4}, ("submitted", "working", "completed", "completed")),
    "does not tell its end": ({}, ("submitted", "working", "working")),
    "speaks after its end": ({"last_n": 4}, ("submitted", "working", "completed", "working")),
    "tells another end": ({}, ("submitted", "working", "failed")),
    "ended otherwise": ({"state": State.FAILED}, TOLD),
    "is still leased": ({"phase": Phase.LEASED}, TOLD),
    "counts a retry": ({"attempt": 1}, TOLD),
    "ran once too often": ({"fence": 2}, TOLD),
    "never ran": ({"fence": 0}, TOLD),
    "has an event too many": ({"last_n": 4}, TOLD),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_a_bad_end_is_caught(fault: str) -> None:
    known, row, _ = ended()
    changes, told = SPOILED[fault]
    assert check_end(known, row._replace(**changes), told) != []  # type: ignore[arg-type]  # any columns
