"""What a skill raised, as the one exception that its run ends with; and hooks, whose exceptions end nothing but them.

Whoever asks or rejects inside an `asyncio.TaskGroup` raises a group of exceptions. How a run ends is judged by
`engine.outcomes`; here is only which of several exceptions it is judged by.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from a2a_server.errors import Fail, LeaseLost, Paused, Reject

_log = logging.getLogger("a2a_server.agents")


def decisive(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception of a group that decides how a run ends.

    A question goes out whatever else went wrong: that goes wrong again when the answer is there. Then the agent's own
    words count, then what went wrong first: the rest is what came of it.
    """
    errors = list(_leaves(group))
    for kind in (LeaseLost, Paused, Reject, Fail):
        if (found := next((error for error in errors if isinstance(error, kind)), None)) is not None:
            if kind is Paused and not all(isinstance(error, Paused) for error in errors):
                _log.warning("A skill asked, and something else went wrong beside it.", exc_info=group)
            return found
    return errors[0]


@asynccontextmanager
async def contained(what: str) -> AsyncIterator[None]:
    """See to it that what a hook raises is an Exception, unless the caller itself is being canceled.

    Raises:
        RuntimeError: instead of questions, exits and cancellations of the hook's own making, and of groups.
    """
    caller = asyncio.current_task()
    asked = caller.cancelling() if caller is not None else 0
    try:
        yield
    except asyncio.CancelledError as error:
        if caller is not None and caller.cancelling() > asked:
            raise
        raise RuntimeError(f"{what} was canceled from within") from error
    except Paused as error:
        raise RuntimeError(f"{what} cannot ask: nothing runs again for the answer") from error
    except (SystemExit, BaseExceptionGroup) as error:
        raise RuntimeError(f"{what} broke off") from error


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
