"""What the driver does is done in tasks that nobody cancels.

On Python 3.11 it swallows some cancellations (those that meet an answer), and it leaks the socket of a connection that
was being made; each one costs a connection besides. So whoever is canceled leaves, and what was begun goes on to its
end, which the driver's own time limits bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

QUIET_SECONDS: Final = 5.0

_going_on: set[asyncio.Task[Any]] = set()


async def quiet() -> None:
    """Wait, for `QUIET_SECONDS` at most, until what was begun before is over.

    A client that is closed in the middle of a transaction leaves it, with its locks, to the server.
    """
    loop = asyncio.get_running_loop()
    if begun := {task for task in _going_on if task.get_loop() is loop}:
        await asyncio.wait(begun, timeout=QUIET_SECONDS)


def apart(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The method in a task of its own; a canceled caller leaves at once."""

    @wraps(method)
    async def called(*args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.shield(_begun(method(*args, **kwargs)))

    return called


def to_its_end(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """As `apart`, but a canceled caller leaves when it is done: what comes next must not overtake it."""

    @wraps(method)
    async def called(*args: P.args, **kwargs: P.kwargs) -> T:
        task = _begun(method(*args, **kwargs))
        canceled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait((task,))
            except asyncio.CancelledError as error:
                canceled = error
        if canceled is not None:
            raise canceled
        return task.result()

    return called


def _begun(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    task = asyncio.get_running_loop().create_task(work)
    _going_on.add(task)
    task.add_done_callback(_over)
    return task


def _over(task: asyncio.Task[Any]) -> None:
    _going_on.discard(task)
    if not task.cancelled():
        task.exception()  # who left does not hear of it
