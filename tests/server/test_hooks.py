"""What the engine calls besides a handler: roll-backs before bad ends, tidings after commits, open and close."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from a2a_server.codec import decode
from a2a_server.engine import telling
from a2a_server.errors import Fail, LeaseLost, Reject, Retry
from a2a_server.lifecycle.limits import Pause
from a2a_server.model.objects import Phase, State, Text
from a2a_server.model.queries import RowQuery, Table, TaskQuery
from a2a_server.model.rows import JournalRow, PushRow
from a2a_server.model.runs import Chunk, Happening
from a2a_server.policy import SECOND
from a2a_server.running import Attempt
from a2a_server.stores.sqlite import SqliteStore
from tests.patience import PATIENCE
from tests.server.engines import Running
from tests.server.scripted import Scripted, ask, serving
from tests.server.waiting import until


async def by_its_words(attempt: Attempt) -> str:
    match attempt.task.message.text:
        case "fail":
            raise Fail("no luck")
        case "break":
            raise ValueError("secret")
        case "reject":
            raise Reject("no")
        case "retry":
            raise Retry("later", after_seconds=0)
        case "wait":
            await asyncio.Event().wait()
        case "ask":
            return await ask(attempt, "Well?")
    return "done"


def rolled_back(script: Scripted) -> list[str]:
    return [what for call, what in script.calls if call == "roll_back"]


@pytest.mark.parametrize(
    ("text", "state", "times"),
    [("fail", State.FAILED, 1), ("break", State.FAILED, 1), ("reject", State.REJECTED, 0), ("ok", State.COMPLETED, 0)],
)
async def test_a_roll_back_comes_before_a_failure_and_before_nothing_else(
    tmp_path: Path, text: str, state: State, times: int
) -> None:
    script = Scripted(by_its_words, rolls_back=True)
    async with serving(script, tmp_path) as served:
        assert (await served.send(text)).status.state is state
    assert len(rolled_back(script)) == times
    if text == "fail":
        assert rolled_back(script) == ["no luck"]


async def test_a_roll_back_comes_once_behind_the_last_attempt(tmp_path: Path) -> None:
    script = Scripted(by_its_words, rolls_back=True)
    async with serving(script, tmp_path, max_attempts=3) as served:
        assert (await served.send("retry")).status.state is State.FAILED
    assert [call for call, _ in script.calls][1:-1] == ["run", "run", "run", "roll_back"]


async def test_a_roll_back_may_still_speak(tmp_path: Path) -> None:
    script = Scripted(by_its_words, rolls_back=True)

    async def undo(attempt: Attempt) -> None:
        await attempt.remember("undone", "x", b"1")

    script.roll_back_with = undo
    async with serving(script, tmp_path) as served:
        task = await served.send("fail")
        row = await served.row(task.id)
        page = await served.store.rows(RowQuery(Table.STATE, (row.key, "undone")))
        assert len(page.rows) == 1


async def test_a_canceled_run_rolls_back(tmp_path: Path) -> None:
    script = Scripted(by_its_words, rolls_back=True)
    async with serving(script, tmp_path) as served:
        task_id = await served.start("wait")
        await until(lambda: ("run", "wait") in script.calls)
        assert (await served.cancel(task_id)).status.state is State.CANCELED
    assert rolled_back(script) == ["The task was canceled."]


async def test_a_paused_task_rolls_back_in_a_last_run_when_it_is_canceled(tmp_path: Path) -> None:
    script = Scripted(by_its_words, rolls_back=True)
    async with serving(script, tmp_path) as served:
        task = await served.send("ask")
        assert (await served.cancel(task.id)).status.state is State.CANCELED
    assert [call for call, _ in script.calls][1:-1] == ["run", "roll_back"]


async def test_a_task_that_nobody_answers_rolls_back(tmp_path: Path) -> None:
    script = Scripted(by_its_words, rolls_back=True)
    async with serving(script, tmp_path, pause_seconds=0.05, poll_seconds=0.02) as served:
        task = await served.send("ask")
        await served.reached(task.id, State.FAILED)
    assert rolled_back(script) == ["Nobody answered in time."]
    assert script.calls.count(("run", "ask")) == 1


async def test_what_was_canceled_before_its_first_run_has_nothing_to_undo(tmp_path: Path) -> None:
    script = Scripted(by_its_words, rolls_back=True)
    async with serving(script, tmp_path) as served:
        task_id = await served.start("wait", delaySeconds=3600)
        assert (await served.cancel(task_id)).status.state is State.CANCELED
    assert rolled_back(script) == []


async def test_a_roll_back_that_fails_is_journaled_and_the_task_ends(tmp_path: Path) -> None:
    script = Scripted(by_its_words, rolls_back=True)

    async def undo(attempt: Attempt) -> None:
        raise ValueError("secret")

    script.roll_back_with = undo
    async with serving(script, tmp_path) as served:
        task = await served.send("fail")
        assert task.status.state is State.FAILED
        row = await served.row(task.id)
        page = await served.store.rows(RowQuery(Table.JOURNAL, (row.key,)))
        lines = [decode(entry.body) for entry in page.rows if isinstance(entry, JournalRow)]
    assert {"level": "error", "text": "The roll-back failed (ValueError)."} in lines


async def test_a_roll_back_is_bounded_by_the_grace(tmp_path: Path) -> None:
    script = Scripted(by_its_words, rolls_back=True)

    async def undo(attempt: Attempt) -> None:
        await asyncio.Event().wait()

    script.roll_back_with = undo
    async with serving(script, tmp_path, cancel_grace_seconds=0.05) as served:
        assert (await served.send("fail")).status.state is State.FAILED


async def test_a_worker_that_dies_while_it_rolls_back_is_followed_by_one_that_does(tmp_path: Path) -> None:
    script = Scripted(by_its_words, rolls_back=True)
    stuck = asyncio.Event()

    async def undo(attempt: Attempt) -> None:
        if not stuck.is_set():
            stuck.set()
            await asyncio.Event().wait()

    script.roll_back_with = undo
    async with serving(script, tmp_path) as served:
        task_id = await served.start("fail")
        await stuck.wait()
        await served.engine.replace_worker()
        await served.reached(task_id, State.FAILED)
    assert len(rolled_back(script)) == 2


async def push_of(served: Running, task_id: str) -> PushRow:
    row = await served.row(task_id)
    page = await served.store.rows(RowQuery(Table.PUSH, (row.key,)))
    [push] = page.rows
    assert isinstance(push, PushRow)
    return push


async def told(served: Running, task_id: str, condition: Callable[[PushRow], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition(await push_of(served, task_id)):  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0.005)


async def test_the_agent_is_told_of_the_states_that_it_listens_for(tmp_path: Path) -> None:
    script = Scripted(by_its_words, listens_for=(State.COMPLETED, State.INPUT_REQUIRED))
    async with serving(script, tmp_path) as served:
        task = await served.answer(await served.send("ask"), "so")
        await until(lambda: len(script.told) == 2)
        assert [(one.state, one.text) for one in script.told] == [
            (State.INPUT_REQUIRED, "Well?"),
            (State.COMPLETED, "so"),
        ]
        assert script.told[1].task.id == task.id
        assert script.told[1].n == task.n
        await served.send("fail")
        await told(served, task.id, lambda push: not push.due_at)
    assert len(script.told) == 2


async def test_what_could_not_be_told_is_told_again(tmp_path: Path) -> None:
    script = Scripted(by_its_words, listens_for=(State.COMPLETED,))
    script.tell_failures = 2
    async with serving(script, tmp_path, poll_seconds=0.02) as served:
        await served.send("ok")
        await until(lambda: len(script.told) == 1)
    assert script.calls.count(("tell", "COMPLETED")) == 3


async def test_who_never_listens_becomes_a_dead_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "TRIES", 2)
    script = Scripted(by_its_words, listens_for=(State.COMPLETED,))
    script.tell_failures = 9
    async with serving(script, tmp_path, poll_seconds=0.02) as served:
        task = await served.send("ok")
        await told(served, task.id, lambda push: push.dead)
    assert script.calls.count(("tell", "COMPLETED")) == 2


@pytest.mark.embedded
async def test_tidings_outlive_a_restart(tmp_path: Path) -> None:
    script = Scripted(by_its_words, listens_for=(State.COMPLETED,))
    script.tell_failures = 1
    async with serving(script, tmp_path, backoff_base_seconds=300) as served:
        await served.send("ok")
        await until(lambda: ("tell", "COMPLETED") in script.calls)
        await until(lambda: script.tell_failures == 0)
    # The back-off of the first server is long over for a store whose clock went on.
    async with serving(script, tmp_path, poll_seconds=0.02) as served:
        assert isinstance(served.store.inner, SqliteStore)
        served.store.inner._offset = 400 * SECOND
        await until(lambda: len(script.told) == 1)


async def test_an_agent_that_does_not_open_keeps_the_server_from_starting(tmp_path: Path) -> None:
    script = Scripted(by_its_words)
    script.open_with = OSError("no model here")
    with pytest.raises(OSError, match="no model here"):
        async with serving(script, tmp_path):
            pass
    assert script.calls == [("open", "")], "what was not opened is not closed"


async def test_an_agent_is_opened_before_its_first_run_and_closed_behind_its_last(tmp_path: Path) -> None:
    script = Scripted(by_its_words)
    async with serving(script, tmp_path) as served:
        await served.send("ok")
        task_id = await served.start("wait")
        await served.reached(task_id, Phase.LEASED)
    assert [call for call, _ in script.calls] == ["open", "run", "run", "close"]


async def test_an_agent_that_cannot_be_closed_keeps_nothing_open(tmp_path: Path) -> None:
    script = Scripted(by_its_words)
    script.close_with = OSError("stuck")
    async with serving(script, tmp_path) as served:
        await served.send("ok")
    async with serving(Scripted(by_its_words), tmp_path) as served:  # the store and its lock were let go
        await served.send("ok")


async def test_what_a_stopped_handler_still_says_does_not_count_while_its_work_is_undone(tmp_path: Path) -> None:
    late: list[object] = []
    stopped = asyncio.Event()

    async def deaf(attempt: Attempt) -> str:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                stopped.set()
                await until(lambda: bool(rolled_back(script)))
                try:
                    await attempt.remember("late", "x", b"1")
                except LeaseLost as error:
                    late.append(error)
                    raise

    script = Scripted(deaf, rolls_back=True)
    async with serving(script, tmp_path, cancel_grace_seconds=2 * PATIENCE) as served:
        task_id = await served.start("wait")
        await until(lambda: ("run", "wait") in script.calls)
        [run] = served.engine.worker._live
        canceling = asyncio.create_task(served.cancel(task_id))
        await asyncio.wait_for(stopped.wait(), PATIENCE)
        run._end_without()  # the grace is over
        assert (await canceling).status.state is State.CANCELED
        await until(lambda: bool(late))


async def test_what_is_undone_never_goes_on(tmp_path: Path) -> None:
    """The reason is written before the roll-back, so a worker that dies in it is followed by another roll-back."""
    dead = asyncio.Event()

    async def handler(attempt: Attempt) -> str:
        if attempt.run == 1:
            raise Fail("no luck")
        return "shipped"

    async def undo(attempt: Attempt) -> None:
        if not dead.is_set():
            dead.set()
            await asyncio.Event().wait()

    script = Scripted(handler, rolls_back=True)
    script.roll_back_with = undo
    async with serving(script, tmp_path) as served:
        task_id = await served.start("go")
        await dead.wait()
        await served.engine.replace_worker()
        await served.reached(task_id, State.FAILED, State.COMPLETED)
        assert (await served.row(task_id)).state is State.FAILED
    assert script.calls.count(("run", "go")) == 1


@pytest.mark.parametrize("error", [KeyError("x"), asyncio.CancelledError(), LeaseLost(), SystemExit(3)])
async def test_whatever_a_roll_back_raises_the_task_ends(tmp_path: Path, error: BaseException) -> None:
    script = Scripted(by_its_words, rolls_back=True)

    async def undo(attempt: Attempt) -> None:
        raise error

    script.roll_back_with = undo
    async with serving(script, tmp_path) as served:
        assert (await served.send("fail")).status.state is State.FAILED


async def test_a_canceled_last_run_undoes_once_and_ends_as_canceled(tmp_path: Path) -> None:
    script = Scripted(by_its_words, rolls_back=True)
    undoing, go = asyncio.Event(), asyncio.Event()

    async def undo(attempt: Attempt) -> None:
        undoing.set()
        await go.wait()

    script.roll_back_with = undo
    async with serving(script, tmp_path) as served:
        task_id = await served.start("fail")
        await undoing.wait()
        canceling = asyncio.create_task(served.cancel(task_id))
        await until(lambda: bool(served.engine.worker.running))
        async with asyncio.timeout(PATIENCE):
            while not (await served.row(task_id)).cancel_at:  # noqa: ASYNC110 - nobody sets an event for it
                await asyncio.sleep(0.005)
        go.set()
        assert (await canceling).status.state is State.CANCELED
    assert len(rolled_back(script)) == 1


async def test_one_who_hangs_keeps_no_other_task_from_being_told(tmp_path: Path) -> None:
    script = Scripted(by_its_words, listens_for=(State.COMPLETED,))
    hanging = asyncio.Event()
    tell = script.tell

    async def slow(happening: Happening) -> None:
        if not hanging.is_set():
            hanging.set()
            await asyncio.Event().wait()
        await tell(happening)

    script.tell = slow  # type: ignore[method-assign]  # misbehaves on purpose
    async with serving(script, tmp_path, poll_seconds=0.02) as served:
        await served.send("first")
        await hanging.wait()
        second = await served.send("second")
        await until(lambda: [one.task.id for one in script.told] == [second.id])


async def test_an_undecided_answer_becomes_a_task_though_nobody_waits_for_it(tmp_path: Path) -> None:
    script = Scripted(by_its_words, direct=True)
    async with serving(script, tmp_path, direct_seconds=0.2) as served:
        sending = asyncio.create_task(served.send("wait"))
        await until(lambda: ("run", "wait") in script.calls)
        sending.cancel()
        async with asyncio.timeout(PATIENCE):
            while not (page := await served.store.page(TaskQuery("", "local", ""))).rows:  # noqa: ASYNC110 - nobody sets an event for it
                await asyncio.sleep(0.005)
        assert len(page.rows) == 1


async def test_a_failure_stays_one_though_an_artifact_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(attempt: Attempt) -> str:
        for _ in range(8):
            attempt.emit(Chunk("big", (Text("x" * 30_000),)))
            await attempt.room()
        raise Fail("no luck")

    async def full(*_: object, **__: object) -> None:
        raise OSError("disk")

    script = Scripted(handler)
    async with serving(script, tmp_path, inline_bytes=1000) as served:
        monkeypatch.setattr(served.engine.backends.artifacts, "put", full)
        task = await served.send("go")
    assert task.status.state is State.FAILED
    assert task.status.message is not None
    assert task.status.message.text == "no luck"
    assert script.calls.count(("run", "go")) == 1


@pytest.mark.parametrize("text", ["wait", "fail"])
async def test_a_queue_that_is_paused_holds_no_roll_back(tmp_path: Path, text: str) -> None:
    begun = asyncio.Event()

    async def handler(attempt: Attempt) -> str:
        await begun.wait()
        return await by_its_words(attempt)

    script = Scripted(handler, rolls_back=True)
    async with serving(script, tmp_path) as served:
        task_id = await served.start(text)
        await until(lambda: ("run", text) in script.calls)
        await served.engine.submit(Pause("queue:script", reason="night"))
        begun.set()
        if text == "wait":
            await served.cancel(task_id)
        await served.reached(task_id, Phase.FINAL)
        behind = await served.start("ok")
        await served.reached(behind, Phase.HELD)
    assert len(rolled_back(script)) == 1
