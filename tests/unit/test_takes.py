"""What a run's chunks make of its artifacts, from the takes to the rows that the turns write."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from uuid import UUID

import pytest

from a2a_server.codec import decode_event, decode_parts
from a2a_server.engine.takes import Takes
from a2a_server.lifecycle.endings import EndKind
from a2a_server.lifecycle.runs import Draft
from a2a_server.model.objects import ArtifactEvent, Data, File, Message, Part, Role, Text
from a2a_server.model.queries import Stored
from a2a_server.model.rows import ArtifactRow, EventKind, EventRow, FreshRow
from a2a_server.model.runs import Chunk, TakeView
from tests.unit.turns import MemoryTurns, claim, crash, report, started

INLINE = 64


class Run:
    """A run whose chunks become reports as the attempt makes them."""

    def __init__(self, store: MemoryTurns, inline: int = INLINE) -> None:
        self.store = store
        self.row = store.one(claim(1)).rows[0] if store.tasks else started(store, max_attempts=9)
        self.takes = Takes(self.row.key, self.row.fence, inline)
        if self.row.fence > 1:
            self.takes.restore(store.newest_takes(self.row.key), [e for e in self.events() if not self.closed(e)])
        self.drafts: list[Draft] = []

    def say(self, name: str, *parts: Part | str, last: bool = False, resume: bool = False) -> ArtifactEvent:
        given = tuple(Text(part) if isinstance(part, str) else part for part in parts)
        chunk = Chunk(name, given, last=last, resume=resume, media_type="text/plain")
        draft = self.takes.chunk(chunk, len(self.drafts), self.store.now)
        assert draft is not None
        self.drafts.append(draft)
        row = self.store.events[self.row.key][-1]
        event = decode_event(row._replace(kind=EventKind.CHUNK, body=draft.body))
        assert isinstance(event, ArtifactEvent)
        return event

    def shut(self, name: str) -> bool:
        """Close without another part; whether clients are told."""
        if draft := self.takes.chunk(Chunk(name, (), last=True), len(self.drafts), self.store.now):
            self.drafts.append(draft)
        return draft is not None

    def commit(self, kind: EndKind | None = None) -> None:
        drafts, self.drafts = tuple(self.drafts), []
        reported = self.store.one(report(self.row, kind, drafts=drafts, takes=self.takes.drafts()))
        self.row = reported.row
        self.takes.written(reported.takes)

    def end(self, stored: Stored | None = None) -> None:
        for take in self.takes.left_open():
            self.takes.close(take, None, stored if self.takes.unfinished(take) else None)
        self.commit(EndKind.COMPLETED)

    def events(self) -> list[ArtifactEvent]:
        decoded = [decode_event(event) for event in self.store.events[self.row.key]]
        return [event for event in decoded if isinstance(event, ArtifactEvent)]

    def closed(self, event: ArtifactEvent) -> bool:
        rows = {row.id: row for row in self.store.newest_takes(self.row.key)}
        row = rows[event.artifact.ordinal]
        return bool(row.body) or event.n < row.first_n

    def artifacts(self) -> list[ArtifactRow]:
        return self.store.newest_takes(self.row.key)

    def assembled(self) -> dict[str, str]:
        """What a client has that obeys `append`."""
        held: dict[str, str] = {}
        for event in self.events():
            text = "".join(part.text for part in event.artifact.parts if isinstance(part, Text))
            held[event.artifact.name] = (held[event.artifact.name] if event.append else "") + text
        return held


@pytest.fixture
def store() -> MemoryTurns:
    return MemoryTurns()


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def stored_file(size: int, name: str = "object") -> File:
    return File("f.bin", "application/octet-stream", stored=name, size=size, sha256=sha(name.encode()))


# Flags and numbers


def test_the_first_chunk_of_a_take_replaces_and_the_others_append(store: MemoryTurns) -> None:
    run = Run(store)
    events = [run.say("a", "x"), run.say("a", "y"), run.say("b", "z", last=True), run.say("a", "", last=True)]
    assert [(e.append, e.last) for e in events] == [(False, False), (True, False), (False, True), (True, True)]
    assert [event.artifact.ordinal for event in events] == [0, 0, 1, 0]


def test_a_take_that_opens_and_closes_in_one_report(store: MemoryTurns) -> None:
    run = Run(store)
    run.say("b", "z")
    run.say("a", "xy")
    run.say("b", "z")
    run.say("a", "z", last=True)
    run.commit()
    row = run.artifacts()[1]
    assert (row.name, row.first_n, row.last_n, row.closed, row.size) == ("a", 4, 6, True, 3)
    assert decode_parts(row.body) == (Text("xyz"),)
    assert (row.location, row.sha256) == ("", "")  # the digest is that of an object


def test_a_take_that_closes_in_a_later_report(store: MemoryTurns) -> None:
    run = Run(store)
    run.say("a", "x")
    run.commit()
    (row,) = run.artifacts()
    assert (row.first_n, row.last_n, row.closed, row.body) == (3, 0, False, b"")
    run.say("b", "other", last=True)
    run.say("a", "y", last=True)
    run.commit()
    assert [(row.first_n, row.last_n, row.closed) for row in run.artifacts()] == [(3, 5, True), (4, 4, True)]


def test_a_close_that_is_encoded_while_the_opening_is_committed(store: MemoryTurns) -> None:
    run = Run(store)
    run.say("a", "x")
    drafts, takes = tuple(run.drafts), run.takes.drafts()
    run.drafts = []
    run.say("a", "y", last=True)
    reported = store.one(report(run.row, drafts=drafts, takes=takes))
    run.row = reported.row
    run.takes.written(reported.takes)
    run.commit()
    assert [(row.first_n, row.last_n, row.closed) for row in run.artifacts()] == [(3, 4, True)]


def test_what_no_chunk_closed_is_closed_with_the_end(store: MemoryTurns) -> None:
    run = Run(store)
    run.say("a", "x")
    run.commit()
    run.say("b", "y")
    run.end()
    rows = run.artifacts()
    assert [(row.first_n, row.last_n, row.closed) for row in rows] == [(3, 4, True), (4, 4, True)]
    assert [decode_parts(row.body) for row in rows] == [(Text("x"),), (Text("y"),)]


def test_a_text_is_closed_with_an_empty_piece_and_other_content_silently(store: MemoryTurns) -> None:
    run = Run(store)
    run.say("text", "x")
    run.say("file", File(raw=b"x"))
    assert [run.shut(name) for name in ("text", "file", "text", "nothing")] == [True, False, False, False]
    run.commit()
    assert [(row.name, row.first_n, row.last_n, row.closed) for row in run.artifacts()] == [
        ("text", 3, 5, True),
        ("file", 4, 5, True),
    ]
    assert [decode_parts(row.body) for row in run.artifacts()] == [(Text("x"),), (File(raw=b"x"),)]
    assert (run.events()[-1].append, run.events()[-1].last) == (True, True)


def test_a_second_whole_artifact_of_one_name_continues_the_first(store: MemoryTurns) -> None:
    run = Run(store)
    run.say("a", "x", last=True)
    run.commit()
    assert run.say("a", "y", last=True).append
    run.end()
    (row,) = run.artifacts()
    assert decode_parts(row.body) == (Text(run.assembled()["a"]),) == (Text("xy"),)


# Earlier runs


def test_the_run_after_a_crash_replaces_what_was_left(store: MemoryTurns) -> None:
    first = Run(store)
    first.say("a", "left")
    first.say("b", "too", last=True)
    first.commit()
    crash(store, first.row)
    second = Run(store)
    assert second.takes.view("a") == TakeView(4, 1)
    assert second.takes.view("b") == second.takes.view("c") == TakeView()
    assert not second.say("a", "new").append
    second.say("c", "third", last=True)
    second.end()
    rows = {row.name: row for row in second.artifacts()}
    assert {name: row.id for name, row in rows.items()} == {"a": 0, "b": 1, "c": 2}
    assert {name: row.take for name, row in rows.items()} == {"a": 2, "b": 1, "c": 2}
    assert {name: decode_parts(row.body) for name, row in rows.items()} == {
        name: (Text(text),) for name, text in second.assembled().items()
    }
    assert second.assembled() == {"a": "new", "b": "too", "c": "third"}


@pytest.mark.parametrize("kind", [None, EndKind.HANDED_BACK])
def test_a_run_resumes_where_an_earlier_one_stopped(store: MemoryTurns, kind: EndKind | None) -> None:
    first = Run(store)
    first.say("a", "ha")
    first.say("a", "lf ü ")
    first.commit(kind)
    if kind is None:
        crash(store, first.row)
    second = Run(store)
    assert second.takes.view("a") == TakeView(8, 2)
    event = second.say("a", "whole", last=True, resume=True)
    assert event.append
    second.end()
    (row,) = second.artifacts()
    assert (row.take, row.first_n) == (1, 3)
    assert decode_parts(row.body) == (Text("half ü whole"),)
    assert second.assembled() == {"a": "half ü whole"}


def test_what_was_closed_is_not_resumed(store: MemoryTurns) -> None:
    first = Run(store)
    first.say("a", "done", last=True)
    first.commit()
    crash(store, first.row)
    second = Run(store)
    assert not second.say("a", "again", resume=True).append
    second.end()
    assert [(row.take, decode_parts(row.body)) for row in second.artifacts()] == [(2, (Text("again"),))]


def test_resume_counts_on_the_first_chunk_only(store: MemoryTurns) -> None:
    first = Run(store)
    first.say("a", "left")
    first.commit()
    crash(store, first.row)
    second = Run(store)
    assert not second.say("a", "new").append
    assert second.say("a", "er", resume=True).append
    second.end()
    assert decode_parts(second.artifacts()[0].body) == (Text("newer"),)


def test_the_end_closes_what_an_earlier_run_left_and_nobody_continued(store: MemoryTurns) -> None:
    first = Run(store)
    first.say("a", "left")
    first.commit()
    crash(store, first.row)
    second = Run(store)
    second.end()
    (row,) = second.artifacts()
    assert (row.take, row.closed, row.first_n, decode_parts(row.body)) == (1, True, 3, (Text("left"),))


# Content


def test_a_body_holds_what_is_small_and_nothing_more(store: MemoryTurns) -> None:
    run = Run(store)
    run.say("fits", "x" * INLINE, last=True)
    run.say("spills", "x" * INLINE)
    run.say("spills", "x")
    run.commit()
    fits, spills = run.artifacts()
    assert decode_parts(fits.body) == (Text("x" * INLINE),)
    assert (spills.closed, spills.body) == (False, b"")
    (take,) = run.takes.left_open()
    assert run.takes.unfinished(take)
    assert not take.pieces, "what has spilled is held no longer"


def test_a_spilled_text_is_kept_as_one_object(store: MemoryTurns) -> None:
    run = Run(store)
    for _ in range(3):
        run.say("a", "x" * INLINE)
    run.commit()
    content = b"x" * (3 * INLINE)
    run.end(Stored("key/0/1", len(content), sha(content), "text/plain"))
    (row,) = run.artifacts()
    assert (row.location, row.size, row.sha256, row.closed) == ("key/0/1", len(content), sha(content), True)
    assert decode_parts(row.body) == (Text(""),)


def test_a_spilled_text_is_left_open_by_its_last_chunk_until_it_is_assembled(store: MemoryTurns) -> None:
    run = Run(store)
    run.say("a", "x" * INLINE)
    assert run.say("a", "x", last=True).last
    run.commit()
    assert not run.artifacts()[0].closed
    assert run.takes.left_open()


def test_a_large_text_of_one_chunk_stays_in_its_event(store: MemoryTurns) -> None:
    run = Run(store)
    content = "é" * INLINE
    run.say("whole", content, last=True)
    run.say("left", content)
    run.say("shut", content)
    assert run.shut("shut")
    assert not any(run.takes.unfinished(take) for take in run.takes.left_open())
    run.end()
    rows = run.artifacts()
    assert [(row.closed, row.body, row.location) for row in rows] == [(True, b"", "")] * 3
    assert {row.size for row in rows} == {2 * INLINE}
    assert run.assembled() == {"whole": content, "left": content, "shut": content}


def test_what_a_chunk_says_is_at_hand_and_is_what_its_body_says(store: MemoryTurns) -> None:
    run = Run(store)
    labelled = Text("é", media_type="text/csv", filename="a.csv")
    for text in ("x", "é" * INLINE, "", labelled):
        run.say("a", text)
    run.say("b", "x", last=True)
    run.say("c", "x")
    assert run.shut("c")
    run.commit()
    rows = [row for row in store.events[run.row.key] if row.kind is EventKind.CHUNK]
    assert [isinstance(row, FreshRow) and row.said is not None for row in rows] == [True] * 7
    for row in rows:
        stored = EventRow(*row)
        assert (stored, decode_event(stored)) == (row, decode_event(row))
        later = row._replace(at=row.at + 1)  # a copy reads its body
        assert decode_event(later) == decode_event(EventRow(*later))


def test_what_is_more_than_plain_text_is_read_from_its_body(store: MemoryTurns) -> None:
    run = Run(store)
    run.say("a", Text("x", metadata={"k": 1}))
    run.say("b", "x", "y")
    run.say("c", Data({"k": 1}))
    run.say("d", File("f", raw=b"x"))
    draft = run.takes.chunk(Chunk("e", (Text("x"),), metadata={"k": 1}), len(run.drafts), store.now)
    assert [one and one.said for one in (*run.drafts, draft)] == [None] * 5


def test_a_large_text_of_one_chunk_that_goes_on_is_assembled(store: MemoryTurns) -> None:
    run = Run(store)
    run.say("a", "x" * (INLINE + 1), last=True)
    run.commit()
    assert run.artifacts()[0].closed
    run.say("a", "y", last=True)
    run.commit()
    (take,) = run.takes.left_open()
    assert run.takes.unfinished(take)
    assert not run.artifacts()[0].closed


def test_a_text_that_is_larger_than_an_artifact_may_be_does_not_stay_in_its_event(store: MemoryTurns) -> None:
    takes = Takes(Run(store).row.key, 1, INLINE, 2 * INLINE)
    for name, size in (("fits", 2 * INLINE), ("not", 2 * INLINE + 1)):
        takes.chunk(Chunk(name, (Text("x" * size),), last=True), 0, 0)
    (take,) = takes.left_open()
    assert (take.row.name, takes.unfinished(take)) == ("not", True)


def test_a_lone_stored_file_is_its_own_content(store: MemoryTurns) -> None:
    run = Run(store)
    part = stored_file(1000)
    run.say("a", part, last=True)
    run.say("b", part)
    run.shut("b")
    run.commit()
    for row in run.artifacts():
        assert (row.location, row.size, row.sha256) == ("object", 1000, part.sha256)
        assert decode_parts(row.body) == (part,)


def test_a_stored_file_that_goes_on_is_assembled_with_the_objects_own_hash(store: MemoryTurns) -> None:
    run = Run(store)
    part = stored_file(1000)
    run.say("a", part)
    run.say("a", replace(part, raw=b"tail", stored="", size=0, sha256=""))
    run.commit()
    (take,) = run.takes.left_open()
    assert run.takes.unfinished(take)
    run.end(Stored("key/0/1", 1004, sha(b"all of it"), "application/octet-stream"))
    (row,) = run.artifacts()
    assert (row.size, row.sha256) == (1004, sha(b"all of it"))
    assert decode_parts(row.body) == (replace(part, stored="key/0/1", size=1004, sha256=sha(b"all of it")),)


@pytest.mark.parametrize(
    "parts",
    [
        (Data({"a": "x" * INLINE}),),
        (Text("x" * INLINE), Data(1)),
        (File(url="https://example.org/" + "x" * INLINE),),
        (File("a", raw=bytes(INLINE)), File("b", raw=bytes(INLINE))),
        (File(raw=bytes(INLINE)), File(raw=bytes(INLINE))),
        (stored_file(1000, "one"), stored_file(1000, "two")),
    ],
    ids=["data", "mixed", "address", "named files", "files", "stored files"],
)
def test_what_is_no_single_text_or_file_stays_in_its_events(store: MemoryTurns, parts: tuple[Part, ...]) -> None:
    run = Run(store)
    run.say("a", *parts, last=True)
    run.commit()
    (row,) = run.artifacts()
    assert (row.closed, row.body, row.location) == (True, b"", "")
    assert run.events()[0].artifact.parts == parts


def test_parts_of_one_chunk_stay_apart(store: MemoryTurns) -> None:
    run = Run(store)
    parts = (File(raw=b"one"), File(raw=b"two"), Text("x"), Text("y"))
    run.say("a", *parts, last=True)
    run.commit()
    assert decode_parts(run.artifacts()[0].body) == parts


def test_chunks_of_a_file_become_one(store: MemoryTurns) -> None:
    run = Run(store)
    for piece in (b"a", b"b", b"c"):
        run.say("a", File("f", raw=piece))
    run.end()
    assert decode_parts(run.artifacts()[0].body) == (File("f", raw=b"abc"),)


def test_the_media_type_is_the_chunks_or_its_first_parts() -> None:
    takes = Takes(Run(MemoryTurns()).row.key, 1, INLINE)
    for name, part in (("a", Text("x")), ("b", Data(1)), ("c", File(raw=b"")), ("d", Text("x", "text/html"))):
        takes.chunk(Chunk(name, (part,)), 0, 0)
    takes.chunk(Chunk("e", (Text("x"),), media_type="text/csv"), 0, 0)
    types = ["text/plain", "application/json", "application/octet-stream", "text/html", "text/csv"]
    assert [draft.row.media_type for draft in takes.drafts()] == types


def test_what_a_run_said_is_counted_also_where_it_was_replaced_and_not_where_it_was_passed_on() -> None:
    store = MemoryTurns()
    run = Run(store)
    run.say("text", "é" * 3)
    run.say("text", "x" * 200, last=True)
    assert run.takes.said_bytes == 206
    mine = f"{UUID(bytes=run.row.key)}/files/1/1"
    run.say("file", File("a.bin", stored=mine, size=1000), last=True)
    run.say("theirs", File("b.bin", stored=f"{UUID(int=9)}/files/1/1", size=5000), last=True)
    assert run.takes.said_bytes == 1206
    said = Message(Role.AGENT, (Text("not a file"), File("c.bin", raw=b"xyz"), File("b.bin", stored="x/y", size=7)))
    assert (run.takes.written_with(None), run.takes.written_with(said)) == (1206, 1209)
    run.commit()
    store.now += 1
    crash(store, run.row)
    again = Run(store)
    assert again.takes.said_bytes == 0, "what earlier runs said is theirs"
    again.say("text", "new")
    assert again.takes.said_bytes == 3
    again.commit()
    elsewhere = Takes(again.row.key, again.row.fence, INLINE)
    elsewhere.restore(store.newest_takes(again.row.key), [e for e in again.events() if e.artifact.ordinal == 0][-1:])
    assert elsewhere.said_bytes == 3, "the same run, by way of another process"
