"""What a batch with a unique key came to, in one record, so that a repeat is answered with it.

All or none: the turn that makes the tasks writes the whole report. Each for itself takes many turns: the first one
writes which keys the tasks have, so whoever repeats a batch that broke off makes only those that are missing; the last
one writes the report. It is kept as long as a task of the batch is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Final

from a2a_server.codec import decode, encode
from a2a_server.errors import InvalidParams
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import Scope
from a2a_server.model.rows import Key, RecordKey, RecordRow
from a2a_server.model.turns import Needs
from a2a_server.policy import SECOND
from a2a_server.values import value_class

BATCH_RECORD: Final = "batch"
KEPT: Final = 86_400 * SECOND
"""How often it is looked whether a task is left, microseconds."""

_KEY_BYTES: Final = 16


@value_class(frozen=True, slots=True)
class Report:
    """What a batch of the agent came to.

    batch: its id, '' = no task bears it. keys: of the tasks that its items are, or would have been. others: of items
    that made none, by position: the id of the task that was there, or why there is none. open: not yet all of it.
    """

    batch: str
    agent: str
    keys: tuple[Key, ...]
    others: Mapping[int, str | InvalidParams] = field(default_factory=dict)
    open: bool = False


def batch_key(scope: Scope, agent: str, unique_key: str) -> RecordKey:
    """The record of a batch's unique key."""
    return RecordKey(BATCH_RECORD, scope.tenant, scope.owner, f"{agent}\x1f{unique_key}")


def packed(report: Report) -> bytes:
    """The body of its record."""
    repeats = {str(place): one for place, one in report.others.items() if isinstance(one, str)}
    errors = {str(place): [one.message, one.path] for place, one in report.others.items() if not isinstance(one, str)}
    body = {"i": report.batch, "a": report.agent, "k": b"".join(report.keys).hex(), "r": repeats, "e": errors}
    return encode(body | {"o": True} if report.open else body)


def unpacked(row: RecordRow) -> Report:
    """The report that a record keeps."""
    body = decode(row.body)
    keys = bytes.fromhex(body["k"])
    others: dict[int, str | InvalidParams] = {int(place): one for place, one in body["r"].items()}
    others |= {int(place): InvalidParams(text, path=path) for place, (text, path) in body["e"].items()}
    places = range(0, len(keys), _KEY_BYTES)
    return Report(
        body["i"], body["a"], tuple(Key(keys[at : at + _KEY_BYTES]) for at in places), others, open="o" in body
    )


def keep(turn: Turn, key: RecordKey, report: Report) -> None:
    """Write the report."""
    turn.links.keep(RecordRow(*key, 0, turn.now + KEPT, packed(report)))


@value_class(frozen=True, slots=True)
class KeepReport:
    """Write the whole report of a batch that many turns made."""

    key: RecordKey
    report: Report
    urgent: bool = False

    @property
    def weight(self) -> int:
        """Its body."""
        return 64 * len(self.report.keys) + 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The record."""
        needs.records.add(self.key)

    def decide(self, turn: Turn) -> None:
        """Write it."""
        keep(turn, self.key, self.report)


@value_class(frozen=True, slots=True)
class LookAgain:
    """Look at reports again after `KEPT`, as far as they are still as they were `seen`."""

    seen: Sequence[RecordRow]
    urgent: bool = True

    @property
    def weight(self) -> int:
        """What it writes again."""
        return 512 + sum(len(row.body) for row in self.seen)

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The records."""
        needs.records.update(row.key for row in self.seen)

    def decide(self, turn: Turn) -> None:
        """Set their next moments."""
        for seen in self.seen:
            row = turn.links.record(seen.key)
            if row is not None and row.rev == seen.rev:
                turn.links.keep(row._replace(due_at=turn.now + KEPT))
