"""What a handler spawns and joins: the same in every run, checked before it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from a2a_server.codec import decode
from a2a_server.context import Places, SyncTask, TaskContext, TaskHandle
from a2a_server.errors import Fail, LeaseLost, Paused
from a2a_server.model.objects import Lane, Message, Role, State, Text
from a2a_server.model.options import OnDependencyFailure
from a2a_server.model.runs import JOINED, ChildResult, Shelf
from tests.unit.attempts import RecordingAttempt, task_of


def next_run(attempt: RecordingAttempt, *ended: ChildResult) -> RecordingAttempt:
    """The run after `ended`."""
    again = RecordingAttempt(attempt.task, run=attempt.run + 1)
    again.kept, again.spawned = dict(attempt.kept), dict(attempt.spawned)
    again.ended = {**attempt.ended, **{child.id: child for child in ended}}
    return again


def result(handle: str, text: str = "done", state: State = State.COMPLETED) -> ChildResult:
    return ChildResult(handle, state, text)


async def test_each_place_spawns_its_own() -> None:
    attempt = RecordingAttempt(task_of("go"))
    task = TaskContext(attempt)
    first, second, named = await task.spawn("a"), await task.spawn("b"), await task.spawn("c", name="third")
    assert [first.id, second.id, named.id] == [":1", ":2", "third:1"]
    message, options = attempt.spawned[":1"]
    assert (message.role, message.text) == (Role.USER, "a")
    assert not options.skill
    again = TaskContext(next_run(attempt))
    assert await again.spawn("a") == first


async def test_what_is_said_of_a_child_becomes_its_options() -> None:
    attempt = RecordingAttempt(task_of("go"))
    task = TaskContext(attempt)
    first = await task.spawn("a")
    await task.spawn(
        Message(Role.AGENT, (Text("x"),)), skill="other", parameters={"n": 1}, priority="high", tags=["t"], title="T",
        depends_on=[first], on_dependency_failure="run", delay_seconds=5,
    )  # fmt: skip
    message, options = attempt.spawned[":2"]
    assert message.role is Role.USER
    assert (options.skill, options.parameters, options.priority) == ("other", {"n": 1}, Lane.HIGH)
    assert (options.tags, options.title, options.depends_on) == (("t",), "T", (first.id,))
    assert (options.on_dependency_failure, options.delay_seconds) == (OnDependencyFailure.RUN, 5)


@pytest.mark.parametrize(
    ("spawn", "says"),
    [
        (lambda task: task.spawn(""), "spawned a task without a message"),
        (lambda task: task.spawn("x", priority="urgent"), "priority"),
        (lambda task: task.spawn("x", unknown_option=1), "unknownOption"),
        (lambda task: task.spawn("x", name="\n"), "printable"),
        (lambda task: task.spawn("x", parent_task_id="1"), "parentTaskId"),
        (lambda task: task.spawn("x", unique_key="only"), "uniqueKey"),
        (lambda task: task.spawn("x", template="nightly"), "template"),
        (lambda task: task.spawn("x", return_immediately=True), "returnImmediately"),
        (lambda task: task.join(until="any"), "any of 0"),
        (lambda task: task.join(TaskHandle("1"), until=2), "2 of 1"),
        (lambda task: task.join(TaskHandle("1"), until=0), "0 of 1"),
    ],
)
async def test_what_is_said_wrongly_fails_the_run(spawn: Callable[[TaskContext], Awaitable[object]], says: str) -> None:
    attempt = RecordingAttempt(task_of("go"))
    with pytest.raises(Fail) as failed:
        await spawn(TaskContext(attempt))
    assert says in failed.value.text
    assert attempt.spawned == {}


async def test_a_join_ends_the_run_until_all_have_ended() -> None:
    attempt = RecordingAttempt(task_of("go"))
    task = TaskContext(attempt)
    handles = [await task.spawn(text) for text in "ab"]
    with pytest.raises(Paused):
        await task.join(*handles)
    assert attempt.joining is not None
    assert (attempt.joining.children, attempt.joining.need) == ((":1", ":2"), 2)
    early = next_run(attempt, result(":1"))
    with pytest.raises(Paused):
        await TaskContext(early).join(*handles)
    late = next_run(early, result(":2", "no", State.FAILED))
    found = await TaskContext(late).join(*handles)
    assert [(child.id, child.completed) for child in found] == [(":1", True), (":2", False)]
    assert await TaskContext(late).join() == []


async def test_a_join_of_some_gives_the_same_ones_again() -> None:
    attempt = RecordingAttempt(task_of("go"))
    handles = [TaskHandle(name) for name in "abc"]
    attempt.ended = {"b": result("b")}
    assert [child.id for child in await TaskContext(attempt).join(*handles, until="any")] == ["b"]
    later = next_run(attempt, result("a"), result("c"))
    task = TaskContext(later)
    assert [child.id for child in await task.join(*handles, until=1)] == ["b"]
    assert [child.id for child in await task.join(*handles, until=2)] == ["a", "b", "c"]
    assert decode(later.kept[Shelf.TASK, JOINED, ":2"])["e"] == ["a", "b", "c"]


async def test_other_tasks_than_before_fail_the_run() -> None:
    attempt = RecordingAttempt(task_of("go"))
    with pytest.raises(Paused):
        await TaskContext(attempt).join(TaskHandle("a"))
    again = next_run(attempt, result("a"), result("b"))
    with pytest.raises(Fail) as failed:
        await TaskContext(again).join(TaskHandle("b"))
    assert "other tasks than before" in failed.value.text


async def test_a_thread_spawns_and_joins() -> None:
    attempt = RecordingAttempt(task_of("go"))
    attempt.ended = {":1": result(":1", "x")}
    task = SyncTask(attempt, asyncio.get_running_loop(), None, Places())

    def work() -> str:
        return task.join(task.spawn("a"))[0].text

    assert await asyncio.to_thread(work) == "x"


async def test_a_run_that_lost_its_task_spawns_nothing() -> None:
    attempt = RecordingAttempt(task_of("go"))
    await attempt.lose()
    with pytest.raises(LeaseLost):
        await TaskContext(attempt).spawn("x")
