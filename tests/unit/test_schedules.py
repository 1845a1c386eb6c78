"""Schedules decided on rows in memory: one task a tick, whoever fires, whatever was missed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from a2a_server.errors import InvalidParams
from a2a_server.lifecycle.making import Make
from a2a_server.lifecycle.records import DeleteRecord
from a2a_server.lifecycle.schedules import (
    MOST_BEHIND,
    ChangeSchedule,
    CreateSchedule,
    Fire,
    Fired,
    Kept,
    Realign,
    due_tick,
    packed,
    tick_key,
    unpacked,
)
from a2a_server.model.objects import Message, Phase, Role, State, Text
from a2a_server.model.rows import RecordRow
from a2a_server.model.schedule_keys import schedule_key
from a2a_server.model.schedules import Missed, Overlap, Schedule, Timing
from a2a_server.policy import SECOND
from tests.unit.turns import START, MemoryTurns, claim, submit

KEY = schedule_key("", "local", "", "nightly")
MINUTE = 60 * SECOND


def scheduled(**given: Any) -> Schedule:  # noqa: ANN401 - any field
    timing = given.pop("timing", Timing(START + MINUTE, interval=MINUTE))
    return Schedule("", timing, Message(Role.USER, (Text("go"),), id="m"), {"skill": "echo"}, **given)


class Scheduler:
    """Fires what is due, as the engine does, with tasks of rising numbers."""

    def __init__(self, store: MemoryTurns) -> None:
        self.store = store
        self.number = 0

    def fire(self, seen: RecordRow | None = None, now: int | None = None) -> Fired:
        seen = seen or self.store.records[KEY]
        tick, makes = due_tick(unpacked(seen), seen.due_at, now or self.store.now)
        self.number += 1
        make = Make(submit(self.number), tick_key(seen.id, tick)) if makes else None
        fired: Fired = self.store.one(Fire(seen, tick, make, "" if makes else "missed"))
        return fired


@pytest.fixture
def store() -> MemoryTurns:
    return MemoryTurns()


def create(store: MemoryTurns, **given: Any) -> Scheduler:  # noqa: ANN401 - any field
    kept: Kept = store.one(CreateSchedule(KEY, scheduled(**given)))
    assert kept.row.due_at == (0 if given.get("paused") else START + MINUTE)
    return Scheduler(store)


def kept_in(store: MemoryTurns) -> Schedule:
    return unpacked(store.records[KEY])


def test_what_is_kept_comes_back_as_it_was(store: MemoryTurns) -> None:
    schedule = scheduled(
        metadata={"a": [1]}, context="c", missed=Missed.ALL, overlap=Overlap.REPLACE, max_runs=3, description="d"
    )
    assert unpacked(RecordRow(*KEY, 1, 0, packed(schedule))) == schedule


def test_a_tick_makes_one_task_and_sets_the_next(store: MemoryTurns) -> None:
    scheduler = create(store)
    store.now = START + MINUTE
    seen = store.records[KEY]
    assert scheduler.fire().made
    assert store.records[KEY].due_at == START + 2 * MINUTE
    assert scheduler.fire(seen).stale
    assert len(store.tasks) == 1
    assert (kept_in(store).runs, kept_in(store).last_at) == (1, START + MINUTE)


def test_two_that_fire_in_one_turn_make_one_task(store: MemoryTurns) -> None:
    create(store)
    store.now = START + MINUTE
    seen = store.records[KEY]
    name = tick_key(seen.id, seen.due_at)
    both = [Fire(seen, seen.due_at, Make(submit(number), name)) for number in (1, 2)]
    first, second = store.do(*both)
    assert first.made
    assert second.stale
    assert len(store.tasks) == 1


def test_no_task_before_its_tick(store: MemoryTurns) -> None:
    create(store)
    seen = store.records[KEY]
    assert store.one(Fire(seen, seen.due_at, Make(submit(1)))).stale
    assert not store.tasks


def test_a_schedule_that_is_made_again_does_not_repeat_a_tick(store: MemoryTurns) -> None:
    scheduler = create(store)
    store.now = START + MINUTE
    made = scheduler.fire().made
    assert made is not None
    assert store.one(DeleteRecord(KEY))
    store.one(CreateSchedule(KEY, scheduled()))
    again = scheduler.fire().made
    assert again is not None
    assert again.repeat
    assert again.row.key == made.row.key
    assert len(store.tasks) == 1


@pytest.mark.parametrize(
    ("missed", "late", "tasks", "skipped"),
    [
        (Missed.ONCE, 0, 1, 0),
        (Missed.ONCE, 10 * MINUTE + SECOND, 1, 10),
        (Missed.ALL, 10 * MINUTE + SECOND, 11, 0),
        (Missed.ALL, 1000 * MINUTE, MOST_BEHIND + 1, 1000 - MOST_BEHIND),
        (Missed.SKIP, 10 * MINUTE + SECOND, 1, 10),
    ],
)
def test_missed_ticks(store: MemoryTurns, missed: Missed, late: int, tasks: int, skipped: int) -> None:
    scheduler = create(store, missed=missed)
    store.now = START + MINUTE + late
    while store.records[KEY].due_at <= store.now:
        scheduler.fire()
    assert (len(store.tasks), kept_in(store).skipped) == (tasks, skipped)
    assert store.now < store.records[KEY].due_at <= store.now + MINUTE


def test_of_a_cron_expression_as_many_missed_ticks_are_counted_as_could_be_made_up_for(store: MemoryTurns) -> None:
    scheduler = Scheduler(store)
    kept: Kept = store.one(CreateSchedule(KEY, replace(scheduled(), timing=Timing(START, "* * * * *"))))
    store.now = kept.row.due_at + 10 * MINUTE
    assert scheduler.fire().made
    assert (kept_in(store).runs, kept_in(store).skipped) == (1, 10)
    store.now += 1000 * MINUTE
    assert scheduler.fire().made
    assert (kept_in(store).runs, kept_in(store).skipped) == (2, 10 + MOST_BEHIND)


def test_a_missed_tick_that_is_too_old_is_skipped(store: MemoryTurns) -> None:
    timing = Timing(START + MINUTE, interval=100 * MINUTE)
    store.one(CreateSchedule(KEY, replace(scheduled(missed=Missed.SKIP), timing=timing)))
    store.now = START + 3 * MINUTE
    fired = Scheduler(store).fire()
    assert (fired.made, fired.why_not) == (None, "missed")
    assert kept_in(store).skipped == 1
    assert kept_in(store).last_error == "missed"
    assert store.records[KEY].due_at == START + 101 * MINUTE


def test_it_ends_after_its_runs(store: MemoryTurns) -> None:
    scheduler = create(store, max_runs=2)
    for minute in (1, 2):
        store.now = START + minute * MINUTE
        assert scheduler.fire().made
    assert store.records[KEY].due_at == 0


def test_overlap(store: MemoryTurns) -> None:
    scheduler = create(store, overlap=Overlap.FORBID)
    store.now = START + MINUTE
    assert scheduler.fire().made
    store.now += MINUTE
    fired = scheduler.fire()
    assert fired.made is None
    assert "has not ended" in fired.why_not
    (row,) = store.tasks.values()
    store.tasks[row.key] = row._replace(state=State.COMPLETED, phase=Phase.FINAL)
    store.now += MINUTE
    assert scheduler.fire().made


def test_replacing_cancels_the_former_task(store: MemoryTurns) -> None:
    scheduler = create(store, overlap=Overlap.REPLACE)
    store.now = START + MINUTE
    first = scheduler.fire().made
    assert first
    store.now += MINUTE
    assert scheduler.fire().made
    assert store.tasks[first.row.key].state is State.CANCELED
    store.register()
    store.one(claim())
    store.now += MINUTE
    assert scheduler.fire().made
    states = sorted((row.state.name, bool(row.cancel_at)) for row in store.tasks.values())
    assert states == [("CANCELED", True), ("SUBMITTED", False), ("WORKING", True)]


def test_what_the_submission_refuses_is_noted_and_the_schedule_goes_on(store: MemoryTurns) -> None:
    create(store)
    store.now = START + MINUTE
    seen = store.records[KEY]
    fired = store.one(Fire(seen, seen.due_at, Make(submit(1, deadline_at=START))))
    assert fired.made is None
    assert "deadline" in kept_in(store).last_error
    assert store.records[KEY].due_at == START + 2 * MINUTE
    assert not store.tasks


def test_by_hand_beside_its_ticks(store: MemoryTurns) -> None:
    create(store, paused=True)
    seen = store.records[KEY]
    assert store.one(Fire(seen, store.now, Make(submit(1)), by_hand=True)).made
    assert store.records[KEY].due_at == 0
    assert store.one(ChangeSchedule(KEY, paused=False)).row.due_at == START + MINUTE
    assert store.one(Fire(store.records[KEY], store.now, Make(submit(2)), by_hand=True)).made
    assert store.records[KEY].due_at == START + MINUTE
    assert (kept_in(store).runs, kept_in(store).last_at) == (2, 0)


DAY = 1440 * MINUTE


def jumped(store: MemoryTurns, **given: Any) -> Scheduler:  # noqa: ANN401 - any field
    """A schedule that ticked while the clock was ten days ahead."""
    scheduler = create(store, **given)
    store.now = START + 10 * DAY
    assert scheduler.fire().made
    store.now = START + 90 * SECOND
    assert (store.records[KEY].due_at == 0) or (store.records[KEY].due_at > START + 10 * DAY)
    return scheduler


def test_a_clock_that_went_back_silences_no_schedule(store: MemoryTurns) -> None:
    scheduler = jumped(store)
    assert store.one(Realign((KEY,))) == 1
    assert store.records[KEY].due_at == START + 2 * MINUTE
    assert store.one(Realign((KEY,))) == 0
    for number in (2, 3):
        store.now = START + number * MINUTE
        made = scheduler.fire().made
        assert made is not None
        assert not made.repeat
    assert (kept_in(store).runs, store.records[KEY].due_at) == (3, START + 4 * MINUTE)


def test_a_tick_that_the_clock_comes_to_twice_makes_one_task(store: MemoryTurns) -> None:
    timing = Timing(START + MINUTE, interval=10 * DAY)
    scheduler = create(store, timing=timing)
    store.now = START + 10 * DAY + MINUTE
    assert scheduler.fire().made
    store.now = START + 10 * DAY
    assert store.one(Realign((KEY,))) == 1
    store.now = store.records[KEY].due_at
    assert store.now == START + 10 * DAY + MINUTE
    again = scheduler.fire().made
    assert again is not None
    assert again.repeat
    assert (len(store.tasks), kept_in(store).runs) == (1, 1)
    assert store.records[KEY].due_at == START + 20 * DAY + MINUTE


def test_a_schedule_that_ended_while_the_clock_was_ahead_goes_on(store: MemoryTurns) -> None:
    scheduler = jumped(store, timing=replace(scheduled().timing, ends_at=START + 10 * DAY))
    assert store.records[KEY].due_at == 0
    assert store.one(Realign((KEY,))) == 1
    store.now = START + 2 * MINUTE
    assert scheduler.fire().made


@pytest.mark.parametrize("change", ["pause and resume", "description", "by hand"])
def test_what_is_done_by_hand_after_the_clock_went_back(store: MemoryTurns, change: str) -> None:
    jumped(store)
    if change == "by hand":
        store.one(Fire(store.records[KEY], 0, Make(submit(50), "by-hand"), by_hand=True))
        store.one(Realign((KEY,)))
    elif change == "description":
        store.one(ChangeSchedule(KEY, replace(kept_in(store), description="other")))
    else:
        store.one(ChangeSchedule(KEY, paused=True))
        assert store.one(Realign((KEY,))) == 0, "it is silent because somebody said so"
        store.one(ChangeSchedule(KEY, paused=False))
    assert store.records[KEY].due_at == START + 2 * MINUTE


def test_a_schedule_that_waits_as_it_should_is_left_alone(store: MemoryTurns) -> None:
    scheduler = create(store, max_runs=2)
    for moment, due_at in ((0, 1), (1, 2), (2, 0), (3, 0)):
        store.now = START + moment * MINUTE
        if 0 < store.records[KEY].due_at <= store.now:
            assert store.one(Realign((KEY,))) == 0, "a tick that is due is acted on, and not put off"
            scheduler.fire()
        assert store.one(Realign((KEY,))) == 0
        assert store.records[KEY].due_at == (START + due_at * MINUTE if due_at else 0)


def test_a_pause_forgets_the_ticks_inside_it(store: MemoryTurns) -> None:
    create(store)
    store.one(ChangeSchedule(KEY, paused=True))
    assert store.records[KEY].due_at == 0
    store.now = START + 10 * MINUTE + SECOND
    store.one(ChangeSchedule(KEY, paused=False))
    assert store.records[KEY].due_at == START + 11 * MINUTE


def test_a_change_keeps_what_came_of_it_and_minds_the_rev(store: MemoryTurns) -> None:
    scheduler = create(store)
    store.now = START + MINUTE
    scheduler.fire()
    rev = store.records[KEY].rev
    other = replace(scheduled(), timing=Timing(store.now, interval=7 * MINUTE))
    with pytest.raises(InvalidParams, match="changed meanwhile"):
        store.one(ChangeSchedule(KEY, other, rev=rev - 1))
    kept: Kept = store.one(ChangeSchedule(KEY, other, rev=rev))
    assert kept.schedule.runs == 1
    assert kept.row.due_at == START + 8 * MINUTE
    assert store.one(ChangeSchedule(KEY, other)).row.rev == kept.row.rev
    assert store.one(ChangeSchedule(KEY, other, rev=rev)).row.rev == kept.row.rev, "its own change is no other one"
    with pytest.raises(InvalidParams, match="changed meanwhile"):
        store.one(DeleteRecord(KEY, rev))
    assert store.one(DeleteRecord(KEY))
    assert not store.one(DeleteRecord(KEY))
    assert store.one(ChangeSchedule(KEY, paused=True)) is None


def test_the_same_schedule_again_is_no_other_one(store: MemoryTurns) -> None:
    create(store)
    assert store.one(CreateSchedule(KEY, scheduled())).row.rev == 1
    with pytest.raises(InvalidParams, match="id: there is a schedule"):
        store.one(CreateSchedule(KEY, scheduled(max_runs=5)))
