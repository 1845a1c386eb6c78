from __future__ import annotations

import pytest

from a2a_server.codec import decode_status, encode_chunk, encode_status
from a2a_server.errors import LeaseLost
from a2a_server.lifecycle.endings import End, EndKind
from a2a_server.lifecycle.limits import SetLimit
from a2a_server.lifecycle.runs import Claimed, Draft, TakeDraft
from a2a_server.model.objects import TASK_URI, Artifact, Message, Phase, Role, State, Text
from a2a_server.model.rows import ArtifactRow, EventKind, JournalKind, Key, StateRow, TaskRow
from a2a_server.model.times import timestamp
from a2a_server.policy import SECOND, SWEEP_SLACK, RetryPolicy
from tests.unit.turns import WORKER, MemoryTurns, cancel, claim, crash, key, report, started, submit, words

OTHER = Key(b"worker-1".ljust(16, b"\0"))
CHUNK = Draft(EventKind.CHUNK, encode_chunk(Artifact("a", (Text("x"),)), append=False, last=False), 0)
NOTE = Draft(EventKind.STATUS, encode_status(State.WORKING))
LINE = Draft(None, journal={"level": "info", "text": "a line"})


def take_of(row: TaskRow, *, closed: bool = False) -> ArtifactRow:
    return ArtifactRow(row.key, 0, row.fence, 0, 0, closed, "a", "text/plain", 0, "", 0, "", b"")


def keys(claimed: Claimed) -> list[Key]:
    return [row.key for row in claimed.rows]


# Claims


def test_the_first_claim_makes_a_task_working() -> None:
    store = MemoryTurns()
    row = started(store)
    assert (row.state, row.phase, row.worker, row.fence, row.last_n) == (State.WORKING, Phase.LEASED, WORKER, 1, 2)
    assert row.due_at == store.now + 60 * SECOND + SWEEP_SLACK


def test_a_later_claim_is_told_to_the_journal_alone() -> None:
    store = MemoryTurns()
    row = store.one(report(started(store), EndKind.HANDED_BACK)).row
    again = store.one(claim()).rows[0]
    assert (again.fence, again.last_n) == (2, row.last_n)
    assert [entry.kind for entry in store.journal[row.key]] == [JournalKind.HANDED_BACK, JournalKind.LEASED]


def test_a_deadline_ends_a_run_before_its_timeout() -> None:
    store = MemoryTurns()
    row = started(store, deadline_at=store.now + 7 * SECOND)
    assert row.due_at == store.now + 7 * SECOND + SWEEP_SLACK


def test_two_claims_of_one_turn_never_take_the_same_task() -> None:
    store = MemoryTurns()
    store.do(*(submit(number) for number in range(1, 6)))
    first, second = store.do(claim(2), claim(2, worker=OTHER))
    assert keys(first) == [key(1), key(2)]
    assert not second.rows
    assert second.more, "others took what it saw: it must look again"
    assert keys(store.one(claim(2, worker=OTHER))) == [key(3), key(4)]


@pytest.mark.parametrize(("limit", "more"), [(2, True), (3, True), (4, False)])
def test_a_claim_says_whether_there_may_be_more(limit: int, more: bool) -> None:
    store = MemoryTurns()
    store.do(*(submit(number) for number in range(1, 4)))
    claimed = store.one(claim(limit))
    assert (len(claimed.rows), claimed.more) == (min(limit, 3), more)


def test_a_claim_takes_one_suspect_at_most() -> None:
    store = MemoryTurns()
    store.do(*(submit(number) for number in range(1, 5)))
    for number in (1, 2, 3):
        store.tasks[key(number)] = store.tasks[key(number)]._replace(crashes=2, attempt=2)
    assert keys(store.one(claim(suspects=False))) == [key(4)]
    claimed = store.one(claim())
    assert keys(claimed) == [key(1)]
    assert claimed.more, "what stands behind the suspects was not looked at"


def test_a_full_gate_holds_what_a_claim_finds() -> None:
    store = MemoryTurns()
    store.one(SetLimit("skill:echo", 1))
    store.do(submit(1), submit(2, deadline_at=store.now + SECOND))
    claimed = store.one(claim())
    assert keys(claimed) == [key(1)]
    assert claimed.more
    held = store.tasks[key(2)]
    assert (held.phase, held.held_by, held.due_at) == (Phase.HELD, "skill:echo", store.now + SECOND)
    assert held.state is State.SUBMITTED


