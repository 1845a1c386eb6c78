"""A task's artifacts put together from its snapshot, for clients and for the parent that joins it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from a2a_server.codec import decode_event, decode_take
from a2a_server.errors import ObjectMissing
from a2a_server.lifecycle.contents import joined
from a2a_server.model.objects import Artifact, ArtifactEvent, Part, Text
from a2a_server.model.queries import Snapshot
from a2a_server.model.rows import ArtifactRow
from a2a_server.ports import ArtifactStore


async def shown(snapshot: Snapshot, store: ArtifactStore) -> tuple[Artifact, ...]:
    """The task's artifacts. Text that is kept in the artifact store is read from there."""
    found = _artifacts(snapshot) if snapshot.artifacts else ()
    if any(take.location for take in snapshot.artifacts):
        pairs = zip(found, snapshot.artifacts, strict=True)
        found = tuple([await _filled(artifact, take.location, store) for artifact, take in pairs])
    return found


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
