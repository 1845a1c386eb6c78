"""When schedules tick: pure functions of a timing and a moment.

Cron expressions are read as Debian's cron reads them. A job at fixed hours runs once a day: what falls into the hour
that spring leaves out runs when that hour would have ended, and of the hour that autumn repeats only the first counts.
A job whose minute or hour begins with a star goes by real time: it runs in both of the repeated hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from a2a_server.errors import InvalidParams
from a2a_server.model.options import microseconds
from a2a_server.model.schedules import Schedule, SchedulePlan, Timing
from a2a_server.model.times import EPOCH, OUT_OF_TIME, is_in_time, timestamp
from a2a_server.policy import SECOND

MOST_PREVIEWED: Final = 100
_OF_HOSTS: Final = frozenset({"localtime", "posixrules", "factory"})
"""Names in the tz database that stand for what a host is set to."""
_FIELDS: Final = 5
_SHORTEST: Final = "intervalSeconds must be at least 1."
_STEPS: Final = 10_000
"""More ticks than this do not lie before the moment that is asked for: it guards against a loop without end."""


def timing_of(plan: SchedulePlan, now: int) -> Timing:
    """When a schedule of this plan ticks that is made at `now`.

    Raises:
        InvalidParams: it names none or several of the three; a moment or a zone is none; it never ticks.
    """
    kinds = {"cron": plan.cron, "intervalSeconds": plan.interval_seconds, "runAt": plan.run_at}
    given = [name for name, value in kinds.items() if value]
    if not given and "interval_seconds" in plan.model_fields_set:
        raise InvalidParams(_SHORTEST, path="intervalSeconds")
    if len(given) != 1:
        said = "none of them is given" if not given else f"{' and '.join(given)} are given"
        raise InvalidParams(f"A schedule has one of cron, intervalSeconds and runAt; {said}.", path="cron")
    starts, ends = _moment(plan.starts_at, "startsAt"), _moment(plan.ends_at, "endsAt")
    if plan.run_at is not None:
        if starts:
            raise InvalidParams("startsAt says nothing beside runAt; leave it out.", path="startsAt")
        timing = Timing(_moment(plan.run_at, "runAt"), ends_at=ends)
    elif plan.interval_seconds:
        if not plan.interval_seconds >= 1:
            raise InvalidParams(_SHORTEST, path="intervalSeconds")
        interval = round(plan.interval_seconds * SECOND)
        timing = Timing(starts or now + interval, interval=interval, ends_at=ends)
    else:
        _check_cron(plan.cron)
        timing = Timing(starts or now, plan.cron, _checked_zone(plan.time_zone), ends_at=ends)
    first = first_tick(timing, timing.starts_at)
    if first is None:
        raise InvalidParams(_never(timing), path="endsAt" if ends else "cron")
    return timing


def first_tick(timing: Timing, at: int) -> int | None:
    """The first tick at or after `at`, None = there is none."""
    at = max(at, timing.starts_at)
    if timing.cron:
        tick = _cron_tick(timing, at)
    elif timing.interval:
        tick = timing.starts_at + -(-(at - timing.starts_at) // timing.interval) * timing.interval
    else:
        tick = timing.starts_at if at == timing.starts_at else None
    return None if tick is None or (timing.ends_at and tick > timing.ends_at) else tick


def last_tick(timing: Timing, tick: int, until: int) -> int:
    """The last tick at or before `until`, given that `tick` is one."""
    low, high = tick, until + 1
    following = first_tick(timing, tick + 1)
    if following is None or following > until:
        return tick
    while high - low > 1:
        middle = (low + high) // 2
        found = first_tick(timing, middle)
        if found is not None and found <= until:
            low = found
        else:
            high = middle
    return low


def first_open(schedule: Schedule, now: int) -> int:
    """From when on its ticks are to be acted on: behind the last one; from now on where that one is still ahead.

    A last tick is ahead after the clock went back. What it made is not made again, for it has the tick's name.
    """
    return schedule.last_at + 1 if schedule.last_at <= now else now


def ticks_between(timing: Timing, tick: int, until: int, most: int) -> int:
    """How many ticks there are from `tick`, which is one, up to before `until`; of a cron expression `most` at most."""
    if timing.interval:
        return -(-(until - tick) // timing.interval)
    count, at = 0, tick
    while at < until and count < most:
        count += 1
        following = first_tick(timing, at + 1)
        if following is None:
            break
        at = following
    return count


def next_ticks(schedule: Schedule, now: int, count: int) -> Iterator[int]:
    """The next ticks from `now` on, at most `count`, as if it were not paused."""
    left = min(count, MOST_PREVIEWED)
    if schedule.max_runs:
        left = min(left, schedule.max_runs - schedule.runs)
    at = max(now, first_open(schedule, now))
    for _ in range(left):
        tick = first_tick(schedule.timing, at)
        if tick is None:
            return
        yield tick
        at = tick + 1


def _moment(moment: datetime | None, name: str) -> int:
    if moment is None:
        return 0
    if not is_in_time(moment):
        raise InvalidParams(f"{name} {OUT_OF_TIME}.", path=name)
    return microseconds(moment)


def _check_cron(cron: str) -> None:
    fields = cron.split()
    if len(fields) != _FIELDS:
        raise InvalidParams(
            f"cron must have five fields (minute, hour, day of month, month, day of week), not {len(fields)}; "
            "for intervals below a minute give intervalSeconds.",
            path="cron",
        )
    try:
        CronSim(cron, EPOCH)
    except CronSimError as error:
        wrong = str(error).removeprefix("Bad ").replace("-", " ")
        if wrong == "day of month" and fields[2].isdecimal() and 1 <= int(fields[2]) <= 31:  # noqa: PLR2004 - days
            raise InvalidParams(_never(Timing(0, cron)), path="cron") from None
        raise InvalidParams(
            f"cron: its {wrong} cannot be read; write it such as `30 2 * * 1-5`.", path="cron"
        ) from None
    except (ValueError, TypeError, AssertionError):
        raise InvalidParams("cron cannot be read; write it such as `30 2 * * 1-5`.", path="cron") from None


def _checked_zone(name: str) -> str:
    if name.casefold() in _OF_HOSTS:
        raise InvalidParams(
            "timeZone must be the name of a time zone that is the same on every host, such as UTC or Europe/Berlin.",
            path="timeZone",
        )
    try:
        _zone(name)
    except (KeyError, ValueError, OSError):
        raise InvalidParams(
            "timeZone must be the name of a time zone, such as UTC or Europe/Berlin.", path="timeZone"
        ) from None
    return name


def _never(timing: Timing) -> str:
    if timing.ends_at:
        return f"The schedule never ticks: its first tick is behind endsAt ({timestamp(timing.ends_at)})."
    return "cron names no day that there is, so the schedule never ticks; such as 30 February."


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _cron_tick(timing: Timing, at: int) -> int | None:
    behind = EPOCH + timedelta(seconds=-(-at // SECOND) - 1)  # cronsim begins behind what it is given
    local = behind if timing.zone == "UTC" else behind.astimezone(_zone(timing.zone))
    ticks = CronSim(timing.cron, local)
    for _ in range(_STEPS):
        found = _next(ticks)
        if found is None:
            return None
        if (tick := microseconds(found)) >= at:  # in a repeated hour it begins with the first one
            return tick
    return None


def _next(ticks: CronSim) -> datetime | None:
    try:
        return next(ticks, None)
    except (OverflowError, ValueError):  # behind the last year that there is
        return None
