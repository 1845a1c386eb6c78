"""Tasks by any filters: what a filter asks the store, and the cursor that says where a search goes on.

A cursor is a place in a search, with a check of the place and of the search, in base64url. It needs no secret, because
a made-up one only begins elsewhere in what its caller may read anyway; the check keeps it from being used with other
filters.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final

import orjson

from a2a_server.codec import canonical, decode_spec, decode_status
from a2a_server.errors import InvalidParams
from a2a_server.lifecycle.labels import BATCH, SCHEDULE, TAG, TEMPLATE, TITLE, title_label
from a2a_server.lifecycle.states import PHASES_OF, TERMINAL, status_word
from a2a_server.model.management import PHASE_WORDS, STATE_WORDS, TaskFilter
from a2a_server.model.objects import Phase, Scope, State
from a2a_server.model.options import microseconds
from a2a_server.model.queries import Search, SearchCursor
from a2a_server.model.rows import Interest, Key, TaskRow
from a2a_server.ports import TaskStore
from a2a_server.values import value_class

COUNTED: Final = 1000
"""Tasks that are counted at a time."""
SCANNED: Final = 5000
"""Rows that one page looks at."""
LONGEST_CURSOR: Final = 1024
MOST_FAILURES: Final = 10
"""Tasks that did not complete which a count names."""
UNSUCCESSFUL: Final = frozenset({State.FAILED, State.REJECTED})

_CHECK_BYTES: Final = 8
_KEY_BYTES: Final = 16
_FARTHEST: Final = 2**63
_STANDS: Final = frozenset((state, phase) for state, phases in PHASES_OF.items() for phase in phases)
_WORDS: Final = {
    (state, phase, children): status_word(state, phase, children=children)
    for state, phase in _STANDS
    for children in (False, True)
}


@value_class(frozen=True, slots=True)
class TaskRows:
    """A page of tasks; next: the cursor of the next one, None = this was the last."""

    rows: Sequence[TaskRow]
    next: str | None = None


def word_of(row: TaskRow) -> str:
    """The documents' word for where the task is."""
    return status_word(row.state, row.phase, children=bool(row.pushes & Interest.PARENT))


class Searching:
    """Searches among the tasks of one agent. names: what that agent is called in filters."""

    def __init__(self, store: TaskStore, agent: str, names: frozenset[str]) -> None:
        self._store = store
        self._agent = agent
        self._names = names

    async def page(
        self,
        scope: Scope,
        wanted: TaskFilter,
        *,
        limit: int,
        cursor: str = "",
        stands: frozenset[tuple[State, Phase]] = _STANDS,
    ) -> TaskRows:
        """Some of the tasks that match; a page may hold fewer than `limit`, even none, while others follow.

        stands: only tasks that stand so. Raises InvalidParams for a cursor of another search.
        """
        query = await self._query(scope, wanted, stands)
        if query is None:
            if cursor:
                raise _no_cursor()
            return TaskRows(())
        listed = _listed(query, wanted)
        after = opened(cursor, listed) if cursor else None
        tagged = bool(query.tag or query.tag_prefix) and not query.parent
        if after is not None and isinstance(after.order, str) is not tagged:
            raise _no_cursor()
        found = await self._store.search(replace(query, after=after, limit=limit, scan=SCANNED))
        rows = [row for row in found.rows if _matches(row, wanted)]
        return TaskRows(rows, None if found.after is None else closed(found.after, listed))

    async def counted(self, scope: Scope, wanted: TaskFilter, most: int) -> Counted:
        """The tasks that match, up to about `most` of them."""
        counted, cursor = Counted(), ""
        while not counted.complete and counted.states.total() < most:
            page = await self.page(scope, wanted, limit=COUNTED, cursor=cursor)
            for row in page.rows:
                counted.add(row)
            counted.complete, cursor = page.next is None, page.next or ""
        return counted

    async def _query(self, scope: Scope, wanted: TaskFilter, stands: frozenset[tuple[State, Phase]]) -> Search | None:
        """What the store is asked; None = nothing can match."""
        stands = _stands(wanted) & stands
        foreign = wanted.owner not in {None, scope.owner} or not (wanted.agent is None or wanted.agent in self._names)
        if foreign or not stands:
            return None
        parent = None
        if wanted.parent_task_id is not None:
            row = await self._store.find(scope, self._agent, wanted.parent_task_id)
            if row is None:
                return None
            parent = row.key
        labels = _labels(wanted)
        return Search(
            scope.tenant,
            scope.owner,
            self._agent,
            context=wanted.context_id,
            parent=parent,
            tag=labels[0] if labels else None,
            tag_prefix=None if wanted.title is None else title_label(wanted.title),
            tags=tuple(labels[1:]),
            stands=frozenset() if stands == _STANDS else stands,
            skills=frozenset(wanted.skill),
            lanes=frozenset(wanted.priority),
            parents=True if wanted.status and set(wanted.status) == {"decomposed"} else None,
            created_from=None if wanted.created_from is None else microseconds(wanted.created_from),
            created_to=None if wanted.created_to is None else microseconds(wanted.created_to),
            status_from=None if wanted.updated_from is None else microseconds(wanted.updated_from),
            status_to=None if wanted.updated_to is None else microseconds(wanted.updated_to),
        )


