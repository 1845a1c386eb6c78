"""Plain functions that are called beside skills, each in a thread of its own.

Who waits for one may give it up: the thread is left behind, what it comes to is of no account, and it keeps neither a
slot of the skills nor the process alive.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from a2a_server.context.waiting import plainly

T = TypeVar("T")


async def in_own_thread(function: Callable[[], T]) -> T:
    """What the function gives; canceled, it is not waited for. Raises what it raises."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        try:
            said = plainly(function)
        except BaseException as error:  # noqa: BLE001 - it is raised where the function is waited for
            with suppress(RuntimeError):  # the loop is closed, and nobody waits
                loop.call_soon_threadsafe(_error, answer, error)
        else:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_result, answer, said)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name="a2a-hook", daemon=True).start()
    return await answer


def _result(answer: asyncio.Future[T], said: T) -> None:
    if not answer.done():
        answer.set_result(said)


def _error(answer: asyncio.Future[T], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
