"""What the server does, said once for every generation. Golden answers come from the specification, never from us.

`RUNS`: a line for the workbench, how its task ends, and every event of its log. `CONVERSATIONS`: what takes several
calls. Source of states, parts and order: A2A v0.1.0, 0.3.0 and 1.0.1 as in docs; of numbers and metadata: the server's
own promises.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from tests.server.spoken import Event, Order, Refused, Seen, Speaker
from tests.server.waiting import until_asked

PROGRESS_URI = "urn:a2a-task-server:progress:v1"
TERMINAL = {"completed", "failed", "canceled", "rejected"}


@dataclass(frozen=True)
class Status:
    state: str
    said: str = ""
    progress: tuple[int, int] | None = None


@dataclass(frozen=True)
class Chunk:
    artifact: str
    part: str
    append: bool = False
    last: bool = False


@dataclass(frozen=True)
class Run:
    """events: the log, submitted first. said and `said` of events: regular expressions, '' = no message."""

    line: str
    events: tuple[Status | Chunk, ...]
    artifacts: dict[str, str] = field(default_factory=dict)

    @property
    def end(self) -> Status:
        end = self.events[-1]
        assert isinstance(end, Status)
        return end


BEGIN = (Status("submitted"), Status("working"))
RETRY = Status("working", r"Attempt 1 fails as asked\. Next: attempt 2 of 4 at 2\S+Z\.")

RUNS = {
    "echo": Run(
        "echo hello, wörld \u2028 ✓",
        (*BEGIN, Chunk("text", "hello, wörld \u2028 ✓"), Status("completed")),
        {"text": "hello, wörld \u2028 ✓"},
    ),
    "stream": Run(
        "stream 10",
        (*BEGIN, *(Chunk("text", f"chunk {index}", index > 0) for index in range(10)), Status("completed")),
        {"text": "".join(f"chunk {index}" for index in range(10))},
    ),
    "progress": Run(
        "work 2",
        (
            *BEGIN,
            Status("working", "step 1 of 2", (1, 2)),
            Status("working", "step 2 of 2", (2, 2)),
            Chunk("text", "worked 2 steps"),
            Status("completed"),
        ),
        {"text": "worked 2 steps"},
    ),
    "file": Run("blob 4", (*BEGIN, Chunk("blob", "00010203", last=True), Status("completed")), {"blob": "00010203"}),
    "nothing": Run("stream 0", (*BEGIN, Status("completed"))),
    "failure": Run("fail", (*BEGIN, Status("failed", r"Failed as asked\."))),
    "reject": Run("reject", (*BEGIN, Status("rejected", r"Rejected as asked\."))),
    "flaky": Run(
        "flaky 1",
        (*BEGIN, RETRY, Chunk("text", "succeeded on attempt 2"), Status("completed")),
        {"text": "succeeded on attempt 2"},
    ),
}


def state_of(speaker: Speaker, state: str) -> str:
    """v0.1 has no word for rejected."""
    return "failed" if state == "rejected" and speaker.generation == "0.1" else state


def new_id() -> str:
    return f"id-{uuid4()}"


def check_task(speaker: Speaker, seen: Seen, run: Run) -> None:
    assert seen.state == state_of(speaker, run.end.state)
    assert re.fullmatch(run.end.said, seen.said)
    assert {name: "".join(parts) for name, parts in seen.artifacts.items()} == run.artifacts
    assert all(len(parts) == 1 for parts in seen.artifacts.values())


def check_log(speaker: Speaker, events: list[Event], expected: tuple[Status | Chunk, ...], *, first_n: int) -> None:
    assert [event.n for event in events] == list(range(first_n, first_n + len(expected)))
    for event, wanted in zip(events, expected, strict=True):
        assert event.sse_id == (str(event.n) if speaker.shows_all else None)
        if isinstance(wanted, Chunk):
            assert (event.kind, event.artifact, event.parts) == ("artifact", wanted.artifact, (wanted.part,))
            assert (event.append, event.last) == (wanted.append, wanted.last)
            continue
        assert event.kind == ("task" if event.n == 1 and speaker.generation != "0.1" else "status")
        assert event.state == state_of(speaker, wanted.state)
        assert re.fullmatch(wanted.said, event.said)
        says_final = speaker.shows_all and speaker.generation != "1.0" and event.kind == "status"
        assert event.final is (wanted.state in TERMINAL if says_final else None)
        if wanted.progress:
            told = event.metadata[PROGRESS_URI]
            assert (told["done"], told["total"], told["note"]) == (*wanted.progress, event.said)


CONVERSATIONS: dict[str, Callable[[Speaker], Awaitable[None]]] = {}


def conversation(function: Callable[[Speaker], Awaitable[None]]) -> Callable[[Speaker], Awaitable[None]]:
    CONVERSATIONS[function.__name__] = function
    return function


async def refused(speaker: Awaitable[object], code: int) -> None:
    with pytest.raises(Refused) as info:
        await speaker
    assert info.value.code == code


async def all_of(events: object) -> list[Event]:
    return [event async for event in events]  # type: ignore[attr-defined]  # a generator


async def started(speaker: Speaker, line: str = "sleep 3600", **said: object) -> Seen:
    return await speaker.send(Order(line, new_id(), wait=False, **said))  # type: ignore[arg-type]  # any field of an order


async def at_work(speaker: Speaker, task: Seen) -> None:
    """Return when the task is shown to be at work."""

    async def works() -> bool:
        return (await speaker.get(task.id)).state == "working"

    await until_asked(works)


@conversation
async def ids_and_contexts(speaker: Speaker) -> None:
    first, second = new_id(), new_id()
    kept = await speaker.send(Order("echo a", first, context="a context of mine"))
    assert kept.context == "a context of mine"
    other = await speaker.send(Order("echo b", second, context="a context of mine"))
    assert other.context == "a context of mine"
    assert other.id != kept.id
    if speaker.generation == "0.1":
        assert (kept.id, other.id) == (first, second)
    else:
        fresh = await speaker.send(Order("echo c", new_id()))
        assert fresh.context
        assert fresh.context not in {kept.context, fresh.id}


@conversation
async def non_blocking(speaker: Speaker) -> None:
    task = await started(speaker)
    assert task.state in {"submitted", "working"}
    await at_work(speaker, task)
    await speaker.cancel(task.id)


@conversation
async def history(speaker: Speaker) -> None:
    said = ("user", "echo x")
    default = () if speaker.generation == "0.1" else (said,)
    for length, expected in ((None, default), (0, ()), (1, (said,)), (5, (said,))):
        sent = await speaker.send(Order("echo x", new_id(), history=length))
        assert sent.history == expected
        assert (await speaker.get(sent.id, length)).history == expected


@conversation
async def metadata(speaker: Speaker) -> None:
    mine = {"https://example.org/x": {"deep": ["é", True, None]}, "plain": "text"}
    task = await speaker.send(Order("echo x", new_id(), metadata=mine, options={"title": "a title"}))
    for seen in (task, await speaker.get(task.id)):
        assert {name: seen.metadata.get(name) for name in mine} == mine
        assert "urn:a2a-task-server:task-options:v1" not in seen.metadata


@conversation
async def cancel_before_start(speaker: Speaker) -> None:
    task = await started(speaker, "echo never", options={"delaySeconds": 3600})
    assert task.state == "submitted"
    canceled = await speaker.cancel(task.id)
    assert (canceled.id, canceled.state, canceled.artifacts) == (task.id, "canceled", {})
    assert (await speaker.get(task.id)).state == "canceled"


@conversation
async def cancel_during_execution(speaker: Speaker) -> None:
    task = await started(speaker, "stream 100000 0.02")
    live = speaker.subscribe(task.id)
    async for event in live:
        if event.kind == "artifact":
            break
    canceled = await speaker.cancel(task.id)
    assert canceled.state == "canceled"
    assert canceled.artifacts["text"][0].startswith("chunk 0")
    end = [event async for event in live][-1]
    assert (end.kind, end.state) == ("status", "canceled")
    again = await speaker.get(task.id)
    assert (again.state, again.artifacts) == ("canceled", canceled.artifacts)


@conversation
async def cancel_of_a_terminal_task(speaker: Speaker) -> None:
    task = await speaker.send(Order("echo x", new_id()))
    await refused(speaker.cancel(task.id), -32002)
    assert await speaker.get(task.id) == await speaker.get(task.id)
    assert (await speaker.get(task.id)).state == "completed"


@conversation
async def unknown_task(speaker: Speaker) -> None:
    await refused(speaker.get("nobody knows it"), -32001)
    await refused(speaker.cancel("nobody knows it"), -32001)
    await refused(all_of(speaker.subscribe("nobody knows it")), -32001)
    if speaker.generation != "0.1":  # there a client makes the id
        await refused(speaker.send(Order("echo x", new_id(), task="nobody knows it")), -32001)


@conversation
async def message_to_a_terminal_task(speaker: Speaker) -> None:
    task = await speaker.send(Order("echo x", new_id()))
    await refused(speaker.send(Order("echo y", new_id(), task=task.id, context=task.context)), -32004)
    assert (await speaker.get(task.id)).artifacts == {"text": ("x",)}


@conversation
async def message_to_a_working_task(speaker: Speaker) -> None:
    task = await started(speaker)
    await refused(speaker.send(Order("echo y", new_id(), task=task.id, context=task.context)), -32004)
    await refused(speaker.send(Order("echo y", new_id(), task=task.id, context="another context")), -32602)
    await at_work(speaker, task)
    await speaker.cancel(task.id)


@conversation
async def subscribe_live(speaker: Speaker) -> None:
    gate = await started(speaker, "echo never", options={"delaySeconds": 3600})
    behind = {"dependsOn": [gate.id], "onDependencyFailure": "run"}
    task = await started(speaker, "stream 8 0.03", options=behind)
    live = speaker.subscribe(task.id)
    start = await anext(live)
    await speaker.cancel(gate.id)
    events = [start, *[event async for event in live]]
    assert events[0].kind == ("status" if speaker.generation == "0.1" else "task")
    check_follows(events)
    assert told(events) == "".join(f"chunk {index}" for index in range(8))
    assert (events[-1].kind, events[-1].state, events[-1].n) == ("status", "completed", 11)


def told(events: list[Event]) -> str:
    """The text that a follower has in the end."""
    text = ""
    for event in events:
        if event.snapshot:
            text = "".join(event.snapshot.artifacts.get("text", ()))
        elif event.kind == "artifact":
            text = (text if event.append else "") + "".join(event.parts)
    return text


def check_follows(events: list[Event]) -> None:
    """Nothing is left out."""
    numbers = [event.n for event in events if event.n is not None]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


@conversation
async def join_a_working_task(speaker: Speaker) -> None:
    task = await started(speaker, "stream 100000 0.02")
    first = speaker.subscribe(task.id)
    async for event in first:
        if event.kind == "artifact":
            break
    second = speaker.subscribe(task.id)
    events = [await anext(second)]
    assert events[0].kind == ("status" if speaker.generation == "0.1" else "task")
    assert events[0].state == "working"
    while not events[-1].append:  # what is told whole is how the task stood
        events.append(await anext(second))
    assert (await speaker.cancel(task.id)).state == "canceled"
    events += [event async for event in second]
    check_follows(events)
    end = [event async for event in first][-1]
    assert end == events[-1]
    assert (end.kind, end.state) == ("status", "canceled")
    assert (await speaker.get(task.id)).artifacts == {"text": (told(events),)}


@conversation
async def resume_with_last_event_id(speaker: Speaker) -> None:
    run = RUNS["stream"]
    order = Order(run.line, new_id())
    task = await speaker.send(order)
    for after in (1, 2, 7, 12):
        check_log(speaker, await all_of(speaker.subscribe(task.id, after)), run.events[after:], first_n=after + 1)
    assert await all_of(speaker.subscribe(task.id, 13)) == []
    await refused(all_of(speaker.subscribe(task.id, 14)), -32602)


@conversation
async def subscribe_to_a_terminal_task(speaker: Speaker) -> None:
    task = await speaker.send(Order("echo x", new_id()))
    if speaker.generation == "0.1":
        events = await all_of(speaker.subscribe(task.id))
        [status] = [event for event in events if event.kind == "status"]
        assert events[-1] is status
        assert (status.state, status.final, status.n) == ("completed", True, 4)
    else:
        await refused(all_of(speaker.subscribe(task.id)), -32004)


@conversation
async def two_followers_see_the_same(speaker: Speaker) -> None:
    order = Order("stream 5 0.02", new_id())
    first = speaker.stream(order)
    start = await anext(first)
    second = await all_of(speaker.subscribe(start.task, 1))
    assert [start, *[event async for event in first]][1:] == second
