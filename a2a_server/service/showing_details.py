"""What is read of one task besides the task itself, as operators see it: events, journal, values, artifacts."""

from __future__ import annotations

from typing import Any, cast

from pydantic import Field

from a2a_server.codec import decode, decode_event
from a2a_server.model.objects import ArtifactEvent, Event, JsonObject
from a2a_server.model.rows import ArtifactRow, EventRow, JournalRow, StateRow
from a2a_server.model.times import timestamp
from a2a_server.service.showing import STATES, ProgressShown, Shown, progress_shown
from a2a_server.wire import v10


class EventShown(Shown):
    """An event of a task: `status`, or a chunk of an `artifact`."""

    n: int
    at: str
    type: str = Field(description="status or artifact.")
    state: str | None = None
    message: dict[str, Any] | None = Field(None, description="As in A2A 1.0.")
    progress: ProgressShown | None = None
    artifact: dict[str, Any] | None = Field(None, description="As in A2A 1.0.")
    append: bool | None = None
    last_chunk: bool | None = None
    metadata: dict[str, Any] | None = None


class JournalShown(Shown):
    """An entry of the audit trail."""

    n: int
    at: str
    kind: str
    data: dict[str, Any] | None = None


class ValueShown(Shown):
    """A value that a task remembers."""

    name: str
    run: int = Field(description="The run that remembered it, from 1.")
    value: Any = None


class ArtifactShown(Shown):
    """A result without its content: that is behind its `url`, or, where it is `inline`, in /result."""

    id: str
    name: str | None = None
    media_type: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    created_at: str
    closed: bool
    run: int = Field(description="The run that wrote it.")
    url: str | None = Field(None, description="Where its content is, if that is a file of its own.")
    inline: bool | None = Field(None, description="There is no such file; /result has the content.")


def event_shown(row: EventRow, base_url: str) -> EventShown:
    """An event of a task's log."""
    event: Event = decode_event(row)
    if isinstance(event, ArtifactEvent):
        return EventShown(
            n=event.n,
            at=timestamp(event.at),
            type="artifact",
            artifact=cast("JsonObject", _update(event, base_url)["artifact"]),
            append=event.append,
            last_chunk=event.last,
        )
    status = event.status
    return EventShown(
        n=event.n,
        at=timestamp(row.at),
        type="status",
        state=STATES[status.state],
        message=None if status.message is None else v10.render_message(status.message, base_url),
        progress=progress_shown(event.progress),
        metadata=status.metadata,
    )


def _update(event: ArtifactEvent, base_url: str) -> JsonObject:
    return cast("JsonObject", v10.render_event(event, "", "", base_url)["artifactUpdate"])


def journal_shown(row: JournalRow) -> JournalShown:
    """An entry of the audit trail."""
    data = decode(row.body)
    return JournalShown(n=row.n, at=timestamp(row.at), kind=row.kind.name.lower(), data=data or None)


def value_shown(row: StateRow) -> ValueShown:
    """A remembered value."""
    return ValueShown(name=row.name, run=row.fence, value=decode(row.body))


def artifact_shown(row: ArtifactRow, id: str, base_url: str) -> ArtifactShown:
    """What is known of a result."""
    return ArtifactShown(
        id=id,
        name=row.name or None,
        media_type=row.media_type or None,
        size_bytes=row.size or None,
        sha256=row.sha256 or None,
        created_at=timestamp(row.created_at),
        closed=row.closed,
        run=row.take,
        url=f"{base_url}/artifacts/{row.location}" if row.location else None,
        inline=None if row.location else True,
    )
