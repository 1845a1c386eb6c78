"""Holds the server to its promises: the ledger, the last views and the stored rows in, the broken promises out.

Pure: no clock, no file, no network, so recorded bad histories can be put before it. Rules are short words, because the
tests name them.

| rule | the promise |
|---|---|
| lost | an acknowledged task is there, and so is every event that was shown |
| sent-twice, another-task | one message is one task |
| unfinished, orphan, stuck | a task ends; none is leased to the dead; each that has not ended will be moved |
| terminal-twice, after-terminal, no-terminal | exactly one terminal event, and nothing after it |
| gap, duplicate, reordered, unnumbered | a stream is the log, also across resumption |
| store-gap, stale-fence | stored events are 1..last_n, and no run writes after its successor |
| differs | every follower sees the same event n, and the store has it |
| text-stored, text-expected | assembled text = stored artifact = expected text |
| wrong-end, poison, told-otherwise | a task ends as it must, as poison only after three kills, and as was told |
| event-id, final-flag | `id:` repeats the event's number; `final` is said exactly at the end and at questions |

What a task asks and remembers has rules of its own, in `tests.drills.conversations`; what tasks are to each other in
`tests.drills.kin`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from a2a_server.model.gates import gate_of
from tests.drills.conversations import check_conversation
from tests.drills.counts import MAX_ATTEMPTS, POISON_KILLS
from tests.drills.kin import check_kin
from tests.drills.ledger import TERMINAL, Entry, Ledger, Order, Seen, Stream, View, Violation, assembled, spoken
from tests.drills.stored import Rows, StoredEvent, StoredTask

LEASED, READY, WAITING, HELD = "leased", "ready", "waiting", "held"


class Expected(NamedTuple):
    """How a line ends where nothing interferes; content None = any."""

    state: str
    content: str | None = None


def expected(line: str) -> Expected:
    """What the workbench answers to a line.

    Raises:
        ValueError: the workbench has no such word.
    """
    word, _, rest = line.partition(" ")
    if word == "echo":
        return Expected("completed", rest)
    if word == "stream":
        return Expected("completed", "".join(f"chunk {i}" for i in range(int(rest.split()[0]))))
    if word in {"sleep", "work", "flaky", "blob", "ask", "steps", "talk"}:
        return Expected("completed")
    if word == "family":
        number, _, line = rest.partition(" ")
        parts = [expected(line.replace("#", str(index))).content for index in range(int(number))]
        return Expected("completed", None if None in parts else "\n".join(map(str, parts)))
    if word in {"fail", "reject"}:
        return Expected("failed" if word == "fail" else "rejected")
    raise ValueError(f"the workbench has no word {word!r}")


def check(ledger: Ledger, views: Mapping[str, View], rows: Rows) -> list[Violation]:
    """Every broken promise. `views`: of each acknowledged task as its own generation shows it at the end."""
    running = Counter(task for kill in ledger.kills for task in kill.leased)
    found = list(ledger.problems)
    for entry in ledger.tasks.values():
        view, row = views.get(entry.id), rows.tasks.get(entry.id)
        if view is None or row is None:
            found.append(Violation("lost", entry.id, f"acknowledged, but {'no row' if view else 'not found'}"))
            continue
        found += _check_end(entry, view, row, running[entry.id], rows)
        found += check_conversation(entry, view, rows.events.get(entry.id, ()), rows.steps.get(entry.id, {}))
    for row in rows.tasks.values():
        found += _check_log(row, rows.events.get(row.id, []))
    for message, tasks in rows.messages.items():
        if message in ledger.answered and len(set(tasks)) > 1:  # v0.1 messages have no id of their own
            found.append(Violation("sent-twice", tasks[0], f"message {message} made {len(set(tasks))} tasks"))
    for stream in ledger.streams:
        found += check_stream(stream)
        found += _check_stored(stream, rows)
    found += _check_agreement(ledger.streams)
    found += _check_texts(ledger, views, running)
    found += check_kin(rows, parts_of(ledger))
    return found


def parts_of(ledger: Ledger) -> dict[str, int]:
    """How many parts each task has that spawns and joins some."""
    lines = {entry.id: entry.order.line.split() for entry in ledger.tasks.values()}
    return {task: int(words[1]) for task, words in lines.items() if words[0] == "family"}


def check_recovery(
    tasks: Collection[StoredTask], living: Collection[str], following: Collection[str] = ()
) -> list[Violation]:
    """What is still wrong after a restart.

    living: ids of the workers that run now. following: of the tasks that the end of another one will move.
    """
    found = []
    busy = {gate_of(gate)[0] for task in tasks if task.phase in {LEASED, READY} for gate in task.gates}
    for task in tasks:
        if task.state in TERMINAL:
            continue
        if task.phase == LEASED and task.worker not in living:
            found.append(Violation("orphan", task.id, f"leased to the dead worker {task.worker or '-'}"))
        moved = task.id in following if task.phase == WAITING else task.phase == HELD and task.held_by in busy
        if task.phase not in {LEASED, READY} and not task.due_at and not moved:
            found.append(Violation("stuck", task.id, f"{task.phase}, and no alarm will move it"))
    return found


def check_stream(stream: Stream) -> list[Violation]:
    """Whether the numbers go up by one from the first, and the end is the end."""
    return [Violation(rule, stream.task, text) for rule, text in _stream_faults(stream)]


def _stream_faults(stream: Stream) -> Iterator[tuple[str, str]]:
    last = 0 if stream.whole else None
    for seen in stream.items:
        if seen.n is None:
            if last is not None:
                yield "unnumbered", f"a {seen.kind} without number after event {last}"
            continue
        if seen.sse_id != str(seen.n):
            yield "event-id", f"event {seen.n} has the id line {seen.sse_id!r}"
        if last is not None:
            yield from _step(last, seen.n)
        last = seen.n
    yield from _end_faults(stream)


def _end_faults(stream: Stream) -> Iterator[tuple[str, str]]:
    ends = [position for position, seen in enumerate(stream.items) if seen.terminal]
    if len(ends) > 1:
        yield "terminal-twice", f"{len(ends)} terminal items in one stream"
    if ends and ends[0] < len(stream.items) - 1:
        yield "after-terminal", f"{len(stream.items) - 1 - ends[0]} items follow the end"
    if stream.whole and not ends:
        yield "no-terminal", "the log of a finished task does not tell its end"
    for seen in stream.items:
        if seen.final is not None and seen.final != (seen.terminal or seen.asks):
            yield "final-flag", f"final is {seen.final} at {seen.state}"


def _step(last: int, n: int) -> Iterator[tuple[str, str]]:
    if n == last + 1:
        return
    if n == last:
        yield "duplicate", f"event {n} twice"
    elif n < last:
        yield "reordered", f"event {n} after {last}"
    else:
        yield "gap", f"event {n} after {last}"


def _check_end(entry: Entry, view: View, row: StoredTask, kills: int, rows: Rows) -> Iterator[Violation]:
    generation = entry.order.generation
    if spoken(row.state, generation) != view.state:
        yield Violation("differs", entry.id, f"stored as {row.state}, shown as {view.state}")
    if view.state not in TERMINAL:
        yield Violation("unfinished", entry.id, f"{row.state}, phase {row.phase}")
        return
    if others := entry.told - {view.state}:
        yield Violation("told-otherwise", entry.id, f"told {sorted(others)}, ended {view.state}")
    if row.crashes > kills:
        yield Violation("poison", entry.id, f"{row.crashes} crashes were counted, it ran at {kills} kills")
    if _is_behind_a_break(entry.order, rows):
        return  # how it has to end then is said by its edges
    want = spoken(expected(entry.order.line).state, generation)
    if view.state == want or (view.state == "canceled" and entry.cancel_asked):
        return
    if view.state == "failed" and kills >= POISON_KILLS:
        return
    if view.state == "failed" and _exhausted(entry.order, kills):
        return
    rule = "poison" if view.state == "failed" else "wrong-end"
    yield Violation(rule, entry.id, f"{entry.order.line!r} ended {view.state}; it ran at {kills} kills")


def _is_behind_a_break(order: Order, rows: Rows) -> bool:
    upstreams = [rows.tasks[one] for one in order.options.get("dependsOn", ()) if one in rows.tasks]
    runs = order.options.get("onDependencyFailure", "fail") == "run"
    return not runs and any(one.state != "completed" for one in upstreams)


def _exhausted(order: Order, kills: int) -> bool:
    word, _, rest = order.line.partition(" ")
    return word == "flaky" and int(rest) + kills >= MAX_ATTEMPTS


def _check_log(row: StoredTask, events: Sequence[StoredEvent]) -> Iterator[Violation]:
    numbers = [event.n for event in events]
    if numbers != list(range(1, row.last_n + 1)):
        yield Violation("store-gap", row.id, f"stored are {_short(numbers)}, last_n is {row.last_n}")
    for before, after in pairwise(events):
        if after.fence < before.fence:
            text = f"event {after.n} of run {after.fence} after event {before.n} of run {before.fence}"
            yield Violation("stale-fence", row.id, text)
    if events and events[-1].fence > row.fence:
        yield Violation("stale-fence", row.id, f"event of run {events[-1].fence}, the task is at run {row.fence}")
    ends = [event for event in events if event.state in TERMINAL]
    if len(ends) > 1:
        yield Violation("terminal-twice", row.id, f"stored terminal events {[event.n for event in ends]}")
    if ends and ends[0] is not events[-1]:
        yield Violation("after-terminal", row.id, f"event {events[-1].n} is stored after the end at {ends[0].n}")
    if row.state in TERMINAL and [event.state for event in ends[:1]] != [row.state]:
        yield Violation("no-terminal", row.id, f"{row.state}, but no event tells so")
    if ends and row.state not in TERMINAL:
        yield Violation("no-terminal", row.id, f"an event tells {ends[0].state}, but the task is {row.state}")


def _check_stored(stream: Stream, rows: Rows) -> Iterator[Violation]:
    row = rows.tasks.get(stream.task)
    if row is None:
        if stream.items:
            yield Violation("lost", stream.task, "a stream showed it, and it is not stored")
        return
    stored = {event.n: event for event in rows.events.get(stream.task, [])}
    for seen in stream.items:
        if seen.n is None:
            continue
        event = stored.get(seen.n)
        if event is None:
            yield Violation("lost", stream.task, f"event {seen.n} was shown and is not stored")
        elif _is_event(stream, seen):
            shown = seen.kind, seen.state, seen.text
            kept = event.kind, spoken(event.state, stream.generation), event.text
            if shown != kept:
                yield Violation("differs", stream.task, f"event {seen.n} was shown as {shown}, stored as {kept}")
    if stream.whole and stream.last_n != row.last_n:
        yield Violation("gap", stream.task, f"the log was read up to {stream.last_n}, stored are {row.last_n}")


def _check_agreement(streams: Iterable[Stream]) -> Iterator[Violation]:
    shown: dict[tuple[str, str, int], tuple[object, ...]] = {}
    for stream in streams:
        for seen in stream.items:
            if seen.n is None or not _is_event(stream, seen):
                continue
            said = (seen.kind, seen.state, seen.text, seen.artifact, seen.content, seen.append)
            if shown.setdefault((stream.task, stream.generation, seen.n), said) != said:
                yield Violation("differs", stream.task, f"event {seen.n} was not the same in two streams")


def _is_event(stream: Stream, seen: Seen) -> bool:
    """Whether the item is the event itself; the first numbered item may stand for a snapshot."""
    if seen.kind == "task":
        return False
    return stream.whole or seen.n != next(item.n for item in stream.items if item.n is not None)


def _check_texts(ledger: Ledger, views: Mapping[str, View], running: Mapping[str, int]) -> Iterator[Violation]:
    for entry in ledger.tasks.values():
        view = views.get(entry.id)
        if view is None or view.state != "completed":
            continue
        want = expected(entry.order.line)
        got = "".join(content for _, content in view.artifacts)
        if want.content is not None and got != want.content:
            yield Violation("text-expected", entry.id, f"stored {_short(got)}, expected {_short(want.content)}")
    for stream in ledger.streams:
        view = views.get(stream.task)
        if view is None or not stream.ended or _only_the_end(stream) or _poisoned(view, running.get(stream.task, 0)):
            continue
        held = list(assembled(stream.items).values())
        kept = [content for _, content in view.artifacts]
        if held != kept:
            yield Violation("text-stored", stream.task, f"assembled {_short(held)}, stored {_short(kept)}")


def _only_the_end(stream: Stream) -> bool:
    """v0.1 answers a new subscription to a finished task with its last status and nothing else."""
    return len(stream.items) == 1 and stream.items[0].kind == "status" and not stream.whole


def _poisoned(view: View, kills: int) -> bool:
    return view.state == "failed" and kills >= POISON_KILLS


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:70]} … {text[-70:]} ({len(text)} characters)"
