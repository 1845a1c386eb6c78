"""Why a task is where it is: every reason, from rows alone."""

from __future__ import annotations

from typing import Any

import pytest

from a2a_server.codec import encode, encode_spec, encode_status
from a2a_server.lifecycle.estimating import Waits, estimate, waits_of
from a2a_server.lifecycle.explaining import MOST_NAMED, OPEN_ENDED, Around, Reason, Why, reasons
from a2a_server.lifecycle.requirements import Offer, Pool
from a2a_server.model.objects import Lane, Message, Phase, Requires, Role, State, TaskSpec, Text, Wishes
from a2a_server.model.rows import EdgeKind, EdgeRow, GateRow, Key, TaskRow, WorkerRow
from a2a_server.policy import SECOND
from tests.contracts import rows

NOW = 1_750_000_000 * SECOND
HOUR = 3600 * SECOND
IN_AN_HOUR = "2025-06-15T16:06:40.000Z"
WORKER = Key(b"w" * 16)


def task(phase: Phase = Phase.READY, state: State = State.SUBMITTED, **fields: Any) -> TaskRow:  # noqa: ANN401 - any field
    spec = fields.pop("spec", TaskSpec())
    said = fields.pop("said", "")
    message = Message(Role.AGENT, (Text(said),), id="m") if said else None
    gates = ("client:me", "breaker:echo", "rate:echo", "queue:echo", "skill:echo", "resource:gpu*2")
    given = {"gates": gates, "phase": phase, "state": state, "status": encode_status(state, message)}
    return rows.task(1, spec=encode_spec(spec), **{**given, **fields})


def worker(*, dead: bool = False, seen: int = NOW, **about: object) -> WorkerRow:
    return WorkerRow(WORKER, seen, 8 * SECOND, dead, 1, encode(about) if about else b"")


def around(*gates: GateRow, **more: Any) -> Around:  # noqa: ANN401 - any field
    return Around(NOW, {gate.key: gate for gate in gates}, **{"workers": [worker()], **more})


def only(row: TaskRow, what: Around) -> Reason:
    [reason] = reasons(row, what)
    return reason


def test_a_task_that_nothing_holds_is_next() -> None:
    reason = only(task(), around())
    assert reason.kind is Why.NEXT
    assert "next" in reason.text
    reason = only(task(Phase.HELD, held_by="skill:echo"), around(rows.gate("skill:echo", capacity=7, used=6)))
    assert (reason.kind, reason.gate) == (Why.NEXT, "skill:echo")
    assert "has room again" in reason.text


@pytest.mark.parametrize(
    ("key", "whose"),
    [
        ("client:me", "of its owner"),
        ("skill:echo", "of its skill"),
        ("queue:echo", "of its queue"),
        ("resource:gpu", "of the resource gpu"),
    ],
)
def test_a_limit_that_is_used_up(key: str, whose: str) -> None:
    reason = only(task(Phase.HELD, held_by=key), around(rows.gate(key, capacity=7, used=7)))
    assert reason == Reason(Why.LIMIT, f"The limit {whose} is used up: 7 of 7.", gate=key, used=7, capacity=7)


def test_an_amount_that_does_not_fit() -> None:
    assert only(task(), around(rows.gate("resource:gpu", capacity=8, used=6))).kind is Why.NEXT
    assert only(task(), around(rows.gate("resource:gpu", capacity=8, used=7))).kind is Why.LIMIT


def test_a_pause_with_an_end_and_one_without() -> None:
    gate = rows.gate("queue:echo", closed_until=NOW + HOUR, reason="the printer is jammed.")
    reason = only(task(), around(gate))
    assert (reason.kind, reason.until, reason.detail) == (Why.PAUSED, NOW + HOUR, "the printer is jammed.")
    assert reason.text == f"The queue echo is paused until {IN_AN_HOUR}: the printer is jammed."
    reason = only(task(), around(rows.gate("client:me", closed_until=OPEN_ENDED)))
    assert (reason.kind, reason.until) == (Why.PAUSED, 0)
    assert reason.text == "Its owner is paused until somebody resumes it."


def test_a_pause_that_is_over_holds_nobody() -> None:
    assert only(task(), around(rows.gate("queue:echo", closed_until=NOW))).kind is Why.NEXT