def test_the_end_of_a_run_wakes_the_best_that_its_gate_holds() -> None:
    store = MemoryTurns()
    store.one(SetLimit("skill:echo", 1))
    row = started(store)
    store.do(submit(2), submit(3))
    store.one(claim())
    store.one(report(row, EndKind.COMPLETED))
    assert [store.tasks[key(number)].phase for number in (2, 3)] == [Phase.READY, Phase.HELD]
    assert [hint.key for hint in store.turn.hints] == [key(2)]


def test_what_a_claim_holds_is_woken_by_an_end_later_in_the_same_turn() -> None:
    store = MemoryTurns()
    store.one(SetLimit("skill:echo", 1))
    row = started(store)
    store.one(submit(2))
    store.do(claim(), report(row, EndKind.COMPLETED))
    assert store.tasks[key(2)].phase is Phase.READY


def test_a_claim_does_not_pass_those_that_the_gate_held_before() -> None:
    store = MemoryTurns()
    store.one(SetLimit("skill:echo", 1))
    row = started(store)
    store.one(submit(2))
    store.one(claim())
    store.one(submit(3))
    _, claimed = store.do(report(row, EndKind.COMPLETED), claim())
    assert not claimed.rows
    assert claimed.more
    assert [store.tasks[key(number)].phase for number in (2, 3)] == [Phase.READY, Phase.HELD]
    assert keys(store.one(claim())) == [key(2)]


def test_a_claim_that_a_second_gate_refuses_wakes_others_of_the_first() -> None:
    store = MemoryTurns()
    store.do(SetLimit("skill:echo", 1), SetLimit("client:ann", 1))
    first, other = started(store, owner="ann"), started(store, number=2, owner="bob", skill="other")
    store.do(submit(3, owner="ann"), submit(4, owner="bob"))
    store.one(claim())
    assert {store.tasks[key(number)].held_by for number in (3, 4)} == {"client:ann", "skill:echo"}
    store.one(SetLimit("client:ann", 0))
    store.one(report(first, EndKind.COMPLETED))
    assert [store.tasks[key(number)].phase for number in (3, 4)] == [Phase.HELD, Phase.READY]
    assert store.tasks[other.key].phase is Phase.LEASED


# Reports


def test_a_report_numbers_its_events_and_takes() -> None:
    store = MemoryTurns()
    row = started(store)
    opening, state = TakeDraft(take_of(row), opened=2), StateRow(row.key, "steps", "one", 0, 1, b"value")
    reported = store.one(report(row, drafts=(NOTE, LINE, CHUNK, CHUNK), takes=(opening,), states=(state,)))
    assert (reported.row.last_n, reported.row.journal_n) == (5, 1)
    assert reported.takes[0].first_n == 4
    assert not reported.takes[0].closed
    assert list(store.states.values()) == [state]
    assert [event.fence for event in store.events[row.key]] == [0, 1, 1, 1, 1]


@pytest.mark.parametrize(("closed", "last_n"), [(1, 4), (None, 5)])
def test_a_take_closes_with_its_draft_or_with_the_report(closed: int | None, last_n: int) -> None:
    store = MemoryTurns()
    row = started(store)
    closing = TakeDraft(take_of(row, closed=True), opened=0, closed=closed)
    reported = store.one(report(row, EndKind.COMPLETED, drafts=(CHUNK, CHUNK, NOTE), takes=(closing,)))
    assert (reported.takes[0].first_n, reported.takes[0].last_n) == (3, last_n)
    assert reported.row.last_n == 6


@pytest.mark.parametrize("change", ["fence", "end", "unknown"])
def test_a_run_that_lost_its_task_writes_nothing(change: str) -> None:
    store = MemoryTurns()
    row = started(store)
    if change == "fence":
        store.one(report(row, EndKind.HANDED_BACK))
        store.one(claim())
    elif change == "end":
        store.one(report(row, EndKind.COMPLETED))
    else:
        row = row._replace(key=key(9))
    before = dict(store.tasks)
    with pytest.raises(LeaseLost):
        store.one(report(row, EndKind.COMPLETED, drafts=(CHUNK,)))
    assert store.tasks == before


