"""Questions of agents over the whole server: asked once, answered in any generation, through crashes at every event.

Source: core.md section 8.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import pytest_asyncio

from a2a_server import Agent, Data, Fail, File, Reject, SyncTask, TaskContext, Text
from a2a_server.testing import Connection, Protocol, connect
from tests.patience import PATIENCE
from tests.server.agent_talks import (
    GENERATIONS,
    Answer,
    asked,
    assembled,
    crashing,
    log_of,
    made,
    parts_of,
    questions,
    reply,
    said,
    state,
    talk,
    told,
    waits,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.backends]

ENTITLED = "The handler asked another question than before; it must ask the same ones in every run."
SWALLOWED = "The handler went on after it had asked; it must let the exception Paused pass through it."


def asking() -> Agent:  # noqa: C901 - many small skills, one for each way to ask
    agent = Agent("Asking")

    @agent.skill
    async def plainly(task: TaskContext) -> str:
        name = await task.ask("Name?")
        town = await task.ask("Town?")
        return f"{name} of {town}"

    @agent.skill
    async def by_name(task: TaskContext) -> str:
        names = ("town", "name") if len(task.history) > 1 else ("name", "town")
        found = {name: await task.ask(f"{name.capitalize()}?", name=name) for name in names}
        return f"{found['name']} of {found['town']}"

    @agent.skill
    async def in_pieces(task: TaskContext) -> AsyncIterator[str]:
        yield await task.ask("Name?")
        yield " of "
        yield await task.ask("Town?")

    @agent.skill
    def in_a_thread(task: SyncTask) -> str:
        return f"{task.ask('Name?')} of {task.ask('Town?')}"

    @agent.skill
    def in_plain_pieces(task: SyncTask) -> Iterator[str]:
        yield task.ask("Name?")
        yield " of "
        yield task.ask("Town?")

    @agent.skill
    def in_threads_of_its_own(task: SyncTask) -> str:
        with ThreadPoolExecutor(1) as pool:
            name, town = (pool.submit(task.ask, question) for question in ("Name?", "Town?"))
            return f"{name.result()} of {town.result()}"

    @agent.skill
    async def gathered(task: TaskContext) -> str:
        name, town = await asyncio.gather(task.ask("Name?"), task.ask("Town?"))
        return f"{name} of {town}"

    @agent.skill
    async def in_a_group(task: TaskContext) -> str:
        async with asyncio.TaskGroup() as group:
            name, town = group.create_task(task.ask("Name?")), group.create_task(task.ask("Town?"))
        return f"{name.result()} of {town.result()}"

    @agent.skill
    async def in_groups_of_groups(task: TaskContext) -> str:
        async def town() -> str:
            async with asyncio.TaskGroup() as group:
                found = group.create_task(task.ask("Town?"))
            return found.result()

        async with asyncio.TaskGroup() as group:
            name = await task.ask("Name?")
            found = group.create_task(town())
        return f"{name} of {found.result()}"

    @agent.skill
    async def in_time(task: TaskContext) -> str:
        name = await asyncio.wait_for(task.ask("Name?"), 60)
        async with asyncio.timeout(60):
            return f"{name} of {await task.ask('Town?')}"

    @agent.skill
    async def with_care(task: TaskContext) -> str:
        try:
            return f"{await task.ask('Name?')} of {await task.ask('Town?')}"
        except Exception:  # noqa: BLE001 - what careful authors write
            return "something went wrong"

    @agent.skill
    async def in_steps(task: TaskContext) -> str:
        async def name() -> str:
            return await task.ask("Name?")

        first = await task.step("name", name)
        return f"{first} of {await task.ask('Town?')}"

    @agent.skill
    def in_plain_steps(task: SyncTask) -> str:
        first = task.step("name", lambda: task.ask("Name?"))
        return f"{first} of {task.ask('Town?')}"

    return agent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Connection]:
    async with connect(asking()) as connection:
        yield connection


def skill(name: str) -> Answer:
    return {"text": "hello", "options": {"skill": name}}


@pytest.mark.parametrize("name", [spec.id for spec in asking().specs])
async def test_however_a_skill_asks_each_question_is_asked_once_and_its_answer_used(
    server: Connection, name: str
) -> None:
    task = await talk(server, skill(name), "Ada", "London")
    assert (state(task), made(task)) == ("completed", "Ada of London"), task
    assert questions(task) == ["Name?", "Town?"]
    log = await log_of(server, task)
    assert asked(log) == ["Name?", "Town?"]
    assert assembled(log) == "Ada of London"
    assert [n for n, _ in log] == list(range(1, len(log) + 1))


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_every_generation_reads_the_question_and_answers_it(server: Connection, generation: Protocol) -> None:
    task = await talk(server, skill("plainly"), generation=generation)
    assert (state(task), said(task)) == ("input-required", "Name?")
    again = await reply(server, task, "Ada", generation)
    assert (again["id"], said(again)) == (task["id"], "Town?")
    last = await reply(server, task, "London", generation)
    assert (last["id"], state(last), made(last)) == (task["id"], "completed", "Ada of London")


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_an_answer_is_followed_by_streaming(server: Connection, generation: Protocol) -> None:
    task = await talk(server, skill("plainly"), "Ada", generation=generation)
    async with asyncio.timeout(PATIENCE):
        items = [item async for _, item in server.stream("London", task_id=task["id"], generation=generation)]
    assert "Ada of London" in str(items)
    last = items[-1]
    assert state(last.get("statusUpdate", last)) == "completed"
    assert made(await server.get(task["id"])) == "Ada of London"


@pytest.mark.parametrize("name", ["plainly", "in_pieces", "in_a_thread", "in_a_group", "in_steps"])
async def test_a_worker_that_dies_at_any_event_asks_nothing_twice(name: str) -> None:
    async with connect(asking()) as server:
        async for n, task in crashing(server, skill(name), "Ada", "London"):
            assert (state(task), made(task)) == ("completed", "Ada of London"), n
            assert questions(task) == ["Name?", "Town?"], n
            log = await log_of(server, task)
            assert asked(log) == ["Name?", "Town?"], n
            assert assembled(log) == "Ada of London", n


async def test_a_question_and_its_answer_carry_data_and_files(server: Connection) -> None:
    agent = Agent("Forms")

    @agent.skill
    async def fill(task: TaskContext) -> str:
        answer = await task.ask([Text("Which?"), Data({"choices": ["a", "b"]}), File("hint.txt", raw=b"hint")])
        [file] = answer.files
        return f"{answer} {answer.data['choice']} {file.filename} {(await task.read(file)).decode()}"

    answer: Answer = {"text": "this", "data": {"choice": "b"}, "files": [File("why.txt", "text/plain", raw=b"because")]}
    async with connect(agent) as forms:
        for generation in GENERATIONS:
            task = await talk(forms, "hello", generation=generation)
            assert (said(task), told(task)) == ("Which?", {"choices": ["a", "b"]})
            assert len(parts_of(task)) == 3
            task = await reply(forms, task, answer, generation)
            assert made(task) == "this b why.txt because"


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_authentication_is_asked_for(generation: Protocol) -> None:
    agent = Agent("Mail")

    @agent.skill
    async def mail(task: TaskContext) -> str:
        return f"{await task.need_auth('https://sign.in/here', scope='mail')}, {await task.ask('Sure?')}"

    async with connect(agent) as server:
        task = await talk(server, "hello", generation=generation)
        assert state(task) == ("input-required" if generation == "0.1" else "auth-required")
        assert "https://sign.in/here" in said(task)
        assert told(task) == {"url": "https://sign.in/here", "scope": "mail"}
        task = await reply(server, task, "done", generation)
        assert (state(task), said(task)) == ("input-required", "Sure?")
        assert made(await reply(server, task, "yes", generation)) == "done, yes"


async def test_another_question_than_before_fails_the_task_for_good(server: Connection) -> None:
    agent, runs = Agent("Fickle"), list[str]()

    @agent.skill(max_attempts=5)
    async def fickle(task: TaskContext) -> str:
        runs.append(task.id)
        return await task.ask(f"Question {len(runs)}?")

    async with connect(agent) as fickle_server:
        task = await talk(fickle_server, "hello", "yes")
    assert (state(task), said(task), len(runs)) == ("failed", ENTITLED, 2)


@pytest.mark.parametrize("way", ["bare", "gather", "thread"])
async def test_a_handler_that_swallows_its_question_fails(way: str) -> None:
    agent = Agent("Deaf")

    @agent.skill(default=way == "bare")
    async def bare(task: TaskContext) -> str:
        try:
            return await task.ask("Well?")
        except BaseException:  # noqa: BLE001 - the mistake that is tried
            return "never mind"

    @agent.skill(default=way == "gather")
    async def gather(task: TaskContext) -> str:
        return str(await asyncio.gather(task.ask("Well?"), return_exceptions=True))

    @agent.skill(default=way == "thread")
    def thread(task: SyncTask) -> str:
        try:
            return task.ask("Well?")
        except BaseException:  # noqa: BLE001 - the mistake that is tried
            return "never mind"

    async with connect(agent) as server:
        task = await talk(server, "hello")
        assert (state(task), said(task)) == ("failed", SWALLOWED)


async def test_finally_runs_when_a_skill_asks() -> None:
    agent, closed = Agent("Tidy"), list[str]()

    @agent.skill(default=True)
    async def tidy(task: TaskContext) -> AsyncIterator[str]:
        try:
            yield await task.ask("Well?")
        finally:
            closed.append("async")

    @agent.skill
    def plain(task: SyncTask) -> Iterator[str]:
        try:
            yield task.ask("Well?")
        finally:
            closed.append("plain")

    async with connect(agent) as server:
        assert waits(await talk(server, "hello"))
        assert waits(await talk(server, skill("plain")))
    assert closed == ["async", "plain"]


async def test_what_goes_wrong_beside_a_question_waits_for_the_answer() -> None:
    agent = Agent("Busy")

    @agent.skill
    async def busy(task: TaskContext) -> str:
        async def strict() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise Reject("cleaned up")

        async with asyncio.TaskGroup() as group:
            other = group.create_task(strict())
            await asyncio.sleep(0)
            answer = await task.ask("Well?")
            other.cancel()
        return answer

    async with connect(agent) as server:
        task = await talk(server, "hello")
        assert (state(task), said(task)) == ("input-required", "Well?")
        task = await reply(server, task, "yes")
        assert (state(task), said(task)) == ("rejected", "cleaned up")


@pytest.mark.parametrize(
    ("errors", "ends", "text"),
    [
        ([ValueError("secret"), Reject("no")], "rejected", "no"),
        ([OSError("disk"), Fail("gave up")], "failed", "gave up"),
        ([OSError("disk"), TimeoutError()], "completed", ""),
        ([ValueError("secret"), OSError("disk")], "failed", "The skill 'grouped' failed with an unexpected error"),
    ],
)
async def test_of_several_errors_the_agents_own_words_count_and_then_the_first(
    errors: list[Exception], ends: str, text: str
) -> None:
    agent = Agent("Grouped")

    @agent.skill(max_attempts=2)
    async def grouped(task: TaskContext) -> str:
        async def broken(error: Exception) -> None:
            raise error

        if task.attempt == 1:
            async with asyncio.TaskGroup() as group:
                for error in errors:
                    group.create_task(broken(error))
        return "done"

    async with connect(agent) as server:
        task = await talk(server, "hello")
    assert state(task) == ends
    assert said(task).startswith(text)
