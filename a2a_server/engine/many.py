"""Many tasks watched by one reader: how each of them stands, and every change as it comes.

Theory of operation
-------------------
A reader does not need the log of a thousand tasks, but how they stand. So this keeps no events: a doorbell marks its
task as changed, and what the reader takes is how the changed tasks stand by then. A reader that is slow sees fewer
steps, never an older state, and holds no more than a mark for each task and a bounded part of their rows. It is told
at most every `GATHER_SECONDS`; what happens in between is put together.

Bells of this process bring rows. Of other processes' work they bring only that there was some, or are lost; so every
poll asks the store for what changed. That is the guarantee; the bells are only quicker.

`sure` is the moment up to which everything has been told, by the store's clock: the begin of the last poll whose finds
were taken. Whoever comes back with it gets all tasks that have not ended, and the others that changed since; `SLACK` is
for turns that began before and were committed later. So after a break a change may come twice and is never missed.

Weakness: a filter on what changes (state, phase, priority) tells of a task that it does not match any more only as long
as the reader stays.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from a2a_server.engine.crowds import Crowds
from a2a_server.engine.filters import Filter
from a2a_server.engine.starts import Starts
from a2a_server.errors import Draining
from a2a_server.lifecycle.states import PHASES_OF, TERMINAL
from a2a_server.model.objects import Phase, State
from a2a_server.model.queries import Search
from a2a_server.model.rows import Head, Key, TaskRow
from a2a_server.model.turns import Bell
from a2a_server.policy import SECOND
from a2a_server.ports import TaskStore
from a2a_server.values import value_class

GATHER_SECONDS: Final = 0.2
"""What happens within is told together."""
SLACK: Final = 5 * SECOND
"""How much longer than its moment says a turn may have taken to be seen."""
MOST_WATCHED: Final = 10_000
"""Tasks that one reader is told of."""
MOST_AT_FIRST: Final = 1_000
"""Tasks of a filter that a reader is told of at first."""
ALONE: Final = 10
"""Where no other process writes, polls only make up for faults: one of so many is enough."""

_PAGE: Final = 200
_STEPS: Final = 100
_AT_ONCE: Final = 20
_KEPT_BYTES: Final = 4 << 20
_ROW_BYTES: Final = 16 << 10
_UNFINISHED: Final = frozenset(
    (state, phase) for state, phases in PHASES_OF.items() if state not in TERMINAL for phase in phases
)


@value_class(frozen=True, slots=True)
class Change:
    """How a task stands. before: its last event that was told, 0 = none.

    moved: its phase is another one than before. left: the filter does not match it any more. started_at: when its first
    run began, as far as that is known (microseconds, 0 = it is not): of every task that has not ended.
    """

    row: TaskRow
    before: int = 0
    moved: bool = True
    left: bool = False
    started_at: int = 0


@value_class(frozen=True, slots=True)
class News:
    """What a reader is told at once.

    sure: where a reader that comes back goes on, None = not here. ready: all that was there at first has been told;
    more: and that was not everything. ended: every task has ended, and nothing follows. totals: how many of all tasks
    are in which state, where these became others, and at `ready` and `ended`; never of a filter or of too many tasks.
    """

    changes: Sequence[Change] = ()
    sure: int | None = None
    ready: bool = False
    more: bool = False
    ended: bool = False
    totals: Mapping[State, int] | None = None


class _Told(NamedTuple):
    rev: int
    last_n: int
    phase: Phase
    state: State


class Many:
    """One reader's many tasks: named ones, or those of a filter. Concurrency: belongs to the event loop.

    rows: the named tasks, as they were just read; None = those of the filter. ends: whether it ends with the tasks; a
    filter for that names a batch. after: `sure` of an earlier reader, None = from the beginning. poll_seconds: how
    often the store is asked.
    """

    def __init__(
        self,
        store: TaskStore,
        crowds: Crowds,
        clock: Callable[[], int],
        wanted: Filter,
        starts: Starts,
        *,
        rows: Sequence[TaskRow] | None = None,
        ends: bool = False,
        after: int | None = None,
        poll_seconds: float = 1.0,
    ) -> None:
        self._store = store
        self._crowds = crowds
        self._clock = clock
        self._wanted = wanted
        self._starts = starts
        self._states: Counter[State] = Counter()
        self._counted: Mapping[State, int] | None = None
        self._named = None if rows is None else {row.key for row in rows}
        self._first = [row if size_of(row) <= _ROW_BYTES else row._replace(spec=b"") for row in rows or ()]
        self._ends = ends
        self._after = after
        alone = not store.capabilities.many_writers
        self._poll_seconds = poll_seconds * (ALONE if alone else 1)
        self._told: dict[Key, _Told] = {}
        self._changed: dict[Key, TaskRow | None] = {}
        self._kept_bytes = 0
        self._open: set[Key] = set()
        self._more = self._cut = False
        self._sure = 0
        self._news = asyncio.Event()
        self._poll_at = 0.0
        self._overflown = False
        self._closed = False

    @property
    def size(self) -> tuple[int, int]:
        """Tasks that it has marks of, and bytes of rows that it keeps for the reader."""
        return len(self._told) + len(self._changed), self._kept_bytes

    def on_bells(self, bells: Sequence[Bell]) -> None:
        """Mark what changed."""
        for bell in bells:
            row = bell.row
            if bell.key in self._told or self._is_new(bell.key, row):
                self._starts.hear(bell)
                self._mark(bell.key, row)

    def on_silence(self) -> None:
        """Ask the store at once."""
        self._poll_at = 0.0
        self._news.set()

    def close(self) -> None:
        """End the reading."""
        self._closed = True
        self._news.set()

    async def follow(self) -> AsyncGenerator[News, None]:
        """How all tasks stand, then what changes. Raises Draining when the process stops, StoreUnavailable."""
        with self._crowds.joined(self):
            self._sure = self._clock()
            async for page in self._beginning():
                yield News(await self._shown(page))
            self._first.clear()
            self._more = self._more or self._cut
            self._poll_at = asyncio.get_running_loop().time() + self._poll_seconds
            yield News(sure=self._sure, ready=True, more=self._more, totals=self._totals())
            while True:
                if self._ends and not (self._open or self._changed or self._more) and await self._all_ended():
                    yield News(sure=self._sure, ended=True, totals=self._totals())
                    return
                told = False
                async for news in self._next():
                    told = True
                    yield news
                before = self._counted
                if told and (totals := self._totals()) != before:
                    yield News(totals=totals)
                if told:
                    await asyncio.sleep(GATHER_SECONDS)

    async def _next(self) -> AsyncIterator[News]:
        """Wait for changes, or until the store is to be asked, and tell them."""
        loop = asyncio.get_running_loop()
        if not self._changed:
            await self._wait(self._poll_at - loop.time())
        began: int | None = None
        if loop.time() >= self._poll_at:
            began, self._overflown, self._cut = self._clock(), False, False
            self._poll_at = loop.time() + self._poll_seconds
            async for page in self._poll():
                if changes := await self._shown(page):
                    yield News(changes)
            if self._overflown or self._cut:
                began = None
        left = len(self._changed)  # those that change meanwhile come with the next news
        while left > 0:
            taken, rows = await self._take(left)
            left -= taken
            if left <= 0 and began is not None:
                self._sure = began
            if changes := await self._shown(rows):
                yield News(changes, self._sure)
        if began is not None:
            self._sure = began

    async def _wait(self, seconds: float) -> None:
        self._news.clear()
        if self._closed:
            raise Draining
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._news.wait()
        except TimeoutError:
            pass
        if self._closed:
            raise Draining

    async def _beginning(self) -> AsyncIterator[Sequence[TaskRow]]:
        if self._named is not None:
            for start in range(0, len(self._first), _PAGE):
                yield [row for row in self._first[start : start + _PAGE] if self._concerns(row)]
            return
        query = self._wanted.search(_PAGE)
        most = MOST_WATCHED if self._ends else MOST_AT_FIRST
        if self._after is not None and not self._ends:
            since = max(self._after - SLACK, query.status_from or 0)
            async for page in self._walk(replace(query, status_from=since), most):
                yield page
            stands = query.stands & _UNFINISHED if query.stands else _UNFINISHED
            if not stands:
                return
            query = replace(query, stands=stands)
        async for page in self._walk(query, most):
            yield [row for row in page if self._concerns(row)]

    async def _walk(self, query: Search, most: int = _PAGE * _STEPS) -> AsyncIterator[Sequence[TaskRow]]:
        """Every page of a search, `most` tasks at most, and as far as `_STEPS` go."""
        count = 0
        for step in range(1, _STEPS + 1):
            found = await self._store.search(query)
            rows = found.rows[: most - count]
            count += len(rows)
            yield rows
            if found.after is None:
                return
            if count >= most or step == _STEPS:
                self._cut = True
                return
            query = replace(query, after=found.after)

    def _concerns(self, row: TaskRow) -> bool:
        """Whether a reader that comes back is told of the task; whether it is, it is watched from now on."""
        if self._after is None or row.state not in TERMINAL or row.status_at >= self._after - SLACK:
            return True
        self._note(row)
        return False

    async def _poll(self) -> AsyncIterator[Sequence[TaskRow]]:
        """Mark what changed without a bell, or give it where it is read anyway."""
        if self._ends:
            heads = await self._store.heads(list(self._open))
            for key, head in heads.items():
                if self._is_news(key, head):
                    self._mark(key, None)
            self._open &= heads.keys()
        if self._named is not None:
            return
        query = self._wanted.search(_PAGE) if self._ends else self._wanted.lately(_PAGE, self._sure - SLACK)
        async for page in self._walk(query):
            news = [row for row in page if self._is_news(row.key, row)]
            yield news
            if self._ends and not news:
                return

    async def _all_ended(self) -> bool:
        """Whether there is no task of the batch that nobody has heard of."""
        self._cut = False
        if self._named is None:
            async for page in self._walk(self._wanted.search(_PAGE)):
                for row in page:
                    if row.key not in self._told:
                        self._mark(row.key, row)
        return not (self._changed or self._cut)

    def _is_news(self, key: Key, now: Head | TaskRow) -> bool:
        told = self._told.get(key)
        return told is None or (now.last_n, now.phase) != (told.last_n, told.phase)

    def _is_new(self, key: Key, row: TaskRow | None) -> bool:
        if self._named is not None:
            return key in self._named
        return row is not None and self._wanted.matches(row)

    def _mark(self, key: Key, row: TaskRow | None) -> None:
        kept = self._changed.get(key)
        if kept is not None:
            if row is not None and row.rev < kept.rev:
                return
            self._kept_bytes -= size_of(kept)
        elif len(self._changed) >= MOST_WATCHED and key not in self._changed:
            self._overflown, self._poll_at = True, 0.0  # the store will tell
            return
        if row is not None:
            size = size_of(row)
            if size > _ROW_BYTES or self._kept_bytes + size > _KEPT_BYTES:
                row = None
            else:
                self._kept_bytes += size
        self._changed[key] = row
        self._news.set()

    async def _take(self, most: int) -> tuple[int, Sequence[TaskRow]]:
        """How the tasks stand now that were marked first: how many marks these were, and the tasks that there are."""
        keys = [key for _, key in zip(range(min(most, _PAGE)), self._changed, strict=False)]
        rows: list[TaskRow] = []
        unread: list[Key] = []
        for key in keys:
            row = self._changed.pop(key)
            if row is None:
                unread.append(key)
            else:
                self._kept_bytes -= size_of(row)
                rows.append(row)
        for start in range(0, len(unread), _AT_ONCE):
            some = unread[start : start + _AT_ONCE]
            found = await asyncio.gather(*(self._store.snapshot(key, 0, artifacts=False) for key in some))
            rows += [shown.task for shown in found if shown is not None]
        return len(keys), rows

    def _totals(self) -> Mapping[State, int] | None:
        self._counted = dict(+self._states) if self._ends and not self._more else None
        return self._counted

    async def _shown(self, rows: Sequence[TaskRow]) -> list[Change]:
        fresh = list(self._fresh(rows))
        await self._starts.of([row for row, _, _ in fresh if row.state not in TERMINAL])
        return [
            Change(
                row,
                told.last_n if told else 0,
                moved=told is None or row.phase is not told.phase,
                left=not matches,
                started_at=self._starts.known(row),
            )
            for row, told, matches in fresh
        ]

    def _fresh(self, rows: Iterable[TaskRow]) -> Iterator[tuple[TaskRow, _Told | None, bool]]:
        """What the reader has not been told, with what it was told of the task before and whether it matches still."""
        for row in rows:
            told = self._told.get(row.key)
            if told is not None and row.rev <= told.rev:
                continue
            matches = self._named is not None or self._wanted.matches(row)
            if told is None and not (matches and (self._named is not None or row.visible)):
                continue
            self._note(row, matches=matches)
            yield row, told, matches

    def _note(self, row: TaskRow, *, matches: bool = True) -> None:
        """Remember how far the task was told; of a filter's only those that were told last."""
        told = self._told.pop(row.key, None)
        if told is not None:
            self._states[told.state] -= 1
        if self._ends and row.state not in TERMINAL:
            self._open.add(row.key)
        else:
            self._open.discard(row.key)
        if not matches:
            return
        if told is None and len(self._told) >= MOST_WATCHED:
            if self._ends:
                self._more = True
                self._open.discard(row.key)
                return
            del self._told[next(iter(self._told))]
        self._told[row.key] = _Told(row.rev, row.last_n, row.phase, row.state)
        self._states[row.state] += 1


def size_of(row: TaskRow) -> int:
    """Bytes of what a client said of the task, and the agent."""
    return len(row.spec) + len(row.status)
