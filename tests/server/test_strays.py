"""What a handler leaves behind, takes from another run or raises half made keeps no task from ending."""

from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path

import pytest

from a2a_server import Agent, Fail, File, Reject, Retry, SyncTask, TaskContext
from a2a_server.model.objects import Phase, Progress, State
from a2a_server.model.runs import Stopping
from a2a_server.running import Attempt
from tests.server.engines import LONG, Running, running
from tests.server.scripted import Scripted, serving
from tests.server.waiting import until

pytestmark = pytest.mark.backends


async def ended(server: Running, *states: State) -> None:
    """No poll and no alarm ends a task here: what its run does not tell is never told."""
    task_id = await server.start()
    assert (await server.reached(task_id, *states)).fence == 1
    await until(lambda: server.engine.worker.running == 0)


async def test_a_cancellation_that_comes_behind_the_result(tmp_path: Path) -> None:
    agent = Agent("Late")

    @agent.skill
    async def late(task: TaskContext, text: str) -> str:
        task.progress(0.5)
        await asyncio.sleep(0)  # what was said is on its way
        running_in = asyncio.current_task()
        assert running_in is not None
        running_in.cancel()
        return text

    async with running(agent, tmp_path, poll_seconds=LONG) as server:
        await ended(server, State.COMPLETED)


async def test_a_watchdog_that_nobody_took_back(tmp_path: Path) -> None:
    agent = Agent("Watched")

    @agent.skill
    async def watched(text: str) -> File:
        running_in = asyncio.current_task()
        assert running_in is not None
        asyncio.get_running_loop().call_later(0.001, running_in.cancel)
        return File("a.bin", raw=b"x" * 3_000_000)

    async with running(agent, tmp_path, poll_seconds=LONG) as server:
        await ended(server, State.COMPLETED)


@pytest.mark.parametrize("stopped", [False, True])
async def test_the_context_of_another_run(tmp_path: Path, stopped: bool) -> None:
    agent, kept, begun = Agent("Keeping"), list[TaskContext](), asyncio.Event()

    @agent.skill
    async def keep(task: TaskContext, text: str) -> str:
        kept.append(task)
        if len(kept) == 2:
            try:
                begun.set()
                if stopped:
                    await asyncio.Event().wait()
            finally:
                kept[0].progress(0.9)
        return text

    async with running(agent, tmp_path, poll_seconds=LONG, lease_seconds=3600) as server:
        assert (await server.send("first")).status.state is State.COMPLETED
        task_id = await server.start("second")
        await begun.wait()
        if stopped:
            [run] = server.engine.worker._live
            run.stop(Stopping.DEADLINE)
        assert (await server.reached(task_id, State.FAILED)).fence == 1


class Unsaid:
    """A text that cannot be had."""

    def __str__(self) -> str:
        raise ValueError("no words")


class Rejected(Reject):
    def __init__(self, code: int) -> None:
        self.code = code


class Failed(Fail):
    def __init__(self, code: int) -> None:
        self.code = code


class Again(Retry):
    def __init__(self, code: int) -> None:
        self.code = code


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        (Rejected(3), State.REJECTED, Reject.text),
        (Failed(3), State.FAILED, Fail.text),
        (Again(3), State.FAILED, Retry.text),
        (Fail(Unsaid()), State.FAILED, "unexpected error"),  # type: ignore[arg-type]  # on purpose
    ],
    ids=["rejected", "failed", "again", "unsaid"],
)
async def test_an_exception_without_its_text(tmp_path: Path, error: Exception, state: State, said: str) -> None:
    agent = Agent("Mute")

    @agent.skill
    async def mute(text: str) -> str:
        raise error

    async with running(agent, tmp_path, poll_seconds=LONG) as server:
        task = await server.send(maxAttempts=1)
        assert task.status.state is state
        assert task.status.message is not None
        assert said in task.status.message.text


@pytest.mark.embedded
async def test_a_task_that_is_handed_back_while_its_artifacts_cannot_be_kept(tmp_path: Path) -> None:
    agent, begun = Agent("Filming"), asyncio.Event()

    @agent.skill
    async def film(task: TaskContext, text: str) -> str:
        task.artifact("film", "video/mp4").write(b"x" * 100_000)
        begun.set()
        await asyncio.Event().wait()
        return text

    async with running(agent, tmp_path, poll_seconds=LONG) as server:
        shutil.rmtree(tmp_path / "artifacts")
        task_id = await server.start(maxAttempts=1)
        await begun.wait()
        await server.system.stop()
        await server.store.open()
        row = await server.row(task_id)
        await server.store.close()
    assert (row.phase, row.attempt) == (Phase.READY, 0), "to be handed back costs nothing"


async def test_a_roll_back_whose_clean_up_fails_as_it_is_stopped_is_done_again(tmp_path: Path) -> None:
    undoing: list[str] = []
    again = asyncio.Event()

    async def fail(attempt: Attempt) -> None:
        raise Fail("no luck")

    async def undo(attempt: Attempt) -> None:
        undoing.append(attempt.task.id)
        if len(undoing) > 1:
            again.set()
            return
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError("closing") from None

    script = Scripted(fail, rolls_back=True)
    script.roll_back_with = undo
    async with serving(script, tmp_path, poll_seconds=0.05) as server:
        task_id = await server.start()
        await until(lambda: len(undoing) == 1)
        [run] = server.engine.worker._live
        run.stop(Stopping.SHUTDOWN)
        await again.wait()
        await server.reached(task_id, State.FAILED)


async def test_a_thread_whose_word_is_refused_loses_its_task_and_keeps_its_slot(tmp_path: Path) -> None:
    agent, release = Agent("Busy"), threading.Event()

    @agent.skill
    def busy(task: SyncTask, text: str) -> str:
        task._attempt.emit(Progress(0.5, None, None, "poison"))
        release.wait()
        return text

    async with running(agent, tmp_path, poll_seconds=LONG, cancel_grace_seconds=0.2, threads=1) as server:
        server.store.poisonous = b"poison"
        task_id = await server.start()
        try:
            await server.reached(task_id, State.FAILED)  # while it works
            [run] = server.engine.worker._live
            run.stop(Stopping.CANCELED)
            run.drop()
            for _ in range(10):
                await asyncio.sleep(0)
            assert server.engine.worker._free[True] == 0
        finally:
            release.set()
        await until(lambda: server.engine.worker._free[True] == 1)
