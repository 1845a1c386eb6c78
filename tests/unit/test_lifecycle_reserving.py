"""Which classes a worker claims from, and for which task it keeps room in its pool."""

from __future__ import annotations

from dataclasses import replace

import pytest

from a2a_server.codec import encode_spec
from a2a_server.lifecycle.admission import Admission
from a2a_server.lifecycle.limits import SetLimit
from a2a_server.lifecycle.requirements import Pool, class_of
from a2a_server.lifecycle.reserving import Asked, Kept, Reserving, leaves
from a2a_server.model.objects import Lane, Phase, Requires, TaskSpec, Wishes
from tests.unit.turns import MemoryTurns, claim, key, submit

SMALL, BIG, DISK = Pool(1000), Pool(4000), Pool(0, 0, 50)
SHARES = {"a#small": SMALL, "a#big": BIG, "a#disk": DISK}
ALL = Pool(4000, 100, 100)
BUSY = ALL.without(SMALL)


def impatient() -> Reserving:
    """Room is kept for a normal big task, of which too little is free."""
    reserving = Reserving(10)
    assert reserving.asked(SHARES, BUSY, 0).probe == ""
    assert reserving.asked(SHARES, BUSY, 10).probe == "a#big"
    reserving.probed("a#big", Kept("a#big", (Lane.NORMAL, 5, key(1)), BIG), 10)
    return reserving


def test_whatever_fits_is_claimed_from_and_what_does_not_is_left_out() -> None:
    reserving = Reserving(10)
    assert reserving.asked(SHARES, ALL, 0) == Asked(("a#small", "a#big", "a#disk"))
    assert reserving.asked(SHARES, BUSY, 1) == Asked(("a#small", "a#disk"))
    assert reserving.asked(SHARES, BUSY, 10.9) == Asked(("a#small", "a#disk"))
    assert reserving.asked(SHARES, BUSY, 11) == Asked(("a#small", "a#disk"), probe="a#big")


def test_a_class_that_fitted_meanwhile_is_patient_again() -> None:
    reserving = Reserving(10)
    for now, free in ((0, BUSY), (9, ALL), (11, BUSY), (20, BUSY)):
        assert reserving.asked(SHARES, free, now).probe == ""
    assert reserving.asked(SHARES, BUSY, 21).probe == "a#big"


def test_room_is_kept_from_tasks_of_its_lane_and_below_that_would_use_it() -> None:
    reserving = impatient()
    assert reserving.asked(SHARES, BUSY, 11) == Asked(("a#disk",), above=("a#small",))
    assert reserving.asked(SHARES, ALL, 12) == Asked(("a#big", "a#disk"), above=("a#small",))
    assert reserving.asked(SHARES, Pool(5000, 100, 100), 13) == Asked(("a#small", "a#big", "a#disk"))
    reserving.over("a#small")
    assert reserving.kept is not None
    reserving.over("a#big")
    assert reserving.asked(SHARES, BUSY, 14) == Asked(("a#small", "a#disk"))


def test_a_probe_that_finds_nothing_ends_it() -> None:
    reserving = impatient()
    assert reserving.asked(SHARES, BUSY, 19.9).probe == ""
    assert reserving.asked(SHARES, BUSY, 20).probe == "a#big"
    reserving.probed("a#big", None, 20)
    assert reserving.kept is None
    assert reserving.asked(SHARES, BUSY, 21) == Asked(("a#small", "a#disk"))
    assert reserving.asked(SHARES, BUSY, 30).probe == "a#big"


def test_a_task_that_is_gone_is_found_out_also_where_it_would_fit_and_every_claim_is_full() -> None:
    reserving = impatient()
    assert reserving.asked(SHARES, ALL, 12).probe == ""
    assert reserving.asked(SHARES, ALL, 20).probe == "a#big"
    reserving.probed("a#big", None, 20)
    assert reserving.asked(SHARES, ALL, 21) == Asked(("a#small", "a#big", "a#disk"))
    assert reserving.asked(SHARES, ALL, 99).probe == ""


