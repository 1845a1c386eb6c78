"""Tasks by what they are, asked both of a row and of the store."""

from __future__ import annotations

from dataclasses import replace

from a2a_server.codec import decode_spec
from a2a_server.lifecycle.labels import BATCH, SCHEDULE, TAG, TEMPLATE, title_label
from a2a_server.lifecycle.states import PHASES_OF, status_word
from a2a_server.model.objects import Lane, Phase, Scope, State, Wishes
from a2a_server.model.queries import Search
from a2a_server.model.rows import NO_KEY, Interest, Key, TaskRow
from a2a_server.values import value_class


@value_class(frozen=True, slots=True)
class Filter:
    """Visible tasks of a scope and agent; None, '' and empty = any.

    batch, schedule, template: what made the task. title: how it begins. tags: all of them. statuses: the documents'
    words, of which the store can only be asked roughly. created, updated: from inclusive, to exclusive, microseconds;
    updated is the moment of its status, 0 = any.
    """

    scope: Scope
    agent: str
    batch: str = ""
    schedule: str = ""
    template: str = ""
    title: str = ""
    tags: tuple[str, ...] = ()
    context: str | None = None
    parent: Key = NO_KEY
    skills: frozenset[str] = frozenset()
    states: frozenset[State] = frozenset()
    phases: frozenset[Phase] = frozenset()
    lanes: frozenset[Lane] = frozenset()
    statuses: frozenset[str] = frozenset()
    created_from: int | None = None
    created_to: int | None = None
    updated_from: int = 0

    def matches(self, row: TaskRow) -> bool:
        """Whether the task is one of them now."""
        scope = self.scope
        if not row.visible or (row.tenant, row.owner, row.agent) != (scope.tenant, scope.owner, self.agent):
            return False
        if not (_any(self.states, row.state) and _any(self.phases, row.phase) and _any(self.lanes, row.lane)):
            return False
        if not _any(self.skills, row.skill) or (self.context is not None and row.context != self.context):
            return False
        if self.statuses and _word(row) not in self.statuses:
            return False
        return self._timely(row) and (not self.parent or row.parent == self.parent) and self._labelled(row)

    def search(self, limit: int) -> Search:
        """The same tasks of the store, `limit` a page."""
        named = ((BATCH, self.batch), (SCHEDULE, self.schedule), (TEMPLATE, self.template))
        labels = [*(TAG + tag for tag in self.tags), *(prefix + name for prefix, name in named if name)]
        pairs = (
            (state, phase)
            for state, phases in PHASES_OF.items()
            for phase in phases
            if _any(self.states, state)
            and _any(self.phases, phase)
            and any(_any(self.statuses, status_word(state, phase, children=children)) for children in (False, True))
        )
        return Search(
            self.scope.tenant,
            self.scope.owner,
            self.agent,
            context=self.context,
            parent=self.parent or None,
            tag=BATCH + self.batch if self.batch else None,
            tag_prefix=title_label(self.title) if self.title else None,
            tags=tuple(labels),
            stands=frozenset(pairs) if self.states or self.phases or self.statuses else frozenset(),
            skills=self.skills,
            lanes=self.lanes,
            parents=True if self.statuses == {"decomposed"} else None,
            created_from=self.created_from,
            created_to=self.created_to,
            status_from=self.updated_from or None,
            limit=limit,
        )

    def lately(self, limit: int, since: int) -> Search:
        """A search for tasks that changed since, newest first, of which `matches` knows whether they are these.

        It leaves out what may have changed with them, and what would have it walk through old ones.
        """
        query = self.search(limit)
        return replace(
            query, parent=None, tag_prefix=None, stands=frozenset(), lanes=frozenset(), parents=None, status_from=since
        )

    def _timely(self, row: TaskRow) -> bool:
        if self.created_from is not None and row.created_at < self.created_from:
            return False
        return (self.created_to is None or row.created_at < self.created_to) and row.status_at >= self.updated_from

    def _labelled(self, row: TaskRow) -> bool:
        if not (self.batch or self.schedule or self.template or self.title or self.tags):
            return True
        spec = decode_spec(row.spec)
        wishes = spec.wishes or Wishes()
        made = ((self.batch, wishes.batch), (self.schedule, wishes.schedule), (self.template, wishes.template))
        if any(wanted and wanted != given for wanted, given in made):
            return False
        titled = not self.title or title_label(spec.title).startswith(title_label(self.title))
        return titled and set(self.tags) <= set(wishes.tags)


def _word(row: TaskRow) -> str:
    return status_word(row.state, row.phase, children=bool(row.pushes & Interest.PARENT))


def _any(wanted: frozenset[object], given: object) -> bool:
    return not wanted or given in wanted
