"""When a task's runs take what it asked for, and when they give it back."""

from __future__ import annotations

from typing import Any

from a2a_server.codec import decode, encode_spec
from a2a_server.lifecycle.auditing import AUDIT, spent
from a2a_server.lifecycle.endings import EndKind
from a2a_server.lifecycle.requirements import class_of
from a2a_server.model.objects import Phase, Requires, State, TaskSpec, Wishes
from a2a_server.model.rows import TaskRow
from a2a_server.model.runs import Used
from a2a_server.policy import SECOND, gates_of, resource_gate
from tests.unit.turns import MemoryTurns, claim, crash, report, submit

NEEDS = Requires(cpu=0.5, memory_bytes=1000, resources={"gpu": 2})


def submitted(store: MemoryTurns, requires: Requires | None) -> TaskRow:
    """A task that waits, with these needs."""
    spec = encode_spec(TaskSpec(timeout_seconds=60.0, wishes=Wishes(requires=requires)))
    queue = class_of("echo", requires)
    gates = gates_of(owner="local", agent="", skill="echo", queue="echo")
    shared = tuple(
        f"{resource_gate(name)}*{amount}" for name, amount in (requires.resources if requires else {}).items()
    )
    row: TaskRow = store.one(submit(1, spec=spec, queue=queue, gates=(*gates, *shared), max_attempts=9)).row
    return row


def claimed(store: MemoryTurns, row: TaskRow) -> TaskRow:
    [taken] = store.one(claim(queues=(row.queue,))).rows
    assert isinstance(taken, TaskRow)
    return taken


def entries(store: MemoryTurns) -> dict[str, Any]:
    return {name: decode(row.body) for (_, space, name), row in sorted(store.states.items()) if space == AUDIT}


def test_a_run_takes_what_was_asked_for_and_gives_it_back_as_it_ends() -> None:
    store = MemoryTurns()
    store.register()
    row = claimed(store, submitted(store, NEEDS))
    began = store.now
    amounts = {"cpu": 0.5, "memory": 1000, "resources": {"gpu": 2}}
    assert entries(store) == {"0000000001/taken": {"at": began, "worker": row.worker.hex(), **amounts}}
    store.now += 3 * SECOND
    used = spent(row, 7, Used(2.5, 0.25, 4096, 1))
    assert store.one(report(row, EndKind.COMPLETED, states=(used,))).row.state is State.COMPLETED
    assert entries(store)["0000000001/given_back"] == {"at": began + 3 * SECOND}
    assert entries(store)["0000000001/used"] == {
        "storage": 7, "seconds": 2.5, "cpu": 0.25, "memory": 4096, "shared": 1
    }  # fmt: skip


def test_every_way_out_of_a_lease_is_told_and_every_run_by_itself() -> None:
    store = MemoryTurns()
    store.register()
    row = claimed(store, submitted(store, NEEDS))
    crash(store, row)
    row = claimed(store, row)
    store.one(report(row, EndKind.HANDED_BACK))
    row = claimed(store, row)
    after = store.one(report(row, EndKind.TRANSIENT)).row
    assert after.phase is Phase.SCHEDULED
    assert list(entries(store)) == [f"000000000{run}/{kind}" for run in (1, 2, 3) for kind in ("given_back", "taken")]


def test_words_and_durations_are_no_amounts() -> None:
    for requires in (None, Requires(tags=("gpu",), duration_seconds=3.0), Requires()):
        store = MemoryTurns()
        store.register()
        row = claimed(store, submitted(store, requires))
        store.one(report(row, EndKind.COMPLETED))
        assert entries(store) == {}


def test_what_was_not_measured_is_not_told() -> None:
    store = MemoryTurns()
    store.register()
    row = claimed(store, submitted(store, Requires(resources={"gpu": 1})))
    assert decode(spent(row, 0, None).body) == {"storage": 0}
    assert decode(spent(row, 0, Used(1.0, 0.5)).body) == {"storage": 0, "seconds": 1.0, "cpu": 0.5}
