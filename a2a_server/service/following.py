"""Many tasks of the caller in one stream: named ones, those of a batch, or those of a filter."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Final

from a2a_server.engine.engine import Engine
from a2a_server.engine.filters import Filter
from a2a_server.engine.many import Many, News
from a2a_server.engine.starts import Starts
from a2a_server.errors import InvalidParams, NothingThere, Overloaded
from a2a_server.model.objects import Lane, Phase, Scope, State
from a2a_server.model.options import microseconds
from a2a_server.model.rows import NO_KEY, TaskRow
from a2a_server.policy import SECOND
from a2a_server.service.each import each
from a2a_server.service.results import no_batch
from a2a_server.values import value_class

MOST_NAMED: Final = 1_000
"""Tasks that one reader may name."""
MOST_READERS: Final = 200
"""Streams of many tasks that this process serves at once."""
AHEAD: Final = 60 * SECOND
"""How far a cursor may lie in the future, as clocks differ."""


@value_class(frozen=True, slots=True)
class Asked:
    """Which tasks: ids, or a batch, or what the other members say ('' and empty = any); not several of these.

    after: a cursor of an earlier stream, '' = from the beginning.
    """

    ids: tuple[str, ...] = ()
    batch: str = ""
    schedule: str = ""
    template: str = ""
    title: str = ""
    tags: tuple[str, ...] = ()
    context: str = ""
    parent: str = ""
    skills: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    phases: tuple[Phase, ...] = ()
    lanes: tuple[Lane, ...] = ()
    statuses: tuple[str, ...] = ()
    agent: str | None = None
    owner: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    updated_from: datetime | None = None
    after: str = ""

    @property
    def filters(self) -> bool:
        """Whether anything is said beside ids and batch."""
        said = (self.schedule, self.template, self.title, self.tags, self.context, self.parent)
        whose = (self.agent, self.owner, self.created_from, self.created_to, self.updated_from)
        chosen = (self.skills, self.states, self.phases, self.lanes, self.statuses)
        return any((*said, *chosen, *(one is not None for one in whose)))


class Following:
    """Follows many tasks of one engine. Concurrency: any number of callers in the engine's event loop.

    names: what its agent is called in filters.
    """

    def __init__(self, engine: Engine, names: frozenset[str]) -> None:
        self._engine = engine
        self._names = names
        self._store = engine.backends.store
        self._starts = Starts(self._store)

    async def follow(self, scope: Scope, asked: Asked) -> AsyncGenerator[News, None]:
        """What a reader is told; close it when it is not read to its end.

        Raises InvalidParams, Overloaded; NothingThere for an id, a parent, a batch, an owner or an agent whose tasks
        the caller cannot follow: such a stream would be silent for ever.
        """
        if (bool(asked.ids) + bool(asked.batch) + asked.filters) > 1:
            raise InvalidParams("ids, batch and filters each choose tasks; give one of them.", path="ids")
        if len(self._engine.hub.crowds) >= MOST_READERS:
            raise Overloaded(
                f"{MOST_READERS} readers follow many tasks already; try again later.", retry_after_seconds=5
            )
        self._check_whose(scope, asked)
        after = self._moment(asked.after)
        rows = await self._named(scope, asked.ids) if asked.ids else None
        wanted = Filter(
            scope,
            self._engine.agent,
            batch=asked.batch,
            schedule=asked.schedule,
            template=asked.template,
            title=asked.title,
            tags=asked.tags,
            context=asked.context or None,
            parent=(await self._found(scope, asked.parent, "parentTaskId")).key if asked.parent else NO_KEY,
            skills=frozenset(asked.skills),
            states=frozenset(asked.states),
            phases=frozenset(asked.phases),
            lanes=frozenset(asked.lanes),
            statuses=frozenset(asked.statuses),
            created_from=None if asked.created_from is None else microseconds(asked.created_from),
            created_to=None if asked.created_to is None else microseconds(asked.created_to),
            updated_from=0 if asked.updated_from is None else microseconds(asked.updated_from),
        )
        if asked.batch and not (await self._store.search(wanted.search(1))).rows:
            raise no_batch()
        many = Many(
            self._store,
            self._engine.hub.crowds,
            self._engine.clock,
            wanted,
            self._starts,
            rows=rows,
            ends=bool(asked.ids or asked.batch),
            after=after,
            poll_seconds=self._engine.limits.poll_seconds,
        )
        return many.follow()

    def _check_whose(self, scope: Scope, asked: Asked) -> None:
        for path, given, names in (("agent", asked.agent, self._names), ("owner", asked.owner, {scope.owner})):
            if given is not None and given not in names:
                theirs = " or ".join(sorted(filter(None, names)))
                raise NothingThere(f"{path} names nobody whose tasks you can follow here; it is {theirs}.", path=path)

    async def _named(self, scope: Scope, ids: Sequence[str]) -> Sequence[TaskRow]:
        if len(ids) > MOST_NAMED:
            raise InvalidParams(f"ids names {len(ids)} tasks; name at most {MOST_NAMED}, or watch a batch.", path="ids")
        unique = list(enumerate(dict.fromkeys(ids)))
        return await each(unique, lambda one: self._found(scope, one[1], f"ids[{one[0]}]"))

    async def _found(self, scope: Scope, task_id: str, path: str) -> TaskRow:
        row = await self._store.find(scope, self._engine.agent, task_id)
        if row is None:
            raise NothingThere(f"{path} names no task of yours; leave it out.", path=path)
        return row

    def _moment(self, cursor: str) -> int | None:
        if not cursor:
            return None
        moment = int(cursor) if cursor.isascii() and cursor.isdigit() and len(cursor) <= 17 else -1  # noqa: PLR2004
        if not 0 <= moment <= self._engine.clock() + AHEAD:
            raise InvalidParams(
                "after is no cursor of this stream; give the last id that it told, or leave it out.", path="after"
            )
        return moment
