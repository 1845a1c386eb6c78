"""A turn as a transaction: load and lock, decide, write, commit; and again when another transaction was in its way.

A turn that finds a row locked has decided nothing yet, so it waits and begins anew for up to LOCK_SECONDS (where a try
takes long, LOCK_TRIES), as other databases let one wait for a lock. One that is in conflict after it decided is decided
again, five times.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from a2a_server.errors import Conflict
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.stores.mongodb_link import LOCK_SECONDS, LOCK_TRIES, Link, begin, pause
from a2a_server.stores.mongodb_load import load
from a2a_server.stores.mongodb_view import View
from a2a_server.stores.mongodb_write import write

RETRIES: Final = 5

Decide = Callable[[Loaded], Changes]


class _Undecided(Exception):
    """Carries what `decide` raised past the translation of errors."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class _Locked(Exception):
    """Another transaction has a row that this one is to load."""


async def run_turn(link: Link, needs: Needs, decide: Decide) -> Loaded:
    """See `TaskStore.turn`."""
    until = time.monotonic() + LOCK_SECONDS
    tries = conflicts = 0
    error: BaseException
    while True:
        try:
            return await _once(link, needs, decide)
        except _Locked:
            error = Conflict("another transaction keeps a row of this turn")
            if tries >= LOCK_TRIES and time.monotonic() > until:
                break
        except Conflict as conflict:
            error = conflict
            conflicts += 1
            if conflicts > RETRIES:
                break
        except _Undecided as undecided:
            error = undecided.error
            break
        tries += 1
        await pause(tries)
    raise error  # outside of `except`, so that its context stays its own


async def _once(link: Link, needs: Needs, decide: Decide) -> Loaded:
    with link.translated():
        async with link.client.start_session() as session:
            await begin(session)
            view = View(link.db, session)
            loaded = await _load(link, view, needs)
            try:
                changes = decide(loaded)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the caller gets it
                raise _Undecided(error) from None
            await write(view, loaded, changes)
            await session.commit_transaction()
            return loaded


async def _load(link: Link, view: View, needs: Needs) -> Loaded:
    try:
        with link.translated():
            loaded = await load(view, needs)
            loaded.now = await link.now()  # after the locks: not before the time of whoever had them last
    except Conflict:
        raise _Locked from None
    return loaded
