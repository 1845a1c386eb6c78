"""Where tasks came from that were made before it was remembered, and what their rows tell of times."""

from __future__ import annotations

from typing import Any

import pytest

from a2a_server.codec import encode_spec, encode_status
from a2a_server.model.objects import Generation, Method, Phase, Progress, State, TaskSpec, Wishes
from a2a_server.policy import SECOND
from a2a_server.service.origins import Origin, origin_of
from a2a_server.service.showing import Beside, task_shown
from a2a_server.service.timing import Done, Times
from tests.contracts import rows

NOBODY = Origin("", "", "", "")


@pytest.mark.parametrize(
    ("wishes", "origin"),
    [
        (None, Origin("", "a2a", "user", "owner-1")),
        (Wishes(batch="b"), Origin("", "batch", "user", "owner-1")),
        (Wishes(schedule="s"), Origin("", "schedule", "system", "s")),
        (Wishes(schedule="s", retry_of="t"), Origin("", "retry", "user", "owner-1")),
        (Wishes(parent="p"), NOBODY),
    ],
)
def test_what_was_not_remembered_is_told_as_far_as_it_is_certain(wishes: Wishes | None, origin: Origin) -> None:
    row = rows.task(1, owner="owner-1")
    assert origin_of(row, TaskSpec(wishes=wishes), "Agent") == origin


@pytest.mark.parametrize("generation", list(Generation))
@pytest.mark.parametrize("method", [method for method in Method if method])
def test_every_method_has_a_word_and_a_source(generation: Generation, method: Method) -> None:
    row = rows.task(1, generation=generation, owner="o", agent="")
    found = origin_of(row, TaskSpec(method=method, wishes=Wishes(schedule="s")), "Agent")
    assert found.method
    assert found.source
    expected = {Method.SPAWN: ("agent", "Agent"), Method.TICK: ("system", "s")}.get(method, ("user", "o"))
    assert (found.kind, found.id) == expected
    assert origin_of(row, TaskSpec(method=method, through="manager"), "Agent").kind == "agent"


def shown(started_at: int, times: Times | None = None, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - of a row
    row = rows.task(1, created_at=10 * SECOND, spec=encode_spec(TaskSpec()), **fields)
    task = task_shown(row, "Agent", Beside(started_at, times or Times()))
    return task.model_dump(by_alias=True, exclude_none=True, mode="json")


ENDED: dict[str, Any] = {
    "state": State.COMPLETED,
    "phase": Phase.FINAL,
    "status": encode_status(State.COMPLETED),
    "status_at": 20 * SECOND,
    "fence": 1,
}
WORKING: dict[str, Any] = {
    "state": State.WORKING,
    "phase": Phase.LEASED,
    "status": encode_status(State.WORKING, None, Progress(done=8, total=16)),
    "status_at": 16 * SECOND,
    "fence": 1,
}


def test_durations_are_differences_of_moments() -> None:
    task = shown(12 * SECOND, Times(11 * SECOND, 15 * SECOND, Done(4, 14 * SECOND)), **ENDED)
    assert (task["responseSeconds"], task["durationSeconds"], task["throughput"]) == (2.0, 8.0, 2.0)
    assert task["queuedAt"].endswith("00:00:11.000Z")
    assert task["assignedAt"].endswith("00:00:15.000Z")


def test_a_running_task_has_a_throughput_and_no_duration() -> None:
    task = shown(12 * SECOND, **WORKING)
    assert (task["responseSeconds"], task["throughput"], "durationSeconds" in task) == (2.0, 2.0, False)


def test_what_is_not_known_is_not_told() -> None:
    told = {"responseSeconds", "durationSeconds", "throughput"}
    assert not told & shown(0, **ENDED).keys()
    assert not told & shown(0, **WORKING).keys()
    never = shown(0, **{**ENDED, "fence": 0, "state": State.CANCELED})
    assert (told & never.keys(), never["responseSeconds"]) == ({"responseSeconds"}, 10.0)
    assert "throughput" not in shown(16 * SECOND, **WORKING)
