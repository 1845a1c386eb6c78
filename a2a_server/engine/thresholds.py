"""When something is worth an alert, and what becomes of alerts: pure functions of figures.

An alert stands for one threshold and one subject (an agent, or a limit). It is raised when the threshold is exceeded,
stays raised while it is, and is cleared when it no longer is; raised again, it begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final, NamedTuple

from a2a_server.codec import decode, encode
from a2a_server.model.objects import JsonObject
from a2a_server.model.rows import RecordKey, RecordRow
from a2a_server.model.times import timestamp
from a2a_server.values import value_class

ALERT: Final = "alert"
"""The kind of record that an alert is."""
EXAMPLES: Final = 10
"""Tasks that an alert names at most."""
SUBJECTS: Final = 100
"""Alerts of one threshold at most: those that exceed it by most."""
FEWEST_ENDED: Final = 10
"""Fewer ended tasks than this make no failure rate: one failure of one task says nothing."""
KEPT_MICROSECONDS: Final = 30 * 86_400 * 1_000_000
"""How long a cleared alert can be read."""


class Threshold(StrEnum):
    """What is watched, by the settings' names."""

    TASK_DURATION = "task_duration"
    RESOURCE_USAGE = "resource_usage"
    DEPENDENCY_WAIT = "dependency_wait"
    FAILURE_RATE = "failure_rate"


@value_class(frozen=True, slots=True)
class Seen:
    """A threshold that is exceeded. value: seconds, or a part of 1. count: of the tasks that exceed it."""

    threshold: Threshold
    subject: str
    value: float
    count: int = 0
    tasks: tuple[str, ...] = ()


@value_class(frozen=True, slots=True)
class Alert:
    """How a threshold stands for a subject. Moments in microseconds; since: when it was raised, at: last looked at."""

    threshold: Threshold
    subject: str
    limit: float
    value: float
    count: int
    tasks: tuple[str, ...]
    active: bool
    since: int
    at: int

    @property
    def id(self) -> str:
        """Unique among the alerts of a store."""
        return f"{self.threshold}:{self.subject}"

    @property
    def text(self) -> str:
        """For people."""
        stands = "is exceeded" if self.active else "was exceeded"
        many = f", by {self.count} task{'' if self.count == 1 else 's'}" if self.count else ""
        return f"{self.threshold} of {self.subject} {stands}: {self.value:g} (threshold {self.limit:g}){many}."

    @property
    def shown(self) -> JsonObject:
        """As data, for operators."""
        return {
            "id": self.id,
            "threshold": self.threshold.value,
            "subject": self.subject,
            "limit": self.limit,
            "value": self.value,
            "count": self.count,
            "tasks": list(self.tasks),
            "active": self.active,
            "since": timestamp(self.since),
            "at": timestamp(self.at),
        }


class Judged(NamedTuple):
    """Alerts that change, those of them that were raised or cleared now, and those that are forgotten."""

    changed: Sequence[Alert]
    raised: Sequence[Alert]
    cleared: Sequence[Alert]
    forgotten: Sequence[Alert]


def judged(known: Mapping[str, Alert], seen: Iterable[Seen], limits: Mapping[Threshold, float], now: int) -> Judged:
    """What becomes of the known alerts, by their ids, when this is seen."""
    found: dict[str, Alert] = {}
    for one in _worst(seen):
        alert = Alert(
            one.threshold,
            one.subject,
            limits[one.threshold],
            round(one.value, 4),
            one.count,
            one.tasks[:EXAMPLES],
            active=True,
            since=now,
            at=now,
        )
        before = known.get(alert.id)
        found[alert.id] = replace(alert, since=before.since) if before is not None and before.active else alert
    raised = [alert for alert in found.values() if alert.since == now]
    cleared = [
        replace(alert, active=False, at=now) for alert in known.values() if alert.active and alert.id not in found
    ]
    old = [alert for alert in known.values() if not alert.active and alert.id not in found]
    forgotten = [alert for alert in old if alert.at + KEPT_MICROSECONDS < now]
    return Judged([*found.values(), *cleared], raised, cleared, forgotten)


def _worst(seen: Iterable[Seen]) -> Iterable[Seen]:
    by_threshold: dict[Threshold, list[Seen]] = {}
    for one in seen:
        by_threshold.setdefault(one.threshold, []).append(one)
    for several in by_threshold.values():
        yield from sorted(several, key=lambda one: one.value, reverse=True)[:SUBJECTS]


def exceeded(threshold: Threshold, values: Mapping[str, float], limit: float) -> list[Seen]:
    """The subjects whose value is above the limit."""
    return [Seen(threshold, subject, value) for subject, value in values.items() if value > limit]


def failure_rates(
    before: Mapping[str, tuple[int, int]], now: Mapping[str, tuple[int, int]], fewest: int = FEWEST_ENDED
) -> dict[str, float]:
    """Failed part of the tasks that ended between two counts, by agent; (ended, failed) of each count.

    Erased tasks lower a count: one that went down says nothing of what ended meanwhile.
    """
    rates = {}
    for agent, (ended, failed) in now.items():
        ended_before, failed_before = before.get(agent, (0, 0))
        more = ended - ended_before
        if more >= fewest and failed >= failed_before:
            rates[agent] = min(1.0, (failed - failed_before) / more)
    return rates


def record_of(alert: Alert, rev: int) -> RecordRow:
    """The alert as it is kept."""
    body = [alert.threshold.value, alert.subject, alert.limit, alert.value, alert.count, list(alert.tasks)]
    return RecordRow(*key_of(alert.id), rev, 0, encode([*body, alert.active, alert.since, alert.at]))


def alert_of(row: RecordRow) -> Alert:
    """The alert that a record keeps."""
    threshold, subject, limit, value, count, tasks, active, since, at = decode(row.body)
    return Alert(Threshold(threshold), subject, limit, value, count, tuple(tasks), active, since, at)


def key_of(id: str) -> RecordKey:
    """Where an alert is kept."""
    return RecordKey(ALERT, "", "", id)
