"""What stands around skills, over the whole server: checks, roll-backs, listeners, resources.

Source: core.md section 8.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from a2a_server import Agent, Fail, Happening, Reject, Retry, SyncTask, TaskContext
from a2a_server.errors import NotOpened
from a2a_server.testing import Protocol, connect
from tests.patience import PATIENCE
from tests.server.agent_talks import GENERATIONS, Answer, asked, crashing, log_of, made, reply, said, state, talk
from tests.server.managing import seen
from tests.server.waiting import pass_by, until


def skill(name: str, text: str = "hello") -> Answer:
    return {"text": text, "options": {"skill": name}}


def checking() -> tuple[Agent, Counter[str]]:  # noqa: C901 - a skill for each way to say no
    agent, calls = Agent("Checking"), Counter[str]()

    @agent.skill(default=True)
    async def careful(task: TaskContext, text: str) -> str:
        first = await task.step("same", lambda: "skill")
        if text == "retry" and task.attempt == 1:
            raise Retry(after_seconds=0)
        return f"{first} {await task.ask('Well?')}"

    @careful.validate
    async def check(task: TaskContext, text: str) -> bool | str | None:
        calls[task.id] += 1
        assert await task.step("same", lambda: "check") == "check"
        match text:
            case "false":
                return False
            case "text":
                return "not today"
            case "reject":
                raise Reject("never")
            case "ask":
                return None if await task.ask("Who are you?") == "Ada" else "strangers are not served"
            case "flaky":
                if task.attempt == 1:
                    raise Retry("the list of guests is not there", after_seconds=0)
                return "not on the list"
        return True

    @agent.skill
    def plain(text: str) -> str:
        return text

    @plain.validate
    def plain_check(task: SyncTask, text: str) -> bool:
        return text != "false" and task.step("yes", lambda: True)

    @plain.validate_result
    def plain_check_result(result: str) -> str | None:
        return "too short" if len(result) < 3 else None

    @agent.skill
    async def pieces(text: str) -> AsyncIterator[str]:
        yield text
        yield text

    @pieces.validate_result
    async def check_pieces(result: list[str], task: TaskContext) -> bool:
        calls[task.id] += 1
        return result != ["no", "no"]

    return agent, calls


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize(
    ("text", "why"), [("false", "The agent does not take this task."), ("text", "not today"), ("reject", "never")]
)
async def test_a_check_that_says_no_rejects_the_task(generation: Protocol, text: str, why: str) -> None:
    agent, calls = checking()
    async with connect(agent) as server:
        task = await talk(server, text, generation=generation)
    assert (state(task), said(task)) == ("failed" if generation == "0.1" else "rejected", why)
    assert calls[task["id"]] == 1


@pytest.mark.parametrize("text", ["yes", "retry"])
async def test_a_check_that_said_yes_is_not_asked_again(text: str) -> None:
    agent, calls = checking()
    async with connect(agent) as server:
        task = await talk(server, text, "fine")
        assert made(task) == "skill fine", "the steps of the check are not those of the skill"
        assert calls[task["id"]] == 1
        async for n, crashed in crashing(server, text, "fine"):
            assert made(crashed) == "skill fine", n
            assert calls[crashed["id"]] == 1, n


async def test_a_check_that_did_not_come_to_an_end_is_called_again() -> None:
    agent, calls = checking()
    async with connect(agent) as server:
        task = await talk(server, "flaky")
        assert (state(task), said(task), calls[task["id"]]) == ("rejected", "not on the list", 2)
        crash = server.crash_worker(at_event=2)
        task = await talk(server, "text")
        await crash
        assert (state(task), said(task)) == ("rejected", "not today")


async def test_a_check_may_ask() -> None:
    agent, _ = checking()
    async with connect(agent) as server:
        task = await talk(server, "ask", "Bob")
        assert (state(task), said(task)) == ("rejected", "strangers are not served")
        async for n, crashed in crashing(server, "ask", "Ada", "well"):
            assert made(crashed) == "skill well", n
            assert asked(await log_of(server, crashed)) == ["Who are you?", "Well?"], n


async def test_results_are_checked_before_they_are_written() -> None:
    agent, calls = checking()
    async with connect(agent) as server:
        task = await talk(server, skill("plain", "no"))
        assert (state(task), said(task), made(task)) == ("failed", "too short", "")
        assert made(await talk(server, skill("plain", "long enough"))) == "long enough"
        assert state(await talk(server, skill("plain", "false"))) == "rejected"
        task = await talk(server, skill("pieces", "no"))
        assert (state(task), said(task)) == ("failed", "The result did not pass the agent's own check.")
        task = await talk(server, skill("pieces", "yes"))
        assert (state(task), made(task), calls[task["id"]]) == ("completed", "yesyes", 1)


class Undone:
    """What was rolled back: task and reason."""

    def __init__(self) -> None:
        self.reasons: dict[str, list[str]] = {}
        self.running = asyncio.Event()

    def add(self, task: TaskContext | SyncTask, reason: str) -> None:
        self.reasons.setdefault(task.id, []).append(reason)


def rolling() -> tuple[Agent, Undone]:  # noqa: C901 - a way to end for each test
    agent, undone = Agent("Rolling"), Undone()

    @agent.skill(max_attempts=2)
    async def book(task: TaskContext, text: str) -> str:
        await task.checkpoint("room", await task.step("room", lambda: "7"))
        match text:
            case "fail":
                raise Fail("no luck")
            case "break":
                raise ValueError("secret")
            case "reject":
                raise Reject("no")
            case "retry":
                raise Retry("busy", after_seconds=0)
            case "ask":
                await task.ask("Sure?")
            case "wait":
                undone.running.set()
                await asyncio.Event().wait()
        return "booked"

    @book.rollback
    async def unbook(task: TaskContext, text: str, reason: str) -> None:
        assert text in {"fail", "break", "retry", "ask", "wait"}
        assert task.checkpoints == {"room": "7"}
        assert await task.step("room", lambda: "free") == "free"
        undone.add(task, reason)

    @agent.skill
    def plain(task: SyncTask) -> str:
        raise Fail("no luck")

    @plain.rollback
    def undo(task: SyncTask, reason: str) -> None:
        undone.add(task, reason)

    return agent, undone


@pytest.mark.parametrize(
    ("text", "ends", "reason"),
    [
        ("fail", "failed", "no luck"),
        ("break", "failed", "The skill 'book' failed with an unexpected error"),
        ("retry", "failed", "busy"),
        ("reject", "rejected", None),
        ("fine", "completed", None),
    ],
)
async def test_what_a_failed_task_did_is_undone_once(text: str, ends: str, reason: str | None) -> None:
    agent, undone = rolling()
    async with connect(agent) as server:
        task = await talk(server, text)
        assert state(task) == ends
        found = undone.reasons.get(task["id"], [])
        assert len(found) == (0 if reason is None else 1)
        assert all(one.startswith(str(reason)) for one in found)


async def test_a_plain_skill_is_undone_in_a_thread() -> None:
    agent, undone = rolling()
    async with connect(agent) as server:
        task = await talk(server, skill("plain"))
    assert (state(task), undone.reasons[task["id"]]) == ("failed", ["no luck"])


async def test_what_a_canceled_task_did_is_undone_whether_it_runs_or_waits() -> None:
    agent, undone = rolling()
    async with connect(agent) as server:
        waiting = await server.send("wait", blocking=False)
        async with asyncio.timeout(PATIENCE):
            await undone.running.wait()
        paused = await talk(server, "ask")
        for task in (waiting, paused):
            assert state(await server.cancel(task["id"])) == "canceled"
            [reason] = undone.reasons[task["id"]]
            assert "canceled" in reason


async def test_what_a_task_did_is_undone_at_its_deadline() -> None:
    agent, undone = rolling()
    async with connect(agent) as server:
        task = await server.send("wait", blocking=False, options={"timeoutSeconds": 3600})
        async with asyncio.timeout(PATIENCE):
            await undone.running.wait()
        await pass_by(3601)
        await seen(lambda: server.get(task["id"]), lambda found: state(found) == "failed")
    [reason] = undone.reasons[task["id"]]
    assert "longer than the task's timeoutSeconds" in reason


async def question(task: TaskContext) -> None:
    await task.ask("Shall I?")


async def cancellation(task: TaskContext) -> None:
    raise asyncio.CancelledError


async def group(task: TaskContext) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(task.ask("Shall I?"))


async def leaving(task: TaskContext) -> None:
    raise SystemExit(1)


@pytest.mark.parametrize("undo", [question, cancellation, group, leaving])
async def test_a_task_ends_whatever_its_roll_back_raises(undo: Callable[[TaskContext], Awaitable[None]]) -> None:
    agent = Agent("Odd")

    @agent.skill
    async def odd(text: str) -> None:
        raise Fail("no luck")

    odd.rollback(undo)
    async with connect(agent) as server:
        task = await talk(server, "hello")
        assert (state(task), said(task)) == ("failed", "no luck")
        assert state(await talk(server, "hello")) == "failed", "the server goes on"


def listening(heard: list[tuple[str, str]], failures: list[BaseException]) -> Agent:
    agent = Agent("Listening")

    @agent.skill
    async def ask(task: TaskContext) -> str:
        return await task.ask("Well?")

    @agent.on("working", "input-required", "completed")
    async def hear(event: Happening) -> None:
        if failures:
            raise failures.pop()
        heard.append((event.state.name, event.task.message.text))

    @agent.on("completed")
    def hear_plainly(event: Happening) -> None:
        heard.append(("plain", event.text))

    return agent


async def test_listeners_hear_of_every_state_once_and_in_order() -> None:
    heard = list[tuple[str, str]]()
    async with connect(listening(heard, [])) as server:
        await talk(server, "hello", "fine")
        await until(lambda: len(heard) == 5)
    assert heard == [
        ("WORKING", "hello"),
        ("INPUT_REQUIRED", "hello"),
        ("WORKING", "hello"),
        ("COMPLETED", "hello"),
        ("plain", ""),
    ]


@pytest.mark.parametrize("failure", [OSError("disk"), SystemExit(1), asyncio.CancelledError()])
async def test_a_listener_that_failed_hears_again(failure: BaseException) -> None:
    heard, failures = list[tuple[str, str]](), [failure]
    async with connect(listening(heard, failures), poll_seconds=0.02) as server:
        await talk(server, "hello", "fine")
        await until(lambda: len(heard) == 5)
    assert [state for state, _ in heard] == ["WORKING", "INPUT_REQUIRED", "WORKING", "COMPLETED", "plain"]


async def test_listeners_hear_after_a_restart(tmp_path: Path) -> None:
    heard = list[tuple[str, str]]()
    failing: list[BaseException] = [OSError("not yet") for _ in range(3)]
    kept = {"store": f"sqlite:///{tmp_path}/tasks.db", "poll_seconds": 0.02}
    async with connect(listening(heard, failing), **kept, backoff_base_seconds=0.5) as server:
        await talk(server, "hello")
        await until(lambda: len(failing) < 3)
    failing.clear()
    async with connect(listening(heard, failing), **kept) as server:
        await until(lambda: len(heard) == 2)
    assert [state for state, _ in heard] == ["WORKING", "INPUT_REQUIRED"]


async def test_resources_are_opened_once_and_closed_behind_the_last_run() -> None:
    agent, order = Agent("Resources"), list[str]()

    @agent.lifespan
    async def resources(served: Agent) -> AsyncIterator[dict[str, int]]:
        order.append(f"open {served.name}")
        yield {"answer": 42}
        order.append("closed")

    @agent.skill(default=True)
    async def asynchronous(task: TaskContext) -> int:
        order.append("run")
        return int(task.resources["answer"])

    @asynchronous.validate
    async def check(task: TaskContext) -> bool:
        return bool(task.resources)

    @agent.skill
    def plain(task: SyncTask) -> int:
        order.append("run")
        return int(task.resources["answer"])

    async with connect(agent) as server:
        for name in ("asynchronous", "plain"):
            task = await talk(server, skill(name))
            assert task["artifacts"][0]["parts"][0]["data"] == 42
            await server.crash_worker()
    assert order == ["open Resources", "run", "run", "closed"]


async def test_resources_that_cannot_be_had_keep_the_server_from_starting() -> None:
    agent = Agent("Resources")

    @agent.lifespan
    async def resources() -> AsyncIterator[None]:
        if agent.name:
            raise OSError("no model here")
        yield

    @agent.skill
    async def idle(text: str) -> None: ...

    with pytest.raises(NotOpened, match=r"could not open its resources \(OSError: no model here\)"):
        async with connect(agent):
            pass


async def test_answers_find_the_hooks_of_their_own_task() -> None:
    agent, undone = rolling()
    async with connect(agent) as server:
        first, second = await asyncio.gather(talk(server, "ask"), talk(server, "ask"))
        await server.cancel(first["id"])
        assert made(await reply(server, second, "yes")) == "booked"
    assert set(undone.reasons) == {first["id"]}
