"""Tasks that ended, tried again: as they were, from a step on, in bulk; and those that wait for their time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from a2a_server import Agent, Fail, File, Retry, TaskContext
from a2a_server.codec import decode_spec
from a2a_server.errors import InvalidParams, TaskNotFound, UnsupportedOperation
from a2a_server.lifecycle.dead_letters import Dead
from a2a_server.model.objects import TASK_URI, Generation, Message, Phase, Role, Scope, State, Task, Text, Wishes
from a2a_server.model.options import TaskOptions
from a2a_server.model.requests import SendRequest
from a2a_server.model.rows import TaskRow
from a2a_server.policy import SECOND
from a2a_server.service.retrying import Again, Retrying
from tests.patience import PATIENCE
from tests.server.engines import LONG, Running, as_task, running
from tests.server.soon import TooLate, in_time
from tests.server.waiting import until

pytestmark = pytest.mark.embedded

ME = Scope()


class Workshop:
    """An agent, and what its steps did."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.broken = True
        self.agent = Agent("Workshop")
        self.agent.skill(self.build)
        self.agent.skill(default=True)(self.talk)
        self.agent.skill(self.keep)
        self.agent.skill(self.chain)

    def do(self, what: str) -> str:
        self.done.append(what)
        return what.upper()

    async def build(self, task: TaskContext, text: str, colour: str = "red") -> str:
        """Read, ask, paint, sell."""
        read = await task.step("read", self.do, f"read {text}")
        await task.checkpoint("state", {"read": read})
        size = await task.ask("How large?", name="size")
        painted = await task.step("paint", self.do, f"paint {colour} {size}")
        if self.broken:
            raise Fail("The shop is closed.")
        return f"{read}, {painted}, checkpoints {sorted(task.checkpoints)}"

    async def chain(self, task: TaskContext, text: str) -> None:
        """Take three steps, whose names are in no order."""
        for name in ("zeta", "mid", "alpha"):
            await task.step(name, self.do, name)

    async def talk(self, text: str) -> str:
        """Do as it is told."""
        if text == "later":
            raise Retry("not now", after_seconds=3600)
        if text == "never" and self.broken:
            raise Retry("not now")
        if text == "no":
            raise Fail("No.")
        return text

    async def keep(self, source: File) -> str:
        """Say how large the file is."""
        return str(source.size)


def wishes(row: TaskRow) -> Wishes:
    found = decode_spec(row.spec).wishes
    assert found is not None
    return found


async def built(server: Running) -> Task:
    asked = await server.send("wood", skill="build", parameters={"colour": "blue"}, title="Chair", priority="high")
    assert asked.status.state is State.INPUT_REQUIRED
    return await server.answer(asked, "tall")


def said(task: Task) -> str:
    return (
        task.status.message.text
        if task.status.message
        else "".join(part.text for artifact in task.artifacts for part in artifact.parts if isinstance(part, Text))
    )


async def ended(server: Running, task_id: str) -> Task:
    from a2a_server.model.requests import GetRequest  # noqa: PLC0415

    await server.reached(task_id, Phase.FINAL, Phase.PAUSED)
    return await server.operations.get(ME, GetRequest(task_id))


async def test_a_retry_is_a_new_task_of_the_same_making(tmp_path: Path) -> None:
    shop = Workshop()
    async with running(shop.agent, tmp_path) as server:
        task, retrying = await built(server), Retrying(server.engine)
        assert task.status.state is State.FAILED
        again = await retrying.retry(ME, task.id)
        row, old = await server.row(again.id), await server.row(task.id)
        assert again.id != task.id
        assert wishes(row).retry_of == task.id
        assert (row.skill, row.lane, row.max_attempts, row.context) == (
            old.skill,
            old.lane,
            old.max_attempts,
            old.context,
        )
        assert decode_spec(row.spec).parameters == {"colour": "blue"}
        assert decode_spec(row.spec).title == "Chair"
        asked = await ended(server, again.id)
        assert asked.status.state is State.INPUT_REQUIRED
        assert shop.done == ["read wood", "paint blue tall", "read wood"]
        assert (await server.row(task.id)) == old


async def test_a_fork_keeps_what_came_before_the_step(tmp_path: Path) -> None:
    shop = Workshop()
    async with running(shop.agent, tmp_path) as server:
        task, retrying = await built(server), Retrying(server.engine)
        shop.broken = False
        shop.done.clear()
        forked = await retrying.retry(ME, task.id, Again(from_step="paint", parameters={"colour": "green"}))
        end = await ended(server, forked.id)
        assert end.status.state is State.COMPLETED
        assert shop.done == ["paint green tall"]
        assert said(end) == "READ WOOD, PAINT GREEN TALL, checkpoints ['state']"
        assert [message.text for message in end.history] == ["wood", "How large?", "tall"]
        row = await server.row(forked.id)
        assert (wishes(row).retry_of, wishes(row).forked_from) == (task.id, "paint")
        shop.done.clear()
        first = await retrying.retry(ME, task.id, Again(from_step="read", text="iron"))
        assert (await ended(server, first.id)).status.state is State.INPUT_REQUIRED
        assert shop.done == ["read iron"]
        with pytest.raises(InvalidParams, match="it remembers: paint, read"):
            await retrying.retry(ME, task.id, Again(from_step="sell"))


