"""What must hold of the order in which a store changed things, whoever changed them. Pure.

| rule | the promise |
|---|---|
| fence | a task's fence never falls, grows by one at a claim and only there, and belongs to one worker |
| after-final | nothing of an ended task changes any more |
| gate, gate-count | no more is leased at once than a gate lets through, by amounts; what it counts is what is leased |
| journal | every claim is told once (by the event or the entry that it makes), every crash too |
| ran-twice | a process begins one attempt of a task once |

Gates are counted by leases, not by handlers: execution is at least once, and a handler whose lease was lost runs on
until it hears of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from a2a_server.model.gates import gate_of
from a2a_server.model.objects import Phase
from tests.drills.ledger import Violation


class Step(NamedTuple):
    """A committed change of a task's place; `seq` is the order of commits. worker: in hexadecimal, '' = none.

    gates: as the task names them, with amounts. lane, rank: where it stands. held_by: the gate that holds it. at: by
    the store's clock, microseconds.
    turn: the transaction that made it, 0 = one of its own. What a turn changes, it changes at once.
    """

    seq: int
    task: str
    phase: Phase
    fence: int
    worker: str = ""
    last_n: int = 0
    crashes: int = 0
    gates: tuple[str, ...] = ()
    turn: int = 0
    lane: int = 3
    rank: int = 0
    held_by: str = ""
    at: int = 0


class GateStep(NamedTuple):
    """A committed change of a gate."""

    seq: int
    key: str
    capacity: int | None
    used: int


class Told(NamedTuple):
    """A journal entry: the kind in small letters, and the fence that it names (0 = none)."""

    n: int
    kind: str
    fence: int = 0


def check_steps(steps: Sequence[Step], capacities: Mapping[str, int]) -> list[Violation]:
    """Every broken promise in what tasks did. capacities: of the gates that are limited."""
    found: list[Violation] = []
    before: dict[str, Step] = {}
    owners: dict[tuple[str, int], str] = {}
    leased: defaultdict[str, dict[str, int]] = defaultdict(dict)
    last = {step.turn: step.seq for step in steps}
    touched: defaultdict[int, set[str]] = defaultdict(set)
    for step in steps:
        found += _faults(before.get(step.task), step)
        if step.phase is Phase.LEASED:
            owner = owners.setdefault((step.task, step.fence), step.worker)
            if owner != step.worker:
                found.append(_said("fence", step, f"run {step.fence} belonged to {owner}, then to {step.worker}"))
        before[step.task] = step
        for gate, amount in map(gate_of, step.gates):
            if gate not in capacities:
                continue
            leased[gate].pop(step.task, None)
            if step.phase is Phase.LEASED:
                leased[gate][step.task] = amount
            touched[step.turn].add(gate)
        if step.turn and step.seq != last[step.turn]:
            continue  # within a turn one task may take the place that another one leaves
        for gate in touched.pop(step.turn, ()):
            if sum(leased[gate].values()) > capacities[gate]:
                running = ", ".join(f"{task}*{amount}" for task, amount in sorted(leased[gate].items()))
                found.append(_said("gate", step, f"{gate} lets {capacities[gate]} through, leased are {running}"))
    return found


def _faults(before: Step | None, now: Step) -> Iterator[Violation]:
    fence, phase = (before.fence, before.phase) if before else (0, Phase.READY)
    if now.fence < fence:
        yield _said("fence", now, f"fell from {fence} to {now.fence}")
    elif now.fence > fence + 1:
        yield _said("fence", now, f"grew from {fence} to {now.fence} at once")
    elif now.fence > fence and now.phase is not Phase.LEASED:
        yield _said("fence", now, f"grew to {now.fence} without a lease, in phase {now.phase.name}")
    elif now.fence == fence and now.phase is Phase.LEASED and phase is not Phase.LEASED:
        yield _said("fence", now, f"leased again as run {fence}")
    if phase is Phase.FINAL:
        yield _said("after-final", now, f"{now.phase.name}, run {now.fence}, event {now.last_n} after the end")


def check_gates(gates: Iterable[GateStep]) -> list[Violation]:
    """Every broken promise in what gates counted; at the end nothing may be in use."""
    found: list[Violation] = []
    last: dict[str, GateStep] = {}
    for gate in gates:
        last[gate.key] = gate
        if gate.used < 0 or (gate.capacity is not None and gate.used > gate.capacity):
            text = f"{gate.key} lets {gate.capacity} through and counts {gate.used} (change {gate.seq})"
            found.append(Violation("gate", "", text))
    left = [gate for gate in last.values() if gate.used and gate.capacity is not None]
    return found + [
        Violation("gate-count", "", f"{gate.key} still counts {gate.used} when every task has ended") for gate in left
    ]


def check_journal(task: str, steps: Sequence[Step], told: Sequence[Told]) -> list[Violation]:
    """Whether a task's journal tells what its row did. The first claim is told by an event, later ones by an entry."""
    fences = [entry.fence for entry in told if entry.kind == "leased"]
    crashes = sum(entry.kind == "crash" for entry in told)
    claimed = sorted({step.fence for step in steps if step.phase is Phase.LEASED})
    counted = steps[-1].crashes if steps else 0
    found = []
    if fences != sorted(set(fences)):
        found.append(Violation("journal", task, f"it tells leases {fences}, which do not grow"))
    if missing := set(claimed[1:]) - set(fences):
        found.append(Violation("journal", task, f"runs {sorted(missing)} are not told; it tells {fences}"))
    if untrue := set(fences) - set(claimed):
        found.append(Violation("journal", task, f"it tells runs {sorted(untrue)}, which never were"))
    if crashes != counted:
        found.append(Violation("journal", task, f"it tells {crashes} crashes, the row counts {counted}"))
    return found


def check_notes(lines: Iterable[str]) -> list[Violation]:
    """Whether any process began one attempt of a task twice. Lines are those of `tests.drills.agent`."""
    begun = Counter(line.removeprefix("begin ") for line in lines if line.startswith("begin "))
    return [
        Violation("ran-twice", line.split()[1], f"process {line.split()[0]} began it {times} times as one attempt")
        for line, times in begun.items()
        if times > 1
    ]


def _said(rule: str, step: Step, text: str) -> Violation:
    return Violation(rule, step.task, f"{text} (change {step.seq})")