def test_rates_and_breakers() -> None:
    reason = only(task(), around(rows.gate("rate:echo", capacity=5, tokens=SECOND, closed_until=NOW + HOUR)))
    assert (reason.kind, reason.until) == (Why.RATE, NOW + HOUR)
    assert reason.text == f"The rate limit of its skill lets the next one start at {IN_AN_HOUR}."
    open_ = rows.gate("breaker:echo", capacity=1, closed_until=NOW + HOUR, reason="Its runs failed 5 times in a row.")
    reason = only(task(), around(open_))
    assert (reason.kind, reason.until) == (Why.BREAKER, NOW + HOUR)
    assert f"open until {IN_AN_HOUR} (Its runs failed 5 times in a row)" in reason.text
    reason = only(task(), around(open_._replace(closed_until=NOW - 1, used=1)))
    assert (reason.kind, reason.until) == (Why.BREAKER, 0)
    assert "tries one run" in reason.text


def test_a_rate_that_a_person_paused_is_a_pause() -> None:
    gate = rows.gate("rate:echo", capacity=5, tokens=SECOND, closed_until=NOW + HOUR, reason="too dear")
    assert only(task(), around(gate)).kind is Why.PAUSED


def test_several_things_hold_a_task_at_once() -> None:
    full = rows.gate("skill:echo", capacity=1, used=1)
    closed = rows.gate("queue:echo", closed_until=NOW + HOUR)
    found = reasons(task(Phase.HELD, held_by="queue:echo"), around(full, closed, workers=[]))
    assert [one.kind for one in found] == [Why.PAUSED, Why.LIMIT, Why.WORKER]


def test_those_before_it_are_counted_by_lane() -> None:
    reason = only(task(), around(ahead={Lane.NORMAL: 1}))
    assert reason.text == "It stands behind 1 task of its queue (1 in lane normal)."
    reason = only(task(), around(ahead={Lane.NORMAL: 9_000, Lane.CRITICAL: 1_000}))
    assert (reason.kind, reason.count, reason.more, reason.queue) == (Why.BEHIND, 10_000, True, "echo")
    assert "10,000+ tasks of its queue (1,000 in lane critical, 9,000 in lane normal)" in reason.text
    assert not only(task(), around(ahead={Lane.NORMAL: 9_999})).more


def test_dead_and_silent_workers_do_not_count() -> None:
    for gone in ([], [worker(dead=True)], [worker(seen=NOW - 9 * SECOND)]):
        reason = only(task(), around(workers=gone))
        assert (reason.kind, reason.queue) == (Why.WORKER, "echo")
        assert "No worker lives" in reason.text
    assert only(task(), around(workers=[worker(dead=True), worker()])).kind is Why.NEXT


def test_workers_that_take_other_queues_or_lanes() -> None:
    busy = [worker(queues=["other"]), worker(lanes=["critical"])]
    reason = only(task(), around(workers=busy))
    assert reason.text == "No worker that lives takes lane normal of the queue echo."
    assert only(task(lane=Lane.CRITICAL), around(workers=busy)).kind is Why.NEXT
    assert only(task(), around(workers=[*busy, worker(queues=["echo"], lanes=["normal"])])).kind is Why.NEXT


def test_what_no_worker_has_is_named_as_the_nearest_one_lacks_it() -> None:
    needs = TaskSpec(wishes=Wishes(requires=Requires(tags=("gpu", "eu"), tools=("ffmpeg",), memory_bytes=64)))
    far = worker(offers=Offer(memory_bytes=8).about)
    near = worker(offers=Offer(tags=("gpu", "eu"), tools=("git",)).about)
    reason = only(task(spec=needs), around(workers=[far, near]))
    assert (reason.kind, reason.missing) == (Why.WORKER, ("tool ffmpeg",))
    assert reason.text == "No worker that lives has tool ffmpeg."
    whole = worker(offers=Offer(tags=("gpu", "eu"), tools=("ffmpeg",)).about)
    assert only(task(spec=needs), around(workers=[far, near, whole])).kind is Why.NEXT


def test_a_pool_that_is_in_use_is_told_for_each_resource_that_is_short() -> None:
    needs = Requires(cpu=1, memory_bytes=64, storage_bytes=5)
    row = task(spec=TaskSpec(wishes=Wishes(requires=needs)))
    only_one = worker(offers=Offer(cpu=2, memory_bytes=64).about)
    reason = only(row, around(workers=[only_one], taken={WORKER: Pool(1500, 1, 10**9)}))
    short = ("cpu 1 (1.5 of 2 in use)", "memoryBytes 64 (1 of 64 in use)")
    assert reason == Reason(
        Why.ROOM,
        f"The only worker that can run it has no room for it: it needs {', '.join(short)}.",
        worker=WORKER.hex(),
        queue="echo",
        missing=short,
    )
    storage = worker(offers=Offer(storage_bytes=8).about)
    assert only(row, around(workers=[storage], taken={WORKER: Pool(0, 0, 4)})).missing == (
        "storageBytes 5 (4 of 8 in use)",
    )
    assert estimate(row, [reason], Waits(SECOND, SECOND, 5), NOW) is not None, "room comes by itself"