async def test_steps_of_one_run_are_kept_in_the_order_they_were_taken(tmp_path: Path) -> None:
    shop = Workshop()
    async with running(shop.agent, tmp_path) as server:
        task, retrying = await server.send("go", skill="chain"), Retrying(server.engine)
        assert shop.done == ["zeta", "mid", "alpha"]
        for step, expected in (("mid", ["mid", "alpha"]), ("alpha", ["alpha"]), ("zeta", ["zeta", "mid", "alpha"])):
            shop.done.clear()
            forked = await retrying.retry(ME, task.id, Again(from_step=step))
            assert (await ended(server, forked.id)).status.state is State.COMPLETED
            assert shop.done == expected


async def test_a_fork_survives_a_crash(tmp_path: Path) -> None:
    shop = Workshop()
    async with running(shop.agent, tmp_path) as server:
        task, retrying = await built(server), Retrying(server.engine)
        shop.broken = False
        forked = await retrying.retry(ME, task.id, Again(from_step="paint"))
        await server.engine.replace_worker()
        assert (await ended(server, forked.id)).status.state is State.COMPLETED
        assert shop.done.count("read wood") == 1


async def test_one_key_one_task(tmp_path: Path) -> None:
    async with running(Workshop().agent, tmp_path) as server:
        task, retrying = await server.send("no"), Retrying(server.engine)
        ids = {one.id for one in await asyncio.gather(*(retrying.retry(ME, task.id, Again("k")) for _ in range(5)))}
        assert len(ids) == 1
        assert (await retrying.retry(ME, task.id, Again("other"))).id not in ids
        assert (await retrying.retry(ME, task.id)).id != (await retrying.retry(ME, task.id)).id


async def test_the_first_send_is_still_a_repeat_of_itself(tmp_path: Path) -> None:
    async with running(Workshop().agent, tmp_path) as server:
        request = SendRequest(Generation.V10, Message(Role.USER, (Text("no"),), id="mine"), options=TaskOptions())
        task = as_task(await server.operations.send(ME, request))
        again = await Retrying(server.engine).retry(ME, task.id)
        assert again.id != task.id
        assert as_task(await server.operations.send(ME, request)).id == task.id


async def test_what_cannot_be_tried_again(tmp_path: Path) -> None:
    async with running(Workshop().agent, tmp_path) as server:
        retrying, task_id = Retrying(server.engine), await server.start("later")
        await server.reached(task_id, Phase.SCHEDULED)
        with pytest.raises(UnsupportedOperation, match="has not ended"):
            await retrying.retry(ME, task_id)
        for scope, one in ((ME, "none"), (Scope(owner="other"), task_id)):
            with pytest.raises(TaskNotFound):
                await retrying.retry(scope, one)
            with pytest.raises(TaskNotFound):
                await retrying.requeue(scope, one)


async def test_a_stored_file_goes_with_its_message(tmp_path: Path) -> None:
    async with running(Workshop().agent, tmp_path) as server:
        message = Message(Role.USER, (File("big.bin", raw=bytes(100_000)),), id="file")
        request = SendRequest(Generation.V10, message, options=TaskOptions(skill="keep"))
        task = as_task(await server.operations.send(ME, request))
        retrying = Retrying(server.engine)
        again = await ended(server, (await retrying.retry(ME, task.id)).id)
        assert (again.status.state, said(again)) == (State.COMPLETED, "100000")
        row = await server.row(task.id)
        assert await server.store.inner.erase([row.key]) == 1
        third = await ended(server, (await retrying.retry(ME, again.id)).id)
        assert third.status.state is State.COMPLETED


async def test_dead_letters_are_listed_and_tried_again_once(tmp_path: Path) -> None:
    shop = Workshop()
    async with running(shop.agent, tmp_path) as server:
        retrying = Retrying(server.engine)
        dead = [await server.send("never", maxAttempts=2) for _ in range(3)]
        late = await server.start("later", deadline=datetime.now(UTC) + timedelta(days=1))
        await server.reached(late, Phase.SCHEDULED)
        await server.send("no")
        server.store.inner._offset += 2 * 86_400 * SECOND  # type: ignore[attr-defined]  # the store's clock
        server.engine.duties.sweeper.expect(0)
        await server.reached(late, State.FAILED)
        found = await retrying.dead_letters(ME)
        assert [(one.task_id, one.reason) for one in found.letters] == [
            *((task.id, Dead.ATTEMPTS) for task in reversed(dead)),
            (late, Dead.DEADLINE),
        ]
        paged, after = [], None
        while True:
            page = await retrying.dead_letters(ME, after=after, limit=1)
            paged += [one.task_id for one in page.letters]
            if (after := page.after) is None:
                break
        assert paged == [one.task_id for one in found.letters]
        assert (await retrying.dead_letters(Scope(owner="other"))).letters == []
        shop.broken = False
        outcomes = await retrying.retry_dead_letters(ME, Dead.ATTEMPTS)
        assert {one.task_id for one in outcomes} == {task.id for task in dead}
        for one in outcomes:
            assert (await ended(server, one.new_id)).status.state is State.COMPLETED
        assert await retrying.retry_dead_letters(ME, Dead.ATTEMPTS) == []
        assert [one.reason for one in (await retrying.dead_letters(ME)).letters] == [Dead.DEADLINE]


