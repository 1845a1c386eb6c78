"""What stands around skills and runs: validate, validate_result, rollback, listeners, the lifespan."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from a2a_server import Agent, Fail, Happening, Message, Reject, Role, SyncTask, TaskContext, Text
from a2a_server.agents.skill import SkillRunner
from a2a_server.codec import decode
from a2a_server.errors import ConfigurationError, NotOpened, Paused
from a2a_server.model.objects import State
from a2a_server.model.runs import CHECKS, Chunk, Shelf
from tests.patience import PATIENCE
from tests.unit.attempts import RecordingAttempt, task_of


def attempt_of(text: str | None = "hi", *, run: int = 1, **given: Any) -> RecordingAttempt:  # noqa: ANN401 - any part of a task
    return RecordingAttempt(task_of(text, skill="s", **given), run=run)


def texts(attempt: RecordingAttempt) -> list[str]:
    parts = [part for one in attempt.outputs if isinstance(one, Chunk) for part in one.parts]
    return [part.text for part in parts if isinstance(part, Text)]


async def test_a_skill_is_called_like_its_function() -> None:
    agent = Agent("A")

    @agent.skill
    async def echo(text: str, times: int = 1) -> str:
        """Say it back."""
        return text * times

    @agent.skill
    def plain(text: str) -> str:
        return text

    assert await echo("x", times=2) == "xx"
    assert plain("y") == "y"
    assert (echo.__name__, echo.__doc__, repr(echo)) == ("echo", "Say it back.", "<skill echo>")
    other = Agent("B")
    assert other.skill(echo).function is echo.function
    assert [skill.spec.id for skill in other.skills] == ["echo"]


def refusing(kind: str, said: object) -> tuple[Agent, list[object]]:
    agent, seen = Agent("A"), list[object]()

    @agent.skill(id="s")
    async def skill(text: str, count: int = 2) -> str:
        seen.append("skill")
        return text * count

    def answer(*what: object) -> object:
        seen.extend(what)
        if isinstance(said, Exception):
            raise said
        return said

    if kind == "validate":

        @skill.validate
        async def check(text: str, task: TaskContext) -> Any:  # noqa: ANN401 - also what a checker of types would see
            return answer("check", text, task.id)
    elif kind == "plain validate":

        @skill.validate
        def plain_check(count: int, task: SyncTask) -> Any:  # noqa: ANN401 - as above
            return answer("check", count, threading.current_thread().name[:9])
    else:

        @skill.validate_result
        async def check_result(result: Any, text: str) -> Any:  # noqa: ANN401 - whatever the skill gives
            return answer("check", result, text)

    return agent, seen


@pytest.mark.parametrize("said", [True, None, ""])
@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("validate", ["check", "hi", "t-1", "skill"]),
        ("plain validate", ["check", 2, "a2a-skill", "skill"]),
        ("validate_result", ["skill", "check", "hihi", "hi"]),
    ],
)
async def test_a_hook_that_says_nothing_or_yes_lets_the_task_pass(kind: str, seen: list[object], said: object) -> None:
    agent, found = refusing(kind, said)
    attempt = attempt_of(data={} if kind == "validate" else {"count": 2})
    await SkillRunner(agent).run(attempt)
    assert texts(attempt) == ["hihi"]
    assert found == seen


@pytest.mark.parametrize(
    ("kind", "said", "error", "text"),
    [
        ("validate", False, Reject, "does not take this task"),
        ("validate", "not today", Reject, "not today"),
        ("plain validate", "not today", Reject, "not today"),
        ("validate", Reject("never"), Reject, "never"),
        ("validate_result", False, Fail, "own check"),
        ("validate_result", "too short", Fail, "too short"),
        ("validate_result", OSError("disk"), OSError, "disk"),
        ("validate", ["no tea"], Fail, "The check check gave a list; it says yes by"),
        ("validate_result", 0, Fail, "The check check_result gave a int"),
    ],
)
async def test_a_hook_that_says_no_ends_the_task(kind: str, said: object, error: type[Exception], text: str) -> None:
    agent, _ = refusing(kind, said)
    attempt = attempt_of()
    with pytest.raises(error, match=text):
        await SkillRunner(agent).run(attempt)
    assert attempt.outputs == [], "the check comes before anything is written"


async def test_validate_is_for_the_first_run_that_has_its_parameters() -> None:
    agent, checks = Agent("A"), list[int]()

    @agent.skill(id="s")
    async def skill(task: TaskContext, item: str, count: int) -> str:
        return await task.ask("Sure?")

    @skill.validate
    async def check(count: int) -> None:
        checks.append(count)

    runner = SkillRunner(agent)
    attempt = attempt_of("tea")
    with pytest.raises(Paused):
        await runner.run(attempt)
    assert checks == []
    attempt = attempt.answered(Text("3"))
    with pytest.raises(Paused):
        await runner.run(attempt)
    assert checks == [3]
    await runner.run(attempt.answered(Text("yes")))
    assert checks == [3]
    with pytest.raises(Paused):
        await runner.run(attempt_of("tea", data={"count": 4}, run=2))
    assert checks == [3, 4], "the first run ended before the check had said yes"


async def pieces(text: str) -> AsyncIterator[str]:
    yield text
    yield "!"


def plain_pieces(text: str) -> Iterator[str]:
    yield text
    yield "!"


@pytest.mark.parametrize("function", [pieces, plain_pieces])
async def test_the_result_of_a_generator_is_the_list_of_its_pieces(function: Callable[..., Any]) -> None:
    agent, seen = Agent("A"), list[object]()

    @agent.skill(id="s")(function).validate_result
    def check(result: list[str]) -> str:
        seen.append(result)
        return "bad"

    with pytest.raises(Fail, match="bad"):
        await SkillRunner(agent).run(attempt_of())
    assert seen == [["hi", "!"]]


async def test_a_roll_back_gets_the_reason_and_what_the_skill_had() -> None:
    agent, undone = Agent("A"), list[object]()

    @agent.skill(id="s")
    async def skill(item: str, count: int) -> None: ...

    @agent.skill
    async def other(text: str) -> None: ...

    assert not agent.specs[0].rolls_back

    @skill.rollback
    async def undo(task: TaskContext, reason: str, count: int) -> None:
        undone.append((task.id, reason, count))

    assert [spec.rolls_back for spec in agent.specs] == [True, False]
    runner = SkillRunner(agent)
    await runner.roll_back(attempt_of("tea", data={"count": 3}), "no luck")
    await runner.roll_back(attempt_of("tea"), "it never had a count")
    await runner.roll_back(RecordingAttempt(task_of("x", skill="other")), "nothing to undo")
    await runner.roll_back(RecordingAttempt(task_of("x", skill="gone")), "no such skill")
    assert undone == [("t-1", "no luck", 3)]


async def test_a_plain_roll_back_runs_in_a_thread() -> None:
    agent, undone = Agent("A"), list[str]()

    @agent.skill(id="s")
    def skill(text: str) -> None: ...

    @skill.rollback
    def undo(task: SyncTask, text: str) -> None:
        undone.append(threading.current_thread().name)

    await SkillRunner(agent).roll_back(attempt_of(), "no luck")
    assert undone == ["a2a-hook"]


async def test_listeners_hear_of_their_states_in_the_order_of_their_registration() -> None:
    agent, heard = Agent("A"), list[str]()

    @agent.skill
    async def skill(text: str) -> None: ...

    @agent.on("completed", "input-required")
    async def first(event: Happening) -> None:
        heard.append(f"first {event.state.name} {event.task.id}")

    @agent.on("completed")
    def second(event: Happening) -> None:
        heard.append(f"second {event.n} {threading.current_thread().name}")

    runner = SkillRunner(agent)
    assert runner.listens_for == {State.COMPLETED, State.INPUT_REQUIRED}
    await runner.tell(Happening(task_of("x"), State.COMPLETED, 7))
    await runner.tell(Happening(task_of("x"), State.FAILED, 7))
    assert heard == ["first COMPLETED t-1", "second 7 a2a-hook"]
    await first(Happening(task_of("x"), State.WORKING, 1))


async def test_resources_are_opened_once_reach_every_run_and_are_closed() -> None:
    agent, order = Agent("A"), list[object]()

    @agent.lifespan
    async def resources(given: Agent) -> AsyncIterator[dict[str, int]]:
        order.append(given.name)
        yield {"n": 1}
        order.append("closed")

    @agent.skill(id="s")
    async def skill(task: TaskContext) -> str:
        return str(task.resources)

    @agent.skill
    def plain(task: SyncTask) -> str:
        return str(task.resources)

    runner = SkillRunner(agent)
    await runner.open()
    for name in ("s", "plain"):
        attempt = RecordingAttempt(task_of("x", skill=name))
        await runner.run(attempt)
        assert texts(attempt) == ["{'n': 1}"]
    await runner.close()
    assert order == ["A", "closed"]


async def test_a_lifespan_may_be_a_context_manager_and_its_failure_comes_out() -> None:
    agent = Agent("A")

    @agent.lifespan
    def resources() -> AbstractAsyncContextManager[None]:
        @asynccontextmanager
        async def broken() -> AsyncIterator[None]:
            if agent.name:
                raise OSError("no model here")
            yield

        return broken()

    @agent.skill
    async def skill(text: str) -> None: ...

    with pytest.raises(NotOpened, match=r"lifespan could not open its resources \(OSError: no model here\)\.$"):
        await SkillRunner(agent).open()


async def message(text: str) -> Message:
    return Message(Role.AGENT, (Text(text),))


async def maybe(text: str) -> str | Message:
    return text


async def messages(text: str) -> AsyncIterator[Message | str]:
    yield text


async def text_only(text: str) -> str:
    return text


@pytest.mark.parametrize(
    ("function", "options", "direct"),
    [
        (message, {}, True),
        (maybe, {}, True),
        (messages, {}, True),
        (text_only, {}, False),
        (text_only, {"direct": True}, True),
    ],
)
def test_direct_is_said_or_seen_in_the_return_type(
    function: Callable[..., Any], options: dict[str, Any], direct: bool
) -> None:
    agent = Agent("A")
    agent.skill(**options)(function)
    assert agent.specs[0].direct is direct


def wrongly(say: Callable[[Agent, Any], object]) -> str:
    agent = Agent("A")

    @agent.skill
    async def skill(text: str) -> None: ...

    with pytest.raises(ConfigurationError) as caught:
        say(agent, skill)
    return str(caught.value)


async def fine(text: str) -> None: ...
async def no_result(text: str) -> None: ...
async def mistyped(txet: str) -> None: ...
async def undo(text: str, reason: str, result: str) -> None: ...
async def untyped(text) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001 - what is wrong with it
async def two(first: int, second: int) -> None: ...
async def coroutine() -> None: ...


def twice(agent: Agent, skill: Any) -> None:  # noqa: ANN401 - the skill's function
    skill.validate(fine)
    skill.validate(fine)


def two_lifespans(agent: Agent, skill: object) -> None:
    agent.lifespan(pieces_of_nothing)
    agent.lifespan(pieces_of_nothing)


async def pieces_of_nothing() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("say", "text"),
    [
        (twice, "hook fine(): the skill skill has validate fine already"),
        (lambda _, skill: skill.rollback(pieces), "hook pieces(): a hook is no generator"),
        (lambda _, skill: skill.validate_result(no_result), "needs a parameter for the result: result"),
        (lambda _, skill: skill.validate(untyped), 'parameter "text" has no type'),
        (
            lambda _, skill: skill.validate(mistyped),
            'parameter "txet" is none that validate of the skill skill fills (text)',
        ),
        (lambda _, skill: skill.rollback(undo), 'parameter "result" is none that rollback of the skill skill fills'),
        (lambda agent, _: agent.on("done")(fine), "done is none"),
        (lambda agent, _: agent.on()(fine), "name states of working"),
        (lambda agent, _: agent.on("failed")(two), "write it with one parameter: def two(event: Happening)"),
        (lambda agent, _: agent.lifespan(two), "it gets nothing, or the agent"),
        (lambda agent, _: agent.lifespan(coroutine), "write it as an async generator"),
        (two_lifespans, "has a lifespan already"),
    ],
)
def test_what_cannot_work_is_said_when_it_is_written(say: Callable[[Agent, Any], object], text: str) -> None:
    assert text in wrongly(say)


async def test_a_canceled_hook_in_a_thread_is_waited_for() -> None:
    agent, entered, leave = Agent("A"), threading.Event(), threading.Event()

    @agent.skill(id="s")
    async def skill(text: str) -> None: ...

    @skill.validate
    def check(text: str) -> None:
        entered.set()
        assert leave.wait(PATIENCE)

    running = asyncio.create_task(SkillRunner(agent).run(attempt_of()))
    assert await asyncio.to_thread(entered.wait, PATIENCE)
    running.cancel()
    await asyncio.sleep(0)
    assert not running.done()
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_plain_roll_back_that_takes_too_long_is_left_behind() -> None:
    agent, leave, left = Agent("A"), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    @agent.skill(id="s")
    def skill(text: str) -> None: ...

    @skill.rollback
    def undo(text: str) -> None:
        loop.call_soon_threadsafe(allowed.reschedule, loop.time())
        leave.wait(PATIENCE)
        left.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(PATIENCE) as allowed:
            await SkillRunner(agent, threads=1).roll_back(attempt_of(), "no luck")
    assert not left.is_set()
    leave.set()
    assert await asyncio.to_thread(left.wait, PATIENCE)


async def test_a_plain_listener_may_raise_what_it_likes() -> None:
    agent = Agent("A")

    @agent.skill(id="s")
    def skill(text: str) -> None: ...

    @agent.on("failed")
    def hear(event: Happening) -> None:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        await SkillRunner(agent).tell(Happening(task_of("x"), State.FAILED, 7))


async def test_every_check_of_a_result_is_asked_and_what_they_say_is_kept() -> None:
    agent, asked = Agent("A"), list[str]()

    @agent.skill(id="s")
    async def skill(text: str) -> str:
        return text

    assert [spec.checks for spec in agent.specs] == [False]

    @skill.validate_result(name="long enough")
    async def long_enough(result: str) -> str | None:
        asked.append("long enough")
        return "too short" if len(result) < 3 else None

    @skill.validate_result(required=False)
    def kind(task: SyncTask, result: str) -> bool:
        asked.append(task.step("seen", lambda: "kind"))
        return False

    @skill.validate_result
    async def true(task: TaskContext, result: str) -> None:
        asked.append(await task.step("seen", lambda: "true"))

    assert [spec.checks for spec in agent.specs] == [True]
    attempt = attempt_of("hi")
    with pytest.raises(Fail, match="too short"):
        await SkillRunner(agent).run(attempt)
    assert asked == ["long enough", "kind", "true"], "each remembers for itself"
    kept = decode(attempt.kept[Shelf.TASK, CHECKS, CHECKS])
    assert kept == {
        "run": 1,
        "checks": [
            {"name": "long enough", "passed": False, "required": True, "message": "too short"},
            {
                "name": "kind",
                "passed": False,
                "required": False,
                "message": "The result did not pass the agent's own check.",
            },
            {"name": "true", "passed": True, "required": True, "message": ""},
        ],
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("fine", 'the skill skill has a check "fine" already; give it another name'),
        ("x" * 129, "its name must be printable text of at most 128 characters"),
        ("a\nb", "its name must be printable text"),
    ],
)
def test_names_of_checks_are_their_own(name: str, text: str) -> None:
    agent = Agent("A")

    @agent.skill
    async def skill(text: str) -> str:
        return text

    async def fine(result: str) -> None: ...

    skill.validate_result(fine)
    with pytest.raises(ConfigurationError) as caught:
        skill.validate_result(name=name)(fine)
    assert text in str(caught.value)
