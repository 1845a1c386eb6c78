from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from a2a_server.engine.pulse import Pulse
from a2a_server.errors import StoreUnavailable
from tests.patience import PATIENCE

BEAT = 0.005
LONG = 3600.0


class Heart:
    """A store's `beat` that answers what the test says, and counts."""

    def __init__(self) -> None:
        self.beats = 0
        self.alive = True
        self.silent = False
        self.beaten = threading.Condition()
        self.lost = 0
        self.lost_once = asyncio.Event()
        self.pulse: Pulse | None = None

    def beat(self) -> bool:
        with self.beaten:
            self.beats += 1
            self.beaten.notify_all()
        if self.silent:
            raise StoreUnavailable("silent")
        return self.alive

    def count(self) -> None:
        self.lost += 1
        self.lost_once.set()

    def start(self, *, lease: float = LONG, stall: float = LONG) -> Pulse:
        self.pulse = Pulse(self.beat, beat_seconds=BEAT, lease_seconds=lease, stall_seconds=stall, lost=self.count)
        self.pulse.start()
        return self.pulse

    async def reach(self, beats: int) -> None:
        """Wait, off the loop, until that many beats came in all."""
        assert await asyncio.to_thread(self.reached, lambda: self.beats >= beats)

    def reached(self, condition: Callable[[], bool]) -> bool:
        with self.beaten:
            return self.beaten.wait_for(condition, PATIENCE)


@pytest.fixture
def heart() -> Iterator[Heart]:
    heart = Heart()
    yield heart
    if heart.pulse is not None:
        heart.pulse.stop()
        heart.pulse._thread.join(PATIENCE)
        assert not heart.pulse._thread.is_alive()


async def test_it_beats_until_it_is_stopped(heart: Heart) -> None:
    pulse = heart.start()
    await heart.reach(3)
    pulse.stop()
    await asyncio.to_thread(pulse._thread.join, PATIENCE)
    beats = heart.beats
    assert not pulse._thread.is_alive()
    assert (heart.beats, heart.lost) == (beats, 0)


async def test_a_worker_that_was_declared_dead_is_lost_once(heart: Heart) -> None:
    pulse = heart.start()
    await heart.reach(2)
    heart.alive = False
    await asyncio.wait_for(heart.lost_once.wait(), PATIENCE)
    await asyncio.to_thread(pulse._thread.join, PATIENCE)
    assert not pulse._thread.is_alive()
    assert heart.lost == 1


async def test_a_store_that_is_silent_for_the_lease_loses_the_worker(
    heart: Heart, caplog: pytest.LogCaptureFixture
) -> None:
    heart.silent = True
    heart.start(lease=10 * BEAT)
    await asyncio.wait_for(heart.lost_once.wait(), PATIENCE)
    assert heart.lost == 1
    assert "did not take a sign of life" in caplog.text


async def test_a_short_silence_does_not(heart: Heart) -> None:
    heart.silent = True
    heart.start(lease=LONG)
    await heart.reach(5)
    heart.silent = False
    await heart.reach(heart.beats + 3)
    assert heart.lost == 0


class Clock:
    """A monotonic clock that only the test moves, in place of the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


async def test_an_answer_begins_the_lease_anew(heart: Heart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is measured from the last answer, not added up."""
    clock = Clock()
    monkeypatch.setattr("a2a_server.engine.pulse.time", clock)

    def beat() -> bool:
        clock.now += 1.0
        heart.silent = heart.beats % 2 == 1
        return heart.beat()

    heart.pulse = Pulse(beat, beat_seconds=BEAT, lease_seconds=3.5, stall_seconds=LONG, lost=heart.count)
    heart.pulse.start()
    await heart.reach(20)
    assert heart.lost == 0


async def test_it_falls_silent_while_the_loop_stalls(heart: Heart) -> None:
    heart.start(stall=10 * BEAT)
    await heart.reach(2)
    stalled = threading.Event()
    stalled.wait(40 * BEAT)  # the loop does nothing else: this is the stall
    before = heart.beats
    stalled.wait(20 * BEAT)
    assert heart.beats <= before + 1, "one may have been on its way"
    await heart.reach(before + 3)
    assert heart.lost == 0


async def test_a_beat_that_comes_home_after_the_stop_loses_nobody(heart: Heart) -> None:
    entered, leave = threading.Event(), threading.Event()

    def beat() -> bool:
        entered.set()
        assert leave.wait(PATIENCE)
        return False

    pulse = heart.pulse = Pulse(beat, beat_seconds=BEAT, lease_seconds=LONG, stall_seconds=LONG, lost=heart.count)
    pulse.start()
    assert await asyncio.to_thread(entered.wait, PATIENCE)
    pulse.stop()
    leave.set()
    await asyncio.to_thread(pulse._thread.join, PATIENCE)
    await asyncio.sleep(0)
    assert heart.lost == 0