def test_one_that_is_refused_leaves_the_others_of_its_turn_alone() -> None:
    store = MemoryTurns()
    row = started(store)
    lost, kept = store.do(report(row._replace(fence=9), drafts=(CHUNK,)), report(row, drafts=(NOTE,)))
    assert isinstance(lost, LeaseLost)
    assert kept.row.last_n == row.last_n + 1


def test_reports_of_one_task_in_one_turn_make_one_row_write() -> None:
    store = MemoryTurns()
    row = started(store)
    rev = store.tasks[row.key].rev
    _, last = store.do(report(row, drafts=(CHUNK, CHUNK)), report(row, EndKind.COMPLETED, drafts=(NOTE,)))
    assert last.row.last_n == 6
    assert store.tasks[row.key].rev == rev + 1


@pytest.mark.parametrize("kind", [None, EndKind.COMPLETED])
def test_beyond_its_events_a_task_fails_with_its_takes_closed(kind: EndKind | None) -> None:
    store = MemoryTurns()
    store.one(SetLimit("skill:echo", 1))
    row = started(store)
    store.one(submit(2))
    store.one(claim())
    row = store.one(report(row, drafts=(CHUNK,), takes=(TakeDraft(take_of(row), opened=0),), max_events=10)).row
    ended = store.one(report(row, kind, drafts=(CHUNK,) * 7, max_events=10)).row
    assert (ended.state, ended.last_n) == (State.FAILED, 4)
    assert "more events than the server keeps for one task (10)" in words(ended)
    assert [take.closed for take in store.newest_takes(row.key)] == [True]
    assert store.tasks[key(2)].phase is Phase.READY, "whom its gate held goes on"


def test_a_log_never_exceeds_its_limit_by_its_end() -> None:
    store = MemoryTurns()
    row = started(store)
    ended = store.one(report(row, EndKind.COMPLETED, drafts=(CHUNK,) * 7, max_events=10)).row
    assert (ended.state, ended.last_n) == (State.COMPLETED, 10)


# Ends


@pytest.mark.parametrize(
    ("kind", "state", "text"),
    [
        (EndKind.COMPLETED, State.COMPLETED, ""),
        (EndKind.REJECTED, State.REJECTED, "words"),
        (EndKind.FAILED, State.FAILED, "words"),
        (EndKind.CANCELED, State.CANCELED, ""),
    ],
)
def test_an_end_is_final(kind: EndKind, state: State, text: str) -> None:
    store = MemoryTurns()
    row = store.one(report(started(store), kind, "words")).row
    assert (row.state, row.phase, row.worker, row.due_at) == (state, Phase.FINAL, b"", 0)
    assert words(row) == text


def test_a_result_carries_its_message_and_why_it_is_partial() -> None:
    store = MemoryTurns()
    message = Message(Role.AGENT, (Text("done"),), "id")
    end = End(EndKind.COMPLETED, message=message, partial="half")
    row = store.one(report(started(store), end=end)).row
    status, _ = decode_status(row.status, row.status_at)
    assert (status.message, status.metadata) == (message, {TASK_URI: {"partial": "half"}})


def test_a_transient_failure_waits_for_its_next_attempt() -> None:
    store = MemoryTurns()
    policy = RetryPolicy(base=2 * SECOND)
    row = store.one(report(started(store), EndKind.TRANSIENT, "Net gone.", retries=policy)).row
    at = store.now + 2 * SECOND
    assert (row.state, row.phase, row.due_at, row.attempt, row.worker) == (
        State.WORKING,
        Phase.SCHEDULED,
        at,
        1,
        b"",
    )
    assert words(row) == f"Net gone. Next: attempt 2 of 4 at {timestamp(at)}."
    assert store.turn.alarm == 2 * SECOND


def test_an_agents_own_delay_wins_over_the_back_off() -> None:
    store = MemoryTurns()
    end = End(EndKind.TRANSIENT, "Later.", after=9 * SECOND)
    assert store.one(report(started(store), end=end)).row.due_at == store.now + 9 * SECOND
    store = MemoryTurns()
    row = store.one(report(started(store), end=End(EndKind.TRANSIENT, "Now.", after=0))).row
    assert (row.phase, row.due_at) == (Phase.READY, 0)


def test_a_retry_never_outlasts_the_deadline() -> None:
    store = MemoryTurns()
    row = started(store, deadline_at=store.now + SECOND)
    row = store.one(report(row, end=End(EndKind.TRANSIENT, "Later.", after=9 * SECOND))).row
    assert (row.phase, row.due_at) == (Phase.SCHEDULED, row.deadline_at)


