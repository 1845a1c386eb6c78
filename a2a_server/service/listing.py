"""Lists of tasks, page by page.

A page begins behind the last task of the page before, by the task's place in the list (status time, then key), so it
costs the same however far the reader is. A task that changes while somebody pages moves to the front: it may be seen
twice, or be missed by a reader who had not come to it yet; a list read again from its first page has it. Tasks that do
not change are seen exactly once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from a2a_server.codec import canonical
from a2a_server.engine.engine import Engine
from a2a_server.model.objects import Scope, Task
from a2a_server.model.queries import TallyQuery, TaskCursor, TaskQuery
from a2a_server.model.requests import ListRequest
from a2a_server.ports import TaskStore
from a2a_server.service.views import task_of
from a2a_server.values import value_class
from a2a_server.wire import pages

MOST_COUNTED = 10_000
"""Where counting ends when there is a time or a context filter: this total means "so many or more"."""


@value_class(frozen=True, slots=True)
class TaskPage:
    """Some tasks of a list, newest status first.

    next_token: where the list goes on, '' = this was the last page. page_size: how many tasks a page may have; one of
    large tasks has fewer. total: of the whole list; `MOST_COUNTED` at most where it had to be counted.
    """

    tasks: Sequence[Task]
    next_token: str
    page_size: int
    total: int


async def list_tasks(engine: Engine, scope: Scope, request: ListRequest) -> TaskPage:
    """A page of the caller's tasks that match every filter, all as they were at one moment.

    Nothing said of history means none (the specification leaves it to the server): a list is an overview, and a page of
    many tasks with everything that was said in them helps nobody. Raises InvalidParams for a token of another list.
    """
    query = TaskQuery(
        scope.tenant,
        scope.owner,
        engine.agent,
        context=request.context_id,
        state=request.state,
        status_from=request.status_from,
        limit=request.page_size,
        history=request.history_length or 0,
        artifacts=request.artifacts,
    )
    listed = canonical([query.tenant, query.owner, query.agent, query.context, query.state, query.status_from])
    if request.token:
        query = replace(query, after=pages.decode_token(request.token, listed))
    store, objects = engine.backends.store, engine.backends.artifacts
    page = await store.page(query)
    token = ""
    if page.more:
        last = page.rows[-1].task
        token = pages.encode_token(TaskCursor(last.status_at, last.key), listed)
    tasks = [await task_of(snapshot, objects) for snapshot in page.rows]
    return TaskPage(tasks, token, request.page_size, await _total(store, query))


async def _total(store: TaskStore, query: TaskQuery) -> int:
    if query.context is not None or query.status_from is not None:
        return await store.count(query, MOST_COUNTED)
    tally = TallyQuery(query.tenant, query.owner, query.agent, state=query.state)
    return sum((await store.totals(tally)).values())
