"""What is known of memory while runs share a process."""

from __future__ import annotations

import pytest

from a2a_server.engine.residence import Look, Residence, resident

MIB = 1 << 20


class Kernel:
    """Says what a test tells it to."""

    def __init__(self) -> None:
        self.now = self.highest = 100

    def look(self) -> Look:
        seen = Look(self.now, max(self.now, self.highest))
        self.highest = self.now
        return seen

    def peak(self, highest: int, then: int) -> None:
        self.highest, self.now = max(self.highest, highest), then


def test_a_peak_counts_though_nobody_looked_at_it() -> None:
    kernel = Kernel()
    residence = Residence(kernel.look)
    stay = residence.begin()
    assert stay is not None
    kernel.peak(170, then=110)
    residence.end(stay)
    assert (stay.growth, stay.others) == (70, 0)


def test_what_was_before_a_run_or_comes_after_it_is_not_its_own() -> None:
    kernel = Kernel()
    kernel.peak(900, then=100)
    residence = Residence(kernel.look)
    stay = residence.begin()
    assert stay is not None
    residence.end(stay)
    kernel.peak(500, then=500)
    again = residence.begin()
    assert again is not None
    kernel.peak(500, then=90)
    residence.end(again)
    assert (stay.growth, again.growth) == (0, 0)


def test_runs_side_by_side_have_each_others_peaks_and_say_so() -> None:
    kernel = Kernel()
    residence = Residence(kernel.look)
    first = residence.begin()
    kernel.peak(150, then=120)
    second = residence.begin()
    kernel.peak(200, then=110)
    third = residence.begin()
    assert first is not None
    assert second is not None
    assert third is not None
    residence.end(second)
    residence.end(first)
    kernel.peak(300, then=100)
    residence.end(third)
    assert [(stay.growth, stay.others) for stay in (first, second, third)] == [(100, 2), (80, 2), (190, 2)]


def test_where_the_system_does_not_tell_nothing_is_measured() -> None:
    assert Residence(lambda: None).begin() is None


def test_the_kernel_tells_of_memory_that_is_gone_again() -> None:
    if resident() is None:
        pytest.skip("no kernel that tells")
    residence = Residence()
    stay = residence.begin()
    assert stay is not None
    held = bytearray(64 * MIB)
    del held
    residence.end(stay)
    assert stay.growth > 48 * MIB
    after = residence.begin()
    assert after is not None
    residence.end(after)
    assert after.growth < 48 * MIB
