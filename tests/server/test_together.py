"""Features beside each other: batches, ties, conversations that take one task at a time, templates, files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from a2a_server import Agent, File, TaskContext
from a2a_server.errors import ClientError, InvalidParams, Overloaded
from a2a_server.lifecycle.submission import Submitted
from a2a_server.model.objects import Generation, Message, Phase, Role, Scope, State, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.requests import SendRequest
from a2a_server.service import batching
from a2a_server.service.batching import Batching, Item, Known
from a2a_server.service.sending import Sending
from a2a_server.service.templates import Templates
from tests.patience import PATIENCE
from tests.server.engines import Running, as_task, running
from tests.server.waiting import until

pytestmark = pytest.mark.backends


class Conversations:
    """An agent of skills that take one task of a conversation at a time, and batches to it."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.batching = Batching(server.engine, Sending(server.engine, str))

    async def submit(self, *items: Item, atomic: bool = True) -> list[Submitted | ClientError]:
        async with asyncio.timeout(PATIENCE):
            outcomes = (await self.batching.submit(Scope(), items, atomic=atomic)).outcomes
            return [one for one in outcomes if not isinstance(one, Known)]

    async def states(self, outcomes: list[Submitted | ClientError]) -> list[str]:
        """Of what was refused: the error's item."""
        return [
            one.message.partition(":")[0]
            if isinstance(one, ClientError)
            else (await self.server.row(one.row.id)).state.name
            for one in outcomes
        ]


@asynccontextmanager
async def conversations(directory: Path) -> AsyncIterator[Conversations]:
    agent = Agent("Conversations")

    @agent.skill(context="reject")
    async def one(task: TaskContext, text: str) -> str:
        await asyncio.Event().wait()
        return text

    @agent.skill(context="replace")
    async def newest(task: TaskContext, text: str) -> str:
        await asyncio.Event().wait()
        return text

    @agent.skill(default=True)
    async def plain(text: str = "", source: File | None = None) -> str:
        return text

    async with running(agent, directory) as server:
        yield Conversations(server)


def item(text: str, context: str = "", *, name: str = "", number: str = "", **options: object) -> Item:
    return Item(Message(Role.USER, (Text(text),), id=number), name, TaskOptions.model_validate(options), context)


async def test_two_of_one_conversation_that_takes_one_are_refused_as_a_whole(tmp_path: Path) -> None:
    async with conversations(tmp_path) as scene:
        with pytest.raises(ClientError, match=r"items\[1\].*one task of a context at a time"):
            await scene.submit(item("a", "talk", skill="one"), item("b", "talk", skill="one"))
        assert not await scene.server.store.inner.oldest(b"", 10)  # type: ignore[arg-type]  # before every key


async def test_each_for_itself_the_first_of_a_conversation_is_taken(tmp_path: Path) -> None:
    async with conversations(tmp_path) as scene:
        found = await scene.submit(item("a", "talk", skill="one"), item("b", "talk", skill="one"), atomic=False)
        assert (await scene.states(found))[1] == "items[1]"
        assert isinstance(found[0], Submitted)
        await scene.server.reached(found[0].row.id, State.WORKING)


@pytest.mark.parametrize("atomic", [True, False])
async def test_of_one_conversation_the_newest_goes_on(tmp_path: Path, *, atomic: bool) -> None:
    async with conversations(tmp_path) as scene:
        items = [item(text, "talk", skill="newest") for text in "abc"]
        found = await scene.submit(*items, atomic=atomic)
        assert (await scene.states(found))[:2] == ["CANCELED", "CANCELED"]
        last = found[2]
        assert isinstance(last, Submitted)
        await scene.server.reached(last.row.id, Phase.LEASED)


async def test_a_conversation_goes_on_in_a_later_turn_of_the_same_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "TOGETHER", 2)
    async with conversations(tmp_path) as scene:
        items = [item("a", "talk", skill="newest"), item("x"), item("y"), item("b", "talk", skill="newest")]
        found = await scene.submit(*items, atomic=False)
        assert all(isinstance(one, Submitted) for one in found)
        first, last = found[0], found[3]
        assert isinstance(first, Submitted)
        assert isinstance(last, Submitted)
        await scene.server.reached(first.row.id, State.CANCELED)
        await scene.server.reached(last.row.id, Phase.LEASED)


async def test_a_batch_that_broke_off_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "TOGETHER", 2)
    async with conversations(tmp_path) as scene:
        items = [item(f"{n}", name=f"n{n}", number=f"number-{n}") for n in range(2)]
        items += [item("2", number="number-2", dependsOn=("#n0", "#n1"))]
        first = await scene.submit(*items[:2], atomic=False)
        again = await scene.submit(*items, atomic=False)
        assert [one.repeat for one in again if isinstance(one, Submitted)] == [True, True, False]
        assert [one.row.id for one in again[:2] if isinstance(one, Submitted)] == [
            one.row.id for one in first if isinstance(one, Submitted)
        ]


async def test_what_was_taken_of_a_batch_is_told_when_the_rest_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "TOGETHER", 1)
    async with conversations(tmp_path) as scene:
        server = scene.server
        await server.hold(lambda needs: bool(needs.queues))
        sending = asyncio.create_task(scene.submit(item("a"), item("b"), item("c"), atomic=False))
        async with asyncio.timeout(PATIENCE):
            await server.store.held.wait()
            monkeypatch.setattr(server.engine.writer, "_max_operations", 0)
            server.store.gate.set()
            taken, *refused = await sending
        assert isinstance(taken, Submitted)
        assert [type(one) for one in refused] == [Overloaded, Overloaded]
        await server.reached(taken.row.id, State.COMPLETED)


