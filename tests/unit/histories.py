"""Recorded histories for the checker: one good one, and every way to spoil it with the rule that must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.drills.checker import check
from tests.drills.ledger import Kill, Ledger, Order, Seen, Stream, View
from tests.drills.stored import Rows, StoredEvent, StoredTask

TASK, OLD, CANCELED, POISON = "task-1", "task-2", "task-3", "task-4"
TEXT = "chunk 0chunk 1chunk 2"


@dataclass
class History:
    ledger: Ledger = field(default_factory=Ledger)
    views: dict[str, View] = field(default_factory=dict)
    rows: Rows = field(default_factory=Rows)

    def broken(self) -> set[str]:
        return {violation.rule for violation in check(self.ledger, self.views, self.rows)}

    def row(self, task: str, **changes: Any) -> None:  # noqa: ANN401 - columns
        self.rows.tasks[task] = self.rows.tasks[task]._replace(**changes)

    def event(self, task: str, n: int, **changes: Any) -> None:  # noqa: ANN401 - columns
        events = self.rows.events[task]
        events[n - 1] = events[n - 1]._replace(**changes)

    def show(self, task: str, state: str, *contents: str) -> None:
        artifacts = tuple((f"artifact-{i + 1}", text) for i, text in enumerate(contents))
        self.views[task] = View(task, state, artifacts, history=(("user", self.ledger.tasks[task].order.line),))

    def stream(self, task: str, position: int = 0) -> Stream:
        return [stream for stream in self.ledger.streams if stream.task == task][position]


def status(task: str, n: int, state: str, final: bool | None = None) -> Seen:
    return Seen(task, n, "status", state, final, sse_id=str(n))


def chunk(task: str, n: int, i: int, append: bool) -> Seen:
    return Seen(task, n, "artifact", artifact="artifact-1", content=f"chunk {i}", append=append, sse_id=str(n))


def stored(*events: tuple[str, str, int]) -> list[StoredEvent]:
    return [StoredEvent(n, kind, fence, state) for n, (kind, state, fence) in enumerate(events, 1)]


def good() -> History:
    """Four tasks: a 1.0 stream that a kill interrupted, a v0.1 echo, one canceled, one poisoned by three kills."""
    history = History()
    ledger, rows = history.ledger, history.rows
    ledger.acknowledge(Order("m1", "1.0", "stream 3 0.1"), TASK, "submitted")
    ledger.acknowledge(Order(OLD, "v0.1", "echo hi"), OLD, "completed")
    ledger.acknowledge(Order("m3", "1.0", "sleep 9"), CANCELED, "working")
    ledger.acknowledge(Order("m4", "1.0", "sleep 9"), POISON, "working")
    ledger.tasks[CANCELED].cancel_asked = True
    ledger.told(CANCELED, "canceled")
    ledger.kills = [Kill(i, 20, frozenset({POISON, TASK} if i == 1 else {POISON})) for i in (1, 2, 3)]
    history.show(TASK, "completed", TEXT)
    history.show(OLD, "completed", "hi")
    history.show(CANCELED, "canceled")
    history.show(POISON, "failed")
    rows.tasks = {
        TASK: StoredTask(TASK, "completed", "final", 8, 2, crashes=1),
        OLD: StoredTask(OLD, "completed", "final", 4, 1),
        CANCELED: StoredTask(CANCELED, "canceled", "final", 3, 1),
        POISON: StoredTask(POISON, "failed", "final", 5, 3, crashes=3),
    }
    rows.events[TASK] = stored(
        ("status", "submitted", 0),
        ("status", "working", 1),
        ("artifact", "", 1),
        ("status", "working", 1),
        ("artifact", "", 2),
        ("artifact", "", 2),
        ("artifact", "", 2),
        ("status", "completed", 2),
    )
    rows.events[OLD] = stored(
        ("status", "submitted", 0), ("status", "working", 1), ("artifact", "", 1), ("status", "completed", 1)
    )
    rows.events[CANCELED] = stored(("status", "submitted", 0), ("status", "working", 1), ("status", "canceled", 1))
    rows.events[POISON] = stored(
        ("status", "submitted", 0),
        ("status", "working", 1),
        ("status", "working", 1),
        ("status", "working", 2),
        ("status", "failed", 3),
    )
    rows.messages = {"m1": [TASK], "m3": [CANCELED], "m4": [POISON], "sha": [OLD, "task-9"]}
    log = [
        Seen(TASK, 1, "task", "submitted", sse_id="1"),
        status(TASK, 2, "working"),
        chunk(TASK, 3, 0, append=False),
        status(TASK, 4, "working"),
        chunk(TASK, 5, 0, append=False),
        chunk(TASK, 6, 1, append=True),
        chunk(TASK, 7, 2, append=True),
        status(TASK, 8, "completed"),
    ]
    snapshot = replace(log[5], kind="task", state="working", artifacts=(("artifact-1", "chunk 0chunk 1"),), content="")
    ledger.streams = [
        Stream(TASK, "1.0", items=list(log), resumed_after=[3], last_n=8, ended=True),
        Stream(TASK, "1.0", items=[replace(snapshot, artifact=""), *log[6:]], last_n=8, ended=True),
        Stream(TASK, "1.0", whole=True, items=list(log), last_n=8, ended=True),
        Stream(
            OLD,
            "v0.1",
            items=[
                Seen(OLD, None, "artifact", artifact="0", content="hi"),
                status(OLD, 4, "completed", final=True),
            ],
            last_n=4,
            ended=True,
        ),
    ]
    return history


def lost_acknowledgement(history: History) -> None:
    del history.views[TASK]


def lost_row(history: History) -> None:
    del history.rows.tasks[OLD]


def lost_event_that_was_shown(history: History) -> None:
    history.rows.events[TASK].pop()
    history.row(TASK, last_n=7)


def acknowledged_as_another_task(history: History) -> None:
    history.ledger.acknowledge(history.ledger.tasks[TASK].order, "task-5")


def one_message_two_tasks(history: History) -> None:
    history.rows.messages["m1"].append("task-5")


def never_ended(history: History) -> None:
    history.show(TASK, "working", TEXT)
    history.row(TASK, state="working", phase="held")


def two_terminals_stored(history: History) -> None:
    history.event(TASK, 7, kind="status", state="completed")


def two_terminals_streamed(history: History) -> None:
    history.stream(TASK).items[6] = status(TASK, 7, "completed")


def event_after_terminal_stored(history: History) -> None:
    history.rows.events[OLD].append(StoredEvent(5, "artifact", 1))
    history.row(OLD, last_n=5)


def event_after_terminal_streamed(history: History) -> None:
    history.stream(TASK).items.append(chunk(TASK, 9, 3, append=True))


def no_terminal_stored(history: History) -> None:
    history.event(CANCELED, 3, state="working")


def terminal_event_of_another_state(history: History) -> None:
    history.event(CANCELED, 3, state="failed")


def no_terminal_in_the_whole_log(history: History) -> None:
    stream = history.stream(TASK, 2)
    stream.items.pop()
    stream.last_n = 7


def gap_in_a_stream(history: History) -> None:
    del history.stream(TASK).items[3]


def gap_at_a_resumption(history: History) -> None:
    del history.stream(TASK).items[3:5]


def whole_log_that_begins_late(history: History) -> None:
    del history.stream(TASK, 2).items[0]


def whole_log_that_stops_early(history: History) -> None:
    history.row(TASK, last_n=9)
    history.rows.events[TASK].append(StoredEvent(9, "status", 2, "working"))


def duplicate_in_a_stream(history: History) -> None:
    items = history.stream(TASK).items
    items.insert(3, items[2])


def reordered_stream(history: History) -> None:
    items = history.stream(TASK).items
    items[5], items[6] = items[6], items[5]


def unnumbered_item(history: History) -> None:
    items = history.stream(TASK).items
    items[4] = replace(items[4], n=None)


def id_line_of_another_event(history: History) -> None:
    items = history.stream(TASK).items
    items[4] = replace(items[4], sse_id="4")


def no_id_line(history: History) -> None:
    items = history.stream(TASK).items
    items[4] = replace(items[4], sse_id=None)


def final_too_early(history: History) -> None:
    stream = history.stream(OLD)
    stream.items = [status(OLD, 3, "working", final=True), status(OLD, 4, "completed", final=True)]


def final_missing(history: History) -> None:
    stream = history.stream(OLD)
    stream.items[-1] = status(OLD, 4, "completed", final=False)


def gap_in_the_store(history: History) -> None:
    del history.rows.events[POISON][2]


def stored_beyond_the_last(history: History) -> None:
    history.row(POISON, last_n=4)


def stale_fence(history: History) -> None:
    history.event(TASK, 6, fence=1)


def fence_of_the_future(history: History) -> None:
    history.event(TASK, 8, fence=3)


def doubled_text(history: History) -> None:
    """The second run went on where the first one had been, so its first chunk was appended."""
    for position in (0, 2):
        items = history.stream(TASK, position).items
        items[4] = replace(items[4], append=True)


def missing_text(history: History) -> None:
    history.show(TASK, "completed", "chunk 0chunk 1")


def text_that_nobody_asked_for(history: History) -> None:
    history.show(OLD, "completed", "ho")
    history.stream(OLD).items[0] = Seen(OLD, None, "artifact", artifact="0", content="ho")


def artifact_that_is_not_what_was_streamed(history: History) -> None:
    history.show(CANCELED, "canceled", "something")
    history.ledger.streams.append(Stream(CANCELED, "1.0", items=[status(CANCELED, 3, "canceled")], last_n=3))
    history.ledger.streams[-1].items.insert(0, status(CANCELED, 2, "working"))
    history.ledger.streams[-1].ended = True


def empty_artifact_beside(history: History) -> None:
    history.show(TASK, "completed", TEXT, "")


def two_streams_disagree(history: History) -> None:
    items = history.stream(TASK, 2).items
    items[6] = replace(items[6], content="chunk 3")


def stream_and_store_disagree(history: History) -> None:
    history.event(TASK, 4, kind="artifact", state="")


def shown_and_stored_state_disagree(history: History) -> None:
    history.row(OLD, state="failed")


def poison_with_two_kills(history: History) -> None:
    del history.ledger.kills[1]


def crashes_that_nobody_caused(history: History) -> None:
    history.row(OLD, crashes=1)


def wrong_state_after_an_acknowledged_cancel(history: History) -> None:
    history.show(CANCELED, "completed")
    history.row(CANCELED, state="completed")
    history.event(CANCELED, 3, state="completed")


def canceled_though_nobody_asked(history: History) -> None:
    history.ledger.tasks[CANCELED].cancel_asked = False


def completed_though_it_must_fail(history: History) -> None:
    history.ledger.tasks[OLD].order = Order(OLD, "v0.1", "reject")


def client_noticed_something(history: History) -> None:
    history.ledger.problem("refused", TASK, "-32603")


BAD: list[tuple[Callable[[History], None], str]] = [
    (lost_acknowledgement, "lost"),
    (lost_row, "lost"),
    (lost_event_that_was_shown, "lost"),
    (acknowledged_as_another_task, "another-task"),
    (one_message_two_tasks, "sent-twice"),
    (never_ended, "unfinished"),
    (two_terminals_stored, "terminal-twice"),
    (two_terminals_streamed, "terminal-twice"),
    (event_after_terminal_stored, "after-terminal"),
    (event_after_terminal_streamed, "after-terminal"),
    (no_terminal_stored, "no-terminal"),
    (terminal_event_of_another_state, "no-terminal"),
    (no_terminal_in_the_whole_log, "no-terminal"),
    (gap_in_a_stream, "gap"),
    (gap_at_a_resumption, "gap"),
    (whole_log_that_begins_late, "gap"),
    (whole_log_that_stops_early, "gap"),
    (duplicate_in_a_stream, "duplicate"),
    (reordered_stream, "reordered"),
    (unnumbered_item, "unnumbered"),
    (id_line_of_another_event, "event-id"),
    (no_id_line, "event-id"),
    (final_too_early, "final-flag"),
    (final_missing, "final-flag"),
    (gap_in_the_store, "store-gap"),
    (stored_beyond_the_last, "store-gap"),
    (stale_fence, "stale-fence"),
    (fence_of_the_future, "stale-fence"),
    (doubled_text, "text-stored"),
    (missing_text, "text-expected"),
    (missing_text, "text-stored"),
    (text_that_nobody_asked_for, "text-expected"),
    (artifact_that_is_not_what_was_streamed, "text-stored"),
    (empty_artifact_beside, "text-stored"),
    (two_streams_disagree, "differs"),
    (stream_and_store_disagree, "differs"),
    (shown_and_stored_state_disagree, "differs"),
    (poison_with_two_kills, "poison"),
    (crashes_that_nobody_caused, "poison"),
    (wrong_state_after_an_acknowledged_cancel, "told-otherwise"),
    (canceled_though_nobody_asked, "wrong-end"),
    (completed_though_it_must_fail, "wrong-end"),
    (client_noticed_something, "refused"),
]
