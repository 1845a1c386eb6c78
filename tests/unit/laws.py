"""A recorded order of changes that is good, and every way to spoil it with the rule that must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from a2a_server.model.objects import Phase
from tests.drills.laws import GateStep, Step, Told, check_gates, check_journal, check_notes, check_steps

READY, HELD, LEASED, FINAL = Phase.READY, Phase.HELD, Phase.LEASED, Phase.FINAL
GATE = "skill:narrow"
ROOM = {GATE: 2}


@dataclass
class Record:
    """What a witness saw of three tasks that wanted through a gate with room for two."""

    steps: list[Step] = field(default_factory=list)
    gates: list[GateStep] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def broken(self) -> set[str]:
        of_a = [step for step in self.steps if step.task == "a"]
        found = check_steps(self.steps, ROOM) + check_gates(self.gates)
        found += check_journal("a", of_a, self.told) + check_notes(self.notes)
        return {violation.rule for violation in found}

    def add(self, task: str, phase: Phase, fence: int, worker: str = "", crashes: int = 0) -> None:
        seq = self.steps[-1].seq + 1 if self.steps else 1
        self.steps.append(Step(seq, task, phase, fence, worker, 1, crashes, (GATE,)))


def good() -> Record:
    """Task a loses its worker once; b ends; c waits for room."""
    record = Record()
    record.add("a", LEASED, 1, "w1")  # leased as it was sent
    record.add("b", READY, 0)
    record.add("b", LEASED, 1, "w2")
    record.add("c", READY, 0)
    record.add("c", HELD, 0)
    record.add("a", READY, 1, crashes=1)
    record.add("a", LEASED, 2, "w2", crashes=1)
    record.add("b", FINAL, 1)
    record.add("c", READY, 0)
    record.add("c", LEASED, 1, "w2")
    record.add("a", FINAL, 2, crashes=1)
    record.add("c", FINAL, 1)
    record.gates = [GateStep(number, GATE, 2, used) for number, used in enumerate((0, 1, 2, 1, 2, 1, 0))]
    record.told = [Told(1, "crash", 1), Told(2, "leased", 2)]
    record.notes = ["begin 7 a 1", "begin 8 a 2", "end 8 a 2", "begin 8 b 1", "end 8 b 1"]
    return record


def place_taken(record: Record, turn: int) -> None:
    """c is leased before b ends. turn: the one that does both, 0 = each has one of its own."""
    final, ready, leased = record.steps[7:10]
    record.steps[7:10] = [
        step._replace(seq=8 + n, turn=turn if step.phase is not READY else 0)
        for n, step in enumerate((ready, leased, final))
    ]


def third_through(record: Record) -> None:
    record.steps[4] = record.steps[4]._replace(phase=LEASED, fence=1, worker="w3")


def fence_falls(record: Record) -> None:
    record.steps[10] = record.steps[10]._replace(fence=1)


def fence_leaps(record: Record) -> None:
    record.steps[6] = record.steps[6]._replace(fence=3)


def fence_without_lease(record: Record) -> None:
    record.steps[5] = record.steps[5]._replace(fence=2)


def leased_under_an_old_fence(record: Record) -> None:
    record.steps[6] = record.steps[6]._replace(fence=1)


def two_owners(record: Record) -> None:
    record.steps.insert(1, record.steps[0]._replace(worker="w9"))


def wakes_after_its_end(record: Record) -> None:
    record.add("b", READY, 1)


def speaks_after_its_end(record: Record) -> None:
    record.steps.append(record.steps[-1]._replace(last_n=9))


def gate_counts_too_many(record: Record) -> None:
    record.gates.insert(3, GateStep(9, GATE, 2, 3))


def gate_counts_below_nothing(record: Record) -> None:
    record.gates.insert(0, GateStep(9, GATE, 2, -1))


def gate_stays_used(record: Record) -> None:
    record.gates.append(GateStep(9, GATE, 2, 1))


def crash_untold(record: Record) -> None:
    del record.told[0]


def run_untold(record: Record) -> None:
    del record.told[1]


def run_told_twice(record: Record) -> None:
    record.told.append(Told(3, "leased", 2))


def run_that_never_was(record: Record) -> None:
    record.told.append(Told(3, "leased", 5))


def begun_twice(record: Record) -> None:
    record.notes.append("begin 7 a 1")


BAD: list[tuple[Callable[[Record], None], str]] = [
    (third_through, "gate"),
    (fence_falls, "fence"),
    (fence_leaps, "fence"),
    (fence_without_lease, "fence"),
    (leased_under_an_old_fence, "fence"),
    (two_owners, "fence"),
    (wakes_after_its_end, "after-final"),
    (speaks_after_its_end, "after-final"),
    (gate_counts_too_many, "gate"),
    (gate_counts_below_nothing, "gate"),
    (gate_stays_used, "gate-count"),
    (crash_untold, "journal"),
    (run_untold, "journal"),
    (run_told_twice, "journal"),
    (run_that_never_was, "journal"),
    (begun_twice, "ran-twice"),
]
