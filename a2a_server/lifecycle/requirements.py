"""What tasks need of workers, and what workers have.

Tasks with the same needs form a class and wait in a queue of their own, so that a claim names only what its worker can
run and never looks at the rest. A record says what a class needs; it is written by every send of such a task, one for
each owner, and deleted when the owner has sent none for a while and none is left. An owner has so many at most
(`client_max_requirements`). What a task takes out of the pool of its worker it takes
from its claim to the end of its run; other needs (words) just have to be met. Resources that all workers share are
gates and no matter of workers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final, NamedTuple

from pydantic.alias_generators import to_camel

from a2a_server.codec import canonical, decode, decode_spec, encode
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import Requires, Scope
from a2a_server.model.options import Requirements
from a2a_server.model.rows import RecordKey, RecordRow, TaskRow
from a2a_server.model.turns import Needs
from a2a_server.policy import CLASS, SECOND
from a2a_server.values import value_class

CLASS_RECORD: Final = "class"
"""The kind of records that say what classes need; their ids are the queues' names."""

CLASS_KEPT: Final = 3600 * SECOND
"""How long the record of a class is kept behind the last send."""

_WORDS: Final = ("tags", "tools", "agents")
_SIZES: Final = ("cpu", "memory_bytes", "storage_bytes")


class Pool(NamedTuple):
    """A worker's share of its host, or a task's of its worker: thousandths of a core, and bytes."""

    millicores: float = 0.0
    memory_bytes: float = 0.0
    storage_bytes: float = 0.0

    def fits(self, free: Pool) -> bool:
        """Whether so much is free."""
        return all(mine <= theirs for mine, theirs in zip(self, free, strict=True))

    def without(self, share: Pool) -> Pool:
        """What is left when the share is taken."""
        return Pool(*(mine - theirs for mine, theirs in zip(self, share, strict=True)))

    def with_(self, share: Pool) -> Pool:
        """What there is when the share is given back."""
        return Pool(*(mine + theirs for mine, theirs in zip(self, share, strict=True)))

    def times(self, count: int) -> Pool:
        """What so many such tasks take."""
        return Pool(*(mine * count for mine in self))


UNBOUNDED: Final = Pool(math.inf, math.inf, math.inf)


@value_class(frozen=True, slots=True)
class Offer:
    """What a worker has. cpu in cores, sizes in bytes; None = as much as anybody wants."""

    tags: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    cpu: float | None = None
    memory_bytes: int | None = None
    storage_bytes: int | None = None

    @property
    def pool(self) -> Pool:
        """What its tasks share."""
        sizes = (None if self.cpu is None else _millicores(self.cpu), self.memory_bytes, self.storage_bytes)
        return Pool(*(math.inf if size is None else size for size in sizes))

    @property
    def about(self) -> dict[str, Any]:
        """What the worker's row says of it, as `offers`; read by `offer_of`."""
        return {name: value for name, value in asdict(self).items() if value not in {None, ()}}


def offer_of(about: object) -> Offer:
    """The offer that a worker's row tells of (`offers`); nothing told = nothing but an unlimited pool."""
    told = about if isinstance(about, dict) else {}
    words: dict[str, Any] = {name: tuple(told.get(name, ())) for name in _WORDS}
    given: dict[str, Any] = words | {name: told.get(name) for name in _SIZES}
    return Offer(**given)


def satisfies(requires: Requires, offer: Offer) -> tuple[str, ...]:
    """What the worker lacks for such a task even when it runs nothing else, in words; () = nothing."""
    missing = [
        f"{name[:-1]} {word}" for name in _WORDS for word in getattr(requires, name) if word not in getattr(offer, name)
    ]
    for name in _SIZES:
        wanted, given = getattr(requires, name), getattr(offer, name)
        if given is not None and wanted > given:
            missing.append(f"{to_camel(name)} {_amount(wanted)} (it has {_amount(given)})")
    return tuple(missing)


def short_of(requires: Requires, offer: Offer, taken: Pool) -> tuple[str, ...]:
    """What the worker has too little of left for such a task as long as others have `taken` it; () = the task fits."""
    short = []
    for name, mine, all_, theirs in zip(_SIZES, share_of(requires), offer.pool, taken, strict=True):
        if mine > all_ - theirs:
            unit = 1000 if name == "cpu" else 1
            used = f"{_amount(theirs / unit)} of {_amount(all_ / unit)} in use"
            short.append(f"{to_camel(name)} {_amount(mine / unit)} ({used})")
    return tuple(short)


