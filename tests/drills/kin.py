"""What must hold between tasks: those that wait for others, parents and their parts, and the tasks of ticks. Pure.

| rule | the promise |
|---|---|
| unfinished | every task of the store ends, also one that no client heard of |
| too-early | a task begins behind the ends of all that it depends on |
| ran-in-vain, not-broken | it does not run when one of them did not complete, and ends as was asked for then |
| join-early | a parent that joined its parts ends behind the last of them |
| child-lost, spawned-twice | one task for each spawn that is remembered, and none without |
| tick-lost, tick-twice | one task for each tick, as many as its schedule says |
| unsettled | no end is left that its followers have not heard of |

Moments are the store's own, in the order of its commits for tasks that meet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from tests.drills.ledger import TERMINAL, Violation
from tests.drills.stored import Rows, StoredEvent, StoredTask

_BROKEN = {"fail": "failed", "cancel": "canceled"}
_SPAWN, _TICK = "spawn:", "cron:"


def check_kin(rows: Rows, joining: Mapping[str, int]) -> list[Violation]:
    """Every broken promise. joining: tasks whose handlers spawn so many parts and join them all."""
    found = [
        Violation("unfinished", row.id, f"{row.state}, phase {row.phase}")
        for row in rows.tasks.values()
        if row.state not in TERMINAL
    ]
    found += _check_order(rows)
    found += _check_parts(rows, joining)
    found += _check_ticks(rows)
    return found


def check_made(rows: Rows, graph: Sequence[str], schedules: int, ticks: int) -> list[Violation]:
    """Whether a batch and some schedules of so many ticks each made what they had to."""
    found = [
        Violation("lost", task, "a batch made it, and it is not there") for task in graph if task not in rows.tasks
    ]
    made = [runs for runs in rows.ticks.values() if runs == ticks]
    if len(made) != schedules:
        found.append(
            Violation("tick-lost", "", f"{schedules} schedules of {ticks} ticks made {sorted(rows.ticks.items())}")
        )
    return found


def _check_order(rows: Rows) -> Iterator[Violation]:
    upstreams: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for edge in rows.edges:
        if edge.kind in {"fail", "cancel", "run"}:
            upstreams[edge.downstream].append((edge.upstream, edge.kind))
        if edge.open and _over(rows, edge.upstream) and _over(rows, edge.downstream):
            yield Violation("unsettled", edge.downstream, f"the end of {edge.upstream} was not acted on")
    for task, ties in upstreams.items():
        row = rows.tasks.get(task)
        if row is None:
            continue
        begun = _begun(rows.events.get(task, ()))
        for upstream, _ in ties:
            end = _end(rows.events.get(upstream, ()))
            if begun and not 0 < end <= begun:
                yield Violation("too-early", task, f"began at {begun}, {upstream} ended at {end or 'no time'}")
        yield from _check_broken(rows, row, ties, begun)


def _check_broken(rows: Rows, row: StoredTask, ties: Sequence[tuple[str, str]], begun: int) -> Iterator[Violation]:
    broken = [
        (upstream, kind)
        for upstream, kind in ties
        if kind != "run" and upstream in rows.tasks and rows.tasks[upstream].state != "completed"
    ]
    for upstream, kind in broken:
        if begun:
            yield Violation("ran-in-vain", row.id, f"it ran though {upstream} ended {rows.tasks[upstream].state}")
        if row.state in TERMINAL and row.state not in {_BROKEN[kind], "canceled"}:
            text = f"{upstream} ended {rows.tasks[upstream].state}, so it had to be {_BROKEN[kind]}: it is {row.state}"
            yield Violation("not-broken", row.id, text)


def _check_parts(rows: Rows, joining: Mapping[str, int]) -> Iterator[Violation]:
    children: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows.tasks.values():
        if row.parent:
            children[row.parent].append(row.id)
    spawned = {send.task for send in rows.sends if _SPAWN in send.name}
    for name, times in Counter(send.name for send in rows.sends).items():
        if times > 1:
            yield Violation("spawned-twice" if _SPAWN in name else "tick-twice", "", f"{name!r} made {times} tasks")
    for task in spawned - rows.tasks.keys():
        yield Violation("child-lost", task, "its spawn is remembered, and there is no such task")
    for parent, number in joining.items():
        for part in set(children[parent]) - spawned:
            yield Violation("spawned-twice", part, f"a part of {parent}, but of no spawn that is remembered")
        yield from _check_parent(rows, parent, number, children[parent])


def _check_parent(rows: Rows, parent: str, number: int, parts: Collection[str]) -> Iterator[Violation]:
    row = rows.tasks.get(parent)
    if len(parts) > number:
        yield Violation("spawned-twice", parent, f"{len(parts)} parts of {number}")
    if row is None or row.state != "completed":
        return
    if len(parts) < number:
        yield Violation("child-lost", parent, f"completed, with {len(parts)} parts of {number}")
    ended = _end(rows.events.get(parent, ()))
    for part in parts:
        end = _end(rows.events.get(part, ()))
        if not 0 < end <= ended:
            yield Violation("join-early", parent, f"ended at {ended}, its part {part} at {end or 'no time'}")


def _check_ticks(rows: Rows) -> Iterator[Violation]:
    made: Counter[str] = Counter(row.schedule for row in rows.tasks.values() if row.schedule)
    named: Counter[str] = Counter(
        send.name.partition(_TICK)[2].rpartition(":")[0] for send in rows.sends if _TICK in send.name
    )
    for schedule in sorted({*made, *rows.ticks}):
        says, remembered = rows.ticks.get(schedule, 0), named[schedule]
        if made[schedule] > min(says, remembered):
            text = f"{made[schedule]} tasks, {remembered} ticks are remembered, the schedule says {says}"
            yield Violation("tick-twice", "", f"{schedule}: {text}")
        elif made[schedule] < max(says, remembered):
            text = f"{made[schedule]} tasks, {remembered} ticks are remembered, the schedule says {says}"
            yield Violation("tick-lost", "", f"{schedule}: {text}")


def _over(rows: Rows, task: str) -> bool:
    return task in rows.tasks and rows.tasks[task].state in TERMINAL


def _begun(events: Sequence[StoredEvent]) -> int:
    return next((event.at for event in events if event.fence), 0)


def _end(events: Sequence[StoredEvent]) -> int:
    return next((event.at for event in events if event.state in TERMINAL), 0)
