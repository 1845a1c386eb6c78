"""Several processes on one store: what one of them is asked, another one runs, and a third one shows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from a2a_server import Agent, Message, TaskContext
from a2a_server.lifecycle.draining import Drain
from a2a_server.model.objects import Generation, Message as Sent, Role, Scope, State, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.requests import GetRequest, SendRequest, SubscribeRequest
from a2a_server.model.runs import Happening
from a2a_server.policy import SECOND
from a2a_server.service.operations import Stream
from tests.patience import PATIENCE
from tests.server.engines import LONG
from tests.server.fleet import fleet, shared_places
from tests.server.leases import outlast
from tests.server.waiting import until

pytestmark = pytest.mark.embedded


@pytest.fixture(params=["redis", "store"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, object]]:
    with shared_places(tmp_path, queue=request.param) as found:
        yield found


class Stage:
    """What the handlers of all systems share, as processes would share a file."""

    def __init__(self) -> None:
        self.ran: list[tuple[int, str]] = []
        self.told: list[tuple[int, str]] = []
        self.canceled: list[int] = []
        self.go = asyncio.Event()

    def agent(self, number: int) -> Agent:
        agent = Agent("Shared")
        stage = self

        @agent.skill(default=True)
        async def echo(text: str) -> str:
            stage.ran.append((number, text))
            return text.upper()

        @agent.skill
        async def count(task: TaskContext) -> AsyncIterator[str]:
            stage.ran.append((number, "count"))
            for word in range(20):
                if word == 10:
                    await stage.go.wait()
                yield f"{word} "

        @agent.skill
        async def wait(task: TaskContext) -> None:
            stage.ran.append((number, "wait"))
            try:
                await asyncio.Event().wait()
            finally:
                stage.canceled.append(number)

        @agent.skill(direct=True)
        async def answer(text: str) -> Message:
            stage.ran.append((number, "answer"))
            return Message(Role.AGENT, (Text(f"You said {text}."),))

        @agent.on("completed")
        async def hear(event: Happening) -> None:
            stage.told.append((number, event.task.id))

        return agent


async def test_a_blocking_send_is_answered_when_another_process_has_done_it(places: dict[str, object]) -> None:
    stage = Stage()
    async with fleet(stage.agent, places, poll_seconds=LONG) as made:
        first, second = made.fronts
        task = await first.send("hello")
        assert task.status.state is State.COMPLETED
        assert stage.ran == [(2, "hello")]
        seen = await second.operations.get(Scope(), GetRequest(task.id))
        assert (seen.artifacts, seen.status) == (task.artifacts, task.status)


async def test_a_stream_is_whole_wherever_it_is_read_and_resumed(places: dict[str, object]) -> None:
    stage = Stage()
    async with fleet(stage.agent, places, fronts=2, poll_seconds=LONG) as made:
        first, second = made.fronts
        task_id = await first.start("go", skill="count")
        seen: list[int] = []
        stream = await second.operations.subscribe(Scope(), SubscribeRequest(task_id, after=0))
        async with asyncio.timeout(PATIENCE):
            async for numbers in numbered(stream):
                seen += numbers
                if len(seen) > 8:
                    break
        stage.go.set()
        rest = await first.operations.subscribe(Scope(), SubscribeRequest(task_id, after=seen[-1]))
        async with asyncio.timeout(PATIENCE):
            async for numbers in numbered(rest):
                seen += numbers
        row = await first.row(task_id)
        assert (row.state, seen) == (State.COMPLETED, list(range(1, row.last_n + 1)))


async def test_a_cancel_reaches_the_handler_of_another_process(places: dict[str, object]) -> None:
    stage = Stage()
    async with fleet(stage.agent, places, poll_seconds=LONG, cancel_grace_seconds=3600) as made:
        task_id = await made.fronts[0].start("go", skill="wait")
        await until(lambda: bool(stage.ran))
        assert (await made.fronts[1].cancel(task_id)).status.state is State.CANCELED
        assert stage.canceled == [2]


async def test_a_direct_answer_crosses_processes(places: dict[str, object]) -> None:
    stage = Stage()
    async with fleet(stage.agent, places, poll_seconds=LONG, direct_seconds=60) as made:
        message = Sent(Role.USER, (Text("hello"),), id="direct")
        request = SendRequest(Generation.V10, message, blocking=True, options=TaskOptions(skill="answer"))
        async with asyncio.timeout(PATIENCE):
            answer = await made.fronts[0].operations.send(Scope(), request)
        assert isinstance(answer, Sent)
        assert answer.text == "You said hello."


async def test_one_of_several_workers_runs_each_task_and_tells_of_it_once(places: dict[str, object]) -> None:
    stage = Stage()
    async with fleet(stage.agent, places, fronts=1, workers=2, poll_seconds=0.1) as made:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(made.fronts[0].send(f"text {number}") for number in range(30)))
        assert sorted(text for _, text in stage.ran) == sorted(f"text {number}" for number in range(30))
        await until(lambda: len({task_id for _, task_id in stage.told}) == 30)
        assert Counter(task_id for _, task_id in stage.told).most_common(1)[0][1] == 1, [
            one for one in stage.told if stage.told.count(one) > 1
        ] or stage.told


async def test_a_lost_worker_is_replaced_by_another_process(places: dict[str, object]) -> None:
    stage = Stage()
    limits = {"lease_seconds": 3600, "cancel_grace_seconds": 3600, "poll_seconds": 0.1}
    async with fleet(stage.agent, places, fronts=1, workers=2, **limits) as made:
        task_id = await made.fronts[0].start("go", skill="wait")
        await until(lambda: bool(stage.ran))
        holder = made.workers[stage.ran[0][0] - 1]
        lost = holder.engine.worker.id
        holder.engine.worker.crash()
        await outlast(places, lost)
        await until(lambda: len(stage.ran) == 2)
        assert {number for number, _ in stage.ran} == {1, 2}
        row = await made.fronts[0].row(task_id)
        assert (row.fence, row.crashes) == (2, 1)
        assert (await made.fronts[0].cancel(task_id)).status.state is State.CANCELED


async def test_an_operators_word_drains_one_worker(places: dict[str, object]) -> None:
    stage = Stage()
    async with fleet(stage.agent, places, fronts=1, workers=2, poll_seconds=0.1) as made:
        told, other = (running.engine for running in made.workers)
        assert await made.fronts[0].engine.submit(Drain(told.worker.id))
        async with asyncio.timeout(PATIENCE):
            await told.told_to_drain.wait()
        assert not other.told_to_drain.is_set()
        assert not await made.fronts[0].engine.submit(Drain(made.fronts[0].engine.worker.id))


async def test_a_host_whose_clock_is_wrong_ends_no_run_too_early(places: dict[str, object]) -> None:
    stage = Stage()
    async with fleet(stage.agent, places, fronts=1, workers=1, poll_seconds=0.1) as made:
        await made.fronts[0].send("the store has told its time")
        clock = made.workers[0].engine.clock
        clock._wall = lambda: 0
        assert abs(clock() - made.fronts[0].engine.clock()) < 3600 * SECOND


async def numbered(stream: Stream) -> AsyncIterator[list[int]]:
    """The numbers of the events in each batch of a stream."""
    async for batch in stream.batches:
        yield [one.row.n for one in batch]