async def test_a_circle_by_way_of_a_template_is_refused(tmp_path: Path) -> None:
    async with conversations(tmp_path) as scene:
        parent, later = await scene.submit(
            item("parent", name="p", skill="plain", delaySeconds=3600), item("later", dependsOn=("#p",))
        )
        assert isinstance(parent, Submitted)
        assert isinstance(later, Submitted)
        await Templates(scene.server.engine).put(Scope(), "part", {"parentTaskId": parent.row.id})
        with pytest.raises(InvalidParams, match="could ever go on"):
            await scene.submit(item("child", template="part", dependsOn=(later.row.id,)))


async def test_whoever_leaves_before_the_commit_takes_no_file_along(tmp_path: Path) -> None:
    async with conversations(tmp_path) as scene:
        part = File(raw=b"x" * 100_000, media_type="text/plain")
        sent = Item(Message(Role.USER, (Text("keep"), part), id="with-a-file"), options=TaskOptions(skill="plain"))
        await scene.server.hold(lambda needs: bool(needs.queues))
        leaving = asyncio.create_task(scene.submit(sent))
        async with asyncio.timeout(PATIENCE):
            await scene.server.store.held.wait()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        scene.server.store.gate.set()
        (again,) = await scene.submit(sent)
        assert isinstance(again, Submitted)
        assert again.repeat
        objects = await scene.server.engine.backends.artifacts.list("", 10)
        assert [entry.name for entry in objects if again.row.id in entry.name]


async def test_the_longest_name_of_a_conversation_is_as_good_as_any(tmp_path: Path) -> None:
    agent = Agent("Serial")

    @agent.skill(context="serial")
    async def next_one(text: str) -> str:
        return text

    @agent.skill(context="replace")
    async def newest(text: str) -> str:
        return text

    letters = Random(7)  # noqa: S311 - any letters
    name = "".join(chr(letters.randrange(0x20000, 0x2A6D0)) for _ in range(255)) + "/"
    async with running(agent, tmp_path) as server:
        scene = Conversations(server)
        for skill in ("next_one", "newest"):
            (made,) = (await scene.batching.submit(Scope(name, "local"), [item("go", name, skill=skill)])).outcomes
            assert isinstance(made, Submitted)
            async with asyncio.timeout(PATIENCE):
                while True:
                    found = await server.store.find(Scope(name, "local"), "", made.row.id)
                    if found is not None and found.state is State.COMPLETED:
                        break
                    await asyncio.sleep(0.005)


async def test_a_tied_send_takes_its_place_in_a_conversation_that_goes_on_meanwhile(tmp_path: Path) -> None:
    def asking(number: str, **options: object) -> SendRequest:
        message = Message(Role.USER, (Text("go"),), id=number)
        chosen = TaskOptions.model_validate({"skill": "newest", **options})
        return SendRequest(Generation.V10, message, context_id="talk", blocking=False, options=chosen)

    async with conversations(tmp_path) as scene:
        server = scene.server
        parent, upstream = [await server.start("later", delaySeconds=3600) for _ in range(2)]
        await server.hold(lambda needs: bool(needs.queues))
        first = asyncio.create_task(server.operations.send(Scope(), asking("1")))
        async with asyncio.timeout(PATIENCE):
            await server.store.held.wait()
            tied = asking("2", parentTaskId=parent, dependsOn=(upstream,))
            second = asyncio.create_task(server.operations.send(Scope(), tied))
            await until(lambda: server.engine.writer.waiting > 0)
            server.store.gate.set()
            replaced = as_task(await first)
            assert (await server.row(as_task(await second).id)).phase is Phase.WAITING
            await server.reached(replaced.id, State.CANCELED)


@pytest.mark.parametrize("skill", ["one", "newest", "next_one"])
async def test_a_part_takes_no_turn_of_its_own_in_the_context_of_its_parent(tmp_path: Path, skill: str) -> None:
    agent, go = Agent("Conversations"), asyncio.Event()

    async def work(text: str) -> str:
        if text == "parent":
            await go.wait()
        return text

    agent.skill(id="one", context="reject")(work)
    agent.skill(id="newest", context="replace")(work)
    agent.skill(id="next_one", context="serial")(work)
    async with running(agent, tmp_path) as server:
        scene = Conversations(server)
        (parent,) = await scene.submit(item("parent", "talk", skill=skill))
        assert isinstance(parent, Submitted)
        await server.reached(parent.row.id, State.WORKING)
        message = Message(Role.USER, (Text("part"),), id="part")
        options = TaskOptions.model_validate({"skill": skill, "parentTaskId": parent.row.id})
        request = SendRequest(Generation.V10, message, context_id="talk", blocking=True, options=options)
        async with asyncio.timeout(PATIENCE):
            part = as_task(await server.operations.send(Scope(), request))
        assert part.status.state is State.COMPLETED
        assert (await server.row(parent.row.id)).state is State.WORKING
        go.set()
        await server.reached(parent.row.id, State.COMPLETED)
        outcomes = await scene.submit(
            item("parent", "other", name="p", skill=skill, completeWhen="all"),
            item("part", "other", skill=skill, parentTaskId="#p"),
        )
        for outcome in outcomes:
            assert isinstance(outcome, Submitted)
            await server.reached(outcome.row.id, State.COMPLETED)
