"""The first contact with services that may still be starting: tried again for a while, then an error that says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from a2a_server.errors import ServiceUnreachable, StoreUnavailable

FIRST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 2.0

_log = logging.getLogger("a2a_server.engine.reaching")


async def reached(opening: Callable[[], Awaitable[None]], *, seconds: float, random: Random) -> None:
    """Call `opening` until it does not raise StoreUnavailable.

    Raises ServiceUnreachable with its text after `seconds`, and what else `opening` raises at once.
    """
    loop = asyncio.get_running_loop()
    give_up, wait, said = loop.time() + seconds, FIRST_SECONDS, False
    while True:
        try:
            await opening()
        except StoreUnavailable as error:
            if loop.time() + wait > give_up:
                tried = f" It was tried for {seconds:g} s (start_seconds)." if seconds else ""
                raise ServiceUnreachable(f"{error}{tried}") from error
            if not said:
                _log.warning("%s It is tried again for up to %g s.", error, seconds)
            said = True
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, LONGEST_SECONDS)
        else:
            return
