"""Tasks that ask: paused without a slot, answered, run again; whatever is killed, restarted or canceled on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from a2a_server.errors import TaskNotCancelable, UnsupportedOperation
from a2a_server.model.objects import Generation, Message, Role, Scope, State, StatusEvent, Task, Text
from a2a_server.model.requests import GetRequest, SendRequest, SubscribeRequest
from a2a_server.model.runs import CHECKPOINT, Shelf, Want
from a2a_server.running import Attempt
from a2a_server.service.operations import Stream
from tests.patience import PATIENCE
from tests.server.engines import Running
from tests.server.scripted import Scripted, ask, serving
from tests.server.waiting import until


async def greet(attempt: Attempt) -> str:
    name = await ask(attempt, "What is your name?")
    town = await ask(attempt, "Where do you live?", "2")
    return f"{name} of {town}"


def words(task: Task) -> list[tuple[str, str]]:
    return [(one.role.value, one.text) for one in task.history]


def said(task: Task) -> str:
    return task.status.message.text if task.status.message else ""


async def read(served: Running, task: Task) -> Task:
    return await served.operations.get(Scope(), GetRequest(task.id))


async def seen(stream: Stream) -> list[str]:
    found = [stream.start.status.state.name] if isinstance(stream.start, Task) else []
    async with asyncio.timeout(PATIENCE):
        async for batch in stream.batches:
            found += [event.event.status.state.name for event in batch if isinstance(event.event, StatusEvent)]
    return found


@pytest.fixture
async def greeter(tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(Scripted(greet), tmp_path) as served:
        yield served


async def test_a_task_asks_twice_is_answered_twice_and_completes(greeter: Running) -> None:
    task = await greeter.send("hello")
    assert (task.status.state, said(task)) == (State.INPUT_REQUIRED, "What is your name?")
    assert words(task) == [("user", "hello")]
    task = await greeter.answer(task, "Ada")
    assert (task.status.state, said(task)) == (State.INPUT_REQUIRED, "Where do you live?")
    task = await greeter.answer(task, "London")
    assert (task.status.state, said(task)) == (State.COMPLETED, "Ada of London")
    assert words(task) == [
        ("user", "hello"),
        ("agent", "What is your name?"),
        ("user", "Ada"),
        ("agent", "Where do you live?"),
        ("user", "London"),
    ]
    assert len({one.id for one in task.history}) == 5


async def test_a_question_holds_no_slot(tmp_path: Path) -> None:
    async with serving(Scripted(greet), tmp_path, slots=1) as served:
        tasks = [await served.send("hello") for _ in range(3)]
        assert {task.status.state for task in tasks} == {State.INPUT_REQUIRED}
        await until(lambda: served.engine.worker.running == 0)


async def test_an_answer_outlives_a_restart(tmp_path: Path) -> None:
    script = Scripted(greet)
    async with serving(script, tmp_path) as served:
        task = await served.send("hello")
    async with serving(script, tmp_path) as served:
        task = await served.answer(task, "Ada")
        await served.engine.replace_worker()
        assert (await served.answer(task, "London")).status.state is State.COMPLETED
    assert script.calls.count(("open", "")) == script.calls.count(("close", "")) == 2


async def test_a_worker_that_dies_with_the_answer_in_hand_asks_nothing_again(tmp_path: Path) -> None:
    first = True
    entered = asyncio.Event()

    async def handler(attempt: Attempt) -> str:
        nonlocal first
        name = await ask(attempt, "What is your name?")
        if first:
            first = False
            entered.set()
            await asyncio.Event().wait()
        return name

    async with serving(Scripted(handler), tmp_path) as served:
        task = await served.send("hello")
        await served.answer(task, "Ada", blocking=False)
        async with asyncio.timeout(PATIENCE):
            await entered.wait()
        await served.engine.replace_worker()
        await served.reached(task.id, State.COMPLETED)
        assert words(await read(served, task)).count(("agent", "What is your name?")) == 1


async def test_a_message_to_a_task_at_work_is_refused(tmp_path: Path) -> None:
    async def handler(attempt: Attempt) -> None:
        await asyncio.Event().wait()

    async with serving(Scripted(handler), tmp_path) as served:
        task_id = await served.start()
        await served.reached(task_id, State.WORKING)
        task = await served.operations.get(Scope(), GetRequest(task_id))
        with pytest.raises(UnsupportedOperation, match="it takes messages when it asks"):
            await served.answer(task, "more")


async def test_an_answer_sent_again_waits_like_the_first(greeter: Running) -> None:
    task = await greeter.send("hello")
    first, again = await asyncio.gather(
        greeter.answer(task, "Ada", number="answer"), greeter.answer(task, "Ada", number="answer")
    )
    assert said(first) == said(again) == "Where do you live?"
    assert words(await read(greeter, task)).count(("user", "Ada")) == 1


@pytest.mark.parametrize("catch", [Exception, BaseException])
async def test_a_handler_that_swallows_its_own_question_fails(tmp_path: Path, catch: type[BaseException]) -> None:
    async def handler(attempt: Attempt) -> str:
        try:
            return await ask(attempt, "Well?")
        except catch:
            return "never mind"

    async with serving(Scripted(handler), tmp_path) as served:
        task = await served.send("hello")
        if catch is Exception:
            assert task.status.state is State.INPUT_REQUIRED, "Paused is no Exception"
        else:
            assert (task.status.state, said(task)[:36]) == (State.FAILED, "The handler went on after it had ask")


async def test_finally_blocks_run_when_a_handler_asks(tmp_path: Path) -> None:
    cleaned: list[str] = []

    async def handler(attempt: Attempt) -> str:
        try:
            return await ask(attempt, "Well?")
        finally:
            cleaned.append(attempt.task.history[-1].text)

    async with serving(Scripted(handler), tmp_path) as served:
        task = await served.send("hello")
        assert cleaned == ["hello"]
        await served.answer(task, "so")
        assert cleaned == ["hello", "so"]


async def test_authentication_is_asked_for_likewise(tmp_path: Path) -> None:
    async def handler(attempt: Attempt) -> str:
        return await ask(attempt, "Sign in.", want=Want.AUTH)

    async with serving(Scripted(handler), tmp_path) as served:
        task = await served.send("hello")
        assert task.status.state is State.AUTH_REQUIRED
        assert (await served.answer(task, "done")).status.state is State.COMPLETED


async def test_a_paused_task_is_canceled_at_once_and_takes_no_answer(greeter: Running) -> None:
    task = await greeter.send("hello")
    assert (await greeter.cancel(task.id)).status.state is State.CANCELED
    with pytest.raises(UnsupportedOperation):
        await greeter.answer(task, "Ada")
    with pytest.raises(TaskNotCancelable):
        await greeter.cancel(task.id)


async def test_nobody_answers(tmp_path: Path) -> None:
    async with serving(Scripted(greet), tmp_path, pause_seconds=0.05, poll_seconds=0.02) as served:
        task = await served.send("hello")
        await served.reached(task.id, State.FAILED)
        assert said(await read(served, task)) == "Nobody answered in time."


async def stream(served: Running, task: Task | None, text: str, generation: Generation = Generation.V10) -> Stream:
    task_id = task.id if task is not None else ""
    message = Message(Role.USER, (Text(text),), id=f"stream-{text}", task_id=task_id)
    return await served.operations.stream(Scope(), SendRequest(generation, message, task_id))


async def test_a_stream_of_a_send_ends_at_the_question_and_the_answers_begins_with_the_task(greeter: Running) -> None:
    asked = await stream(greeter, None, "hello")
    assert await seen(asked) == ["SUBMITTED", "WORKING", "INPUT_REQUIRED"]
    assert isinstance(asked.start, Task)
    answered = await stream(greeter, asked.start, "Ada")
    assert (await seen(answered))[-1] == "INPUT_REQUIRED"
    assert isinstance(answered.start, Task)
    assert words(answered.start) == [("user", "hello"), ("agent", "What is your name?"), ("user", "Ada")]
    again = await stream(greeter, asked.start, "Ada")
    states = await seen(again)
    assert states == ["SUBMITTED", "WORKING", "INPUT_REQUIRED", "WORKING", "INPUT_REQUIRED"], "a repeat replays the log"


@pytest.mark.parametrize(
    ("generation", "last"), [(Generation.V10, "COMPLETED"), (Generation.V03, "INPUT_REQUIRED")], ids=["1.0", "0.3"]
)
async def test_a_subscription_outlives_questions_from_10_on(
    greeter: Running, generation: Generation, last: str
) -> None:
    task = await greeter.send("hello")
    subscribed = await greeter.operations.subscribe(Scope(), SubscribeRequest(task.id, generation=generation))
    following = asyncio.create_task(seen(subscribed))
    task = await greeter.answer(task, "Ada")
    task = await greeter.answer(task, "London")
    states = await following
    assert states[:2] == ["INPUT_REQUIRED", "WORKING"]
    assert states[-1] == last


async def test_a_stream_that_is_resumed_passes_over_questions_that_were_answered(greeter: Running) -> None:
    task = await greeter.send("hello")
    task = await greeter.answer(task, "Ada")
    request = SubscribeRequest(task.id, after=1, generation=Generation.V03)
    states = await seen(await greeter.operations.subscribe(Scope(), request))
    assert states == ["WORKING", "INPUT_REQUIRED", "WORKING", "INPUT_REQUIRED"], "up to the question that is open"
    await greeter.answer(task, "London")
    states = await seen(await greeter.operations.subscribe(Scope(), request))
    assert states[-1] == "COMPLETED"


async def test_a_v01_subscription_to_a_task_that_asks_is_its_question(greeter: Running) -> None:
    task = await greeter.send("hello")
    subscribed = await greeter.operations.subscribe(Scope(), SubscribeRequest(task.id, generation=Generation.V01))
    assert await seen(subscribed) == ["INPUT_REQUIRED"]


async def test_history_is_none_where_v01_made_the_task_and_nobody_asked_for_it(greeter: Running) -> None:
    message = Message(Role.USER, (Text("hello"),))
    await greeter.operations.send(Scope(), SendRequest(Generation.V01, message, "mine", history_length=0))
    assert (await greeter.operations.get(Scope(), GetRequest("mine"))).history == ()
    assert len((await greeter.operations.get(Scope(), GetRequest("mine", generation=Generation.V10))).history) == 1
    assert len((await greeter.operations.get(Scope(), GetRequest("mine", 5))).history) == 1


async def test_checkpoints_reach_the_next_run(tmp_path: Path) -> None:
    found: list[dict[str, bytes]] = []

    async def handler(attempt: Attempt) -> str:
        found.append(dict(attempt.task.checkpoints))
        await attempt.remember(CHECKPOINT, f"run-{attempt.run}", b"1")
        return await ask(attempt, "Well?")

    async with serving(Scripted(handler), tmp_path) as served:
        await served.answer(await served.send("hello"), "so")
    assert found == [{}, {"run-1": b"1"}]


async def test_what_is_remembered_reaches_who_shares_the_shelf(tmp_path: Path) -> None:
    async def handler(attempt: Attempt) -> str:
        if attempt.task.message.text == "write":
            for shelf in Shelf:
                await attempt.remember("memory", "color", shelf.value.encode(), shelf)
                await attempt.remember("memory", "colour", b"x", shelf)
                await attempt.remember("memory", "colour", None, shelf)
                await attempt.remember("memory", "size", b"x", shelf)
        kept = [await attempt.recall("memory", "color", shelf) for shelf in Shelf]
        names = [list(await attempt.names("memory", "col", shelf)) for shelf in Shelf]
        assert [await attempt.recall("memory", "colour", shelf) for shelf in Shelf] == [None] * 3
        assert names == [["color"] if one else [] for one in kept]
        return ",".join((one or b"-").decode() for one in kept)

    async with serving(Scripted(handler), tmp_path) as served:
        first = await served.send("write")
        assert said(first) == "task,context,owner"
        message = Message(Role.USER, (Text("read"),), id="same", context_id=first.context_id)
        same = await served.operations.send(Scope(), SendRequest(Generation.V10, message, "", first.context_id))
        assert isinstance(same, Task)
        assert said(same) == "-,context,owner"
        assert said(await served.send("read")) == "-,-,owner"


async def test_what_is_recalled_waits_for_a_store_that_does_not_answer(tmp_path: Path) -> None:
    served: Running

    async def handler(attempt: Attempt) -> str:
        served.store.silent = 2
        return "nothing" if await attempt.recall("memory", "unknown") is None else "something"

    async with serving(Scripted(handler), tmp_path, poll_seconds=0.02) as served:
        assert said(await served.send("hello")) == "nothing"
        assert served.store.silent == 0


async def test_who_has_seen_the_open_question_waits_for_what_follows_it(greeter: Running) -> None:
    task = await greeter.send("hello")
    request = SubscribeRequest(task.id, after=task.n, generation=Generation.V03)
    following = asyncio.create_task(seen(await greeter.operations.subscribe(Scope(), request)))
    await greeter.answer(task, "Ada")
    states = await following
    assert (states[0], states[-1]) == ("WORKING", "INPUT_REQUIRED")


async def test_an_answer_is_the_same_with_its_context_filled_in(greeter: Running) -> None:
    task = await greeter.send("hello")
    await greeter.answer(task, "Ada", number="answer")
    message = Message(Role.USER, (Text("Ada"),), "answer", task.context_id, task.id)
    request = SendRequest(Generation.V10, message, task.id, task.context_id)
    again = await greeter.operations.send(Scope(), request)
    assert isinstance(again, Task)
    assert said(again) == "Where do you live?"


async def test_a_stream_shows_as_much_history_as_was_asked_for(greeter: Running) -> None:
    message = Message(Role.USER, (Text("hello"),), id="first")
    first = await greeter.operations.stream(Scope(), SendRequest(Generation.V10, message, history_length=0))
    assert isinstance(first.start, Task)
    assert first.start.history == ()
    await seen(first)
    answer = Message(Role.USER, (Text("Ada"),), id="second", task_id=first.task_id)
    request = SendRequest(Generation.V10, answer, first.task_id, history_length=1)
    second = await greeter.operations.stream(Scope(), request)
    assert isinstance(second.start, Task)
    assert words(second.start) == [("user", "Ada")]
