"""One run's artifacts: which take a chunk belongs to, and what a take comes to when it closes.

Source: core.md section 6. An artifact opened by run r is its take r, and the first chunk of a take replaces what
clients have of the artifact; with `resume` a run continues the take that an earlier one left open. Content is collected
while it is small. A large text of one chunk stays where it is, in the event of that chunk; larger content of many
chunks is read back from the log when the take closes, and becomes one object.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from a2a_server.codec import encode_chunk, encode_parts
from a2a_server.lifecycle.contents import content_bytes, continues, joined
from a2a_server.lifecycle.runs import Draft, TakeDraft
from a2a_server.model.objects import Artifact, ArtifactEvent, File, JsonObject, Message, Part, Text
from a2a_server.model.queries import Stored
from a2a_server.model.rows import ArtifactRow, EventKind, Key
from a2a_server.model.runs import Chunk, TakeView

NOTHING: Final = TakeView()
"""What earlier runs left where they left nothing."""


@dataclass(slots=True, eq=False)
class Take:
    """A take that this run may write: its row as last stored, and what it holds so far.

    pieces: each chunk's parts while all of them are at most `inline_bytes`, or one stored file; else empty, and
    `spilled`. uniform: it is one text or one file, so it can be kept as one object; `first` tells which.
    opened, closed: the positions in the next report of the drafts that open and close it.
    """

    row: ArtifactRow
    view: TakeView = NOTHING
    mine: bool = False
    size: int = 0
    chunks: int = 0
    count: int = 0
    pieces: list[Sequence[Part]] = field(default_factory=list)
    first: Part | None = None
    spilled: bool = False
    uniform: bool = True
    description: str = ""
    metadata: JsonObject | None = None
    reopened: int = 0
    opened: int | None = None
    closed: int | None = None

    def add(self, parts: Sequence[Part], inline_bytes: int) -> None:
        """Take in a chunk's parts."""
        self.chunks += 1
        self.count += len(parts)
        self.uniform = self.uniform and len(parts) == 1 and self._goes_on(parts[0])
        self.first = self.first or parts[0]
        self.pieces.append(parts)
        for part in parts:
            self.size += content_bytes(part)
            self.spilled = self.spilled or (isinstance(part, File) and part.stored != "")
        self.spilled = self.spilled or self.size > inline_bytes
        if self.spilled and self.lone_object is None:
            self.pieces.clear()

    @property
    def lone_object(self) -> File | None:
        """The stored file that is the take's only content."""
        return self.first if self.count == 1 and isinstance(self.first, File) and self.first.stored else None

    @property
    def lone_text(self) -> bool:
        """Whether it is one text that came in one chunk."""
        return self.count == 1 and isinstance(self.first, Text)

    def _goes_on(self, part: Part) -> bool:
        """Whether the part continues the only text, or the only file, that the take is."""
        if self.first is not None and not continues(self.first, part):
            return False
        return isinstance(part, Text) or (isinstance(part, File) and (part.raw is not None or part.stored != ""))

    def whole(self, stored: Stored) -> Part | None:
        """The part that stands for content kept as one object: a file, or a text whose words are there."""
        match self.first:
            case Text():
                return replace(self.first, text="")
            case File():
                return replace(self.first, raw=None, stored=stored.name, size=stored.size, sha256=stored.sha256)
        return None


