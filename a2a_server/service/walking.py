"""Circles that a batch would close through tasks that are there already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from a2a_server.engine.graph import refuse_circle
from a2a_server.lifecycle.dependencies import Extras
from a2a_server.lifecycle.labels import id_of
from a2a_server.lifecycle.submission import Submit
from a2a_server.model.objects import Scope
from a2a_server.ports import TaskStore


def walks_of(submits: Iterable[Submit]) -> dict[str, set[str]]:
    """Parents that are there already -> what is there already that submissions below them wait for."""
    every = {id_of(submit.key): submit.extras or Extras() for submit in submits}
    below: dict[str, list[str]] = {}
    for task_id, extras in every.items():
        if extras.parent:
            below.setdefault(extras.parent, []).append(task_id)
    walks: dict[str, set[str]] = {}
    for parent in below.keys() - every.keys():
        seen, ahead = set(below[parent]), list(below[parent])
        while ahead:
            task_id = ahead.pop()
            more = {*every[task_id].depends_on, *below.get(task_id, ())} - seen if task_id in every else ()
            seen.update(more)
            ahead.extend(more)
        if found := seen - every.keys():
            walks[parent] = found
    return walks


async def refuse_circles(
    store: TaskStore, scope: Scope, agent: str, walks: Mapping[str, Iterable[str]], path: str
) -> None:
    """Walk each of `walks`. path: of what is at fault. Raises InvalidParams: it leads back to where it began."""
    for parent, upstreams in walks.items():
        row = await store.find(scope, agent, parent)
        rows = [await store.find(scope, agent, task_id) for task_id in upstreams]
        if row is not None:
            starts = {upstream.key: path for upstream in rows if upstream is not None}
            await refuse_circle(store, starts, row.key)
