"""One run's artifacts: which take a chunk belongs to, and what a take comes to when it closes.

Source: core.md section 6. An artifact opened by run r is its take r, and the first chunk of a take replaces what
clients have of the artifact; with `resume` a run continues the take that an earlier one left open. Content is collected
while it is small; larger content is read back from the log when the take closes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from a2a_server.codec import encode_chunk, encode_parts
from a2a_server.lifecycle.contents import content, continues, joined
from a2a_server.lifecycle.runs import TakeDraft
from a2a_server.model.objects import Artifact, ArtifactEvent, File, JsonObject, Part, Text
from a2a_server.model.queries import Stored
from a2a_server.model.rows import ArtifactRow, Key
from a2a_server.model.runs import Chunk, TakeView


@dataclass(slots=True)
class Take:
    """A take that this run may write: its row as last stored, and what it holds so far.

    pieces: each chunk's parts while all of them are at most `inline_bytes`, or one stored file; else empty, and
    `spilled`. uniform: it is one text or one file, so it can be kept as one object; `first` tells which. digest: of
    what is not in a stored file.
    """

    row: ArtifactRow
    view: TakeView = field(default_factory=TakeView)
    mine: bool = False
    size: int = 0
    chunks: int = 0
    count: int = 0
    pieces: list[tuple[Part, ...]] = field(default_factory=list)
    first: Part | None = None
    spilled: bool = False
    uniform: bool = True
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    description: str = ""
    metadata: JsonObject | None = None
    reopened: int = 0

    def add(self, parts: Sequence[Part], inline_bytes: int) -> None:
        """Take in a chunk's parts."""
        self.chunks += 1
        self.pieces.append(tuple(parts))
        for index, part in enumerate(parts):
            follows = self.first is None or (index == 0 and continues(self.first, part))
            self.first = self.first or part
            self.count += 1
            if isinstance(part, File) and part.stored:
                self.uniform = self.uniform and follows
                self.size += part.size
                self.spilled = True
                continue
            data = content(part)
            self.uniform = self.uniform and follows and data is not None
            if data is None:
                data = encode_parts((part,))
            self.size += len(data)
            self.digest.update(data)
        self.spilled = self.spilled or self.size > inline_bytes
        if self.spilled and self.lone_object is None:
            self.pieces.clear()

    @property
    def lone_object(self) -> File | None:
        """The stored file that is the take's only content."""
        return self.first if self.count == 1 and isinstance(self.first, File) and self.first.stored else None

    def whole(self, stored: Stored) -> Part | None:
        """The part that stands for content kept as one object: a file, or a text whose words are there."""
        match self.first:
            case Text():
                return replace(self.first, text="")
            case File():
                return replace(self.first, raw=None, stored=stored.name, size=stored.size, sha256=stored.sha256)
        return None