class Takes:
    """All artifacts of one run. Concurrency: belongs to the event loop.

    limit_bytes: a larger text is never kept in its event; it is assembled like any other, where the limit is applied.
    said_bytes: of content that this run has said, also where a later take replaced it; objects of other tasks, which
    it only passed on, are none of it.
    """

    def __init__(self, task: Key, fence: int, inline_bytes: int, limit_bytes: int = 1 << 30) -> None:
        self._task = task
        self._fence = fence
        self._inline = inline_bytes
        self._limit = limit_bytes
        self._takes: dict[str, Take] = {}
        self._changed: list[Take] = []
        self.said_bytes = 0

    def restore(self, rows: Iterable[ArtifactRow], chunks: Iterable[ArtifactEvent]) -> None:
        """Know what earlier runs left: every artifact by name, and the content of open ones."""
        by_ordinal: dict[int, Take] = {}
        for row in rows:
            by_ordinal[row.id] = self._takes[row.name] = Take(row)
        for event in chunks:
            take = by_ordinal.get(event.artifact.ordinal)
            if take is not None and not take.row.closed:
                take.add(event.artifact.parts, self._inline)
                take.description = take.description or event.artifact.description
                take.metadata = take.metadata or event.artifact.metadata
        for take in by_ordinal.values():
            take.view = TakeView(take.size, take.chunks)
            if take.row.take == self._fence:  # of this very run, by way of another process
                self.said_bytes += take.row.size if take.row.closed else take.size

    @property
    def any(self) -> bool:
        """Whether this run, or an earlier one, has written any."""
        return bool(self._takes)

    def view(self, name: str) -> TakeView:
        """What earlier runs committed of the artifact and can still be continued."""
        take = self._takes.get(name)
        return take.view if take is not None else NOTHING

    def chunk(self, output: Chunk, position: int, now: int) -> Draft | None:
        """The chunk's event, which is `position` in the next report.

        None where there is nothing to tell clients: an artifact that is no text is closed without another part.
        """
        if not output.parts:
            return self._closing(output.name, position)
        take = self._takes.get(output.name)
        if take is None or not take.mine:
            if take is not None and output.resume and not take.row.closed:
                take.mine = True
            else:
                take = self._open(output, take, position, now)
        elif take.row.closed:
            self._reopen(take)
        follows, before = take.chunks > 0, take.size
        take.add(output.parts, self._inline)
        self.said_bytes += take.size - before - (self._foreign(output.parts) if take.spilled else 0)
        take.description = take.description or output.description
        take.metadata = take.metadata or output.metadata
        ordinal, last = take.row.id, output.last
        if last and not self.unfinished(take):
            self.close(take, position)
        artifact = Artifact(
            output.name, output.parts, output.description, output.metadata, ordinal=ordinal, closed=last
        )
        return _drafted(artifact, append=follows, last=last)

    def written_with(self, said: Message | None) -> int:
        """Bytes of content that the run has said, with the files of its last message."""
        files = [part for part in said.parts if isinstance(part, File)] if said is not None else []
        return self.said_bytes + sum(map(content_bytes, files)) - self._foreign(files)

    def _foreign(self, parts: Sequence[Part]) -> int:
        mine = f"{UUID(bytes=self._task)}/"
        return sum(
            part.size
            for part in parts
            if isinstance(part, File) and part.raw is None and part.stored and not part.stored.startswith(mine)
        )

    def _closing(self, name: str, position: int) -> Draft | None:
        take = self._takes.get(name)
        if take is None or not take.mine or take.row.closed:
            return None
        shown = isinstance(take.first, Text)
        if not self.unfinished(take):
            self.close(take, position if shown else None)
        if not isinstance(take.first, Text):
            return None
        end = Artifact(name, (replace(take.first, text=""),), ordinal=take.row.id)
        return _drafted(end, append=True, last=True)

    def unfinished(self, take: Take) -> bool:
        """Whether the take is too large to be closed from memory: its content must be assembled from the log."""
        if not take.spilled or not take.uniform or take.lone_object is not None:
            return False
        return not take.lone_text or take.size > self._limit

    def close(self, take: Take, position: int | None, stored: Stored | None = None) -> None:
        """Write the take as closed with the next report; `stored` is the object that its content was assembled in."""
        size, location, sha256 = take.size, "", ""
        parts: tuple[Part, ...] = ()
        if lone := take.lone_object:
            location, sha256, parts = lone.stored, lone.sha256, (lone,)
        elif stored is not None and (whole := take.whole(stored)):
            size, location, sha256, parts = stored.size, stored.name, stored.sha256, (whole,)
        elif not take.spilled:
            parts = tuple(take.pieces[0]) if take.chunks == 1 else joined(take.pieces)
        body = encode_parts(parts, take.description, take.metadata) if parts else b""
        row = take.row._replace(closed=True, size=size, sha256=sha256, location=location, body=body)
        self._write(take, row, position)

    def leave(self, take: Take) -> None:
        """Let the take close as it stands, its content in its chunk events: it could not be assembled."""
        take.uniform = False

    def _reopen(self, take: Take) -> None:
        take.reopened += 1
        self._write(take, take.row._replace(closed=False, last_n=0, sha256="", location="", body=b""), None)

    def _write(self, take: Take, row: ArtifactRow, closed: int | None) -> None:
        take.row = row
        take.closed = closed
        if take not in self._changed:
            self._changed.append(take)

    def left_open(self) -> list[Take]:
        """Every take that the end of the task has to close, earlier runs' too."""
        return [take for take in self._takes.values() if not take.row.closed]

    def drafts(self) -> tuple[TakeDraft, ...]:
        """What the next report writes; the list begins anew. Call when the report before it is committed."""
        changed, self._changed = self._changed, []
        drafts = tuple([TakeDraft(take.row, take.opened, take.closed) for take in changed])
        for take in changed:
            take.opened = take.closed = None
        return drafts

    def written(self, rows: Iterable[ArtifactRow]) -> None:
        """Learn the numbers that the turn gave."""
        for row in rows:
            take = self._takes.get(row.name)
            if take is not None and take.row.take == row.take and take.row.first_n != row.first_n:
                take.row = take.row._replace(first_n=row.first_n)

    def _open(self, output: Chunk, before: Take | None, position: int, now: int) -> Take:
        ordinal = len(self._takes) if before is None else before.row.id
        media_type = output.media_type or _media_type(output.parts)
        row = ArtifactRow(
            task=self._task,
            id=ordinal,
            take=self._fence,
            first_n=0,
            last_n=0,
            closed=False,
            name=output.name,
            media_type=media_type,
            size=0,
            sha256="",
            created_at=now,
            location="",
            body=b"",
        )
        take = self._takes[output.name] = Take(row, mine=True)
        take.opened = position
        self._changed.append(take)
        return take


def _drafted(artifact: Artifact, *, append: bool, last: bool) -> Draft:
    """The chunk's event. What plain text says is at hand for this process; anything else is read from the body."""
    body = encode_chunk(artifact, append=append, last=last)
    plain = artifact.metadata is None and len(artifact.parts) == 1 and _is_plain(artifact.parts[0])
    said = ArtifactEvent(0, 0, artifact, append, last) if plain else None
    return Draft(EventKind.CHUNK, body, artifact.ordinal, said=said)


def _is_plain(part: Part) -> bool:
    return type(part) is Text and type(part.text) is str and part.metadata is None


def _media_type(parts: Sequence[Part]) -> str:
    part = parts[0]
    if part.media_type:
        return part.media_type
    if isinstance(part, Text):
        return "text/plain"
    return "application/octet-stream" if isinstance(part, File) else "application/json"
