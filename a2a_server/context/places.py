"""Under which keys a run asks and steps: the same in every run of its task, whatever was remembered in the meantime.

Theory of operation: a key is a name and how many times the run has used it, counted apart inside every step and every
hook. A step that is remembered is not called again, so what happens inside it must not move the counts outside. Which
step a piece of code runs in is a context variable: tasks of the event loop and the threads that this package starts
have it from who started them; threads that a skill starts by itself do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

SEPARATOR: Final = "\n"
"""Between a step's key and the keys inside it; names are printable, so none has it."""

_inside: ContextVar[tuple[object, str]] = ContextVar("a2a_server.step", default=(None, ""))


class Places:
    """The keys of one call of a handler or hook.

    Args:
        within: which hook it is; '' = the handler itself.

    Concurrency: belongs to its run.
    """

    __slots__ = ("_times", "_within")

    def __init__(self, within: str = "") -> None:
        self._within = within
        self._times: dict[tuple[str, str], int] = {}

    def next(self, kind: str, name: str) -> str:
        """The key of the next use of `name`, where the calling code is; each kind is counted apart."""
        owner, place = _inside.get()
        place = place if owner is self else self._within
        whole = f"{place}{SEPARATOR}{name}" if place else name
        times = self._times[kind, whole] = self._times.get((kind, whole), 0) + 1
        return f"{whole}:{times}"

    @contextmanager
    def inside(self, key: str) -> Iterator[None]:
        """While it lasts, the calling code is inside the step of this key."""
        token = _inside.set((self, key))
        try:
            yield
        finally:
            _inside.reset(token)
