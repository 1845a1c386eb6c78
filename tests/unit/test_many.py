"""Many tasks watched by one reader, over a store of its own: with bells, without them, and slower than they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from a2a_server.codec import encode_spec, encode_status
from a2a_server.engine import many
from a2a_server.engine.crowds import Crowds
from a2a_server.engine.filters import Filter
from a2a_server.engine.many import Many, News
from a2a_server.engine.starts import Starts
from a2a_server.errors import Draining
from a2a_server.lifecycle.labels import BATCH, TAG
from a2a_server.model.objects import Lane, Phase, Scope, State, TaskSpec, Wishes
from a2a_server.model.rows import EventKind, EventRow, Head, Interest, TaskRow
from a2a_server.model.turns import Bell, Changes, Loaded, Needs
from a2a_server.policy import SECOND
from a2a_server.stores.sqlite import SqliteStore
from tests.contracts import rows
from tests.patience import PATIENCE
from tests.unit.misbehaving import MisbehavingStore

SCOPE = Scope()
EVERY = Filter(SCOPE, "Echo")
NEVER = 3600.0


@dataclass
class Desk:
    """A store with tasks, a clock that is set, and doorbells that are rung by hand."""

    store: MisbehavingStore
    crowds: Crowds = field(default_factory=Crowds)
    now: int = 1_000 * SECOND
    tasks: dict[int, TaskRow] = field(default_factory=dict)

    async def put(self, number: int, *, tags: tuple[str, ...] = (), **fields: Any) -> Bell:  # noqa: ANN401 - any field
        """A task as it is from now on; the doorbell of it, which nobody has heard."""
        self.now += SECOND
        spec = fields.pop("spec", None)
        before = self.tasks.get(number)
        row = before or rows.task(number, last_n=0, rev=0, created_at=self.now, spec=encode_spec(spec or TaskSpec()))
        fields = {"last_n": row.last_n + 1, "status_at": self.now, **fields}
        row = row._replace(rev=row.rev + 1, **fields)
        row = row._replace(status=fields.get("status", encode_status(row.state)))
        self.tasks[number] = row
        changes = Changes(tags=[rows.tag(number, label) for label in tags])
        (changes.tasks if before else changes.new_tasks).append(row)

        def decide(loaded: Loaded) -> Changes:
            return changes

        await self.store.inner.turn(Needs(), decide)
        return Bell(row.key, row)

    async def ring(self, number: int, **fields: Any) -> None:  # noqa: ANN401 - any field
        """The same, and everybody in this process hears of it."""
        self.crowds.on_bells([await self.put(number, **fields)])

    async def end(self, number: int, state: State = State.COMPLETED) -> None:
        await self.ring(number, state=state, phase=Phase.FINAL)

    def many(self, *numbers: int, wanted: Filter = EVERY, poll: float = NEVER, **more: Any) -> Many:  # noqa: ANN401
        found = [self.tasks[number] for number in numbers] if numbers else None
        ends = bool(numbers or wanted.batch)
        return Many(
            self.store,
            self.crowds,
            lambda: self.now,
            wanted,
            Starts(self.store),
            rows=found,
            ends=ends,
            poll_seconds=poll,
            **more,
        )

    @asynccontextmanager
    async def reading(self, *numbers: int, **more: Any) -> AsyncIterator[Reader]:  # noqa: ANN401 - as `many`
        following = self.many(*numbers, **more).follow()
        try:
            yield Reader(following)
        finally:
            await following.aclose()


class Reader:
    """Takes news when the test asks. stands: how each task stands, as it was told; totals: what was counted last."""

    def __init__(self, following: AsyncGenerator[News, None]) -> None:
        self._following = following
        self.stands: dict[str, TaskRow] = {}
        self.left: set[str] = set()
        self.last = News()
        self.totals: dict[str, int] = {}

    async def next(self) -> News:
        async with asyncio.timeout(PATIENCE):
            self.last = await self._counted()
            while self.last == News():  # nothing but totals
                self.last = await self._counted()
        for change in self.last.changes:
            self.stands[change.row.id] = change.row
            (self.left.add if change.left else self.left.discard)(change.row.id)
        return self.last

    async def _counted(self) -> News:
        news = await anext(self._following)
        if news.totals is not None:
            self.totals = {state.name: count for state, count in news.totals.items()}
        return replace(news, totals=None)

    async def until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            await self.next()

    async def ready(self) -> News:
        await self.until(lambda: self.last.ready)
        return self.last

    def states(self) -> dict[str, str]:
        return {id: row.state.name for id, row in sorted(self.stands.items())}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "GATHER_SECONDS", 0.0)
    monkeypatch.setattr(many, "ALONE", 1)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store = MisbehavingStore(SqliteStore(tmp_path / "tasks.db"))
    await store.open()
    yield Desk(store)
    await store.close()


async def test_named_tasks_from_their_first_news_to_their_ends(desk: Desk) -> None:
    for number in (1, 2, 3):
        await desk.put(number)
    async with desk.reading(1, 2) as reader:
        await reader.ready()
        assert reader.states() == {"task-1": "SUBMITTED", "task-2": "SUBMITTED"}
        await desk.ring(3, state=State.WORKING, phase=Phase.LEASED)  # nobody asked for this one
        await desk.ring(1, state=State.WORKING, phase=Phase.LEASED)
        news = await reader.next()
        assert [(one.row.id, one.before, one.moved) for one in news.changes] == [("task-1", 1, True)]
        await desk.ring(1, status_at=desk.now)
        [change] = (await reader.next()).changes
        assert (change.before, change.moved) == (2, False)
        await desk.end(1)
        await desk.end(2, State.FAILED)
        await reader.until(lambda: reader.last.ended)
        assert reader.states() == {"task-1": "COMPLETED", "task-2": "FAILED"}
        with pytest.raises(StopAsyncIteration):
            await reader.next()
    assert len(desk.crowds) == 0


async def test_tasks_that_have_ended_before_are_told_and_that_is_the_end(desk: Desk) -> None:
    await desk.put(1, state=State.COMPLETED, phase=Phase.FINAL)
    async with desk.reading(1) as reader:
        await reader.ready()
        assert reader.states() == {"task-1": "COMPLETED"}
        assert (await reader.next()).ended


async def test_a_phase_without_an_event_is_a_change_too(desk: Desk) -> None:
    await desk.put(1)
    async with desk.reading(1) as reader:
        await reader.ready()
        await desk.ring(1, phase=Phase.HELD, held_by="gate", last_n=1)
        [change] = (await reader.next()).changes
        assert (change.row.phase, change.moved) == (Phase.HELD, True)


async def test_what_nobody_rang_for_is_found_by_the_poll(desk: Desk) -> None:
    for number in (1, 2):
        await desk.put(number, tags=(BATCH + "b",), spec=TaskSpec(wishes=Wishes(batch="b")))
    batch = Filter(SCOPE, "Echo", batch="b")
    for chosen in ({"wanted": EVERY}, {"wanted": batch}):
        async with desk.reading(poll=0.001, **chosen) as reader:
            await reader.ready()
            await desk.put(1, state=State.WORKING, phase=Phase.LEASED)
            await reader.until(lambda: reader.stands["task-1"].last_n == desk.tasks[1].last_n)
    async with desk.reading(1, 2, poll=0.001) as reader:
        await reader.ready()
        await desk.put(2, phase=Phase.HELD, last_n=1)
        await reader.until(lambda: reader.stands["task-2"].phase is Phase.HELD)


async def test_another_process_says_only_that_there_was_something(desk: Desk) -> None:
    await desk.put(1)
    async with desk.reading(1) as reader:
        await reader.ready()
        bell = await desk.put(1, state=State.WORKING, phase=Phase.LEASED)
        desk.crowds.on_bells([Bell(bell.key, None, head=Head(2, State.WORKING, Phase.LEASED, 0, 1))])
        await reader.next()
        assert reader.states() == {"task-1": "WORKING"}


async def test_silence_has_the_store_asked(desk: Desk) -> None:
    await desk.put(1)
    async with desk.reading(1) as reader:
        await reader.ready()
        await desk.put(1, state=State.WORKING, phase=Phase.LEASED)
        desk.crowds.on_silence()
        await reader.next()
        assert reader.states() == {"task-1": "WORKING"}


async def test_new_tasks_of_a_batch_come_and_it_ends_with_the_last(desk: Desk) -> None:
    spec, label = TaskSpec(wishes=Wishes(batch="b")), BATCH + "b"
    for number in (1, 2):
        await desk.put(number, tags=(label,), spec=spec)
    await desk.put(9)
    async with desk.reading(wanted=Filter(SCOPE, "Echo", batch="b")) as reader:
        await reader.ready()
        assert set(reader.stands) == {"task-1", "task-2"}
        await desk.ring(3, tags=(label,), spec=spec)
        await reader.next()
        assert "task-3" in reader.stands
        await desk.put(4, tags=(label,), spec=spec)  # nobody rang
        for number in (1, 2, 3):
            await desk.end(number)
        await reader.until(lambda: "task-4" in reader.stands)
        assert not reader.last.ended
        await desk.end(4)
        await reader.until(lambda: reader.last.ended)
        assert set(reader.states().values()) == {"COMPLETED"}


async def test_a_filter_tells_who_comes_and_who_goes_and_never_ends(desk: Desk) -> None:
    await desk.put(1, skill="write")
    await desk.put(2, skill="read")
    wanted = Filter(SCOPE, "Echo", skills=frozenset({"write"}), states=frozenset({State.SUBMITTED}))
    async with desk.reading(wanted=wanted) as reader:
        await reader.ready()
        assert set(reader.stands) == {"task-1"}
        await desk.ring(3, skill="write")
        await desk.ring(2, state=State.WORKING, phase=Phase.LEASED)
        await reader.until(lambda: "task-3" in reader.stands)
        await desk.ring(1, state=State.WORKING, phase=Phase.LEASED)
        await desk.end(1)
        await desk.end(3)
        await reader.until(lambda: reader.left == {"task-1", "task-3"})
        await desk.ring(4, skill="write")
        await reader.until(lambda: "task-4" in reader.stands)
        assert set(reader.stands) == {"task-1", "task-3", "task-4"}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (EVERY, {1, 2, 3, 4}),
        (Filter(SCOPE, "Echo", tags=("red",)), {1, 2}),
        (Filter(SCOPE, "Echo", tags=("red", "blue")), {1}),
        (Filter(SCOPE, "Echo", title="Year"), {2}),
        (Filter(SCOPE, "Echo", template="T"), {3}),
        (Filter(SCOPE, "Echo", schedule="S"), {4}),
        (Filter(SCOPE, "Echo", context="c"), {4}),
        (Filter(SCOPE, "Echo", parent=rows.key(1)), {3}),
        (Filter(SCOPE, "Echo", lanes=frozenset({Lane.HIGH})), {2}),
        (Filter(SCOPE, "Echo", phases=frozenset({Phase.HELD})), {3}),
        (Filter(SCOPE, "Echo", statuses=frozenset({"queued"})), {1, 2, 4}),
        (Filter(SCOPE, "Echo", statuses=frozenset({"blocked"})), {3}),
        (Filter(SCOPE, "Echo", created_from=1_002 * SECOND), {2, 3, 4}),
        (Filter(SCOPE, "Echo", created_from=1_002 * SECOND, created_to=1_004 * SECOND), {2, 3}),
        (Filter(SCOPE, "Echo", updated_from=1_003 * SECOND), {3, 4}),
        (Filter(Scope("", "somebody"), "Echo"), set()),
        (Filter(SCOPE, "Other"), set()),
    ],
)
async def test_a_row_and_the_store_are_asked_for_the_same(desk: Desk, wanted: Filter, found: set[int]) -> None:
    made: dict[int, tuple[dict[str, Any], Wishes]] = {
        1: ({"tags": (TAG + "red", TAG + "blue")}, Wishes(tags=("red", "blue"))),
        2: ({"tags": (TAG + "red", "title:yearly report"), "lane": Lane.HIGH}, Wishes(tags=("red",))),
        3: ({"tags": ("template:T",), "parent": rows.key(1), "phase": Phase.HELD}, Wishes(template="T")),
        4: ({"tags": ("schedule:S",), "context": "c"}, Wishes(schedule="S")),
    }
    for number, (fields, wishes) in made.items():
        spec = TaskSpec(title="Yearly report" if number == 2 else "", wishes=wishes)
        await desk.put(number, spec=spec, **fields)
    stored = {row.id for row in (await desk.store.search(wanted.search(100))).rows}
    lately = {row.id for row in (await desk.store.search(wanted.lately(100, 0))).rows if wanted.matches(row)}
    matching = {row.id for row in desk.tasks.values() if wanted.matches(row)}
    assert stored == lately == matching == {f"task-{number}" for number in found}


async def test_blocked_and_decomposed_are_two_though_the_store_takes_them_for_one(desk: Desk) -> None:
    await desk.put(1, phase=Phase.WAITING)
    await desk.put(2, phase=Phase.WAITING, pushes=Interest.PARENT)
    for word, found in (("blocked", "task-1"), ("decomposed", "task-2")):
        async with desk.reading(wanted=Filter(SCOPE, "Echo", statuses=frozenset({word})), poll=0.001) as reader:
            await reader.ready()
            assert set(reader.stands) == {found}


async def test_who_comes_back_is_told_of_nothing_that_the_filter_is_too_late_for(desk: Desk) -> None:
    for number in (1, 2):
        await desk.put(number, state=State.COMPLETED, phase=Phase.FINAL)
    wanted = Filter(SCOPE, "Echo", updated_from=1_002 * SECOND)
    async with desk.reading(wanted=wanted, after=1_000 * SECOND) as reader:
        await reader.ready()
        assert set(reader.stands) == {"task-2"}


async def test_a_reader_that_comes_back_misses_nothing_and_hears_little_twice(desk: Desk) -> None:
    for number in range(1, 6):
        await desk.put(number)
    async with desk.reading(1, 2, 3, 4, 5, poll=0.001) as reader:
        await reader.ready()
        await desk.end(1)
        await reader.until(lambda: reader.stands["task-1"].state is State.COMPLETED)
        desk.now += 60 * SECOND
        moment = desk.now
        while (reader.last.sure or 0) < moment:
            await desk.ring(5, state=State.WORKING, phase=Phase.LEASED)
            await reader.next()
        sure = reader.last.sure
    await desk.put(2, state=State.FAILED, phase=Phase.FINAL)  # while nobody listened
    await desk.put(3, phase=Phase.HELD, last_n=1)
    async with desk.reading(1, 2, 3, 4, 5, after=sure) as again:
        await again.ready()
        assert set(again.stands) == {"task-2", "task-3", "task-4", "task-5"}
        assert again.stands["task-3"].phase is Phase.HELD
        for number in (3, 4, 5):
            await desk.end(number)
        await again.until(lambda: again.last.ended)
    async with desk.reading(after=sure) as again:
        await again.ready()
        assert set(again.stands) == {"task-2", "task-3", "task-4", "task-5"}


async def test_a_moment_is_sure_only_when_all_of_it_was_told(desk: Desk) -> None:
    for number in range(1, 4):
        await desk.put(number)
    async with desk.reading(1, 2, 3) as reader:  # no poll
        news = await reader.ready()
        began = news.sure
        assert began is not None
        await desk.ring(1)
        assert (await reader.next()).sure == began


async def test_a_reader_that_does_not_read_holds_little(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "MOST_WATCHED", 50)
    monkeypatch.setattr(many, "_KEPT_BYTES", 10_000)
    watched = desk.many()
    following = watched.follow()
    reader = Reader(following)
    await reader.ready()
    large = TaskSpec(title="x" * 1_000)
    for number in range(1, 101):
        await desk.ring(number, spec=large)
        for _ in range(3):
            await desk.ring(number)
        marks, kept = watched.size
        assert marks <= 50
        assert kept <= 10_000
    await reader.until(lambda: len(reader.stands) == 100 and reader.stands["task-100"].last_n == 4)
    assert all(row.last_n == 4 for row in reader.stands.values())
    assert watched.size[0] <= 100
    await following.aclose()


async def test_an_older_row_never_follows_a_newer_one(desk: Desk) -> None:
    await desk.put(1)
    async with desk.reading(1) as reader:
        await reader.ready()
        older = await desk.put(1, phase=Phase.HELD, last_n=1)
        newer = await desk.put(1, phase=Phase.READY, last_n=1)
        desk.crowds.on_bells([newer, older])
        await reader.next()
        assert reader.stands["task-1"].phase.name == "READY"
        await desk.ring(1, state=State.WORKING, phase=Phase.LEASED)
        await reader.next()
        assert reader.stands["task-1"].phase.name == "LEASED"
        desk.crowds.on_bells([newer])
        await desk.end(1)
        await reader.until(lambda: reader.last.ended)
        assert reader.states() == {"task-1": "COMPLETED"}


async def test_the_end_of_the_process_ends_it(desk: Desk) -> None:
    await desk.put(1)
    async with desk.reading(1) as reader:
        await reader.ready()
        waiting = asyncio.create_task(reader.next())
        await asyncio.sleep(0)
        desk.crowds.close()
        with pytest.raises(Draining):
            await waiting
    async with desk.reading(1) as reader:
        with pytest.raises(Draining):
            await reader.next()


async def test_totals_follow_the_states_of_all(desk: Desk) -> None:
    for number in (1, 2, 3):
        await desk.put(number)
    async with desk.reading(1, 2, 3) as reader:
        await reader.ready()
        assert reader.totals == {"SUBMITTED": 3}
        await desk.ring(1, state=State.WORKING, phase=Phase.LEASED, fence=1)
        await desk.end(2)
        await reader.until(lambda: reader.states()["task-2"] == "COMPLETED")
        await desk.ring(1, status_at=desk.now)
        await reader.next()
        assert reader.totals == {"SUBMITTED": 1, "WORKING": 1, "COMPLETED": 1}
        await desk.end(1, State.FAILED)
        await desk.end(3)
        await reader.until(lambda: reader.last.ended)
        assert reader.totals == {"COMPLETED": 2, "FAILED": 1}


async def test_totals_count_those_that_an_earlier_reader_was_told_of(desk: Desk) -> None:
    for number in (1, 2):
        await desk.put(number)
    await desk.end(1)
    desk.now += 60 * SECOND
    async with desk.reading(1, 2, after=desk.now) as reader:
        await reader.ready()
        assert (reader.states(), reader.totals) == ({"task-2": "SUBMITTED"}, {"SUBMITTED": 1, "COMPLETED": 1})


async def test_a_filter_counts_nothing(desk: Desk) -> None:
    await desk.put(1)
    async with desk.reading() as reader:
        await reader.ready()
        await desk.end(1)
        await reader.until(lambda: reader.states()["task-1"] == "COMPLETED")
        assert reader.totals == {}


async def test_when_a_task_began_is_read_at_most_once(desk: Desk) -> None:
    row = (await desk.put(1, state=State.WORKING, phase=Phase.LEASED, fence=2, last_n=7)).row
    assert row is not None
    began = EventRow(row.key, 2, EventKind.STATUS, 77, 1, None, encode_status(State.WORKING))
    await desk.store.inner.turn(Needs(), lambda _: Changes(events=[began]))
    starts = Starts(desk.store)
    assert starts.known(row) == 0
    assert await starts.of([row]) == {row.key: 77}
    assert (starts.known(row), await starts.of([row]), desk.store.reads) == (77, {row.key: 77}, 1)
