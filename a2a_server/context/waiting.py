"""How a skill waits for its run: an async one awaits what a verb gives back, a thread is held inside the verb."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, TypeVar

from a2a_server.errors import LeaseLost
from a2a_server.running import Attempt

T = TypeVar("T")

LOOK_SECONDS: Final = 1.0
"""How often a thread looks whether the event loop that it waits for is still there."""


class Pending:
    """What a verb gives back. The verb has taken effect; `await` it to wait until that is committed, or let it be."""

    __slots__ = ("_attempt",)

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def __await__(self) -> Generator[Any, None, None]:
        yield from self._attempt.flush().__await__()


def waited(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    """What `work` comes to on the event loop; the calling thread is held until then.

    Raises:
        LeaseLost: the run's event loop is gone.
        BaseException: whatever `work` raises.
    """
    if loop.is_closed():
        work.close()
        raise LeaseLost
    waiting = asyncio.run_coroutine_threadsafe(work, loop)
    while not waiting.done():
        try:
            return waiting.result(LOOK_SECONDS)
        except TimeoutError:
            if loop.is_closed():
                raise LeaseLost from None
    return waiting.result()


def plainly(function: Callable[..., T], *args: object, **kwargs: object) -> T:
    """What the function gives, called in a thread whose caller waits on an event loop.

    Raises:
        RuntimeError: it raised StopIteration, which no future can carry: whoever waits for it would wait for ever.
        BaseException: whatever else the function raises.
    """
    try:
        return function(*args, **kwargs)
    except StopIteration as error:
        raise RuntimeError("the skill raised StopIteration") from error


def wait_for_room(attempt: Attempt, loop: asyncio.AbstractEventLoop) -> None:
    """Hold the calling thread until few enough outputs of the attempt are uncommitted.

    Raises:
        LeaseLost: the run lost its task, or its event loop is gone.
    """

    async def room() -> None:
        await attempt.room()

    waited(room(), loop)
