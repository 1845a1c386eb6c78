"""A task as the agent's own code sees it: handlers, and whoever listens to its states."""

from __future__ import annotations

from a2a_server.codec import decode_spec
from a2a_server.model.objects import Message, TaskSpec
from a2a_server.model.rows import TaskRow
from a2a_server.model.runs import TaskView
from a2a_server.policy import SECOND


def view_of(row: TaskRow, history: tuple[Message, ...], spec: TaskSpec | None = None) -> TaskView:
    """The task as its handler sees it.

    history: oldest first; its first message is what the task was made of. spec: the row's, where it is decoded already.
    """
    spec = spec or decode_spec(row.spec)
    return TaskView(
        id=row.id,
        context_id=row.context,
        tenant=row.tenant,
        owner=row.owner,
        skill=row.skill,
        message=history[0],
        history=history,
        parameters=dict(spec.parameters),
        metadata=spec.metadata,
        title=spec.title,
        tools=spec.wishes.requires.tools if spec.wishes and spec.wishes.requires else (),
        deadline=row.deadline_at / SECOND if row.deadline_at else None,
        wishes=spec.wishes,
    )