@pytest.mark.parametrize(
    ("lane", "rank", "kept"),
    [
        (Lane.HIGH, 9, "a#huge"),
        (Lane.NORMAL, 4, "a#huge"),
        (Lane.NORMAL, 6, "a#big"),
        (Lane.LOW, 1, "a#big"),
    ],
)
def test_room_is_kept_for_who_stands_first(lane: Lane, rank: int, kept: str) -> None:
    reserving = impatient()
    reserving.probed("a#huge", Kept("a#huge", (lane, rank, key(2)), BIG), 11)
    assert reserving.kept is not None
    assert reserving.kept.queue == kept
    reserving.probed("a#other", None, 12)
    assert reserving.kept.queue == kept
    reserving.over(kept)
    assert reserving.kept is not None, "then for the next"
    assert {reserving.kept.queue, kept} == {"a#big", "a#huge"}


def test_the_class_that_was_left_out_longest_is_probed_first() -> None:
    reserving = Reserving(10)
    reserving.asked({"a#one": BIG}, BUSY, 0)
    both = {"a#two": BIG, "a#one": BIG}
    assert reserving.asked(both, BUSY, 5).probe == ""
    assert reserving.asked(both, BUSY, 20).probe == "a#one"
    reserving.probed("a#one", None, 20)
    assert reserving.asked(both, BUSY, 20).probe == "a#two"
    assert reserving.asked({"b#other": SMALL}, BUSY, 20).probe == "", "that of other slots is not asked for here"


def test_what_is_kept_is_left_alone_measure_by_measure() -> None:
    free = Pool(1000, 10, 10)
    assert not leaves(Pool(1), free, Pool(4000))
    assert leaves(Pool(0, 10, 10), free, Pool(4000))
    assert leaves(Pool(500, 4), free, Pool(500, 6))
    assert not leaves(Pool(500, 5), free, Pool(500, 6))


# Claims


def waiting(store: MemoryTurns, number: int, cpu: float, lane: Lane = Lane.NORMAL) -> str:
    requires = Requires(cpu=cpu)
    queue = class_of("echo", requires)
    spec = encode_spec(TaskSpec(60.0, wishes=Wishes(requires=requires)))
    store.one(replace(submit(number, spec=spec, lane=lane, admission=Admission(queue, requires)), queue=queue))
    return queue


def test_a_probe_shows_what_waits_and_takes_nothing() -> None:
    store = MemoryTurns()
    store.register()
    small = waiting(store, 1, 1.0)
    waiting(store, 2, 1.0)
    big = waiting(store, 3, 4.0)
    claimed = store.one(claim(1, queues=("echo", small), pool=Pool(3000), probe=big))
    assert [row.key for row in claimed.rows] == [key(1)]
    assert claimed.waits == store.tasks[key(3)]
    assert store.tasks[key(3)].phase is Phase.READY
    store.one(SetLimit("skill:echo", 1))
    assert store.one(claim(1, queues=("echo",), probe=big)).waits is None, "a gate keeps it waiting anyway"
    assert store.one(claim(1, queues=("echo",), probe="echo#none")).waits is None


def test_of_some_classes_only_what_stands_higher_is_taken() -> None:
    store = MemoryTurns()
    store.register()
    small = waiting(store, 1, 1.0)
    waiting(store, 2, 1.0, Lane.HIGH)
    store.one(submit(3))
    store.one(submit(4, lane=Lane.CRITICAL))
    lanes = (Lane.CRITICAL, Lane.HIGH)
    claimed = store.one(claim(queues=("echo",), pool=Pool(3000), above=(small,), above_lanes=lanes))
    assert [row.key for row in claimed.rows] == [key(4), key(2), key(3)]
    assert store.tasks[key(1)].phase is Phase.READY