class Takes:
    """All artifacts of one run. Concurrency: belongs to the event loop."""

    def __init__(self, task: Key, fence: int, inline_bytes: int) -> None:
        self._task = task
        self._fence = fence
        self._inline = inline_bytes
        self._takes: dict[str, Take] = {}
        self._drafts: list[TakeDraft] = []

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

    def view(self, name: str) -> TakeView:
        """What earlier runs committed of the artifact and can still be continued."""
        take = self._takes.get(name)
        return take.view if take is not None else TakeView()

    def chunk(self, output: Chunk, position: int, now: int) -> tuple[int, bytes] | None:
        """The artifact's ordinal and the body of the chunk's event, which is `position` in the next report.

        None where there is nothing to tell clients: an artifact that is no text is closed without another part.
        """
        if not output.parts:
            return self._closing(output.name, position)
        take = self._takes.get(output.name)
        opened = None
        if take is None or not take.mine:
            if take is not None and output.resume and not take.row.closed:
                take.mine = True
            else:
                take, opened = self._open(output, take, now), position
        elif take.row.closed:
            self._reopen(take)
        first = take.chunks == 0
        take.add(output.parts, self._inline)
        take.description = take.description or output.description
        take.metadata = take.metadata or output.metadata
        if opened is not None:
            self._drafts.append(TakeDraft(take.row, opened=opened))
        artifact = Artifact(
            output.name, output.parts, output.description, output.metadata, ordinal=take.row.id, closed=output.last
        )
        if output.last and not self.unfinished(take):
            self.close(take, position)
        return take.row.id, encode_chunk(artifact, append=not first, last=output.last)

    def _closing(self, name: str, position: int) -> tuple[int, bytes] | None:
        take = self._takes.get(name)
        if take is None or not take.mine or take.row.closed:
            return None
        shown = isinstance(take.first, Text)
        if not self.unfinished(take):
            self.close(take, position if shown else None)
        if not isinstance(take.first, Text):
            return None
        end = Artifact(name, (replace(take.first, text=""),), ordinal=take.row.id)
        return take.row.id, encode_chunk(end, append=True, last=True)

    def unfinished(self, take: Take) -> bool:
        """Whether the take is too large to be closed from memory: its content must be assembled from the log."""
        return take.spilled and take.uniform and take.lone_object is None

    def close(self, take: Take, position: int | None, stored: Stored | None = None) -> None:
        """Write the take as closed with the next report; `stored` is the object that its content was assembled in."""
        row = take.row._replace(closed=True, size=take.size, sha256=take.digest.hexdigest())
        parts: tuple[Part, ...] = ()
        if lone := take.lone_object:
            parts = (lone,)
            row = row._replace(location=lone.stored, sha256=lone.sha256)
        elif stored is not None and (whole := take.whole(stored)):
            parts = (whole,)
            row = row._replace(location=stored.name, size=stored.size, sha256=stored.sha256)
        elif not take.spilled:
            parts = joined(take.pieces)
        if parts:
            row = row._replace(body=encode_parts(parts, take.description, take.metadata))
        self._write(take, row, position)

    def leave(self, take: Take) -> None:
        """Let the take close as it stands, its content in its chunk events: it could not be assembled."""
        take.uniform = False

    def _reopen(self, take: Take) -> None:
        take.reopened += 1
        self._write(take, take.row._replace(closed=False, last_n=0, location="", body=b""), None)

    def _write(self, take: Take, row: ArtifactRow, closed: int | None) -> None:
        take.row = row
        pending = [index for index, draft in enumerate(self._drafts) if draft.row.id == row.id]
        if pending:
            self._drafts[pending[-1]] = replace(self._drafts[pending[-1]], row=row, closed=closed)
        else:
            self._drafts.append(TakeDraft(row, closed=closed))

    def left_open(self) -> list[Take]:
        """Every take that the end of the task has to close, earlier runs' too."""
        return [take for take in self._takes.values() if not take.row.closed]

    def drafts(self) -> tuple[TakeDraft, ...]:
        """What the next report writes; the list begins anew. Call when the report before it is committed."""
        drafts, self._drafts = self._drafts, []
        return tuple(
            draft
            if draft.opened is not None
            else replace(draft, row=draft.row._replace(first_n=self._takes[draft.row.name].row.first_n))
            for draft in drafts
        )

    def written(self, rows: Iterable[ArtifactRow]) -> None:
        """Learn the numbers that the turn gave."""
        for row in rows:
            take = self._takes.get(row.name)
            if take is not None and take.row.take == row.take:
                take.row = take.row._replace(first_n=row.first_n, last_n=row.last_n)

    def _open(self, output: Chunk, before: Take | None, now: int) -> Take:
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
        return take


def _media_type(parts: Sequence[Part]) -> str:
    part = parts[0]
    if part.media_type:
        return part.media_type
    if isinstance(part, Text):
        return "text/plain"
    return "application/octet-stream" if isinstance(part, File) else "application/json"
