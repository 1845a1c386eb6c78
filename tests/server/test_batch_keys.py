"""Batches with a unique key: one of each, also where two ask at once or one breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from a2a_server import Agent
from a2a_server.engine.tidying import Tidying
from a2a_server.errors import ClientError, InvalidParams
from a2a_server.lifecycle.batch_keys import BATCH_RECORD
from a2a_server.lifecycle.batching import SubmitMany
from a2a_server.lifecycle.submission import Submitted
from a2a_server.model.objects import Message, Role, Scope, State, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import Key, RecordRow
from a2a_server.model.turns import Needs
from a2a_server.service import batching
from a2a_server.service.batching import Batch, Batching, Item, Known
from a2a_server.service.sending import Sending
from tests.patience import PATIENCE
from tests.server.engines import Running, running
from tests.server.waiting import until_asked

pytestmark = pytest.mark.backends


class Scene:
    def __init__(self, server: Running) -> None:
        self.server = server
        self.batching = Batching(server.engine, Sending(server.engine, str))

    async def submit(self, *items: Item, atomic: bool = True, key: str = "night") -> Batch:
        async with asyncio.timeout(PATIENCE):
            return await self.batching.submit(Scope(), items, atomic=atomic, unique_key=key)

    async def stored(self) -> int:
        return len(await self.server.store.inner.oldest(Key(b""), 100_000))

    async def has_begun(self) -> bool:
        return await self.stored() == 2

    async def records(self) -> list[RecordRow]:
        page = await self.server.store.inner.rows(RowQuery(Table.RECORD, (BATCH_RECORD,)))
        return [row for row in page.rows if isinstance(row, RecordRow)]


def item(text: str, *upstreams: str, name: str = "", skill: str = "") -> Item:
    options = {"dependsOn": upstreams, **({"skill": skill} if skill else {})}
    return Item(Message(Role.USER, (Text(text),)), name, TaskOptions.model_validate(options))


def ids(batch: Batch) -> list[str]:
    return [_id(outcome) for outcome in batch.outcomes]


def _id(outcome: Submitted | Known | ClientError) -> str:
    if isinstance(outcome, ClientError):
        return outcome.message
    return outcome.id if isinstance(outcome, Known) else outcome.row.id


def _needs_report(needs: Needs) -> bool:
    return any(key.kind == BATCH_RECORD for key in needs.records)


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    agent = Agent("Keys")

    @agent.skill
    async def work(text: str) -> str:
        return text

    async with running(agent, tmp_path) as server:
        yield Scene(server)


@pytest.mark.parametrize("atomic", [True, False])
async def test_of_two_at_once_there_is_one(scene: Scene, monkeypatch: pytest.MonkeyPatch, atomic: bool) -> None:
    monkeypatch.setattr(batching, "TOGETHER", 2)
    items = [item("a", name="a"), item("b", "#a"), item("c"), item("d", "#1")]
    batches = await asyncio.gather(*(scene.submit(*items, atomic=atomic) for _ in range(4)))
    assert len({batch.id for batch in batches}) == 1
    assert {tuple(ids(batch)) for batch in batches} == {tuple(ids(batches[0]))}
    assert await scene.stored() == 4
    for task_id in ids(batches[0]):
        await scene.server.reached(task_id, State.COMPLETED)


async def test_what_broke_off_is_made_to_its_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "TOGETHER", 2)
    items = [item("a", name="a"), item("b", "#a"), item("c", "#1"), item("x", skill="none"), item("d"), item("e", "#2")]
    store = scene.server.store
    store.holds = _needs_report
    store.gate.clear()
    first = asyncio.create_task(scene.submit(*items, atomic=False))
    async with asyncio.timeout(PATIENCE):
        await store.held.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    store.gate.set()
    await until_asked(scene.has_begun)
    with pytest.raises(InvalidParams) as refused:
        await scene.submit(*items[:3], atomic=False)
    assert refused.value.path == "uniqueKey"
    whole = await scene.submit(*items)
    made = [outcome for outcome in whole.outcomes if isinstance(outcome, Submitted)]
    assert sorted(outcome.repeat for outcome in made) == [False, False, False, True, True]
    assert isinstance(whole.outcomes[3], InvalidParams)
    assert await scene.stored() == 5
    again = await scene.submit(*items)
    assert (again.id, ids(again), await scene.stored()) == (whole.id, ids(whole), 5)
    assert [type(outcome) for outcome in again.outcomes] == [Known, Known, Known, InvalidParams, Known, Known]


async def test_other_keys_and_no_key_are_other_batches(scene: Scene) -> None:
    batches = [await scene.submit(item("a"), key=key) for key in ("x", "y", "", "")]
    assert len({batch.id for batch in batches}) == 4
    assert (len(await scene.records()), await scene.stored()) == (2, 4)


async def test_what_is_refused_leaves_no_key(scene: Scene) -> None:
    with pytest.raises(InvalidParams):
        await scene.submit(item("a"), item("b", "nobody"))
    assert await scene.records() == []
    assert (await scene.submit(item("a"))).id


async def test_a_key_goes_with_the_last_task(scene: Scene) -> None:
    server = scene.server
    tidying = Tidying(server.store, server.engine.writer, server.engine.clock)
    batch = await scene.submit(item("a"), item("b"))
    rows = [await server.reached(task_id, State.COMPLETED) for task_id in ids(batch)]
    for row, left in zip(rows, (1, 0), strict=True):
        await server.store.inner.erase([row.key])
        before = await scene.records()
        await tidying.tidy_batches(before)
        after = await scene.records()
        assert len(after) == left
        assert all(one.due_at > before[0].due_at for one in after)
    assert (await scene.submit(item("a"), item("b"))).id != batch.id


async def test_a_turn_whose_answer_is_lost_is_one_batch(scene: Scene) -> None:
    scene.server.store.doubtful = 1
    batch = await scene.submit(item("a"), item("b"))
    assert ids(await scene.submit(item("a"), item("b"))) == ids(batch)
    assert await scene.stored() == 2


class Overtaken(Batching):
    """One that is slow: others of the same key make the whole batch once its first turn is done."""

    overtaken: Callable[[], Awaitable[object]] | None = None

    async def _walked(
        self, scope: Scope, walks: Mapping[str, set[str]], many: SubmitMany, *, dry_run: bool
    ) -> Sequence[Submitted | ClientError]:
        if many.kept is None and self.overtaken is not None:
            overtaken, self.overtaken = self.overtaken, None
            await overtaken()
        return await super()._walked(scope, walks, many, dry_run=dry_run)


async def test_who_is_overtaken_finds_what_the_other_made(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "TOGETHER", 2)
    items = [item("a", name="a"), item("b", "#a"), item("c"), item("d", "#1")]
    slow = Overtaken(scene.server.engine, Sending(scene.server.engine, str))
    others: list[Batch] = []

    async def overtake() -> None:
        others.append(await scene.submit(*items, atomic=False))

    slow.overtaken = overtake
    async with asyncio.timeout(PATIENCE):
        batch = await slow.submit(Scope(), items, atomic=False, unique_key="night")
    assert (batch.id, ids(batch)) == (others[0].id, ids(others[0]))
    assert await scene.stored() == 4
    again = await scene.submit(*items)
    assert ids(again) == ids(batch)
