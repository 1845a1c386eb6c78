"""Rounds over the whole store that somebody asks for."""

from __future__ import annotations

import asyncio
from random import Random

from a2a_server.engine.engine import Engine
from a2a_server.engine.retiring import Retiring, Survey, retention_of
from a2a_server.errors import EngineError, StoreUnavailable, UnsupportedOperation
from a2a_server.model.objects import Scope


class Maintaining:
    """Asks one engine for them. Concurrency: any number of callers; one round at a time."""

    def __init__(self, engine: Engine) -> None:
        store, artifacts = engine.backends.store, engine.backends.artifacts
        self._retiring = Retiring(  # beside the engine's own, whose rounds are a duty that it holds
            store,
            artifacts,
            engine.duties.collector,
            engine.writer,
            retention_of(engine.limits),
            period_seconds=engine.limits.retire_seconds,
            clock=engine.clock,
            random=Random(),  # noqa: S311 - spreads rounds, guards nothing
        )
        self._going_on = asyncio.Lock()

    async def retire(self, scope: Scope, *, dry_run: bool) -> Survey:  # noqa: ARG002 - of all owners, while there is one
        """Delete the tasks whose time is over, or (dry_run) count them. Idempotent.

        Raises UnsupportedOperation: a round that was asked for goes on; StoreUnavailable.
        """
        if self._going_on.locked():
            raise UnsupportedOperation("A round goes on already; ask again when it is over.")
        async with self._going_on:
            try:
                return await (self._retiring.survey() if dry_run else self._retiring.retire())
            except EngineError as error:  # the store, or an archive, is away
                raise StoreUnavailable("a round was not finished") from error
