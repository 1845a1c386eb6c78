"""Rows put together as the A2A objects that clients see."""

from __future__ import annotations

from typing import Final

from a2a_server.codec import decode, decode_spec, decode_status, unpack_message
from a2a_server.engine.contents import shown
from a2a_server.lifecycle.states import status_word
from a2a_server.model.objects import JsonObject, Message, Phase, State, Status, Task, TaskSpec, Wishes
from a2a_server.model.options import criterion_shown
from a2a_server.model.queries import Snapshot
from a2a_server.model.rows import Interest, TaskRow
from a2a_server.model.times import timestamp
from a2a_server.ports import ArtifactStore

_WORDS: Final = {(state, phase): (phase.name.lower(), status_word(state, phase)) for state in State for phase in Phase}


def submitted_task(row: TaskRow, message: Message | None) -> Task:
    """The task as of its first event, with its first message where that is at hand: the start of a send's stream."""
    spec = decode_spec(row.spec)
    return Task(
        row.id,
        row.context,
        row.generation,
        Status(State.SUBMITTED, row.created_at),
        n=1,
        history=() if message is None else (_placed(message, row),),
        metadata=spec.metadata,
        info=_info(row._replace(state=State.SUBMITTED, phase=Phase.READY), spec),
    )


def accepted_task(row: TaskRow, message: Message | None) -> Task:
    """The task as its first message's acceptance left it, with that message where it is asked for."""
    spec = decode_spec(row.spec)
    return Task(
        row.id,
        row.context,
        row.generation,
        decode_status(row.status, row.status_at)[0],
        row.last_n,
        history=() if message is None else (_placed(message, row),),
        metadata=spec.metadata,
        info=_info(row, spec),
    )


async def task_of(snapshot: Snapshot, artifacts: ArtifactStore, first: Message | None = None) -> Task:
    """The task as of its snapshot. Text that is kept in the artifact store is read from there.

    first: the task's first message as it was stored, where that is at hand.
    """
    row = snapshot.task
    spec = decode_spec(row.spec)
    status, _ = decode_status(row.status, row.status_at)
    return Task(
        row.id,
        row.context,
        row.generation,
        status,
        row.last_n,
        artifacts=await shown(snapshot, artifacts) if snapshot.artifacts else (),
        history=tuple(
            [
                _placed(first if first and message.seq == 1 else unpack_message(decode(message.body)), row)
                for message in snapshot.messages
            ]
        ),
        metadata=spec.metadata,
        info=_info(row, spec),
    )


def _placed(message: Message, row: TaskRow) -> Message:
    return Message(
        message.role,
        message.parts,
        message.id,
        row.context,
        row.id,
        message.reference_task_ids,
        message.extensions,
        message.metadata,
    )


def _info(row: TaskRow, spec: TaskSpec) -> JsonObject:
    phase, status = _WORDS[row.state, row.phase]
    if row.phase is Phase.WAITING and row.pushes & Interest.PARENT:
        status = status_word(row.state, row.phase, children=True)
    info: JsonObject = {
        "phase": phase,
        "status": status,
        "attempt": min(row.attempt + 1, row.max_attempts),
        "maxAttempts": row.max_attempts,
        "priority": row.lane.name.lower(),
    }
    if row.held_by:
        info["heldBy"] = row.held_by
    if row.due_at and row.worker == b"":
        info["dueAt"] = timestamp(row.due_at)
    if row.unmet:
        info["unmet"] = row.unmet
    if spec.title:
        info["title"] = spec.title
    if spec.wishes is not None:
        info |= _wished(spec.wishes)
    return info


_WISHED: Final = {
    "description": "description",
    "kind": "kind",
    "context": "context",
    "tags": "tags",
    "dependsOn": "depends_on",
    "parentTaskId": "parent",
    "retryOf": "retry_of",
    "forkedFrom": "forked_from",
    "batch": "batch",
    "schedule": "schedule",
    "template": "template",
}


def _wished(wishes: Wishes) -> JsonObject:
    given = {word: getattr(wishes, name) for word, name in _WISHED.items()}
    given["completeWhen"] = criterion_shown(wishes.complete_when, wishes.checks)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items() if value}
