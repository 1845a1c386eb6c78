"""Edges that are added to tasks that are there already."""

from __future__ import annotations

from a2a_server.engine.children import WALKS
from a2a_server.engine.engine import Engine
from a2a_server.engine.graph import refuse_circle, revision
from a2a_server.engine.submitting import ON_FAILURE
from a2a_server.errors import Conflict, InvalidParams, Overloaded, TaskNotFound
from a2a_server.lifecycle.dependencies import AddDependency, unknown
from a2a_server.model.objects import Scope
from a2a_server.model.options import OnDependencyFailure
from a2a_server.model.rows import TaskName, TaskRow


class Dependencies:
    """Ties tasks of one engine to each other. Concurrency: any number of callers in the engine's event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def add(
        self,
        scope: Scope,
        task_id: str,
        upstream: str,
        on_failure: OnDependencyFailure = OnDependencyFailure.FAIL,
        *,
        path: str = "dependsOn",
    ) -> TaskRow:
        """Have a task that has not begun wait for `upstream` too; the task as it is then. Idempotent.

        path: what errors call the upstream. Raises TaskNotFound for the task; InvalidParams for an upstream that is not
        the caller's, or that waits for the task itself; UnsupportedOperation for a task that has begun; Overloaded.
        """
        store, agent = self._engine.backends.store, self._engine.agent
        name = TaskName(scope.tenant, scope.owner, agent, task_id)
        for _ in range(WALKS):
            graph = await revision(store, scope)
            task, start = await store.find(scope, agent, task_id), await store.find(scope, agent, upstream)
            if task is None:
                raise TaskNotFound
            if start is None:
                raise unknown(path)
            if start.key == task.key:
                raise InvalidParams(f"{path} names this very task, which cannot wait for itself.", path=path)
            await refuse_circle(store, {start.key: path}, task.key)
            try:
                added: TaskRow = await self._engine.submit(
                    AddDependency(name, upstream, ON_FAILURE[on_failure], graph, path)
                )
            except Conflict:
                continue
            return added
        raise Overloaded("Too many tasks are tied to each other at the moment; try again.")