@pytest.mark.parametrize(("most", "times"), [(1, "once"), (2, "2 times")])
@pytest.mark.parametrize(("said", "told"), [("Net gone.", "Net gone."), ("net gone ", "net gone."), ("Why?", "Why?")])
def test_attempts_end(most: int, times: str, said: str, told: str) -> None:
    store = MemoryTurns()
    row = started(store, max_attempts=most)
    for _ in range(most - 1):
        row = store.one(report(row, end=End(EndKind.TRANSIENT, said, after=0))).row
        assert words(row).startswith(f"{told} Next: attempt")
        row = store.one(claim()).rows[0]
    ended = store.one(report(row, EndKind.TRANSIENT, said)).row
    assert (ended.state, ended.attempt) == (State.FAILED, most)
    assert words(ended) == f"{told} Tried {times}; the task allows no more attempts (maxAttempts {most})."


def test_handing_back_costs_nothing() -> None:
    store = MemoryTurns()
    row = started(store, deadline_at=store.now + SECOND)
    back = store.one(report(row, EndKind.HANDED_BACK)).row
    assert (back.state, back.phase, back.attempt, back.crashes) == (State.WORKING, Phase.READY, 0, 0)
    assert (back.worker, back.due_at, back.last_n) == (b"", row.deadline_at, row.last_n)
    assert [hint.key for hint in store.turn.hints] == [row.key]


@pytest.mark.parametrize("kind", [EndKind.TRANSIENT, EndKind.HANDED_BACK])
def test_a_take_stays_open_for_the_run_that_resumes_it(kind: EndKind) -> None:
    store = MemoryTurns()
    row = started(store)
    said = report(row, kind, drafts=(CHUNK,), takes=(TakeDraft(take_of(row), opened=0),))
    assert store.one(said).row.phase is not Phase.FINAL
    assert [take.closed for take in store.newest_takes(row.key)] == [False]


@pytest.mark.parametrize("before", [True, False])
def test_a_retry_that_turns_out_to_be_the_end_closes_takes(before: bool) -> None:
    store = MemoryTurns()
    row = started(store, max_attempts=1)
    drafts, takes = (CHUNK,), (TakeDraft(take_of(row), opened=0),)
    if before:
        row = store.one(report(row, drafts=drafts, takes=takes)).row
        ended = store.one(report(row, EndKind.TRANSIENT)).row
    else:
        ended = store.one(report(row, EndKind.TRANSIENT, drafts=drafts, takes=takes)).row
    (take,) = store.newest_takes(row.key)
    assert (ended.state, take.closed, take.first_n, take.last_n) == (State.FAILED, True, 3, ended.last_n)


# Crashes


def test_the_run_after_a_crash_starts_at_once() -> None:
    store = MemoryTurns()
    row = crash(store, started(store))
    assert (row.state, row.phase, row.attempt, row.crashes, row.due_at) == (State.WORKING, Phase.READY, 1, 1, 0)
    assert words(row).startswith("The worker that ran the task stopped. Next: attempt 2 of 4")


def test_the_third_crash_is_the_last() -> None:
    store = MemoryTurns()
    row = started(store, max_attempts=9)
    for crashes in (1, 2):
        row = crash(store, row)
        assert (row.phase, row.crashes) == (Phase.READY, crashes)
        row = store.one(claim()).rows[0]
    row = crash(store, row)
    assert (row.state, row.crashes, row.attempt) == (State.FAILED, 3, 3)
    assert words(row) == "Workers stopped 3 times while they ran this task; it is not tried again."


def test_at_most_once_means_that_a_crash_fails_the_task() -> None:
    store = MemoryTurns()
    row = crash(store, started(store, max_attempts=1))
    assert (row.state, row.crashes) == (State.FAILED, 1)
    assert "maxAttempts 1" in words(row)


def test_a_crash_counts_among_the_attempts() -> None:
    store = MemoryTurns()
    row = crash(store, started(store, max_attempts=2))
    row = store.one(claim()).rows[0]
    assert store.one(report(row, EndKind.TRANSIENT, "Net gone.")).row.state is State.FAILED


def test_a_crash_while_it_is_being_canceled_cancels() -> None:
    store = MemoryTurns()
    row = started(store)
    store.one(cancel(row))
    assert crash(store, store.tasks[row.key]).state is State.CANCELED
