"""What the runs of a task took out of what is shared, when they gave it back, and what they used of it meanwhile.

Only tasks that asked for an amount (of their worker's processor, memory or storage, or of a named resource) have an
audit. It is kept with the task's state, three small values a run: `taken` is written by the turn that leases the task,
`given_back` by the turn that takes it from its run, whoever makes that turn, and `used` by the report that ends the
run. A run whose worker died has no `used`: nobody was left to say it.

Values are named by their run in ten digits, so that they are in the order of runs.
"""

from __future__ import annotations

from typing import Final

from a2a_server.codec import decode_spec, encode
from a2a_server.model.objects import JsonObject, Phase
from a2a_server.model.rows import StateRow, TaskRow
from a2a_server.model.runs import Used
from a2a_server.policy import CLASS, is_shared

AUDIT: Final = "audit"
"""The space of a task's state that holds its audit."""
TAKEN: Final = "taken"
GIVEN_BACK: Final = "given_back"
USED: Final = "used"


def amounts(row: TaskRow) -> JsonObject:
    """What each run of the task takes, {} = nothing: `cpu` (cores), `memory`, `storage` (bytes), `resources` by name.

    Of tasks without needs nothing is decoded.
    """
    if CLASS not in row.queue and not is_shared(row.gates):
        return {}
    wishes = decode_spec(row.spec).wishes
    if wishes is None or (requires := wishes.requires) is None:
        return {}
    asked: JsonObject = {
        "cpu": requires.cpu,
        "memory": requires.memory_bytes,
        "storage": requires.storage_bytes,
        "resources": dict(requires.resources),
    }
    return {name: amount for name, amount in asked.items() if amount}


def moves(before: TaskRow, row: TaskRow, now: int) -> StateRow | None:
    """The entry for a task that is leased, or whose lease ends, by this change of its row; None = there is none."""
    leased = row.phase is Phase.LEASED
    if leased is (before.phase is Phase.LEASED) or not (taken := amounts(row)):
        return None
    if not leased:
        return _entry(row, GIVEN_BACK, {"at": now})
    return _entry(row, TAKEN, {"at": now, "worker": row.worker.hex(), **taken})


def spent(row: TaskRow, written_bytes: int, used: Used | None) -> StateRow:
    """The entry for what a run used, as it ends.

    written_bytes: what it put into artifacts and files. used: what was measured of it, None = nothing.
    """
    told: JsonObject = {"storage": written_bytes}
    if used is not None:
        told |= {"seconds": used.seconds, "cpu": used.cpu_seconds}
        if used.memory_bytes is not None:
            told |= {"memory": used.memory_bytes, "shared": used.shared}
    return _entry(row, USED, told)


def entry_name(run: int, kind: str = "") -> str:
    """What an entry of the run is called; without its kind the name before all of them."""
    return f"{run:010d}/{kind}"


def run_and_kind(name: str) -> tuple[int, str]:
    """What `entry_name` was given."""
    run, _, kind = name.partition("/")
    return int(run), kind


def _entry(row: TaskRow, kind: str, body: JsonObject) -> StateRow:
    return StateRow(row.key, AUDIT, entry_name(row.fence, kind), 0, row.fence, encode(body))
