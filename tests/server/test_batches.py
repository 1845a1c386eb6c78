"""Batches: many tasks with references among themselves, all or none, or each for itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from a2a_server import Agent, Fail
from a2a_server.errors import ClientError, InvalidParams
from a2a_server.lifecycle.submission import Submitted
from a2a_server.model.objects import File, Message, Phase, Role, Scope, State, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import Key
from a2a_server.service.batching import Batching, Item, Known
from a2a_server.service.sending import Sending
from tests.server.engines import Running, running

pytestmark = pytest.mark.backends


class Scene:
    def __init__(self, server: Running, ran: list[str]) -> None:
        self.server = server
        self.ran = ran
        self.batching = Batching(server.engine, Sending(server.engine, str))

    async def submit(self, *items: Item, atomic: bool = True) -> list[Submitted | ClientError]:
        outcomes = (await self.batching.submit(Scope(), items, atomic=atomic)).outcomes
        return [one for one in outcomes if not isinstance(one, Known)]

    async def stored(self) -> int:
        return len(await self.server.store.inner.oldest(Key(b""), 100_000))


def item(name: str = "", *upstreams: str, number: str = "", text: str = "", **options: Any) -> Item:  # noqa: ANN401 - any option
    message = Message(Role.USER, (Text(text or name or "go"),), id=number)
    return Item(message, name, TaskOptions(dependsOn=upstreams, **options))


def done(outcomes: list[Submitted | ClientError]) -> list[Submitted]:
    found = [outcome for outcome in outcomes if isinstance(outcome, Submitted)]
    assert len(found) == len(outcomes)
    return found


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    agent, ran = Agent("Batches"), list[str]()

    @agent.skill
    async def work(text: str) -> str:
        ran.append(text)
        if text == "fail":
            raise Fail("as asked")
        return text

    async with running(agent, tmp_path) as server:
        yield Scene(server, ran)


async def test_a_diamond_in_any_order(scene: Scene) -> None:
    items = (item("end", "#left", "#2"), item("left", "#begin"), item("right", "#begin"), item("begin"))
    found = done(await scene.submit(*items))
    assert [one.row.phase for one in found] == [Phase.WAITING, Phase.WAITING, Phase.WAITING, Phase.READY]
    for one in found:
        await scene.server.reached(one.row.id, State.COMPLETED)
    assert scene.ran[0] == "begin"
    assert scene.ran[3] == "end"
    rows = (await scene.server.store.inner.rows(RowQuery(Table.TAG_OF, (found[0].row.key,)))).rows
    assert [str(row[2])[:6] for row in rows] == ["batch:"]


async def test_a_graph_of_a_hundred(scene: Scene) -> None:
    items = [item("n0")]
    items += [item(f"n{n}", *{f"#n{(n - 1) // 2}", f"#n{n // 3}"}) for n in range(1, 100)]
    found = done(await scene.submit(*items))
    for one in found:
        await scene.server.reached(one.row.id, State.COMPLETED)
    place = {text: index for index, text in enumerate(scene.ran)}
    assert len(place) == 100
    assert all(place[f"n{(n - 1) // 2}"] < place[f"n{n}"] for n in range(1, 100))


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ((item("a", "#b"), item("b", "#c"), item("c", "#a")), "→"),
        ((item("a", "#a"),), "#a → #a"),
        ((item("a"), item("b", "#a", parentTaskId="#a")), "→"),
        ((item("a", "#b"), item("b", parentTaskId="#a")), "→"),
        ((item("a", "#d"),), "names no item of this batch"),
        ((item("a"), item("a")), "items[1].name is the name of items[0] too"),
        ((item("a"), item("7")), "numbers are positions"),
        ((item("a"), item("b", "unknown")), "items[1].options.dependsOn[0] names no task of yours"),
        ((item("a"), item("b", "#a", skill="none")), "items[1]: this agent has no skill"),
        ((item("a"), item("b", deadline="2001-01-01T00:00:00Z")), "items[1]: The deadline has passed"),
        ((), "1 to 10000"),
    ],
)
async def test_nothing_is_stored_of_a_batch_that_is_wrong(scene: Scene, items: tuple[Item, ...], says: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        await scene.submit(*items)
    assert says in refused.value.message
    assert await scene.stored() == 0


async def test_the_circle_is_named_in_order(scene: Scene) -> None:
    with pytest.raises(InvalidParams) as refused:
        await scene.submit(item("x"), item("a", "#b"), item("b", "#c"), item("c", "#a"))
    circle = refused.value.message.removeprefix("items: ").split(":")[0].split(" → ")
    assert circle[0] == circle[-1]
    assert set(circle) == {"#a", "#b", "#c"}
    follows = {"#a": "#b", "#b": "#c", "#c": "#a"}
    assert all(follows[one] == other for one, other in pairwise(circle))


async def test_each_for_itself_reports_each(scene: Scene) -> None:
    items = (
        item("good"),
        item("bad", "unknown"),
        item("behind", "#bad"),
        item("last", "#behind"),
        item("fine", "#good"),
    )
    outcomes = await scene.submit(*items, atomic=False)
    assert [isinstance(outcome, Submitted) for outcome in outcomes] == [True, False, False, False, True]
    assert "names no task of yours" in str(outcomes[1])
    assert str(outcomes[2]) == "items[2] needs #bad, which was refused."
    assert str(outcomes[3]) == "items[3] needs #behind, which was refused."
    assert await scene.stored() == 2


async def test_a_batch_that_is_sent_again_is_the_same(scene: Scene) -> None:
    items = (item("a", number="m1"), item("b", "#a", number="m2"), item("c", "#a", uniqueKey="c"))
    first = done(await scene.submit(*items))
    extra = item("d", "#c", number="m4")
    again = done(await scene.submit(*items, extra))
    assert [one.row.id for one in again[:3]] == [one.row.id for one in first]
    assert [one.repeat for one in again] == [True, True, True, False]
    await scene.server.reached(again[3].row.id, State.COMPLETED)
    page = await scene.server.store.inner.rows(RowQuery(Table.EDGE_TO, (again[3].row.key,)))
    assert [row[0] for row in page.rows] == [first[2].row.key]


async def test_parents_inside_a_batch(scene: Scene) -> None:
    parent, child, other = done(
        await scene.submit(
            item("parent", completeWhen="all"), item("child", parentTaskId="#parent"), item("other", parentTaskId="#0")
        )
    )
    assert child.row.parent == other.row.parent == parent.row.key
    await scene.server.reached(parent.row.id, State.COMPLETED)
    states = [(await scene.server.row(one.row.id)).state for one in (child, other)]
    assert states == [State.COMPLETED, State.COMPLETED]


async def test_a_failure_goes_through_the_whole_graph(scene: Scene) -> None:
    found = done(await scene.submit(item("a", text="fail"), item("b", "#a"), item("c", "#b"), item("d", "#a", "#c")))
    for one in found:
        await scene.server.reached(one.row.id, State.FAILED)
    assert scene.ran == ["fail"]


async def test_files_of_a_batch_that_is_refused_are_not_kept(scene: Scene) -> None:
    large = Message(Role.USER, (Text("x"), File("f", raw=b"x" * 100_000)))
    with pytest.raises(InvalidParams):
        await scene.submit(Item(large), item("b", "unknown"))
    assert await scene.server.engine.backends.artifacts.list("", 10) == []
    (kept,) = done(await scene.submit(Item(large)))
    await scene.server.reached(kept.row.id, State.COMPLETED)
    assert len(await scene.server.engine.backends.artifacts.list("", 10)) == 1


@pytest.mark.parametrize("atomic", [True, False])
async def test_a_rehearsal_is_decided_like_the_batch_and_leaves_nothing(scene: Scene, atomic: bool) -> None:
    [there] = done(await scene.submit(item("there", delaySeconds=600)))
    items = [item("a", delaySeconds=600), item("b", "#a", parentTaskId=there.row.id), item("c", "#b", there.row.id)]
    rehearsed = await scene.batching.submit(Scope(), items, atomic=atomic, unique_key="k", dry_run=True)
    assert (rehearsed.id, await scene.stored()) == ("", 1)
    made = await scene.batching.submit(Scope(), items, atomic=atomic, unique_key="k")
    assert await scene.stored() == 4
    for would_be, one in zip(rehearsed.outcomes, made.outcomes, strict=True):
        assert isinstance(would_be, Submitted)
        assert isinstance(one, Submitted)
        assert (would_be.row.phase, would_be.row.unmet) == (one.row.phase, one.row.unmet)
    circle = [item("x", there.row.id, parentTaskId=there.row.id)]
    for dry_run in (True, False):
        with pytest.raises(InvalidParams, match="wait"):
            await scene.batching.submit(Scope(), circle, atomic=atomic, dry_run=dry_run)
