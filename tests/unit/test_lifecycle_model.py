"""Any sequence of operations, in turns of one or several, against what must always hold. Rows: tests.unit.turns."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, Phase as Stage, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from a2a_server.codec import decode_event, encode_chunk, encode_status
from a2a_server.errors import ClientError, LeaseLost
from a2a_server.lifecycle.endings import RESUMED, End, EndKind
from a2a_server.lifecycle.limits import SetLimit
from a2a_server.lifecycle.operation import Operation
from a2a_server.lifecycle.runs import Draft, Report, TakeDraft
from a2a_server.lifecycle.states import TERMINAL
from a2a_server.lifecycle.submission import Submit, Submitted
from a2a_server.lifecycle.sweeping import Alarms, Bury, Rescue, Wake
from a2a_server.model.objects import Artifact, Generation, Lane, Phase, State, StatusEvent, Text
from a2a_server.model.rows import ArtifactRow, EventKind, Key, TallyKey, TaskRow
from a2a_server.model.turns import ClaimNeed
from a2a_server.policy import POISON_CRASHES, SECOND, room
from tests.unit.turns import TTL, MemoryTurns, cancel, claim, key, report, submit

WORKERS = (Key(b"w" * 16), Key(b"x" * 16))
GATES = ("skill:echo", "client:ann", "client+skill:ann+slow", "queue:slow")
QUEUES = ("echo", "slow")
SMALL = st.integers(0, 30)
CHUNK = encode_chunk(Artifact("a", (Text("x"),)), append=False, last=False)


class Lifecycle(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryTurns()
        self.number = 0
        self.submissions: list[Submit] = []
        self.ended: dict[Key, TaskRow] = {}
        self.fences: dict[Key, int] = {}
        self.stale: list[TaskRow] = []

    @initialize()
    def register(self) -> None:
        for worker in WORKERS:
            self.store.register(worker)

    def turn(self, *operations: Operation[Any]) -> list[Any]:
        used = {name: gate.used for name, gate in self.store.gates.items()}
        outcomes = self.store.do(*operations)
        changed = {one.key for one in operations if isinstance(one, SetLimit)}
        for name, gate in self.store.gates.items():
            if name not in changed and gate.used > used.get(name, gate.used) and gate.capacity is not None:
                assert gate.used <= gate.capacity
        return outcomes

    def rows(self, *phases: Phase) -> list[TaskRow]:
        return [row for row in self.store.tasks.values() if row.phase in phases]

    def new_submission(self, data: st.DataObject) -> Submit:
        self.number += 1
        v01 = data.draw(st.booleans(), "v0.1")
        starts = data.draw(st.sampled_from((0, 0, 5)), "delay") * SECOND
        submission = submit(
            self.number,
            generation=Generation.V01 if v01 else Generation.V10,
            task_id=f"client-{self.number}" if v01 else "",
            skill=data.draw(st.sampled_from(QUEUES), "skill"),
            owner=data.draw(st.sampled_from(("ann", "bob")), "owner"),
            lane=data.draw(st.sampled_from((Lane.HIGH, Lane.NORMAL)), "lane"),
            max_attempts=data.draw(st.sampled_from((1, 2, 4, 9)), "attempts"),
            delay=starts,
            deadline_at=data.draw(st.sampled_from((0, 0, self.store.now + 40 * SECOND)), "deadline"),
            worker=data.draw(st.sampled_from((Key(b""), *WORKERS)), "direct"),
        )
        self.submissions.append(submission)
        return submission

    def pick(self, data: st.DataObject, *phases: Phase) -> TaskRow | None:
        rows = self.rows(*phases)
        return rows[data.draw(SMALL, "which") % len(rows)] if rows else None

    def ending(self, row: TaskRow, end: End) -> Report:
        """The end of a run as the engine reports it: where the task surely ends, its open takes are closed with it."""
        takes = [] if end.kind in RESUMED else self.store.newest_takes(row.key)
        closing = tuple(TakeDraft(take._replace(closed=True)) for take in takes if not take.closed)
        return report(row, end=end, drafts=_drafts(row), takes=closing)

    def operation(self, data: st.DataObject) -> Operation[Any]:
        """Some operation of the rows as they are now."""
        kind = data.draw(st.sampled_from(("submit", "claim", "claim", "end", "end", "cancel", "gate", "wake", "alarm")))
        running, any_row = self.pick(data, Phase.LEASED), self.pick(data, *Phase)
        if kind == "submit" or any_row is None:
            return self.new_submission(data)
        if kind == "end" and running is not None:
            return self.ending(running, End(data.draw(st.sampled_from(EndKind), "end"), "words"))
        if kind == "gate":
            return SetLimit(data.draw(st.sampled_from(GATES)), data.draw(st.sampled_from((None, 0, 1, 2, 3))))
        plain: dict[str, Operation[Any]] = {
            "cancel": cancel(any_row),
            "wake": Wake(tuple(row.key for row in self.rows(Phase.HELD))),
            "alarm": Alarms(tuple(self.store.tasks)),
        }
        return plain.get(kind) or claim(
            data.draw(st.integers(1, 3), "limit"),
            worker=data.draw(st.sampled_from(WORKERS), "worker"),
            queues=data.draw(st.sampled_from((QUEUES, ("echo",), ("slow",))), "queues"),
            suspects=data.draw(st.booleans(), "suspects"),
        )

    @rule(data=st.data(), count=st.integers(1, 4))
    def together(self, data: st.DataObject, count: int) -> None:
        """Operations of one turn: made of the rows before it, so each may meet what another one did."""
        outcomes = self.turn(*(self.operation(data) for _ in range(count)))
        assert all(isinstance(one, ClientError | LeaseLost) for one in outcomes if isinstance(one, BaseException))

    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        if self.submissions:
            submission = self.submissions[data.draw(SMALL) % len(self.submissions)]
            (again,) = self.turn(submission)
            assert isinstance(again, Submitted)
            assert (again.row.key, again.repeat, again.at_n, again.leased) == (submission.key, True, 1, False)

    @rule(data=st.data())
    def say(self, data: st.DataObject) -> None:
        if row := self.pick(data, Phase.LEASED):
            take = ArtifactRow(row.key, 0, row.fence, 0, 0, False, "a", "text/plain", 0, "", 0, "", b"")
            drafts = _drafts(row)
            (said,) = self.turn(report(row, drafts=drafts, takes=(TakeDraft(take, opened=0),)))
            assert said.row.last_n == row.last_n + 2, "a line of the journal is no event"
            assert said.takes[0].first_n == row.last_n + 1

    @rule(data=st.data(), kind=st.sampled_from(EndKind), after=st.sampled_from((None, 0, 5 * SECOND)))
    def end(self, data: st.DataObject, kind: EndKind, after: int | None) -> None:
        row = self.pick(data, Phase.LEASED)
        if row is None:
            return
        held = Counter(one.held_by for one in self.rows(Phase.HELD))
        (ended,) = self.turn(self.ending(row, End(kind, "words", after=after)))
        self.stale.append(row)
        if kind is EndKind.COMPLETED:
            assert ended.row.state is State.COMPLETED
        elif row.cancel_at:
            assert ended.row.state is State.CANCELED
        still = Counter(one.held_by for one in self.rows(Phase.HELD))
        for name in row.gates:
            if (gate := self.store.gates.get(name)) and room(gate, self.store.now, 1) and held[name]:
                assert still[name] < held[name], "the turn that frees a gate wakes whom it held"

    @rule(data=st.data())
    def a_stale_run_is_refused(self, data: st.DataObject) -> None:
        if self.stale:
            row = self.stale[data.draw(SMALL) % len(self.stale)]
            before = self.store.tasks[row.key]
            (refusal,) = self.turn(report(row, EndKind.COMPLETED, drafts=_drafts(row)))
            assert isinstance(refusal, LeaseLost)
            assert self.store.tasks[row.key] == before

    @rule(worker=st.sampled_from(WORKERS), silent=st.booleans())
    def a_worker_dies(self, worker: Key, silent: bool) -> None:
        orphans = [row for row in self.rows(Phase.LEASED) if row.worker == worker]
        if silent:
            self.store.now += TTL + 1
            for other in set(WORKERS) - {worker}:
                self.store.register(other)
            assert self.turn(Bury(WORKERS)) == [1]
        else:
            del self.store.workers[worker]
        rescue = Rescue({row.key: row.fence for row in orphans}, tuple(self.store.workers))
        assert self.turn(rescue, rescue) == [len(orphans), 0]
        self.stale += orphans
        self.store.register(worker)

    @rule(data=st.data())
    def nobody_rescues_from_the_living(self, data: st.DataObject) -> None:
        if row := self.pick(data, Phase.LEASED):
            before = self.store.tasks[row.key]
            assert self.turn(Rescue({row.key: row.fence}, WORKERS)) == [0]
            assert self.store.tasks[row.key] == before

    @rule(seconds=st.sampled_from((1, 5, 10, 61)))
    def time_passes(self, seconds: int) -> None:
        self.store.now += seconds * SECOND
        for worker in WORKERS:
            self.store.register(worker)
        due = [row for row in self.store.tasks.values() if 0 < row.due_at <= self.store.now]
        (rung,) = self.turn(Alarms(tuple(row.key for row in due)))
        assert rung == len(due)
        assert not [row for row in self.store.tasks.values() if 0 < row.due_at <= self.store.now], "it rings for ever"

    @rule()
    def wake(self) -> None:
        held = Counter(row.held_by for row in self.rows(Phase.HELD))
        free = {name: room(self.store.gates[name], self.store.now, count) for name, count in held.items()}
        self.turn(Wake(tuple(row.key for row in self.rows(Phase.HELD))))
        assert Counter(row.held_by for row in self.rows(Phase.HELD)) == held - Counter(free)

    @invariant()
    def rows_are_consistent(self) -> None:
        for row in self.store.tasks.values():
            assert (row.phase is Phase.FINAL) == (row.state in TERMINAL)
            assert bool(row.worker) == (row.phase is Phase.LEASED)
            assert bool(row.held_by) == (row.phase is Phase.HELD)
            assert row.phase in {Phase.LEASED, Phase.READY, Phase.HELD, Phase.FINAL} or row.due_at
            if row.phase in {Phase.READY, Phase.HELD}:
                assert row.due_at == row.deadline_at
            if row.phase is Phase.FINAL:
                assert not row.due_at

    @invariant()
    def what_has_ended_stays(self) -> None:
        for row in self.store.tasks.values():
            if row.phase is Phase.FINAL:
                assert self.ended.setdefault(row.key, row) == row
                assert all(take.closed for take in self.store.newest_takes(row.key))
        assert self.ended.keys() <= self.store.tasks.keys()

    @invariant()
    def logs_are_gapless_and_end_once(self) -> None:
        for row in self.store.tasks.values():
            events = self.store.events[row.key]
            assert [event.n for event in events] == list(range(1, row.last_n + 1))
            assert [entry.n for entry in self.store.journal[row.key]] == list(range(1, row.journal_n + 1))
            assert [event.at for event in events] == sorted(event.at for event in events)
            decoded = [decode_event(event) for event in events if event.kind is EventKind.STATUS]
            states = [one.status.state for one in decoded if isinstance(one, StatusEvent)]
            assert states[0] is State.SUBMITTED
            assert states[-1] is row.state
            ends = [n for n, state in enumerate(states) if state in TERMINAL]
            assert ends == ([len(states) - 1] if row.state in TERMINAL else [])
            if ends:
                assert events[-1].kind is EventKind.STATUS

    @invariant()
    def runs_are_counted(self) -> None:
        for row in self.store.tasks.values():
            assert row.fence >= self.fences.get(row.key, 0)
            self.fences[row.key] = row.fence
            assert row.crashes <= row.attempt <= row.max_attempts
            assert row.crashes <= POISON_CRASHES
            if row.phase is not Phase.FINAL:
                assert row.crashes < POISON_CRASHES
                assert row.attempt < row.max_attempts
            if b"it is not tried again" in row.status:
                assert row.crashes == POISON_CRASHES

    @invariant()
    def gates_and_tally_are_what_a_recount_gives(self) -> None:
        for name, gate in self.store.gates.items():
            assert gate.used == sum(name in row.gates for row in self.rows(Phase.LEASED))
        rows = self.store.tasks.values()
        counted = Counter(TallyKey(row.tenant, row.owner, row.agent, row.queue, row.state, row.phase) for row in rows)
        assert {name: count for name, count in self.store.tally.items() if count} == counted

    @invariant()
    def hints_and_bells_are_for_what_changed(self) -> None:
        turn = self.store.turn
        for bell in turn.bells:
            assert bell.row == self.store.tasks[bell.key]
            assert list(bell.events) == self.store.events[bell.key][-len(bell.events) :] or not bell.events
        assert all(self.store.tasks[hint.key].phase is Phase.READY for hint in turn.hints)


def _drafts(row: TaskRow) -> tuple[Draft, ...]:
    return (
        Draft(EventKind.CHUNK, CHUNK, 0),
        Draft(None, journal={"level": "info", "text": "a line"}),
        Draft(EventKind.STATUS, encode_status(State.WORKING)),
    )


def _settings() -> settings:
    return settings(
        max_examples=100,
        stateful_step_count=30,
        deadline=None,
        derandomize=True,
        phases=(Stage.generate, Stage.shrink),
        suppress_health_check=list(HealthCheck),
    )


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = _settings()


def test_the_model_finds_candidates_as_stores_do() -> None:
    store = MemoryTurns()
    store.do(*(submit(number, lane=Lane.HIGH if number == 3 else Lane.NORMAL) for number in range(1, 5)))
    need = ClaimNeed(("echo",), 2, hinted=(key(4), key(9)))
    operation = claim(2, hinted=(key(4), key(9)))
    assert operation._need == need
    assert [row.key for row in store.one(operation).rows] == [key(3), key(1)]
