"""Rows put together as the A2A objects that clients see."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from a2a_server.codec import (
    decode,
    decode_about,
    decode_event,
    decode_parts,
    decode_spec,
    decode_status,
    unpack_message,
)
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


async def task_of(snapshot: Snapshot, artifacts: ArtifactStore) -> Task:
    """The task as of its snapshot. Text that is kept in the artifact store is read from there."""
    row = snapshot.task
    status, _ = decode_status(row.status, row.status_at)
    return Task(
        row.id,
        row.context,
        row.generation,
        status,
        row.last_n,
        artifacts=await _artifacts(snapshot, artifacts),
        history=tuple(_placed(unpack_message(decode(message.body)), row) for message in snapshot.messages),
        metadata=decode_spec(row.spec).metadata,
        info=_info(row),
    )


def _placed(message: Message, row: TaskRow) -> Message:
    return replace(message, context_id=row.context, task_id=row.id)


async def _artifacts(snapshot: Snapshot, store: ArtifactStore) -> tuple[Artifact, ...]:
    chunks: dict[int, list[ArtifactEvent]] = defaultdict(list)
    for row in snapshot.chunks:
        event = decode_event(row)
        if isinstance(event, ArtifactEvent):
            chunks[event.artifact.ordinal].append(event)
    return tuple([await _artifact(row, chunks.get(row.id, ()), store) for row in snapshot.artifacts])


async def _artifact(row: ArtifactRow, chunks: Iterable[ArtifactEvent], store: ArtifactStore) -> Artifact:
    first = next(iter(chunks), None)
    parts = decode_parts(row.body) if row.body else joined(event.artifact.parts for event in chunks)
    if row.location:
        parts = tuple([await _with_text(part, row.location, store) for part in parts])
    if first is not None:
        return replace(first.artifact, parts=parts, closed=row.closed)
    description, metadata = decode_about(row.body) if row.body else ("", None)
    return Artifact(row.name, parts, description, metadata, ordinal=row.id, closed=row.closed)


async def _with_text(part: Part, location: str, store: ArtifactStore) -> Part:
    if not isinstance(part, Text):
        return part
    try:
        return replace(part, text=b"".join([piece async for piece in store.read(location)]).decode())
    except ObjectMissing:
        return replace(part, text="", metadata={"missing": True})


def _info(row: TaskRow) -> JsonObject:
    info: JsonObject = {
        "phase": row.phase.name.lower(),
        "status": status_word(row.state, row.phase),
        "attempt": min(row.attempt + 1, row.max_attempts),
        "maxAttempts": row.max_attempts,
        "priority": row.lane.name.lower(),
    }
    if row.held_by:
        info["heldBy"] = row.held_by
    if row.due_at and row.worker == b"":
        info["dueAt"] = timestamp(row.due_at)
    return info
