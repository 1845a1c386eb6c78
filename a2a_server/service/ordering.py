"""In which order tasks are tried again, so that chains stay chains: each after those that it is tied to.

A retry waits for the retries of what its task waited for, as far as these are there by then (`regrouping`). So whoever
tries many again begins with those that wait for none of the others, and parts come before what they are parts of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Final

from a2a_server.codec import decode_spec
from a2a_server.engine.engine import Engine
from a2a_server.model.objects import Scope, Wishes
from a2a_server.service.regrouping import MOST_RETRIES

AT_ONCE: Final = 50
"""Tasks that are read at a time."""


class Ordering:
    """Orders tasks of one engine. Concurrency: any number of callers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.backends.store

    async def layers(self, scope: Scope, ids: Sequence[str]) -> list[list[str]]:
        """The ids in layers, each tied only to what stands in those before it; as they came within a layer.

        An id that is no task's is tied to nothing.
        """
        wishes = await self._wishes(scope, ids)
        before = _before(wishes, await self._stand_for(scope, wishes))
        try:
            (sorter := TopologicalSorter({task_id: before.get(task_id, ()) for task_id in ids})).prepare()
        except CycleError:  # nothing waits for itself, so it was changed while it was read
            return [list(ids)]
        places = {task_id: place for place, task_id in enumerate(ids)}
        layers: list[list[str]] = []
        while sorter.is_active():
            ready = sorted(sorter.get_ready(), key=places.__getitem__)
            sorter.done(*ready)
            layers.append(ready)
        return layers

    async def _wishes(self, scope: Scope, ids: Sequence[str]) -> dict[str, Wishes]:
        found: dict[str, Wishes] = {}
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            rows = await asyncio.gather(*(self._store.find(scope, self._engine.agent, task_id) for task_id in some))
            for task_id, row in zip(some, rows, strict=True):
                if row is not None:
                    found[task_id] = decode_spec(row.spec).wishes or Wishes()
        return found

    async def _stand_for(self, scope: Scope, wishes: Mapping[str, Wishes]) -> dict[str, set[str]]:
        """Tasks -> those of the ids that are they, or retries of theirs: whoever waited for the one waits for these."""
        known = dict(wishes)
        found: dict[str, set[str]] = {}
        for task_id in wishes:
            older = task_id
            for _ in range(MOST_RETRIES):
                found.setdefault(older, set()).add(task_id)
                if older not in known:
                    known |= await self._wishes(scope, [older]) or {older: Wishes()}
                if not (older := known[older].retry_of):
                    break
        return found


def _before(wishes: Mapping[str, Wishes], stand_for: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    before: dict[str, set[str]] = {task_id: set() for task_id in wishes}
    for task_id, wish in wishes.items():
        for upstream in wish.depends_on:
            before[task_id].update(stand_for.get(upstream, ()))
        for whole in stand_for.get(wish.parent, ()):
            before[whole].add(task_id)
    return {task_id: others - {task_id} for task_id, others in before.items()}
