"""Ending many things at once, so that one that does not end keeps none of the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from typing import Any

from a2a_server.engine.deadline import over_within
from a2a_server.ports import ArtifactStore, Notifier, TaskStore, WorkQueue
from a2a_server.running import AgentRunner

_log = logging.getLogger("a2a_server.engine")


async def all_ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Canceled, it cancels them."""
    await asyncio.gather(*tasks, return_exceptions=True)


async def all_of(works: Iterable[Awaitable[None]]) -> None:
    """All of them are done, side by side; canceled, it cancels them."""
    await asyncio.gather(*works)


async def closed(
    part: AgentRunner | WorkQueue | Notifier | ArtifactStore | TaskStore, seconds: float | None = None
) -> None:
    """Close a part; one that cannot be closed must not keep the others open, and with them the process alive."""
    name = type(part).__name__
    try:
        if not await over_within(part.close(), seconds):
            _log.warning("%s did not close in time; its connections are dropped.", name)
    except Exception:  # noqa: BLE001 - an agent's lifespan may raise anything; it is logged here
        _log.exception("%s could not be closed.", name)
