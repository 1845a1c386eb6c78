"""When schedules tick: intervals, cron, time zones and their two odd nights a year."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from a2a_server.errors import InvalidParams
from a2a_server.lifecycle.ticking import first_tick, last_tick, next_ticks, ticks_between, timing_of
from a2a_server.model.objects import Message, Role, Text
from a2a_server.model.schedules import Schedule, SchedulePlan, Timing
from a2a_server.policy import SECOND

NOW = 1_750_000_000 * SECOND
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * SECOND


def ticks(timing: Timing, count: int) -> list[int]:
    moment, found = timing.starts_at, []
    for _ in range(count):
        tick = first_tick(timing, moment)
        assert tick is not None
        assert tick >= moment
        found.append(tick)
        moment = tick + 1
    return found


def local(timing: Timing, count: int) -> list[str]:
    zone = ZoneInfo(timing.zone)
    return [datetime.fromtimestamp(tick / SECOND, zone).strftime("%d %H:%M %z") for tick in ticks(timing, count)]


def plan(**given: Any) -> Timing:  # noqa: ANN401 - any field
    return timing_of(SchedulePlan(**given), NOW)


def test_an_interval_ticks_from_its_start_on() -> None:
    timing = plan(interval_seconds=90)
    assert ticks(timing, 3) == [NOW + n * 90 * SECOND for n in (1, 2, 3)]
    assert first_tick(timing, NOW + 91 * SECOND) == NOW + 180 * SECOND
    timing = plan(interval_seconds=1.5, starts_at=datetime(2030, 1, 1, tzinfo=UTC))
    assert ticks(timing, 2) == [at("2030-01-01T00:00Z"), at("2030-01-01T00:00Z") + 1_500_000]


def test_one_moment_ticks_once() -> None:
    timing = plan(run_at=datetime(2030, 1, 1, tzinfo=UTC))
    assert first_tick(timing, 0) == first_tick(timing, at("2030-01-01T00:00Z")) == at("2030-01-01T00:00Z")
    assert first_tick(timing, at("2030-01-01T00:00Z") + 1) is None


def test_no_tick_behind_the_end() -> None:
    timing = plan(cron="0 12 * * *", starts_at="2030-01-01T00:00Z", ends_at="2030-01-02T12:00Z")
    assert ticks(timing, 2) == [at("2030-01-01T12:00Z"), at("2030-01-02T12:00Z")]
    assert first_tick(timing, at("2030-01-02T12:00Z") + 1) is None


@pytest.mark.parametrize(
    ("zone", "spring", "autumn"),
    [
        ("Europe/Berlin", "2025-03-28T12:00Z", "2025-10-24T12:00Z"),
        ("America/New_York", "2025-03-07T12:00Z", "2025-10-31T12:00Z"),
        ("Australia/Lord_Howe", "2025-10-03T02:00Z", "2025-04-04T02:00Z"),
        ("America/Santiago", "2025-09-05T12:00Z", "2025-04-04T12:00Z"),
        ("Asia/Kolkata", "2025-03-28T12:00Z", "2025-10-24T12:00Z"),
    ],
)
@pytest.mark.parametrize("cron", ["0 0 * * *", "30 1 * * *", "30 2 * * *", "15 2 * * *", "0 3 * * *", "59 23 * * *"])
def test_a_daily_job_runs_once_a_day_across_both_changes(zone: str, spring: str, autumn: str, cron: str) -> None:
    for start in (spring, autumn):
        timing = Timing(at(start), cron, zone)
        days = [moment[:2] for moment in local(timing, 5)]
        assert len(set(days)) == 5, days
        assert all(22 * HOUR <= after - before <= 26 * HOUR for before, after in pairwise(ticks(timing, 5)))


def test_what_spring_leaves_out_runs_behind_it_and_what_autumn_repeats_runs_first() -> None:
    spring = Timing(at("2025-03-29T00:00+01:00"), "30 2 * * *", "Europe/Berlin")
    assert local(spring, 3) == ["29 02:30 +0100", "30 03:00 +0200", "31 02:30 +0200"]
    autumn = Timing(at("2025-10-25T00:00+02:00"), "30 2 * * *", "Europe/Berlin")
    assert local(autumn, 3) == ["25 02:30 +0200", "26 02:30 +0200", "27 02:30 +0100"]


def test_an_hourly_job_goes_by_real_time() -> None:
    for start in ("2025-03-30T00:30+01:00", "2025-10-26T00:30+02:00"):
        found = ticks(Timing(at(start), "0 * * * *", "Europe/Berlin"), 6)
        assert [after - before for before, after in pairwise(found)] == [HOUR] * 5
    assert local(Timing(at("2025-10-26T01:30+02:00"), "0 * * * *", "Europe/Berlin"), 3) == [
        "26 02:00 +0200",
        "26 02:00 +0100",
        "26 03:00 +0100",
    ]


def test_whoever_asks_inside_the_repeated_hour_gets_no_tick_of_the_past() -> None:
    timing = Timing(at("2025-10-01T00:00Z"), "45 2 * * *", "Europe/Berlin")
    second_half_past_two = at("2025-10-26T02:30+01:00")
    assert first_tick(timing, second_half_past_two) == at("2025-10-27T02:45+01:00")


@pytest.mark.parametrize("cron", ["*/5 * * * *", "30 2 * * *", "0 9 1 * *", "* 3 1 * *", "0 0 29 2 *"])
def test_the_last_tick_is_found_without_counting(cron: str) -> None:
    timing = Timing(at("2024-01-01T00:00Z"), cron, "Europe/Berlin")
    first = first_tick(timing, timing.starts_at)
    assert first is not None
    until = at("2024-03-05T10:10:10Z")
    expected = moment = first
    while (tick := first_tick(timing, moment)) is not None and tick <= until:
        expected, moment = tick, tick + 1
    assert last_tick(timing, first, until) == expected
    assert last_tick(timing, first, first) == first


@pytest.mark.parametrize(
    ("timing", "until", "most", "count"),
    [
        (Timing(1000, interval=10), 1000, 9, 0),
        (Timing(1000, interval=10), 1010, 9, 1),
        (Timing(1000, interval=10), 1011, 9, 2),
        (Timing(1000, interval=10), 1_001_000, 9, 100_000),
        (Timing(1000), 1_001_000, 9, 1),
        (Timing(MINUTE, "* * * * *"), MINUTE, 9, 0),
        (Timing(MINUTE, "* * * * *"), 6 * MINUTE, 9, 5),
        (Timing(MINUTE, "* * * * *"), 600 * MINUTE, 9, 9),
        (Timing(MINUTE, "* * * * *", ends_at=3 * MINUTE), 600 * MINUTE, 9, 3),
    ],
)
def test_ticks_are_counted_up_to_a_bound(timing: Timing, until: int, most: int, count: int) -> None:
    assert ticks_between(timing, timing.starts_at, until, most) == count


@pytest.mark.parametrize(
    ("given", "path", "words"),
    [
        ({}, "cron", "none of them is given"),
        ({"cron": "0 0 * * *", "interval_seconds": 5}, "cron", "cron and intervalSeconds are given"),
        ({"cron": "0 0 30 2 *"}, "cron", "no day that there is"),
        ({"cron": "0 0 31 4,6 *"}, "cron", "no day that there is"),
        ({"cron": "* * * * * *"}, "cron", "five fields"),
        ({"cron": "99 * * * *"}, "cron", "its minute"),
        ({"cron": "0 0 * * 9"}, "cron", "its day of week"),
        ({"cron": "0 0 L/2 * 5L/2"}, "cron", "its day of week"),
        ({"cron": "rm -rf / now please"}, "cron", "its minute"),
        ({"cron": "0 0 * * *", "time_zone": "Mars/Olympus"}, "timeZone", "time zone"),
        ({"cron": "0 0 * * *", "time_zone": "../../etc/passwd"}, "timeZone", "time zone"),
        ({"cron": "0 0 * * *", "time_zone": "America"}, "timeZone", "time zone"),
        ({"cron": "0 0 * * *", "time_zone": "localtime"}, "timeZone", "the same on every host"),
        ({"cron": "0 0 * * *", "time_zone": "posixrules"}, "timeZone", "the same on every host"),
        ({"cron": "0 0 * * *", "time_zone": "Factory"}, "timeZone", "the same on every host"),
        ({"cron": "0 0 * * *", "ends_at": "2001-01-01T00:00Z"}, "endsAt", "behind endsAt"),
        ({"interval_seconds": 0}, "intervalSeconds", "at least 1"),
        ({"cron": "", "time_zone": "UTC"}, "cron", "none of them is given"),
        ({"interval_seconds": 0.5}, "intervalSeconds", "at least 1"),
        ({"interval_seconds": -5}, "intervalSeconds", "at least 1"),
        ({"run_at": "1950-01-01T00:00Z"}, "runAt", "between 1970 and 2200"),
        ({"run_at": "2030-01-01T00:00Z", "starts_at": "2030-01-01T00:00Z"}, "startsAt", "leave it out"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_by_name(given: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(InvalidParams, match=words) as refused:
        plan(**given)
    assert refused.value.path == path


def test_a_preview_is_bounded_by_runs_and_by_what_was_asked() -> None:
    schedule = Schedule("", plan(interval_seconds=60), Message(Role.USER, (Text("go"),)), {}, max_runs=3)
    assert list(next_ticks(schedule, NOW, 10)) == [NOW + n * 60 * SECOND for n in (1, 2, 3)]
    assert list(next_ticks(schedule, NOW, 2)) == [NOW + n * 60 * SECOND for n in (1, 2)]
