"""What the engine promises of runs: retries, time limits, gates, cancelation, and how they end."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from a2a_server import Agent, Fail, Partial, Reject, Retry, SyncTask, TaskContext
from a2a_server.testing import Connection, RpcError, connect
from tests.patience import PATIENCE
from tests.server.soon import TooLate, in_time
from tests.server.test_crashes import DONE, assembled, gapless, info, phrase
from tests.server.waiting import until, until_asked

pytestmark = pytest.mark.backends

FAILED, CANCELED = "TASK_STATE_FAILED", "TASK_STATE_CANCELED"


def said(task: dict[str, Any]) -> str:
    return str(task["status"]["message"]["parts"][0]["text"])


async def test_retries_back_off_and_succeed() -> None:
    agent = Agent("Flaky")
    begun: list[float] = []

    @agent.skill(max_attempts=4, retry_on=KeyError)
    async def flaky(task: TaskContext, text: str) -> str:
        begun.append(asyncio.get_running_loop().time())
        errors: list[Exception] = [Retry("Not yet.", after_seconds=0.2), KeyError("secret"), OSError("secret")]
        if task.attempt <= len(errors):
            raise errors[task.attempt - 1]
        return f"attempt {task.attempt}"

    async with connect(agent) as server:
        items = [pair async for pair in server.stream("go")]
        assert gapless(items)
        task = await server.get(items[0][1]["task"]["id"])
        assert (task["status"]["state"], phrase(task)) == (DONE, "attempt 4")
        notes = [
            said(item["statusUpdate"])
            for _, item in items
            if "message" in item.get("statusUpdate", {}).get("status", {})
        ]
        assert [note.rpartition(" at ")[0].partition("Next: ")[2] for note in notes] == [
            f"attempt {number} of 4" for number in (2, 3, 4)
        ]
        assert notes[0].startswith("Not yet.")
        assert not any("secret" in note for note in notes)
        states = [item["statusUpdate"]["status"]["state"] for _, item in items if "statusUpdate" in item]
        assert states == ["TASK_STATE_WORKING"] * 4 + [DONE]
        assert begun[1] - begun[0] >= 0.2
        assert all(later > sooner for sooner, later in pairwise(begun))


@pytest.mark.parametrize("error", [Retry("Not yet."), TimeoutError("secret")])
async def test_retries_are_exhausted(error: Exception) -> None:
    agent = Agent("Broken")
    runs: list[int] = []

    @agent.skill
    async def broken(task: TaskContext, text: str) -> str:
        runs.append(task.attempt)
        raise error

    async with connect(agent, backoff_base_seconds=0) as server:
        task = await server.send("go", options={"maxAttempts": 3})
        assert (task["status"]["state"], runs) == (FAILED, [1, 2, 3])
        assert "3 times" in said(task)
        assert "maxAttempts 3" in said(task)
        assert "secret" not in said(task)
        once = await server.send("go", options={"maxAttempts": 1})
        assert once["status"]["state"] == FAILED
        assert len(runs) == 4


async def test_text_of_a_failed_attempt_is_replaced() -> None:
    agent = Agent("Again")

    @agent.skill
    async def again(task: TaskContext, text: str) -> Any:  # noqa: ANN401 - a generator
        for index in range(4):
            yield f"{task.attempt}.{index} "
            if task.attempt == 1 and index == 2:
                raise Retry

    async with connect(agent) as server:
        items = [pair async for pair in server.stream("go")]
        task = await server.get(items[0][1]["task"]["id"])
        assert gapless(items)
        assert assembled(items) == phrase(task) == "2.0 2.1 2.2 2.3 "


async def test_how_runs_end() -> None:
    agent = Agent("Ends")

    @agent.skill
    async def ends(text: str) -> Any:  # noqa: ANN401 - whatever a skill returns
        if text == "partial":
            return Partial("some rows", "the archive was unreachable")
        if text == "nothing":
            return None
        if text == "data":
            return {"rows": [1, 2.5, None]}
        raise {
            "reject": Reject("Nothing to read."),
            "fail": Fail("The disk is full."),
            "bug": ValueError("secret /etc/passwd"),
            "exit": SystemExit(3),
        }[text]

    async with connect(agent) as server:
        partial = await server.send("partial")
        assert (partial["status"]["state"], phrase(partial)) == (DONE, "some rows")
        assert "the archive was unreachable" in str(partial["metadata"])
        assert "the archive was unreachable" in str((await server.get(partial["id"]))["metadata"])
        nothing = await server.send("nothing")
        assert (nothing["status"]["state"], nothing.get("artifacts")) == (DONE, None)
        data = await server.send("data")
        assert data["artifacts"][0]["parts"] == [{"data": {"rows": [1, 2.5, None]}}]
        rejected = await server.send("reject")
        assert (rejected["status"]["state"], said(rejected)) == ("TASK_STATE_REJECTED", "Nothing to read.")
        failed = await server.send("fail")
        assert (failed["status"]["state"], said(failed), info(failed)["attempt"]) == (FAILED, "The disk is full.", 1)
        for text in ("bug", "exit"):
            broken = await server.send(text)
            assert (broken["status"]["state"], info(broken)["attempt"]) == (FAILED, 1)
            assert "ends" in said(broken) or "process" in said(broken)
            for insides in ("secret", "/etc", "ValueError", "SystemExit", "Traceback"):
                assert insides not in str(broken)


async def test_timeout_of_a_run() -> None:
    agent = Agent("Slow")

    @agent.skill
    async def slow(text: str) -> str:
        await asyncio.sleep(60)
        return text

    @agent.skill(timeout_seconds=0.2)
    async def limited(text: str) -> str:
        await asyncio.sleep(60)
        return text

    async with connect(agent, cancel_grace_seconds=0.1) as server:
        for options in ({"timeoutSeconds": 0.2}, {"skill": "limited"}):
            task = await server.send("go", options=options)
            assert task["status"]["state"] == FAILED
            assert "timeoutSeconds" in said(task)
        late, never = await asyncio.gather(overdue(server), overdue(server, delaySeconds=3600))
        assert late["status"]["state"] == never["status"]["state"] == FAILED
        assert "deadline" in said(late)
        with pytest.raises(RpcError, match="-32602"):
            await server.send("go", options={"deadline": "2001-01-01T00:00:00Z"})


async def overdue(server: Connection, **options: object) -> dict[str, Any]:
    """A task that was sent before its deadline, and did not end before it."""

    async def send(deadline: datetime) -> dict[str, Any]:
        try:
            return await server.send("go", options={"deadline": deadline.isoformat(), **options})
        except RpcError as error:
            if error.code != -32602:
                raise
            raise TooLate from error

    return await in_time(send)


def moment_in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_delays() -> None:
    agent = Agent("Later")
    runs: list[float] = []

    @agent.skill
    async def later(text: str) -> str:
        runs.append(asyncio.get_running_loop().time())
        return text

    async with connect(agent) as server:
        for option in ("delaySeconds", "runAt"):
            far = {option: 3600.0 if option == "delaySeconds" else moment_in(3600.0)}
            task = await server.send("go", options=far, blocking=False)
            assert (task["status"]["state"], info(task)["phase"]) == ("TASK_STATE_SUBMITTED", "scheduled")
            sent_at = asyncio.get_running_loop().time()
            options = {option: 1.0 if option == "delaySeconds" else moment_in(1.0)}
            task = await server.send("go", options=options, blocking=False)
            assert [n async for n, _ in server.subscribe(task["id"], 1)] == [2, 3, 4]
            assert runs[-1] - sent_at >= 0.98
        assert len(runs) == 2


async def test_concurrency_gate() -> None:
    agent = Agent("Narrow")
    running = most = 0
    go_on = asyncio.Event()

    @agent.skill(max_concurrency=3)
    async def narrow(text: str) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go_on.wait()
        await asyncio.sleep(0)
        running -= 1
        return text

    @agent.skill
    async def wide(text: str) -> str:
        return text

    async with connect(agent) as server:
        tasks = await asyncio.gather(*(server.send(f"{index}", blocking=False) for index in range(30)))
        await until(lambda: running == 3)
        free = await server.send("x", options={"skill": "wide"})
        assert free["status"]["state"] == DONE
        phases: list[dict[str, Any]] = []

        async def some_held() -> bool:  # a claim that finds the gate full holds what it found
            phases[:] = [info(await server.get(task["id"])) for task in tasks]
            return any(found["phase"] == "held" for found in phases)

        await until_asked(some_held)
        held = [found for found in phases if found["phase"] == "held"]
        assert sum(found["phase"] == "leased" for found in phases) == 3
        assert {found["heldBy"] for found in held} == {"skill:narrow"}
        assert {found["status"] for found in held} == {"blocked"}
        go_on.set()
        async with asyncio.timeout(PATIENCE):
            for task in tasks:
                assert [n async for n, _ in server.subscribe(task["id"], 1)][-1] == 4
        assert most == 3


async def test_gate_is_given_back_by_crashes_cancels_and_failures() -> None:
    agent = Agent("One")

    @agent.skill(max_concurrency=1)
    async def one(text: str) -> str:
        if text == "fail":
            raise Fail
        if text == "sleep":
            await asyncio.sleep(60)
        return text

    async with connect(agent) as server:
        for _ in range(3):
            sleeping = await server.send("sleep", blocking=False)
            await server.crash_worker()
            assert (await server.cancel(sleeping["id"]))["status"]["state"] == CANCELED
            assert (await server.send("fail"))["status"]["state"] == FAILED
            assert (await server.send("echo"))["status"]["state"] == DONE


def give_little_grace(server: Connection) -> None:
    """Handlers have little time to stop, and who cancels waits for long: by the settings it is a second more."""
    worker = server._system.engine.worker
    worker._shop = replace(worker._shop, limits=replace(worker._shop.limits, cancel_grace_seconds=0.2))


async def test_cancel_of_a_handler_that_ignores_it() -> None:
    agent = Agent("Deaf")
    end = asyncio.Event()
    lost: list[BaseException] = []

    @agent.skill
    async def deaf(task: TaskContext, text: str) -> str:
        await task.progress(note="begun")
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                continue
        try:
            await task.progress(note="too late")
        except BaseException as error:
            lost.append(error)
            raise
        return "too late"

    async with connect(agent, cancel_grace_seconds=2 * PATIENCE) as server:
        give_little_grace(server)
        try:
            stream = server.stream("go")
            task_id = (await anext(stream))[1]["task"]["id"]
            await anext(stream)
            await anext(stream)
            canceled = await server.cancel(task_id)
            assert (canceled["status"]["state"], canceled.get("artifacts")) == (CANCELED, None)
            end.set()
            assert [n async for n, _ in stream] == [4]
            await until(lambda: bool(lost))
            assert (await server.get(task_id))["status"]["state"] == CANCELED
        finally:
            end.set()


async def test_cancel_of_a_plain_skill() -> None:
    agent = Agent("Plain")
    release = threading.Event()
    reasons: list[str] = []

    @agent.skill(id="looks")
    def looks(task: SyncTask, text: str) -> str:
        task.progress(note="begun")
        while task.stopping is None:
            release.wait(0.01)
        reasons.append(task.stopping)
        return "stopped"

    @agent.skill(id="deaf")
    def deaf(task: SyncTask, text: str) -> str:
        task.progress(note="begun")
        release.wait(PATIENCE)
        return "too late"

    async with connect(agent, cancel_grace_seconds=2 * PATIENCE) as server:
        give_little_grace(server)
        try:
            for skill in ("deaf", "looks"):
                stream = server.stream("go", options={"skill": skill})
                task_id = (await anext(stream))[1]["task"]["id"]
                await anext(stream)
                await anext(stream)
                assert (await server.cancel(task_id))["status"]["state"] == CANCELED
                assert [n async for n, _ in stream] == [4]
                assert (await server.get(task_id)).get("artifacts") is None
            await until(lambda: reasons == ["canceled"])
        finally:
            release.set()


async def test_cancel_that_loses() -> None:
    agent = Agent("Winner")
    begun = asyncio.Event()

    @agent.skill
    async def winner(text: str) -> str:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "a result, first"
        return text

    async with connect(agent) as server:
        task = await server.send("go", blocking=False)
        await begun.wait()
        with pytest.raises(RpcError, match="-32002"):
            await server.cancel(task["id"])
        ended = await server.get(task["id"])
        assert (ended["status"]["state"], phrase(ended)) == (DONE, "a result, first")


async def test_priorities() -> None:
    agent = Agent("Lanes")
    order: list[str] = []
    go_on = asyncio.Event()

    @agent.skill(max_concurrency=1)
    async def lanes(text: str) -> str:
        order.append(text)
        await go_on.wait()
        return text

    async with connect(agent) as server:
        await server.send("first", blocking=False)
        await until(lambda: order == ["first"])
        names = ["backlog", "low", "normal", "high", "critical"]
        tasks = [await server.send(name, options={"priority": name}, blocking=False) for name in names]
        go_on.set()
        for task in tasks:
            assert [n async for n, _ in server.subscribe(task["id"], 1)]
        assert order == ["first", *reversed(names)]
