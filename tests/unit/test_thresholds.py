"""When alerts are raised, stay, are cleared and forgotten; and what failure rates are made of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from a2a_server.engine.thresholds import (
    EXAMPLES,
    KEPT_MICROSECONDS,
    SUBJECTS,
    Alert,
    Seen,
    Threshold,
    alert_of,
    exceeded,
    failure_rates,
    judged,
    record_of,
)

LIMITS = {
    Threshold.TASK_DURATION: 3600.0,
    Threshold.RESOURCE_USAGE: 0.8,
    Threshold.DEPENDENCY_WAIT: 300.0,
    Threshold.FAILURE_RATE: 0.1,
}
SEEN = Seen(Threshold.FAILURE_RATE, "Echo", 0.25)


def by_id(*alerts: Alert) -> dict[str, Alert]:
    return {alert.id: alert for alert in alerts}


def test_what_is_exceeded_is_raised_once_and_stays_since_then() -> None:
    first = judged({}, [SEEN], LIMITS, 100)
    [alert] = first.raised
    assert (alert.id, alert.limit, alert.value, alert.active) == ("failure_rate:Echo", 0.1, 0.25, True)
    second = judged(by_id(alert), [Seen(Threshold.FAILURE_RATE, "Echo", 0.5)], LIMITS, 200)
    assert (second.raised, second.cleared) == ([], [])
    [stays] = second.changed
    assert (stays.value, stays.since, stays.at) == (0.5, 100, 200)


def test_what_is_exceeded_no_longer_is_cleared_and_raised_anew_later() -> None:
    [alert] = judged({}, [SEEN], LIMITS, 100).raised
    over = judged(by_id(alert), [], LIMITS, 200)
    [cleared] = over.cleared
    assert (cleared.active, cleared.since, cleared.at, over.raised) == (False, 100, 200, [])
    assert judged(by_id(cleared), [], LIMITS, 300) == ([], [], [], [])
    [again] = judged(by_id(cleared), [SEEN], LIMITS, 400).raised
    assert again.since == 400


def test_a_cleared_alert_is_forgotten_after_a_while() -> None:
    [alert] = judged({}, [SEEN], LIMITS, 100).raised
    [cleared] = judged(by_id(alert), [], LIMITS, 200).cleared
    assert judged(by_id(cleared), [], LIMITS, 200 + KEPT_MICROSECONDS).forgotten == []
    assert judged(by_id(cleared), [], LIMITS, 201 + KEPT_MICROSECONDS).forgotten == [cleared]


def test_only_the_worst_of_many_subjects_are_kept() -> None:
    seen = [Seen(Threshold.RESOURCE_USAGE, f"gate-{n}", 0.8 + n / 1000) for n in range(SUBJECTS + 50)]
    raised = judged({}, seen, LIMITS, 1).raised
    assert len(raised) == SUBJECTS
    assert min(alert.value for alert in raised) == 0.85


def test_an_alert_names_few_tasks_and_says_how_many_there_are() -> None:
    many = tuple(f"t-{n}" for n in range(50))
    [alert] = judged({}, [Seen(Threshold.TASK_DURATION, "Echo", 4000, 50, many)], LIMITS, 1).raised
    assert (len(alert.tasks), alert.count) == (EXAMPLES, 50)
    assert alert.text == "task_duration of Echo is exceeded: 4000 (threshold 3600), by 50 tasks."
    assert replace(alert, count=1).text.endswith(", by 1 task.")


def test_an_alert_is_kept_as_it_is() -> None:
    [alert] = judged({}, [Seen(Threshold.TASK_DURATION, "Echo", 4000.5, 1, ("t",))], LIMITS, 1).raised
    assert alert_of(record_of(alert, 3)) == alert
    assert record_of(alert, 3).key == ("alert", "", "", "task_duration:Echo")


def test_a_value_at_the_limit_does_not_exceed_it() -> None:
    assert exceeded(Threshold.RESOURCE_USAGE, {"a": 0.8, "b": 0.81}, 0.8) == [Seen(Threshold.RESOURCE_USAGE, "b", 0.81)]


@pytest.mark.parametrize(
    ("before", "now", "rates"),
    [
        ({}, {"": (10, 1)}, {"": 0.1}),
        ({"": (100, 50)}, {"": (120, 55)}, {"": 0.25}),
        ({"": (100, 50)}, {"": (109, 59)}, {}),  # too few ended
        ({"": (100, 50)}, {"": (80, 10)}, {}),  # some were erased
        ({"": (100, 50)}, {"": (120, 40)}, {}),
        ({"": (0, 0)}, {"": (20, 20), "b": (5, 5)}, {"": 1.0}),
    ],
)
def test_failure_rates(
    before: dict[str, tuple[int, int]], now: dict[str, tuple[int, int]], rates: dict[str, float]
) -> None:
    assert failure_rates(before, now) == rates
