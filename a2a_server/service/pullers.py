"""The agents that pull their work, as workers: registered, found again by their ids, alive as long as they say so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from a2a_server.agent import choose
from a2a_server.codec import FORMAT, decode, encode
from a2a_server.engine.engine import Engine, new_key
from a2a_server.errors import InvalidParams, NothingThere, UnsupportedOperation
from a2a_server.lifecycle.pulling import Leave
from a2a_server.lifecycle.requirements import Offer, offer_of
from a2a_server.model.objects import Lane, Scope
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import Key, WorkerRow
from a2a_server.policy import SECOND
from a2a_server.values import value_class

PULLS: Final = "pulls"
"""The member of a worker's row that only such agents have."""
BEATS: Final = 4
"""Signs of life in one lease."""
_KEY_BYTES: Final = 16


@value_class(frozen=True, slots=True)
class Registration:
    """What an agent says of itself. skills: whose tasks it takes; lanes: () = all. offer: what it has for tasks.

    lease_seconds: how long it may be silent before its tasks go to others; 0 = as long as workers of ours.
    """

    skills: tuple[str, ...]
    name: str = ""
    lanes: tuple[Lane, ...] = ()
    offer: Offer = field(default_factory=Offer)
    lease_seconds: float = 0.0


@value_class(frozen=True, slots=True)
class Puller:
    """A registered agent. beat_seconds: how often it should say something."""

    key: Key
    skills: tuple[str, ...]
    lanes: tuple[Lane, ...]
    offer: Offer
    lease_seconds: float

    @property
    def beat_seconds(self) -> float:
        """A part of the lease, so that one request may fail."""
        return self.lease_seconds / BEATS


class Pullers:
    """Those of one engine. Concurrency: any number of callers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.backends.store

    async def register(self, scope: Scope, registration: Registration) -> Puller:
        """A new worker. Raises InvalidParams: a skill that this agent does not have, or that rolls back."""
        for place, skill in enumerate(registration.skills):
            path = f"skills[{place}]"
            try:
                spec = choose(self._engine.runner.skills, skill)
            except InvalidParams as error:
                raise InvalidParams(f"{path}: {error.message}", path=path) from None
            if spec.rolls_back:
                raise InvalidParams(
                    f"{path} has something to undo when it fails, which only workers of the server can do; leave it "
                    "out.",
                    path=path,
                )
        key, seconds = new_key(), registration.lease_seconds or self._engine.limits.lease_seconds
        about = {
            PULLS: {
                "tenant": scope.tenant,
                "owner": scope.owner,
                "skills": list(registration.skills),
                "lanes": [int(lane) for lane in registration.lanes],
                "lease": seconds,
            },
            "host": registration.name,
            "agent": self._engine.agent,
            "offers": registration.offer.about,
        }
        await self._store.register(
            WorkerRow(key, 0, round(seconds * SECOND), dead=False, format=FORMAT, body=encode(about))
        )
        return Puller(key, registration.skills, registration.lanes, registration.offer, seconds)

    async def leave(self, scope: Scope, worker_id: str) -> None:
        """The worker is gone; what it still runs goes to others. Raises NothingThere, UnsupportedOperation."""
        puller = await self.find(scope, worker_id)
        if not await self._engine.submit(Leave(puller.key)):
            raise _dead()

    async def find(self, scope: Scope, worker_id: str) -> Puller:
        """The agent. Raises NothingThere; UnsupportedOperation: it is dead."""
        key = worker_key(worker_id)
        page = await self._store.rows(RowQuery(Table.WORKER, (key,), limit=1))
        row = next((row for row in page.rows if isinstance(row, WorkerRow)), None)
        about: Mapping[str, Any] = decode(row.body) if row is not None and row.body else {}
        pulls = about.get(PULLS)
        if row is None or pulls is None or (pulls["tenant"], pulls["owner"]) != (scope.tenant, scope.owner):
            raise NothingThere("No agent that pulls its work has this id here, or it is not yours; register again.")
        if row.dead:
            raise _dead()
        lanes = tuple(Lane(number) for number in pulls["lanes"])
        return Puller(row.id, tuple(pulls["skills"]), lanes, offer_of(about.get("offers")), pulls["lease"])

    async def living(self, scope: Scope, worker_id: str) -> Puller:
        """The agent, of which this is a sign of life. Raises as `find`."""
        puller = await self.find(scope, worker_id)
        await self.beat(puller.key)
        return puller

    async def beat(self, worker: Key) -> None:
        """A sign of life. Raises UnsupportedOperation: it comes too late."""
        if not await asyncio.to_thread(self._store.beat, worker):
            raise _dead()


def worker_key(worker_id: str) -> Key:
    """The key that a worker's id stands for. Raises NothingThere."""
    try:
        key = bytes.fromhex(worker_id)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES or key.hex() != worker_id:
        raise NothingThere("There is no such worker; the list of workers names those that there are.")
    return Key(key)


def _dead() -> UnsupportedOperation:
    return UnsupportedOperation(
        "This worker was silent for longer than its lease, or left, and its tasks are others' by now; register again."
    )