def test_one_worker_with_room_is_enough() -> None:
    row = task(spec=TaskSpec(wishes=Wishes(requires=Requires(tags=("gpu",), cpu=1))))
    able = worker(offers=Offer(tags=("gpu",), cpu=2).about)
    other = able._replace(id=Key(b"x" * 16))
    unable = worker(offers=Offer(cpu=64).about)._replace(id=Key(b"y" * 16))
    workers, full = [able, other, unable], Pool(2000)
    reason = only(row, around(workers=workers, taken={able.id: full, other.id: full}))
    assert (reason.kind, reason.missing) == (Why.ROOM, ("cpu 1 (2 of 2 in use)",))
    assert reason.text.startswith("None of the 2 workers that can run it has room for it: of worker 7")
    reason = only(row, around(workers=workers, taken={able.id: full, other.id: Pool(1000)}))
    assert reason.text == "It is next: a worker takes it as soon as one has a free slot and room for it."


def test_a_task_that_starts_later() -> None:
    row = task(Phase.SCHEDULED, due_at=NOW + HOUR)
    assert only(row, around(rows.gate("skill:echo", capacity=1, used=1), workers=None)) == Reason(
        Why.SCHEDULED, f"It starts at {IN_AN_HOUR}.", at=NOW + HOUR
    )
    longer = rows.gate("queue:echo", closed_until=NOW + 2 * HOUR)
    assert [one.kind for one in reasons(row, around(longer))] == [Why.SCHEDULED, Why.PAUSED]
    shorter = longer._replace(closed_until=NOW + HOUR // 2)
    assert [one.kind for one in reasons(row, around(shorter))] == [Why.SCHEDULED]


def test_a_task_that_is_tried_again() -> None:
    row = task(Phase.SCHEDULED, State.WORKING, due_at=NOW + HOUR, fence=2, attempt=2)
    reason = only(row, around())
    assert (reason.kind, reason.attempt, reason.most_attempts, reason.at) == (Why.RETRY, 3, 4, NOW + HOUR)
    assert reason.text == f"It is tried again at {IN_AN_HOUR}: attempt 3 of 4."


def edge(upstream: int, kind: EdgeKind = EdgeKind.FAIL, done: int = 0) -> EdgeRow:
    return rows.edge(upstream, 1, kind, done)


def test_dependencies_that_have_not_ended() -> None:
    row = task(Phase.WAITING, unmet=2)
    edges = [edge(7), edge(8, EdgeKind.RUN), edge(9, done=3), edge(5, EdgeKind.CHILD)]
    upstream = rows.leased(7, WORKER)
    first, second = reasons(row, around(edges=edges, upstreams={upstream.key: upstream}))
    assert (first.kind, first.task, first.state) == (Why.DEPENDENCY, "task-7", State.WORKING)
    assert first.text == "It waits for task task-7 (working)."
    assert (second.task, second.state) == ("00000000-0000-0000-0000-000000000008", None)


def test_many_dependencies_are_counted() -> None:
    edges = [edge(n) for n in range(10, 10 + MOST_NAMED + 5)]
    *named, last = reasons(task(Phase.WAITING, unmet=25), around(edges=edges))
    assert len(named) == MOST_NAMED
    assert (last.kind, last.count, last.text) == (Why.DEPENDENCY, 5, "It waits for 5 more tasks.")


def test_children_that_have_not_ended() -> None:
    edges = [edge(n, EdgeKind.JOIN, done=3 if n < 12 else 0) for n in range(10, 15)]
    reason = only(task(Phase.WAITING, State.WORKING, fence=1), around(edges=edges))
    assert (reason.kind, reason.count, reason.total) == (Why.CHILDREN, 2, 5)
    assert reason.text == "It waits for its children: 2 of 5 have ended."


def test_all_that_was_waited_for_has_ended() -> None:
    reason = only(task(Phase.WAITING), around(edges=[edge(7, done=3)]))
    assert reason.kind is Why.NEXT


def test_a_task_that_asks() -> None:
    row = task(Phase.PAUSED, State.INPUT_REQUIRED, said="Which colour?", due_at=NOW + HOUR)
    reason = only(row, around())
    assert (reason.kind, reason.until, reason.detail) == (Why.ASKS, NOW + HOUR, "Which colour?")
    assert reason.text == f"It asks its sender: Which colour? Without an answer it fails at {IN_AN_HOUR}."
    assert "log in" in only(task(Phase.PAUSED, State.AUTH_REQUIRED), around()).text


def test_a_task_that_runs() -> None:
    row = task(Phase.LEASED, State.WORKING, worker=WORKER, fence=3, attempt=1)
    reason = only(row, around(since=NOW - HOUR))
    assert (reason.kind, reason.worker, reason.run, reason.at) == (Why.RUNNING, WORKER.hex(), 3, NOW - HOUR)
    assert "attempt 2 of 4" in reason.text


def test_a_task_that_is_being_stopped_or_undone() -> None:
    row = task(Phase.LEASED, State.WORKING, worker=WORKER, fence=1, cancel_at=NOW)
    assert [one.kind for one in reasons(row, around())] == [Why.CANCELING, Why.RUNNING]
    row = task(Phase.READY, State.WORKING, fence=1, spec=TaskSpec(failing="The disk is full."))
    undoing, following = reasons(row, around())[0], reasons(row, around(ahead={Lane.HIGH: 3}))[-1]
    assert (undoing.kind, undoing.detail) == (Why.UNDOING, "The disk is full.")
    assert "ends as failed" in undoing.text
    assert following.kind is Why.BEHIND
    shut = (rows.gate("queue:echo", closed_until=OPEN_ENDED), rows.gate("breaker:echo", closed_until=NOW + HOUR))
    assert [one.kind for one in reasons(row, around(*shut))] == [Why.UNDOING]
    full = reasons(row, around(rows.gate("skill:echo", capacity=1, used=1)))
    assert [one.kind for one in full] == [Why.UNDOING, Why.LIMIT]


def test_a_task_that_has_ended() -> None:
    reason = only(task(Phase.FINAL, State.FAILED, said="The disk is full."), around())
    assert (reason.kind, reason.state, reason.detail) == (Why.ENDED, State.FAILED, "The disk is full.")
    assert reason.text == "It has ended: failed (The disk is full.)."
    assert only(task(Phase.FINAL, State.COMPLETED, said="secret"), around()).text == "It has ended: completed."


@pytest.mark.parametrize("phase", list(Phase))
def test_every_task_has_a_reason(phase: Phase) -> None:
    for state in State:
        assert reasons(task(phase, state, due_at=NOW + 1), Around(NOW))


def test_waits_by_nearest_rank() -> None:
    assert waits_of([]) is None
    assert waits_of([5]) == Waits(5, 5, 1)
    assert waits_of([3, 1, 2]) == Waits(2, 3, 3)
    assert waits_of(range(100, 0, -1)) == Waits(50, 95, 100)


def test_when_a_task_may_start() -> None:
    waits = Waits(10 * SECOND, 60 * SECOND, 20)
    row = task(status_at=NOW - 5 * SECOND)
    found = estimate(row, (), waits, NOW)
    assert found is not None
    assert (found.starts_at, found.starts_by) == (NOW + 5 * SECOND, NOW + 55 * SECOND)
    found = estimate(row, (), waits, NOW + 20 * SECOND)
    assert found is not None
    assert (found.starts_at, found.starts_by) == (NOW + 20 * SECOND, NOW + 55 * SECOND)
    found = estimate(row, (), waits, NOW + HOUR)
    assert found is not None
    assert (found.starts_at, found.starts_by) == (NOW + HOUR, 0)
    found = estimate(task(Phase.SCHEDULED, due_at=NOW + HOUR), (), waits, NOW)
    assert found is not None
    assert found.starts_at == NOW + HOUR + 10 * SECOND
    found = estimate(row, reasons(row, around(rows.gate("queue:echo", closed_until=NOW + HOUR))), waits, NOW)
    assert found is not None
    assert found.starts_at == NOW + HOUR + 10 * SECOND


def test_when_nobody_can_say() -> None:
    waits = Waits(1, 2, 3)
    assert estimate(task(), (), None, NOW) is None
    for phase in (Phase.WAITING, Phase.PAUSED, Phase.LEASED, Phase.FINAL):
        assert estimate(task(phase), (), waits, NOW) is None
    nothing = rows.gate("skill:echo", capacity=0, used=0)
    for what in (around(workers=[]), around(rows.gate("queue:echo", closed_until=OPEN_ENDED)), around(nothing)):
        assert estimate(task(), reasons(task(), what), waits, NOW) is None
