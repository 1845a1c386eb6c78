"""Whether a task waits for another, by way of however many: asked before an edge could close a circle.

A walk is outside of turns; what makes it exact is the revision of the owner's graph record (`lifecycle.dependencies`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from a2a_server.engine.paging import rows_of
from a2a_server.errors import InvalidParams
from a2a_server.lifecycle.dependencies import circular, graph_key
from a2a_server.model.objects import Phase, Scope
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import EdgeKind, EdgeRow, Interest, Key, RecordRow, TaskRow
from a2a_server.ports import TaskStore

MOST_TASKS: Final = 10_000
"""Tasks that a walk looks at before it gives up."""
MOST_NAMED: Final = 10
"""Tasks that the error about a circle names."""
PAGE: Final = 1000


async def revision(store: TaskStore, scope: Scope) -> int:
    """Of the owner's graph record; to be read before a walk."""
    page = await store.rows(RowQuery(Table.RECORD, graph_key(scope), limit=1))
    return next((row.rev for row in page.rows if isinstance(row, RecordRow)), 0)


async def has_untold(store: TaskStore, row: TaskRow) -> bool:
    """Whether others have yet to learn that this task ended: they would wait for ever if it were gone before."""
    if row.pushes & Interest.WAITED:
        async for edge in rows_of(store, Table.EDGE, (row.key,), 2):
            if isinstance(edge, EdgeRow) and edge.done >= 0:
                return True
    return False


async def is_part(store: TaskStore, row: TaskRow) -> bool:
    """Whether the task counts as a part of one that has not ended, also where another one is its parent."""
    if not row.pushes & Interest.WAITED:
        return False
    edges = rows_of(store, Table.EDGE, (row.key,), 2)
    wholes = [edge.downstream async for edge in edges if isinstance(edge, EdgeRow) and edge.on_failure == EdgeKind.JOIN]
    heads = await store.heads(wholes) if wholes else {}
    return any(head.phase is not Phase.FINAL for head in heads.values())


async def refuse_circle(store: TaskStore, starts: Mapping[Key, str], target: Key) -> None:
    """Walk from the tasks `starts` along what each of them waits for. starts: each with the path of what names it.

    Raises InvalidParams when that leads to `target`, or to more tasks than are looked at.
    """
    seen: dict[Key, Key | None] = dict.fromkeys(starts)  # each with the one that waits for it
    ahead = list(seen)
    while ahead:
        key = ahead.pop()
        if key == target:
            chain = _chain(seen, key)
            raise circular(starts[chain[-1]], await _ids(store, chain))
        if len(seen) > MOST_TASKS:
            path = starts[_chain(seen, key)[-1]]
            raise InvalidParams(
                f"{path}: more than {MOST_TASKS} tasks wait behind it, too many to find out whether they wait for each "
                "other; send the tasks in one batch.",
                path=path,
            )
        async for edge in edges_to(store, key):
            if not edge.done and edge.on_failure != EdgeKind.CHILD and edge.upstream not in seen:
                seen[edge.upstream] = key
                ahead.append(edge.upstream)


def _chain(seen: Mapping[Key, Key | None], last: Key) -> list[Key]:
    """The tasks by which a walk came to `last`, from there back to where it began."""
    keys = [last]
    while (key := seen[keys[-1]]) is not None:
        keys.append(key)
    return keys


async def _ids(store: TaskStore, keys: Sequence[Key]) -> list[str]:
    """Of a chain, each of which waits for the next."""
    shown = keys if len(keys) <= MOST_NAMED else [keys[0], *keys[1 - MOST_NAMED :]]
    found = [await store.snapshot(key, 0, artifacts=False) for key in reversed(shown)]
    ids = [one.task.id if one is not None else "?" for one in found]
    return ids if len(shown) == len(keys) else [*ids[:-1], "…", ids[-1]]


async def edges_to(store: TaskStore, key: Key) -> AsyncIterator[EdgeRow]:
    """Every edge by which the task follows others, oldest upstream first."""
    after: tuple[str | int | bytes, ...] | None = None
    while True:
        page = await store.rows(RowQuery(Table.EDGE_TO, (key,), after, PAGE))
        for row in page.rows:
            if isinstance(row, EdgeRow):
                after = (row.downstream, row.upstream)
                yield row
        if not page.more:
            return
