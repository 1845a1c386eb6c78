"""How many tasks a caller has: by state, by queue, and by what they need of their workers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from a2a_server.engine.engine import Engine
from a2a_server.lifecycle.requirements import class_key, needs_of, queue_of_class
from a2a_server.model.objects import Phase, Requires, Scope, State
from a2a_server.model.queries import RowQuery, Table, TallyQuery
from a2a_server.model.rows import RecordRow
from a2a_server.policy import CLASS, queue_of
from a2a_server.values import value_class

MOST_CLASSES: Final = 100
"""Classes of tasks that are told one by one, those with the most tasks."""
_AT_ONCE: Final = 20


@value_class(frozen=True, slots=True)
class Needing:
    """Tasks of one skill, by phase, that have not ended and need the same of their workers."""

    skill: str
    requires: Requires
    phases: Mapping[Phase, int]


@value_class(frozen=True, slots=True)
class Counts:
    """Tasks by state, by skill and phase, and those that not any worker can run."""

    states: Mapping[State, int]
    queues: Mapping[str, Mapping[Phase, int]]
    needing: Sequence[Needing]


async def counted(engine: Engine, scope: Scope) -> Counts:
    """The caller's tasks of the engine's agent. Queues have the names of skills. Raises StoreUnavailable."""
    found = await engine.backends.store.totals(TallyQuery(scope.tenant, scope.owner, engine.agent))
    prefix = queue_of(engine.agent, "")
    states: Counter[State] = Counter()
    queues: dict[str, Counter[Phase]] = {}
    classes: dict[str, Counter[Phase]] = {}
    for place, count in found.items():
        states[place.state] += count
        plain = queue_of_class(place.queue) if CLASS in place.queue else place.queue
        queues.setdefault(plain.removeprefix(prefix), Counter())[place.phase] += count
        if plain != place.queue and place.phase is not Phase.FINAL:
            classes.setdefault(place.queue, Counter())[place.phase] += count
    largest = sorted(classes, key=lambda name: classes[name].total(), reverse=True)[:MOST_CLASSES]
    needing = []
    for start in range(0, len(largest), _AT_ONCE):
        names = largest[start : start + _AT_ONCE]
        for name, requires in zip(
            names, await asyncio.gather(*(_needs(engine, scope, one) for one in names)), strict=True
        ):
            if requires is not None:
                skill = queue_of_class(name).removeprefix(prefix)
                needing.append(Needing(skill, requires, classes[name]))
    return Counts(states, queues, needing)


async def _needs(engine: Engine, scope: Scope, queue: str) -> Requires | None:
    page = await engine.backends.store.rows(RowQuery(Table.RECORD, class_key(queue, scope), limit=1))
    return next((needs_of(row) for row in page.rows if isinstance(row, RecordRow)), None)
