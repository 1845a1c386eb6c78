"""What a worker claims: from which queues and lanes, how far it looks, and which tasks it keeps room for.

The worker has the slots and runs what comes; here is what it has learnt from its claims so far. One claim is one turn:
what is looked at beside the best tasks (`Asked`) goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from a2a_server.engine.classes import Classes, queues_of
from a2a_server.engine.limits import Limits
from a2a_server.lifecycle.gates import place_of
from a2a_server.lifecycle.requirements import Offer, pool_of
from a2a_server.lifecycle.reserving import Asked, Kept
from a2a_server.lifecycle.runs import Claim, Claimed
from a2a_server.model.objects import Lane
from a2a_server.model.rows import Key
from a2a_server.model.runs import SkillSpec
from a2a_server.policy import SECOND, queue_of
from a2a_server.ports import TaskStore

CLAIM_LIMIT: Final = 200
"""Tasks per claim; a worker with more free slots claims again at once."""


class Sources(NamedTuple):
    """Where a claim may take tasks: its skills' queues, and what is `asked` of classes."""

    plain: tuple[str, ...]
    asked: Asked

    @property
    def queues(self) -> tuple[str, ...]:
        """Those that it takes tasks of in every lane of the worker."""
        return (*self.plain, *self.asked.classes)

    @property
    def hinted(self) -> tuple[str, ...]:
        """Those that hints are taken of."""
        return (*self.queues, *self.asked.above)


class Claims:
    """Concurrency: belongs to the event loop. Kinds of slots: False for coroutines, True for threads.

    offer: what the worker has for tasks that need something. standing: limits for everybody.
    """

    def __init__(
        self,
        agent: str,
        skills: Sequence[SkillSpec],
        store: TaskStore,
        limits: Limits,
        *,
        offer: Offer | None = None,
        standing: Mapping[str, int] | None = None,
    ) -> None:
        self._agent = agent
        self._queues = queues_of(agent, skills, limits.queues)
        self._lanes = tuple(Lane[name.upper()] for name in limits.lanes)
        self._standing = standing
        self._grace = round(limits.cancel_grace_seconds * SECOND)
        self._owing = dict.fromkeys(self._queues, False)
        self._look = dict.fromkeys(self._queues, 0)
        self._more = dict.fromkeys(self._queues, False)
        self.classes = Classes(store, offer or Offer(), self._queues, limits.worker_reserve_seconds)

    def admits(self, skill: SkillSpec, lane: Lane) -> bool:
        """Whether a task that comes to the door may be taken before others are claimed that may stand higher."""
        if self._owing[skill.threaded] or queue_of(self._agent, skill.id) not in self._queues[skill.threaded]:
            return False
        return not self._lanes or lane in self._lanes

    def owe(self, *, threaded: bool) -> None:
        """There was no slot until now: what waits in other queues comes before who is at the door."""
        self._owing[threaded] = len(self._queues[threaded]) > 1

    def sources(self, free: Mapping[bool, int], now: float) -> dict[bool, Sources]:
        """Where to claim from for each kind of slots of which some are free. now: seconds."""
        found = {
            threaded: Sources(self._queues[threaded], self.classes.asked(threaded=threaded, now=now))
            for threaded, slots in free.items()
            if slots > 0
        }
        return {threaded: sources for threaded, sources in found.items() if sources.queues}

    def wait(self, kinds: Mapping[bool, Sources]) -> bool:
        """Whether nothing is known of that could be claimed at once."""
        return not any(self._more[threaded] for threaded in kinds)

    def no_slot(self, hinted: Sequence[Key], *, threaded: bool) -> None:
        """The slots of the kind were taken meanwhile; what was hinted at is still there."""
        self._more[threaded] = self._more[threaded] or bool(hinted)

    def failed(self) -> None:
        """A claim failed: wait before the next one."""
        self._more = dict.fromkeys(self._more, False)

    def claim(
        self, worker: Key, sources: Sources, limit: int, hinted: tuple[Key, ...], *, suspects: bool, threaded: bool
    ) -> Claim:
        """The next claim."""
        self._owing[threaded] = False
        kept, asked = self.classes.kept, sources.asked
        above = tuple(lane for lane in self._lanes or tuple(Lane) if kept is None or lane < kept.lane)
        return Claim(
            worker,
            sources.queues,
            limit,
            hinted,
            suspects,
            grace=self._grace,
            lanes=self._lanes,
            standing=self._standing,
            pool=self.classes.free,
            look=self._look[threaded],
            above=asked.above if above else (),
            above_lanes=above,
            probe=asked.probe,
        )

    def learn(self, claim: Claim, claimed: Claimed, *, threaded: bool, now: float) -> None:
        """Take note of what came of a claim. Whether its queues may hold work that no hint will tell of again, too."""
        self._more[threaded] = claimed.more
        self._look[threaded] = claim.further(claimed, CLAIM_LIMIT)
        if claim.probe:
            row = claimed.waits
            self.classes.probed(claim.probe, None if row is None else Kept(row.queue, place_of(row), pool_of(row)), now)
        kept = self.classes.kept
        if kept is not None and kept.queue in claim.queues and len(claimed.rows) < claim.limit:
            self.classes.missed(kept)
