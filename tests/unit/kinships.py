"""Recorded tasks that belong together: good ones, and every way to spoil them with the rule that must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.drills.kin import check_kin
from tests.drills.stored import Rows, StoredEdge, StoredEvent, StoredSend, StoredTask

PARENT, PARTS = "parent", ("part-0", "part-1")


@dataclass
class Kinship:
    """A chain of two that completed, one behind a failure, a parent of two parts, and a schedule of two ticks."""

    rows: Rows = field(default_factory=Rows)

    def broken(self) -> set[str]:
        return {violation.rule for violation in check_kin(self.rows, {PARENT: len(PARTS)})}

    def task(self, name: str, state: str, stored: int, begun: int, ended: int, **more: Any) -> None:  # noqa: ANN401 - columns
        """A task that was stored, began (0 = never) and ended at these moments."""
        events = [StoredEvent(1, "status", 0, "submitted", at=stored)]
        if begun:
            events.append(StoredEvent(2, "status", 1, "working", at=begun))
        events.append(StoredEvent(len(events) + 1, "status", 1 if begun else 0, state, at=ended))
        self.rows.tasks[name] = StoredTask(name, state, "final", len(events), 1 if begun else 0)._replace(**more)
        self.rows.events[name] = events

    def row(self, name: str, **changes: Any) -> None:  # noqa: ANN401 - columns
        self.rows.tasks[name] = self.rows.tasks[name]._replace(**changes)

    def moved(self, name: str, n: int, at: int) -> None:
        self.rows.events[name][n - 1] = self.rows.events[name][n - 1]._replace(at=at)


def good() -> Kinship:
    kin = Kinship()
    kin.task("first", "completed", 1, 2, 10)
    kin.task("second", "completed", 1, 12, 20)
    kin.task("failed", "failed", 1, 2, 10)
    kin.task("broken", "failed", 1, 0, 11)
    kin.task("all the same", "completed", 1, 12, 13)
    kin.task(PARENT, "completed", 1, 2, 40)
    for number, part in enumerate(PARTS):
        kin.task(part, "completed", 3, 5, 20 + number, parent=PARENT)
        kin.rows.sends.append(StoredSend(f"\x1fspawn:00:spawn:{number}", part))
        kin.rows.edges.append(StoredEdge(part, PARENT, "join"))
    kin.rows.edges += [
        StoredEdge("first", "second", "fail"),
        StoredEdge("failed", "broken", "fail"),
        StoredEdge("failed", "all the same", "run"),
    ]
    for tick in (60, 120):
        kin.task(f"tick-{tick}", "completed", tick, tick + 1, tick + 2, schedule="every")
        kin.rows.sends.append(StoredSend(f"\x1fcron:every:{tick}", f"tick-{tick}"))
    kin.rows.ticks["every"] = 2
    return kin


def never_ends(kin: Kinship) -> None:
    kin.row(PARTS[0], state="working", phase="held")


def began_before_its_upstream_ended(kin: Kinship) -> None:
    kin.moved("second", 2, 9)


def began_and_its_upstream_never_ended(kin: Kinship) -> None:
    kin.rows.events["first"].pop()


def ran_behind_a_failure(kin: Kinship) -> None:
    kin.task("broken", "failed", 1, 12, 13)


def completed_behind_a_failure(kin: Kinship) -> None:
    kin.task("broken", "completed", 1, 0, 11)


def canceled_where_it_had_to_fail(kin: Kinship) -> None:
    kin.rows.edges[3] = kin.rows.edges[3]._replace(kind="cancel")


def end_that_nobody_heard_of(kin: Kinship) -> None:
    kin.rows.edges[2] = kin.rows.edges[2]._replace(open=True)


def parent_ended_before_its_part(kin: Kinship) -> None:
    kin.moved(PARTS[1], 3, 41)


def part_is_gone(kin: Kinship) -> None:
    del kin.rows.tasks[PARTS[1]]


def part_was_never_made(kin: Kinship) -> None:
    del kin.rows.tasks[PARTS[1]]
    del kin.rows.sends[1]


def part_of_no_spawn(kin: Kinship) -> None:
    del kin.rows.sends[1]


def one_part_too_many(kin: Kinship) -> None:
    kin.task("part-2", "completed", 3, 5, 6, parent=PARENT)
    kin.rows.sends.append(StoredSend("\x1fspawn:00:spawn:2", "part-2"))


def one_spawn_two_parts(kin: Kinship) -> None:
    kin.rows.sends.append(StoredSend(kin.rows.sends[0].name, "part-1"))


def tick_made_two_tasks(kin: Kinship) -> None:
    kin.task("tick-twin", "completed", 60, 61, 62, schedule="every")


def tick_made_no_task(kin: Kinship) -> None:
    del kin.rows.tasks["tick-60"]


def tick_that_the_schedule_forgot(kin: Kinship) -> None:
    kin.rows.ticks["every"] = 1


BAD_KIN: list[tuple[Callable[[Kinship], None], str]] = [
    (never_ends, "unfinished"),
    (began_before_its_upstream_ended, "too-early"),
    (began_and_its_upstream_never_ended, "too-early"),
    (ran_behind_a_failure, "ran-in-vain"),
    (completed_behind_a_failure, "not-broken"),
    (canceled_where_it_had_to_fail, "not-broken"),
    (end_that_nobody_heard_of, "unsettled"),
    (parent_ended_before_its_part, "join-early"),
    (part_is_gone, "child-lost"),
    (part_was_never_made, "child-lost"),
    (part_of_no_spawn, "spawned-twice"),
    (one_part_too_many, "spawned-twice"),
    (one_spawn_two_parts, "spawned-twice"),
    (tick_made_two_tasks, "tick-twice"),
    (tick_made_no_task, "tick-lost"),
    (tick_that_the_schedule_forgot, "tick-twice"),
]