async def missed(server: Running) -> Task:
    """A task that its deadline ended."""

    async def send(deadline: datetime) -> Task:
        try:
            return await server.send("go", deadline=deadline)
        except InvalidParams as error:
            raise TooLate from error

    return await in_time(send)


async def test_a_missed_deadline_is_told_alike_whoever_ends_the_run(tmp_path: Path) -> None:
    agent = Agent("Slow")

    @agent.skill(id="slow")
    async def slow(text: str) -> str:
        await asyncio.Event().wait()
        return text

    async with running(agent, tmp_path, cancel_grace_seconds=0.1, poll_seconds=LONG) as server:  # no poll comes first
        long, late = await server.send("go", timeoutSeconds=0.2), await missed(server)
        assert (code_of(long), code_of(late)) == ("timeout", "deadline")
        assert "timeoutSeconds" in said(long)
        killed = await server.start("go", deadline=datetime.now(UTC) + timedelta(minutes=20))
        overdue = await server.start("go", timeoutSeconds=600, deadline=datetime.now(UTC) + timedelta(minutes=20))
        for one in (killed, overdue):
            await server.reached(one, Phase.LEASED)
        server.engine.worker.crash()
        server.store.inner._offset += 2 * 86_400 * SECOND  # type: ignore[attr-defined]  # the store's clock
        server.engine.duties.sweeper.expect(0)
        found = await ended(server, killed)
        assert (code_of(found), said(found)) == ("deadline", said(late))
        found = await ended(server, overdue)
        assert (code_of(found), said(found)) == ("timeout", said(long)), "its timeout was first"
        letters = (await Retrying(server.engine).dead_letters(ME, Dead.DEADLINE)).letters
        assert {one.task_id for one in letters} == {late.id, killed}


def code_of(task: Task) -> object:
    about: Any = (task.status.metadata or {}).get(TASK_URI, {})
    return about.get("code")


async def test_a_task_that_waits_starts_sooner_or_later(tmp_path: Path) -> None:
    async with running(Workshop().agent, tmp_path) as server:
        retrying, task_id = Retrying(server.engine), await server.start("hello", delaySeconds=3600)
        before = (await server.row(task_id)).due_at
        await retrying.requeue(ME, task_id, 7200)
        assert (await server.row(task_id)).due_at > before + 3500 * SECOND
        await retrying.requeue(ME, task_id, 0)
        assert (await ended(server, task_id)).status.state is State.COMPLETED
        with pytest.raises(UnsupportedOperation, match="has ended"):
            await retrying.requeue(ME, task_id)
        waiting = await server.start("later")
        await server.reached(waiting, Phase.SCHEDULED)
        asked_at = server.engine.clock()
        task = await retrying.requeue(ME, waiting)
        assert "attempt 2 of 4" in said(task)
        row = await server.row(waiting)
        assert row.phase is Phase.SCHEDULED
        assert asked_at + 30 * SECOND < row.due_at <= server.engine.clock() + 60 * SECOND
        with pytest.raises(InvalidParams, match="delaySeconds"):
            await retrying.requeue(ME, waiting, -1)


def short_lived() -> Agent:
    agent = Agent("Short-lived")

    @agent.skill(default=True, context="replace")
    async def newest(text: str) -> str:
        raise Fail("No.")

    @agent.skill(direct=True)
    async def answer(text: str) -> Message:
        if text == "no":
            raise Fail("No.")
        return Message(Role.AGENT, (Text(text),))

    return agent


async def test_a_retry_of_a_direct_answer_is_a_task_whatever_it_comes_to(tmp_path: Path) -> None:
    async with running(short_lived(), tmp_path) as server:
        failed = await server.send("no", skill="answer")
        again = await Retrying(server.engine).retry(ME, failed.id, Again(text="yes"))
        await server.reached(again.id, State.COMPLETED)
        assert (await ended(server, again.id)).status.state is State.COMPLETED


async def test_a_retry_takes_its_place_in_a_conversation_that_goes_on_meanwhile(tmp_path: Path) -> None:
    async with running(short_lived(), tmp_path) as server:
        first = await server.send()
        sent = Message(Role.USER, (Text("go"),), id="second")
        await server.hold(lambda needs: bool(needs.queues))
        request = SendRequest(Generation.V10, sent, context_id=first.context_id)
        sending = asyncio.create_task(server.operations.send(ME, request))
        async with asyncio.timeout(PATIENCE):
            await server.store.held.wait()
            retrying = asyncio.create_task(Retrying(server.engine).retry(ME, first.id))
            await until(lambda: server.engine.writer.waiting > 0)
            server.store.gate.set()
            await sending
            again = await retrying
        assert wishes(await server.row(again.id)).retry_of == first.id
