"""Names the handler that blocks the event loop, while it does so.

Theory of operation
-------------------
A timer of the loop says several times a second that the loop turns. A thread of its own looks whether the timer is
late: then it reads from the loop thread's stack where the code stands, and once the timer is later than
`block_seconds` it says so in the log, once for each time that the loop stands still. What ends before the thread said
anything is told by the timer itself.

The thread is not the pulse's: a beat waits for the store, for seconds if need be, and the pulse ends with its worker.

Weaknesses: code that holds the interpreter's lock cannot be seen while it does, only counted afterwards; a coroutine
that a handler started as a task of its own is named by file and line, but not by skill and task.
"""

from __future__ import annotations

import asyncio
import asyncio.base_events
import asyncio.events
import asyncio.runners
import logging
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from a2a_server.telemetry.observer import Observer
from a2a_server.values import value_class

LOOKS: Final = 10
"""How often the timer rings and the thread looks in `block_seconds`."""

_PACKAGE: Final = str(Path(__file__).parents[1]) + os.sep
_EXAMPLES: Final = _PACKAGE + "examples" + os.sep
_STANDARD: Final = tuple(sysconfig.get_paths()[name] + os.sep for name in ("stdlib", "platstdlib"))
_LIBRARIES: Final = tuple(sysconfig.get_paths()[name] + os.sep for name in ("purelib", "platlib"))
_LOOP: Final = frozenset({asyncio.base_events.__file__, asyncio.events.__file__, asyncio.runners.__file__})
"""Where the stack of what the loop runs begins; what lies further out only started the loop."""

_log = logging.getLogger("a2a_server.engine.watchdog")


@value_class(frozen=True, slots=True)
class Doing:
    """What a coroutine of the event loop works on: the skill, and the task's id as clients know it."""

    skill: str
    task: str


@value_class(frozen=True, slots=True)
class _Site:
    file: str
    line: int
    function: str
    doing: Doing | None


class Watchdog:
    """Watches the event loop that makes it. `doing` says what an asyncio task works on; None = nothing of the agent's.

    `doing` is called from another thread.
    """

    def __init__(
        self, observer: Observer, doing: Callable[[asyncio.Task[Any]], Doing | None], *, block_seconds: float
    ) -> None:
        self._observer = observer
        self._doing = doing
        self._block = block_seconds
        self._every = block_seconds / LOOKS
        self._loop = asyncio.get_running_loop()
        self._looped = threading.get_ident()
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = 0.0
        self._telling = threading.Lock()
        self._told = False
        self._site: _Site | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._wind()
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; returns when the thread has ended."""
        if self._timer is not None:
            self._timer.cancel()
        self._ended.set()
        self._thread.join()

    def _wind(self) -> None:
        self._due_at = time.monotonic() + self._every
        self._timer = self._loop.call_later(self._every, self._tick)

    def _tick(self) -> None:
        late = max(0.0, time.monotonic() - self._due_at)
        self._observer.loop_late(late)
        with self._telling:
            if late > self._block and not self._told:
                self._tell(late)
            self._told = False
            self._site = None
            self._wind()

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            if time.monotonic() - self._due_at < self._block / 2:
                continue
            site = self._look()
            with self._telling:
                late = time.monotonic() - self._due_at
                if late < self._block / 2 or self._told:
                    continue
                self._site = site
                if late > self._block:
                    self._tell(late)
                    self._told = True

    def _tell(self, late: float) -> None:
        self._observer.loop_blocked()
        site = self._site
        if site is None:
            _log.warning("The event loop stood still for %.1f s; what it did could not be seen.", late)
            return
        where = {"file": site.file, "line": site.line, "function": site.function}
        if site.doing is None:
            _log.warning(
                "The event loop has stood still for %.1f s in %s (%s:%d).",
                late,
                site.function,
                site.file,
                site.line,
                extra=where,
            )
            return
        _log.warning(
            "Skill %s has blocked the event loop for %.1f s in %s (%s:%d); all else waits. Make it a plain function, "
            "which runs in a thread, or wait with await.",
            site.doing.skill,
            late,
            site.function,
            site.file,
            site.line,
            extra={"task": site.doing.task, "skill": site.doing.skill, **where},
        )

    def _look(self) -> _Site | None:
        frame = sys._current_frames().get(self._looped)  # noqa: SLF001 - the only way to another thread's stack
        found = _agents(list(_inside(frame)))
        if found is None:
            return None
        task = asyncio.current_task(self._loop)
        doing = None if task is None else self._doing(task)
        return _Site(found.f_code.co_filename, found.f_lineno or 0, found.f_code.co_qualname, doing)


def _agents(frames: Sequence[FrameType]) -> FrameType | None:
    """The innermost frame of the agent's own code; else of a library's that it called; else the innermost at all."""
    foreign = [frame for frame in frames if not _is_ours(frame.f_code.co_filename)]
    own = [frame for frame in foreign if not frame.f_code.co_filename.startswith(_LIBRARIES)]
    return next(iter(own or foreign or frames), None)


def _inside(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None and frame.f_code.co_filename not in _LOOP:
        yield frame
        frame = frame.f_back


def _is_ours(file: str) -> bool:
    if file.startswith(_LIBRARIES):
        return False
    return file.startswith(("<", *_STANDARD)) or (file.startswith(_PACKAGE) and not file.startswith(_EXAMPLES))
