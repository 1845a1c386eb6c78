"""How runs end when something goes wrong: only the task concerned ends otherwise, everything else goes on."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from a2a_server import Agent, Fail, File, Reject, TaskContext
from a2a_server.errors import LeaseLost, StoreUnavailable
from a2a_server.model.objects import Phase, State, Task
from a2a_server.model.queries import TaskQuery
from a2a_server.model.rows import Key
from a2a_server.model.runs import Stopping
from a2a_server.model.turns import Bell, Needs
from a2a_server.notifiers.local import LIMIT_BATCHES
from tests.patience import PATIENCE
from tests.server.engines import LONG, Running, running
from tests.server.waiting import until

QUICK: dict[str, Any] = {"lease_seconds": 3600.0, "beat_seconds": 0.2, "poll_seconds": 0.05}
FOREVER = 1_000_000_000


def said(task: Task) -> str:
    assert task.status.message is not None
    return task.status.message.text


async def forever() -> None:
    await asyncio.Event().wait()


# Artifacts that cannot be stored


async def unaffected(server: Running, bystander: str, release: asyncio.Event, worker: bytes) -> None:
    """The run that went on beside all this ends as if nothing had been."""
    assert (await server.row(bystander)).phase is Phase.LEASED
    release.set()
    row = await server.reached(bystander, State.COMPLETED)
    assert (row.fence, row.attempt, row.crashes) == (1, 0, 0)
    assert server.engine.worker.id == worker
    await until(lambda: server.engine.worker.running == 0)


def writers(release: asyncio.Event) -> Agent:
    agent = Agent("Writers")

    @agent.skill(id="waits")
    async def waits(text: str) -> str:
        await release.wait()
        return text

    @agent.skill(id="pieces")
    async def pieces(text: str) -> AsyncIterator[str]:
        for _ in range(20):
            yield "x" * 5000

    @agent.skill(id="closed")
    async def closed(task: TaskContext, text: str) -> None:
        async with task.artifact("film", "video/mp4") as writer:
            for _ in range(20):
                await writer.write(b"x" * 5000)

    @agent.skill(id="file")
    async def file(text: str) -> File:
        return File("a.bin", raw=b"x" * 100_000)

    return agent


@pytest.mark.parametrize("skill", ["pieces", "closed", "file"])
async def test_an_artifact_that_is_too_large_fails_its_task_alone(tmp_path: Path, skill: str) -> None:
    release = asyncio.Event()
    async with running(writers(release), tmp_path, artifact_limit_bytes=70_000) as server:
        worker = server.engine.worker.id
        bystander = await server.start(skill="waits")
        task = await server.send(skill=skill)
        assert (task.status.state, "artifact_limit_bytes" in said(task)) == (State.FAILED, True)
        row = await server.row(task.id)
        assert (row.fence, row.crashes) == (1, 0)
        await unaffected(server, bystander, release, worker)


@pytest.mark.embedded
@pytest.mark.parametrize("skill", ["pieces", "closed", "file"])
async def test_an_artifact_store_that_takes_nothing_concerns_its_task_alone(tmp_path: Path, skill: str) -> None:
    release = asyncio.Event()
    async with running(writers(release), tmp_path) as server:
        worker = server.engine.worker.id
        bystander = await server.start(skill="waits")
        shutil.rmtree(tmp_path / "artifacts")
        task = await server.send(skill=skill, maxAttempts=3)
        assert (task.status.state, "could not be stored" in said(task)) == (State.FAILED, True)
        row = await server.row(task.id)
        assert (row.fence, row.attempt, row.crashes) == (3, 3, 0)
        await unaffected(server, bystander, release, worker)


# What the store refuses


@pytest.mark.parametrize("way", ["goes on", "awaits", "returns", "at the end"])
async def test_a_report_that_is_refused_fails_the_task_at_once(tmp_path: Path, way: str) -> None:
    agent = Agent("Poison")
    release = asyncio.Event()

    @agent.skill(id="waits")
    async def waits(text: str) -> str:
        await release.wait()
        return text

    @agent.skill(id="poison")
    async def poison(task: TaskContext, text: str) -> str:
        if way == "at the end":
            return "poison"
        told = task.progress(note="poison")
        if way == "goes on":
            await forever()
        if way == "awaits":
            await told
        return "unheard"

    async with running(agent, tmp_path, poll_seconds=LONG) as server:
        worker = server.engine.worker.id
        bystander = await server.start(skill="waits")
        server.store.poisonous = b"poison"
        task = await server.send(skill="poison")
        assert (task.status.state, task.artifacts) == (State.FAILED, ())
        assert "could not be stored" in said(task)
        assert (await server.row(task.id)).fence == 1
        await unaffected(server, bystander, release, worker)


# Whatever a handler raises


class Stop(BaseException):
    """No Exception."""


@pytest.mark.parametrize("skill", ["coroutine", "plain", "generator"])
async def test_a_base_exception_of_the_agents_own(tmp_path: Path, skill: str) -> None:
    agent = Agent("Raises")

    @agent.skill(id="coroutine")
    async def coroutine(text: str) -> str:
        raise Stop("secret")

    @agent.skill(id="plain")
    def plain(text: str) -> str:
        raise Stop("secret")

    @agent.skill(id="generator")
    async def generator(text: str) -> AsyncIterator[str]:
        yield "x"
        raise Stop("secret")

    async with running(agent, tmp_path, poll_seconds=LONG) as server:
        task = await server.send(skill=skill)
        assert (task.status.state, "secret" in said(task)) == (State.FAILED, False)
        assert (await server.row(task.id)).fence == 1
        await until(lambda: server.engine.worker.running == 0)


@pytest.mark.parametrize("error", [ConnectionError("closing"), RuntimeError("closing"), Stop()])
async def test_what_a_timed_out_handler_raises_is_part_of_its_end(tmp_path: Path, error: BaseException) -> None:
    agent = Agent("Closing")
    runs: list[int] = []
    begun = asyncio.Event()

    @agent.skill
    async def closing(task: TaskContext, text: str) -> None:
        runs.append(task.attempt)
        begun.set()
        try:
            await forever()
        except asyncio.CancelledError:
            raise error from None

    async with running(agent, tmp_path) as server:
        task = await overrun_task(server, begun)
        assert (task.status.state, "timeoutSeconds" in said(task)) == (State.FAILED, True)
        assert runs == [1]


@pytest.mark.parametrize(("error", "state"), [(Fail("Mine."), State.FAILED), (Reject("Mine."), State.REJECTED)])
async def test_a_timed_out_handler_has_the_last_word(tmp_path: Path, error: Exception, state: State) -> None:
    agent = Agent("Closing")
    begun = asyncio.Event()

    @agent.skill
    async def closing(text: str) -> None:
        begun.set()
        try:
            await forever()
        except asyncio.CancelledError:
            raise error from None

    async with running(agent, tmp_path) as server:
        task = await overrun_task(server, begun)
        assert (task.status.state, said(task)) == (state, "Mine.")


async def overrun_task(server: Running, begun: asyncio.Event) -> Task:
    """The task whose time was over when its handler had begun, however slowly it did."""
    sending = asyncio.create_task(server.send())
    await asyncio.wait_for(begun.wait(), PATIENCE)
    [run] = server.engine.worker._live
    run.stop(Stopping.DEADLINE)
    return await sending


async def test_a_background_task_that_goes_on_does_not_keep_the_task_from_ending(tmp_path: Path) -> None:
    agent = Agent("Noisy")
    left: list[asyncio.Task[None]] = []

    @agent.skill
    async def noisy(task: TaskContext, text: str) -> str:
        async def tick() -> None:
            while True:
                task.log("info", "tick")
                await asyncio.sleep(0)

        left.append(asyncio.create_task(tick()))
        await task.progress(0.5)
        return "done"

    async with running(agent, tmp_path) as server:
        try:
            task = await server.send()
            assert (task.status.state, len(task.artifacts)) == (State.COMPLETED, 1)
            async with asyncio.timeout(PATIENCE):
                assert isinstance((await asyncio.gather(*left, return_exceptions=True))[0], LeaseLost)
        finally:
            left[0].cancel()


# A store that does not answer, or not clearly


def claims_once_promoted() -> Callable[[Needs], bool]:
    """Whether a turn claims, and an alarm rang before it."""
    rung = False

    def holds(needs: Needs) -> bool:
        nonlocal rung
        held = rung and bool(needs.claims)
        rung = rung or bool(needs.tasks)
        return held

    return holds


@pytest.mark.parametrize("which", ["send", "claim", "report"])
async def test_a_commit_in_doubt_beyond_patience(tmp_path: Path, which: str) -> None:
    agent = Agent("Doubted")
    doubted = asyncio.Event()

    @agent.skill
    async def doubted_skill(task: TaskContext, text: str) -> str:
        if which == "report" and task.attempt == 1:
            await doubted.wait()
            await task.progress(note="heard?")
        return text

    async with running(agent, tmp_path, **QUICK) as server:
        old, store = server.engine.worker.id, server.store
        server.engine.writer._patience = 1.0
        if which == "send":
            store.doubtful = FOREVER
            with pytest.raises(StoreUnavailable):
                await server.send()
            page = await store.page(TaskQuery("", "local", "", limit=10))
            (task_id,) = [listed.task.id for listed in page.rows]
        else:
            if which == "claim":
                await server.hold(claims_once_promoted())
            task_id = await server.start(delaySeconds=0.5 if which == "claim" else 0)
            if which == "claim":
                await server.reached(task_id, Phase.READY)
                await asyncio.wait_for(store.held.wait(), PATIENCE)
            store.doubtful = FOREVER
            store.gate.set()
            doubted.set()
        await until(lambda: server.engine.worker.id != old)
        store.doubtful = 0
        row = await server.reached(task_id, State.COMPLETED)
        assert (row.fence, row.crashes) == (2, 1)
        assert server.engine.worker.id not in {old, b""}


async def test_an_outage_longer_than_the_lease(tmp_path: Path) -> None:
    agent = Agent("Outlived")
    begun: list[str] = []
    stopped: list[str] = []

    @agent.skill
    async def outlived(task: TaskContext, text: str) -> str:
        begun.append(text)
        if task.attempt > 1 or text == "later":
            return text
        try:
            if text == "says":
                while True:
                    await task.progress(0.5)
                    await asyncio.sleep(0.01)
            await forever()
        finally:
            stopped.append(text)
        return text

    async with running(agent, tmp_path, **QUICK) as server:
        tasks = [await server.start(text) for text in ("waits", "says")]
        await until(lambda: len(begun) == 2)
        server.store.down = True
        assert server.engine.worker._pulse is not None
        server.engine.worker._pulse._lease = server.engine.writer._patience = 0.5  # as if that was all there is
        await until(lambda: sorted(stopped) == ["says", "waits"] and server.engine.worker.running == 0)
        server.store.down = False
        for task_id in tasks:
            row = await server.reached(task_id, State.COMPLETED)
            assert (row.fence, row.crashes) == (2, 1)
        assert (await server.send("later")).status.state is State.COMPLETED


async def test_doorbells_are_followed_after_an_error(tmp_path: Path) -> None:
    agent = Agent("Deaf")
    begun = asyncio.Event()

    @agent.skill
    async def deaf(text: str) -> None:
        begun.set()
        await forever()

    async with running(agent, tmp_path, poll_seconds=LONG, cancel_grace_seconds=3600) as server:
        task_id = await server.start()
        await begun.wait()
        row = await server.row(task_id)
        for failure in (StoreUnavailable("silent"), ZeroDivisionError("a bug")):
            server.store.deaf, server.store.failure = 1, failure
            with server.engine.hub.watch(row.key) if isinstance(failure, ZeroDivisionError) else nullcontext():
                await overrun(server)
                await until(lambda: server.store.deaf == 0)
        assert (await server.cancel(task_id)).status.state is State.CANCELED


async def overrun(server: Running) -> None:
    """Ring so often that the listener is told to poll."""
    for _ in range(LIMIT_BATCHES + 1):
        await server.engine.backends.notifier.ring([Bell(Key(bytes(16)), None, ())])