@dataclass(slots=True)
class Counted:
    """Tasks by their state. Moments in microseconds.

    done: how much of them all, each from 0.0 to 1.0; complete: whether these are all. created_at: of the first one;
    changed_at: of the newest status. failures: the first that did not complete, `MOST_FAILURES` at most.
    """

    states: Counter[State] = field(default_factory=Counter)
    done: float = 0.0
    complete: bool = False
    created_at: int = 0
    changed_at: int = 0
    failures: list[TaskRow] = field(default_factory=list)

    def add(self, row: TaskRow) -> None:
        """Count the task too."""
        self.states[row.state] += 1
        self.done += _done(row)
        self.created_at = min(self.created_at or row.created_at, row.created_at)
        self.changed_at = max(self.changed_at, row.status_at)
        if row.state in UNSUCCESSFUL and len(self.failures) < MOST_FAILURES:
            self.failures.append(row)

    @property
    def ended(self) -> int:
        """How many have ended."""
        return sum(count for state, count in self.states.items() if state in TERMINAL)


def closed(after: SearchCursor, listed: bytes) -> str:
    """The cursor that goes on behind `after` in the search that `listed` describes."""
    place = after.key + orjson.dumps(after.order)
    return urlsafe_b64encode(_check(place, listed) + place).decode().rstrip("=")


def opened(cursor: str, listed: bytes) -> SearchCursor:
    """The place that `closed` was given for the same search.

    Raises:
        InvalidParams: it is no cursor, was changed, or belongs to another search.
    """
    if len(cursor) <= LONGEST_CURSOR and cursor.isascii():
        try:
            packed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            check, place = packed[:_CHECK_BYTES], packed[_CHECK_BYTES:]
            order = orjson.loads(place[_KEY_BYTES:])
        except ValueError:
            raise _no_cursor() from None
        fits = (type(order) is int and abs(order) < _FARTHEST) or (type(order) is str and "\0" not in order)
        if fits and check == _check(place, listed):
            return SearchCursor(order, Key(place[:_KEY_BYTES]))
    raise _no_cursor()


def _done(row: TaskRow) -> float:
    if row.state in TERMINAL:
        return 1.0
    progress = decode_status(row.status, row.status_at)[1]
    return 0.0 if progress is None else progress.share or 0.0


def _no_cursor() -> InvalidParams:
    return InvalidParams(
        "cursor must be the next of a page with the same filters; leave it out to begin anew.", path="cursor"
    )


def _check(place: bytes, listed: bytes) -> bytes:
    return blake2b(place + listed, digest_size=_CHECK_BYTES).digest()


def _listed(query: Search, wanted: TaskFilter) -> bytes:
    stands = sorted((int(state), int(phase)) for state, phase in query.stands)
    scope = [query.tenant, query.owner, query.agent]
    return canonical([scope, stands, wanted.model_dump(mode="json", exclude_defaults=True)])


def _stands(wanted: TaskFilter) -> frozenset[tuple[State, Phase]]:
    states = {STATE_WORDS[word] for word in wanted.state} or set(State)
    phases = {PHASE_WORDS[word] for word in wanted.phase} or set(Phase)
    words = set(wanted.status)
    return frozenset(
        (state, phase)
        for state, phase in _STANDS
        if state in states
        and phase in phases
        and (not words or not words.isdisjoint({_WORDS[state, phase, children] for children in (False, True)}))
    )


def _labels(wanted: TaskFilter) -> list[str]:
    """Labels that a task must have, the rarest first."""
    named = ((BATCH, wanted.batch), (SCHEDULE, wanted.schedule), (TEMPLATE, wanted.template))
    found = [prefix + name for prefix, name in named if name is not None]
    return list(dict.fromkeys([*found, *(TAG + tag for tag in wanted.tag)]))


def _matches(row: TaskRow, wanted: TaskFilter) -> bool:
    """What the store was not asked, or less exactly: words that children decide, and long beginnings of titles."""
    if wanted.status and word_of(row) not in wanted.status:
        return False
    if wanted.title is None or len(wanted.title.casefold()) <= len(title_label(wanted.title)) - len(TITLE):
        return True
    return decode_spec(row.spec).title.casefold().startswith(wanted.title.casefold())
