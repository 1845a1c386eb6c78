"""Rows put together as the A2A objects that clients see."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from a2a_server.codec import decode, decode_event, decode_spec, decode_status, decode_take, unpack_message
from a2a_server.errors import ObjectMissing
from a2a_server.lifecycle.contents import joined
from a2a_server.lifecycle.states import status_word
from a2a_server.model.objects import (
    Artifact,
    ArtifactEvent,
    JsonObject,
    Message,
    Part,
    Phase,
    State,
    Status,
    Task,
    Text,
)
from a2a_server.model.queries import Snapshot
from a2a_server.model.rows import ArtifactRow, TaskRow
from a2a_server.model.times import timestamp
from a2a_server.ports import ArtifactStore

_WORDS: Final = {(state, phase): (phase.name.lower(), status_word(state, phase)) for state in State for phase in Phase}


def submitted_task(row: TaskRow, message: Message | None) -> Task:
    """The task as of its first event, with its first message where that is at hand: the start of a send's stream."""
    return Task(
        row.id,
        row.context,
        row.generation,
        Status(State.SUBMITTED, row.created_at),
        n=1,
        history=() if message is None else (_placed(message, row),),
        metadata=decode_spec(row.spec).metadata,
        info=_info(row._replace(state=State.SUBMITTED, phase=Phase.READY)),
    )


def accepted_task(row: TaskRow, message: Message | None) -> Task:
    """The task as its first message's acceptance left it, with that message where it is asked for."""
    return Task(
        row.id,
        row.context,
        row.generation,
        decode_status(row.status, row.status_at)[0],
        row.last_n,
        history=() if message is None else (_placed(message, row),),
        metadata=decode_spec(row.spec).metadata,
        info=_info(row),
    )


async def task_of(snapshot: Snapshot, artifacts: ArtifactStore, first: Message | None = None) -> Task:
    """The task as of its snapshot. Text that is kept in the artifact store is read from there.

    first: the task's first message as it was stored, where that is at hand.
    """
    row = snapshot.task
    status, _ = decode_status(row.status, row.status_at)
    shown = _artifacts(snapshot) if snapshot.artifacts else ()
    if any(take.location for take in snapshot.artifacts):
        pairs = zip(shown, snapshot.artifacts, strict=True)
        shown = tuple([await _filled(artifact, take.location, artifacts) for artifact, take in pairs])
    return Task(
        row.id,
        row.context,
        row.generation,
        status,
        row.last_n,
        artifacts=shown,
        history=tuple(
            [
                _placed(first if first and message.seq == 1 else unpack_message(decode(message.body)), row)
                for message in snapshot.messages
            ]
        ),
        metadata=decode_spec(row.spec).metadata,
        info=_info(row),
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


def _artifacts(snapshot: Snapshot) -> tuple[Artifact, ...]:
    chunks: dict[int, list[ArtifactEvent]] = defaultdict(list)
    for row in snapshot.chunks:
        event = decode_event(row)
        if isinstance(event, ArtifactEvent):
            chunks[event.artifact.ordinal].append(event)
    return tuple([_artifact(row, chunks.get(row.id, ())) for row in snapshot.artifacts])


def _artifact(row: ArtifactRow, chunks: Sequence[ArtifactEvent]) -> Artifact:
    parts, description, metadata = decode_take(row.body) if row.body else ((), "", None)
    if chunks:
        return replace(
            chunks[0].artifact,
            parts=parts if row.body else joined(event.artifact.parts for event in chunks),
            closed=row.closed,
        )
    return Artifact(row.name, parts, description, metadata, ordinal=row.id, closed=row.closed)


async def _filled(artifact: Artifact, location: str, store: ArtifactStore) -> Artifact:
    if not location or not any(isinstance(part, Text) for part in artifact.parts):
        return artifact
    return replace(artifact, parts=tuple([await _with_text(part, location, store) for part in artifact.parts]))


async def _with_text(part: Part, location: str, store: ArtifactStore) -> Part:
    if not isinstance(part, Text):
        return part
    try:
        return replace(part, text=b"".join([piece async for piece in store.read(location)]).decode())
    except ObjectMissing:
        return replace(part, text="", metadata={"missing": True})


def _info(row: TaskRow) -> JsonObject:
    phase, status = _WORDS[row.state, row.phase]
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
    return info
