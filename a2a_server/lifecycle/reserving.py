"""For which task a worker keeps room in its pool. Pure: moments are passed in, in seconds by one clock.

Theory of operation
-------------------
A worker claims from the classes whose tasks fit what is free of its pool, so a task that needs most of the pool could
wait for ever while smaller ones take each piece that becomes free. A class that was left out for so long is therefore
probed: the next claim looks at its first ready task too. If there is one the worker keeps room for it: of tasks in its
lane and below it takes none any more that would use what is kept, until the task fits, or is gone (it is probed again
as often). Tasks of higher lanes take what is free as ever, and tasks that need nothing of the pool never notice.

Room is kept for one task at a time, for the one that stands first of those that were found (lane, rank), then for the
next. One that fits competes by its rank like any other. Weaknesses: several workers may keep room for one task, those
that do not get it until they probe again; and while room is kept for a task of a higher lane, others of its class may
take what would be left for the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from a2a_server.lifecycle.gates import Place
from a2a_server.lifecycle.requirements import Pool


class Kept(NamedTuple):
    """Room for the task of the class `queue` that stands at `place`."""

    queue: str
    place: Place
    share: Pool

    @property
    def lane(self) -> int:
        """The task's lane."""
        return self.place[0]


class Asked(NamedTuple):
    """Which classes to claim from: `classes` in any lane, `above` only in lanes above that of the task kept room for.

    probe: the class whose first task is to be looked at, '' = none.
    """

    classes: tuple[str, ...] = ()
    above: tuple[str, ...] = ()
    probe: str = ""


def leaves(share: Pool, free: Pool, kept: Pool) -> bool:
    """Whether a task of this share leaves what is kept alone: of what it uses there is enough for both."""
    return all(not mine or mine <= all_ - theirs for mine, all_, theirs in zip(share, free, kept, strict=True))


class Reserving:
    """Decides for one worker. patience: seconds that a class is left out before it is probed, and between probes."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: dict[str, float] = {}
        self._found: dict[str, Kept] = {}

    @property
    def kept(self) -> Kept | None:
        """What room is kept for, None = nothing."""
        return min(self._found.values(), key=lambda one: one.place, default=None)

    def asked(self, shares: Mapping[str, Pool], free: Pool, now: float) -> Asked:
        """Which of these classes to claim from, by what their tasks take of the pool."""
        for name, share in shares.items():
            if share.fits(free) and name not in self._found:  # what room is kept for may be gone: it is probed again
                self._since.pop(name, None)
            else:
                self._since.setdefault(name, now)
        fitting = [name for name, share in shares.items() if share.fits(free)]
        kept = self.kept
        if kept is None:
            return Asked(tuple(fitting), probe=self._overdue(shares, now))
        beside = [name for name in fitting if name == kept.queue or leaves(shares[name], free, kept.share)]
        above = tuple(name for name in fitting if name not in beside)
        return Asked(tuple(beside), above, self._overdue(shares, now))

    def probed(self, queue: str, found: Kept | None, now: float) -> None:
        """Take note of what a probe found."""
        self._since[queue] = now
        if found is None:
            self._found.pop(queue, None)
        else:
            self._found[queue] = found

    def over(self, queue: str) -> None:
        """A task of the class was taken, or none is there: no room is kept for it any more."""
        self._since.pop(queue, None)
        self._found.pop(queue, None)

    def _overdue(self, shares: Mapping[str, Pool], now: float) -> str:
        waiting = [(since, name) for name, since in self._since.items() if name in shares]
        since, name = min(waiting, default=(now, ""))
        return name if name and now - since >= self._patience else ""
