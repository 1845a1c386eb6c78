"""Tasks that things name which make tasks later (schedules, templates): looked at when the thing is made.

Without that each of the later tasks would be refused, and nobody would be there to hear of it. What becomes of the
named tasks afterwards, the later tasks are told.
"""

from __future__ import annotations

from collections.abc import Sequence

from a2a_server.engine.engine import Engine
from a2a_server.lifecycle.dependencies import closed, unknown
from a2a_server.lifecycle.turn import ended
from a2a_server.model.objects import Scope
from a2a_server.model.rows import TaskRow


async def check_ties(engine: Engine, scope: Scope, upstreams: Sequence[str], parent: str) -> None:
    """Refuse ids of `dependsOn` and `parentTaskId` that no task of now could be tied to. parent: '' = none.

    Raises InvalidParams, which names the member of `options`.
    """
    for place, task_id in enumerate(upstreams):
        await _found(engine, scope, task_id, f"options.dependsOn[{place}]")
    if parent:
        path = "options.parentTaskId"
        row = await _found(engine, scope, parent, path)
        if ended(row):
            raise closed(path, row)


async def _found(engine: Engine, scope: Scope, task_id: str, path: str) -> TaskRow:
    row = await engine.backends.store.find(scope, engine.agent, task_id)
    if row is None or not row.visible:
        raise unknown(path)
    return row
