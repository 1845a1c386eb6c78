"""What a worker takes of the tasks that need something: the queues of the classes that it satisfies, and its pool.

The worker learns classes from their records: at every poll, and as soon as a doorbell names a queue that it does not
know. What is taken out of the pool is this process's own matter: no two workers share one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from a2a_server.lifecycle.requirements import (
    CLASS_RECORD,
    Offer,
    Pool,
    needs_of,
    pool_of,
    queue_of_class,
    satisfies,
    share_of,
)
from a2a_server.lifecycle.reserving import Asked, Kept, Reserving
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import RecordRow, TaskRow
from a2a_server.model.runs import SkillSpec
from a2a_server.policy import CLASS, queue_of
from a2a_server.ports import TaskStore

PAGE: Final = 1000
NOTHING: Final = Asked()


def queues_of(agent: str, skills: Sequence[SkillSpec], only: Collection[str]) -> dict[bool, tuple[str, ...]]:
    """The queues of these skills by whether they need a thread; pulled ones need none.

    only: the skills that the worker is for, () = all.
    """
    wanted = [skill for skill in skills if not skill.pulled and (not only or skill.id in only)]
    return {
        threaded: tuple(queue_of(agent, skill.id) for skill in wanted if skill.threaded is threaded)
        for threaded in (False, True)
    }


class Classes:
    """The classes that a worker knows. Concurrency: belongs to the event loop.

    queues: those it takes tasks of, by whether they need a thread. patience:
    seconds before room is kept for what does not fit (lifecycle.reserving).
    """

    def __init__(
        self, store: TaskStore, offer: Offer, queues: Mapping[bool, tuple[str, ...]], patience: float = math.inf
    ) -> None:
        self._store = store
        self._offer = offer
        self._queues = queues
        self._free = offer.pool
        self._known: dict[str, Pool | None] = {}
        self._reserving = Reserving(patience)

    @property
    def free(self) -> Pool:
        """What is left of the pool."""
        return self._free

    @property
    def known(self) -> tuple[str, ...]:
        """The queues of all classes of the agent, those too that the worker does not satisfy."""
        return tuple(name for name in self._known if self._is_mine(name))

    def take(self, row: TaskRow) -> Pool:
        """Take what a task needs out of the pool; give the result back with `give_back`."""
        share = pool_of(row)
        self._reserving.over(row.queue)
        self._free = self._free.without(share)
        return share

    def give_back(self, share: Pool) -> None:
        """The task's run is over."""
        self._free = self._free.with_(share)

    @property
    def kept(self) -> Kept | None:
        """What room is kept for in the pool."""
        return self._reserving.kept

    def queues(self) -> tuple[str, ...]:
        """Where a worker that runs nothing claims tasks that need no thread from."""
        return (*self._queues[False], *self.asked(threaded=False, now=0.0).classes)

    def asked(self, *, threaded: bool, now: float) -> Asked:
        """Which classes to claim from now."""
        if not self._known:
            return NOTHING
        plain = self._queues[threaded]
        known = self._known.items()
        shares = {name: share for name, share in known if share is not None and queue_of_class(name) in plain}
        return self._reserving.asked(shares, self._free, now)

    def probed(self, queue: str, found: Kept | None, now: float) -> None:
        """A claim looked whether a task of this class waits."""
        self._reserving.probed(queue, found, now)

    def missed(self, kept: Kept) -> None:
        """A claim could have taken a task of the class that room is kept for, and there was none."""
        if kept.share.fits(self._free):
            self._reserving.over(kept.queue)

    def is_new(self, queues: Iterable[str]) -> bool:
        """Whether there is a class among these queues that the worker has not learnt of."""
        return any(CLASS in queue and queue not in self._known and self._is_mine(queue) for queue in queues)

    async def learn(self) -> bool:
        """Read the classes' records; whether there is one now that the worker can run and did not know."""
        known: dict[str, Pool | None] = {}
        after: tuple[str | int | bytes, ...] | None = None
        more = True
        while more:
            page = await self._store.rows(RowQuery(Table.RECORD, (CLASS_RECORD,), after, PAGE))
            for row in page.rows:
                if isinstance(row, RecordRow):
                    known[row.id] = self._judged(row)
                    after = row.key
            more = page.more
        news = any(share is not None and name not in self._known for name, share in known.items())
        before, self._known = self._known, known
        for name in before:
            if known.get(name) is None:
                self._reserving.over(name)
        return news

    def _judged(self, row: RecordRow) -> Pool | None:
        requires = needs_of(row)
        return None if not self._is_mine(row.id) or satisfies(requires, self._offer) else share_of(requires)

    def _is_mine(self, queue: str) -> bool:
        return any(queue_of_class(queue) in names for names in self._queues.values())