def needs_in_words(requires: Requires | None) -> tuple[str, ...]:
    """What makes the class of such a task; () = any worker will do."""
    words = [f"{name[:-1]} {word}" for name in _WORDS for word in getattr(requires, name, ())]
    sizes = [(name, getattr(requires, name, 0)) for name in _SIZES]
    return (*words, *(f"{to_camel(name)} {_amount(size)}" for name, size in sizes if size))


def required(given: Requirements | None) -> Requires | None:
    """What a client's option asks for; None = nothing."""
    if given is None:
        return None
    wanted = Requires(
        tags=tuple(sorted(set(given.tags))),
        tools=tuple(sorted(set(given.tools))),
        agents=tuple(sorted(set(given.agents))),
        cpu=given.cpu,
        memory_bytes=given.memory_bytes,
        storage_bytes=given.storage_bytes,
        resources=dict(sorted(given.resources.items())),
        duration_seconds=given.duration_seconds,
    )
    return None if wanted == Requires() else wanted


def class_of(queue: str, requires: Requires | None) -> str:
    """The queue that tasks with these needs wait in: `queue` itself where any worker of it will do."""
    needs = _needs(requires)
    return f"{queue}{CLASS}{hashlib.sha256(canonical(needs)).hexdigest()[:16]}" if needs else queue


def queue_of_class(name: str) -> str:
    """The queue that a class belongs to."""
    return name.rpartition(CLASS)[0]


def class_key(queue: str, scope: Scope) -> RecordKey:
    """The record of an owner that says what the class of this queue needs."""
    return RecordKey(CLASS_RECORD, scope.tenant, scope.owner, queue)


def keep_class(turn: Turn, queue: str, scope: Scope, requires: Requires) -> None:
    """Say what the class of the queue needs, and that the owner sent a task of it. The turn has loaded its record."""
    turn.links.keep(RecordRow(*class_key(queue, scope), 0, 0, encode({"needs": _needs(requires), "at": turn.now})))


def needs_of(record: RecordRow) -> Requires:
    """What a class needs."""
    needs: dict[str, Any] = decode(record.body)["needs"]
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in needs.items()}
    return Requires(**given)


def share_of(requires: Requires | None) -> Pool:
    """What such a task takes out of its worker's pool."""
    if requires is None:
        return Pool()
    return Pool(_millicores(requires.cpu), requires.memory_bytes, requires.storage_bytes)


def pool_of(row: TaskRow) -> Pool:
    """What the task takes out of its worker's pool."""
    if CLASS not in row.queue:
        return Pool()
    wishes = decode_spec(row.spec).wishes
    return share_of(wishes.requires if wishes else None)


@value_class(frozen=True, slots=True)
class DropRecords:
    """Delete records that nobody needs, as far as they are still as they were `seen`.

    A class that was sent to within `CLASS_KEPT` stays: its tasks need not be counted anywhere yet.
    """

    seen: Sequence[RecordRow]
    urgent: bool = True
    weight: int = 512

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The records."""
        needs.records.update(row.key for row in self.seen)

    def decide(self, turn: Turn) -> int:
        """How many were deleted."""
        count = 0
        for seen in self.seen:
            row = turn.links.record(seen.key)
            if row is None or row.rev != seen.rev or (row.kind == CLASS_RECORD and _is_fresh(row, turn.now)):
                continue
            turn.links.drop(row.key)
            count += 1
        return count


def _is_fresh(row: RecordRow, now: int) -> bool:
    return bool(decode(row.body)["at"] + CLASS_KEPT > now)


def _needs(requires: Requires | None) -> dict[str, Any]:
    named = {name: getattr(requires, name) for name in (*_WORDS, *_SIZES)} if requires else {}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in named.items() if value}


def _amount(size: float) -> str:
    return f"{size:g}" if size % 1 else str(int(size))


def _millicores(cpu: float) -> int:
    return math.ceil(round(cpu * 1000, 6))
