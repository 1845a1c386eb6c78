"""Retries of tasks that waited for others, and of those that complete by their parts: what the new ones are tied to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from a2a_server import Agent, Fail, Retry, TaskContext
from a2a_server.codec import decode, decode_spec
from a2a_server.errors import UnsupportedOperation
from a2a_server.lifecycle.dead_letters import Dead
from a2a_server.lifecycle.labels import RETRY
from a2a_server.model.management import Bulk, BulkAction
from a2a_server.model.objects import Data, Phase, Scope, State, Task
from a2a_server.model.queries import RowQuery, Search, Table
from a2a_server.model.requests import GetRequest
from a2a_server.model.rows import JournalRow, Key
from a2a_server.service.retrying import Again, Retrying
from a2a_server.service.together import Together
from tests.server.engines import Running, running

pytestmark = pytest.mark.embedded

ME = Scope()


class Works:
    """`do` does what it is told, unless it is broken; `split` spawns parts; `hold` waits for those sent to it."""

    def __init__(self) -> None:
        self.broken = True
        self.agent = Agent("Works")
        self.agent.skill(default=True)(self.do)
        self.agent.skill(self.split)
        self.agent.skill(self.hold)

    async def do(self, text: str) -> str:
        """Do it."""
        if self.broken and text == "fail":
            raise Fail("no")
        if self.broken and text == "never":
            raise Retry("not now")
        return text

    async def split(self, task: TaskContext, text: str) -> None:
        """Spawn."""
        for word in text.split():
            await task.spawn(word, skill="do")

    async def hold(self, task: TaskContext, text: str) -> None:
        """Wait for a word, then for the parts."""
        await task.ask("Go on?")


async def read(server: Running, task_id: str) -> Task:
    return await server.operations.get(ME, GetRequest(task_id))


async def waits_for(server: Running, task_id: str) -> tuple[str, ...]:
    wishes = decode_spec((await server.row(task_id)).spec).wishes
    return wishes.depends_on if wishes else ()


async def notes(server: Running, task_id: str) -> list[str]:
    row = await server.row(task_id)
    page = await server.store.inner.rows(RowQuery(Table.JOURNAL, (row.key,), limit=50))
    return [decode(one.body).get("text", "") for one in page.rows if isinstance(one, JournalRow)]


async def test_a_retry_waits_for_the_retry_of_what_failed(tmp_path: Path) -> None:
    works = Works()
    async with running(works.agent, tmp_path) as server:
        retrying = Retrying(server.engine)
        good = await server.start("good")
        later = await server.start("later", delaySeconds=3600)
        bad = await server.start("fail", delaySeconds=0.2)
        task = await server.start("last", dependsOn=(good, bad, later))
        await server.reached(task, State.FAILED)
        lone = await retrying.retry(ME, task)
        assert await waits_for(server, lone.id) == (good, later), "what did not end badly is kept"
        note = f"It does not wait for {bad}, as {task} did: that one ended as failed, and was not retried."
        assert note in await notes(server, lone.id)
        await server.reached(lone.id, Phase.WAITING)
        works.broken = False
        first = await retrying.retry(ME, bad)
        await server.reached(first.id, State.COMPLETED)
        behind = await retrying.retry(ME, task)
        assert await waits_for(server, behind.id) == (good, first.id, later)
        assert (await server.row(behind.id)).unmet == 1


async def test_a_retry_fails_with_a_retry_that_fails(tmp_path: Path) -> None:
    works = Works()
    async with running(works.agent, tmp_path) as server:
        retrying = Retrying(server.engine)
        bad = await server.start("fail", delaySeconds=0.2)
        task = await server.start("last", dependsOn=(bad,), onDependencyFailure="cancel")
        await server.reached(task, State.CANCELED)
        works.broken = False
        again = await retrying.retry(ME, bad)
        await server.reached(again.id, State.COMPLETED)
        works.broken = True
        slow = await retrying.retry(ME, bad)
        await server.reached(slow.id, State.FAILED)
        task = (await retrying.retry(ME, task)).id
        assert await waits_for(server, task) == (), "the newest retry counts, and that one failed"
        await server.reached(task, State.COMPLETED)


async def test_dead_letters_in_bulk_keep_their_order(tmp_path: Path) -> None:
    """A chain: one failed, two depend on each other behind it; all are dead letters, and are tried again as a chain."""
    works = Works()
    async with running(works.agent, tmp_path) as server:
        retrying = Retrying(server.engine)
        first = await server.start("never", maxAttempts=1, delaySeconds=0.2)
        second = await server.start("second", dependsOn=(first,))
        third = await server.start("third", dependsOn=(second,))
        await server.reached(third, State.FAILED)
        works.broken = False
        outcomes = await retrying.retry_dead_letters(ME)
        new = {one.task_id: one.new_id for one in outcomes}
        assert set(new) == {first, second, third}
        assert await waits_for(server, new[second]) == (new[first],)
        assert await waits_for(server, new[third]) == (new[second],)
        await server.reached(new[third], State.COMPLETED)
        assert not (await retrying.dead_letters(ME)).letters
        assert [one.new_id for one in await retrying.retry_dead_letters(ME, Dead.DEPENDENCY)] == []


async def test_dead_letters_that_are_named_keep_their_order(tmp_path: Path) -> None:
    works = Works()
    async with running(works.agent, tmp_path) as server:
        retrying = Retrying(server.engine)
        first = await server.start("never", maxAttempts=1, delaySeconds=0.2)
        second = await server.start("second", dependsOn=(first,))
        third = await server.start("third", dependsOn=(second,))
        await server.reached(third, State.FAILED)
        works.broken = False
        outcomes = await retrying.retry_letters(ME, [third, first, "nobody", second, third])
        assert [one.task_id for one in outcomes] == [third, first, "nobody", second]
        new = {one.task_id: one.new_id for one in outcomes}
        assert await waits_for(server, new[second]) == (new[first],)
        assert await waits_for(server, new[third]) == (new[second],)
        assert new["nobody"] == ""
        again = await retrying.retry_letters(ME, [second, third, first])
        assert {one.task_id: one.new_id for one in again} == {one: new[one] for one in (first, second, third)}


async def test_a_follower_comes_behind_the_retry_that_failed_too(tmp_path: Path) -> None:
    works = Works()
    async with running(works.agent, tmp_path) as server:
        retrying = Retrying(server.engine)
        first = await server.start("fail", delaySeconds=0.2)
        second = await server.start("second", dependsOn=(first,))
        await server.reached(second, State.FAILED)
        newer = (await retrying.retry(ME, first)).id
        await server.reached(newer, State.FAILED)
        assert await retrying.layers(ME, [second, newer, "nobody"]) == [[newer, "nobody"], [second]]


async def test_a_repeat_is_answered_whatever_became_of_the_parts(tmp_path: Path) -> None:
    works = Works()
    async with running(works.agent, tmp_path) as server:
        retrying = Retrying(server.engine)
        parent, parts = await held(server, "all", "fail")
        works.broken = False
        await server.reached((await retrying.retry(ME, parts[0])).id, State.COMPLETED)
        first = await retrying.retry(ME, parent, Again(key="once"))
        works.broken = True
        await server.reached((await retrying.retry(ME, parts[0])).id, State.FAILED)
        assert (await retrying.retry(ME, parent, Again(key="once"))).id == first.id
        with pytest.raises(UnsupportedOperation):
            await retrying.retry(ME, parent, Again(key="twice"))


async def test_a_parent_that_spawns_makes_its_parts_anew(tmp_path: Path) -> None:
    works = Works()
    async with running(works.agent, tmp_path) as server:
        retrying = Retrying(server.engine)
        parent = await server.send("fail fail", skill="split", completeWhen="any")
        assert parent.status.state is State.FAILED
        works.broken = False
        again = await retrying.retry(ME, parent.id)
        await server.reached(again.id, State.COMPLETED)
        assert _states(await read(server, again.id)) == ["completed", "completed"]


def _states(task: Task) -> list[Any]:
    part = task.artifacts[0].parts[0]
    assert isinstance(part, Data)
    results: Any = part.data
    return [one["state"] for one in results]


async def held(server: Running, criterion: object, *words: str) -> tuple[str, list[str]]:
    """A parent that failed by its parts, which were sent by its client."""
    parent = await server.send("go", skill="hold", completeWhen=criterion)
    parts = [await server.start(word, parentTaskId=parent.id) for word in words]
    for part in parts:
        await server.reached(part, Phase.FINAL)
    ended = await server.answer(parent, "yes")
    assert ended.status.state is State.FAILED
    return parent.id, parts


async def finished(server: Running, task_id: str) -> Task:
    await server.reached(task_id, State.INPUT_REQUIRED)
    task = await server.answer(await read(server, task_id), "yes")
    await server.reached(task_id, Phase.FINAL)
    return await read(server, task.id)


@pytest.mark.parametrize("criterion", ["any", "all", 2])
async def test_a_parent_takes_over_the_parts_that_were_sent_to_it(tmp_path: Path, criterion: object) -> None:
    works = Works()
    async with running(works.agent, tmp_path) as server:
        retrying = Retrying(server.engine)
        words = ("fail", "fail") if criterion == "any" else ("fail", "good", "fail")
        parent, parts = await held(server, criterion, *words)
        with pytest.raises(UnsupportedOperation) as refused:
            await retrying.retry(ME, parent)
        assert f"{parts[0]} (failed)" in refused.value.message
        assert f"completeWhen: {criterion}" in refused.value.message
        assert len(await server.store.inner.oldest(Key(b""), 50)) == 1 + len(parts), "nothing was made"
        works.broken = False
        for part, word in zip(parts, words, strict=True):
            if word == "fail" and (criterion == "all" or part == parts[0]):
                await server.reached((await retrying.retry(ME, part)).id, State.COMPLETED)
        again = await retrying.retry(ME, parent)
        task = await finished(server, again.id)
        assert task.status.state is State.COMPLETED
        expected = {"any": 1, "all": 3, 2: 2}[criterion]
        assert _states(task) == ["completed"] * expected


async def test_a_parent_waits_for_parts_that_are_tried_again(tmp_path: Path) -> None:
    works = Works()
    async with running(works.agent, tmp_path) as server:
        retrying = Retrying(server.engine)
        parent, parts = await held(server, "all", "fail")
        works.broken = False
        queued = await retrying.retry(ME, parts[0])
        again = await retrying.retry(ME, parent)
        task = await finished(server, again.id)
        assert (await server.row(queued.id)).state is State.COMPLETED
        assert task.status.state is State.COMPLETED


def together(server: Running) -> Together:
    return Together(server.engine, Retrying(server.engine))


async def retry_of(server: Running, task_id: str) -> str:
    query = Search("", "local", "", tag=RETRY + task_id, limit=2)
    [row] = (await server.store.inner.search(query)).rows
    return row.id


@pytest.mark.parametrize("order", [1, -1], ids=["the whole first", "the parts first"])
async def test_a_whole_and_its_parts_are_tried_again_in_one_turn(tmp_path: Path, order: int) -> None:
    works = Works()
    async with running(works.agent, tmp_path) as server:
        parent, parts = await held(server, "all", "fail", "good", "fail")
        works.broken = False
        ids = [parent, parts[0], parts[2]][::order]
        again = Bulk(action=BulkAction.RETRY, atomic=True)
        assert await together(server).run(ME, again.model_copy(update={"dry_run": True}), ids) == []
        assert len(await server.store.inner.oldest(Key(b""), 50)) == 4
        assert await together(server).run(ME, again, ids) == []
        task = await finished(server, await retry_of(server, parent))
        assert task.status.state is State.COMPLETED
        result = task.artifacts[0].parts[0]
        assert isinstance(result, Data)
        found: Any = result.data
        assert {one["taskId"] for one in found} == {
            await retry_of(server, parts[0]),
            parts[1],
            await retry_of(server, parts[2]),
        }


async def test_a_whole_is_refused_in_one_turn_where_a_part_is_not_tried_again(tmp_path: Path) -> None:
    works = Works()
    async with running(works.agent, tmp_path) as server:
        parent, parts = await held(server, "all", "fail", "fail")
        again = Bulk(action=BulkAction.RETRY, atomic=True)
        [(refused, error)] = await together(server).run(ME, again, [parent, parts[0]])
        assert refused == parent
        assert f"{parts[1]} (failed). Retry them first, or together with it" in error.message
        assert parts[0] not in error.message
        assert len(await server.store.inner.oldest(Key(b""), 50)) == 3, "nothing was made"


async def test_parts_of_parts_are_tried_again_in_one_turn(tmp_path: Path) -> None:
    works = Works()
    async with running(works.agent, tmp_path) as server:
        whole = await server.send("go", skill="hold", completeWhen="all")
        half = await server.send("go", skill="hold", completeWhen=1, parentTaskId=whole.id)
        part = await server.start("fail", parentTaskId=half.id)
        await server.reached(part, State.FAILED)
        assert (await server.answer(half, "yes")).status.state is State.FAILED
        assert (await server.answer(whole, "yes")).status.state is State.FAILED
        works.broken = False
        again = Bulk(action=BulkAction.RETRY, atomic=True)
        assert await together(server).run(ME, again, [whole.id, half.id, part]) == []
        await finished(server, await retry_of(server, half.id))
        task = await finished(server, await retry_of(server, whole.id))
        assert task.status.state is State.COMPLETED
        assert _states(task) == ["completed"]
