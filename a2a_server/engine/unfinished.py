"""The mark of a store that is being filled from elsewhere: no server works with half of a copy.

It is a row of `state` under a scope that no task, owner or object has: written before the first row of the copy, taken
away behind the last check. Its body names what is copied, so that the same copy can go on.
"""

from __future__ import annotations

from typing import Final

from a2a_server.errors import ConfigurationError
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import StateRow
from a2a_server.model.turns import Changes, Needs
from a2a_server.ports import TaskStore

_SCOPE: Final = b"unfinished"
_MARK: Final = StateRow(_SCOPE, "copy", "origin", 0, 0, b"")


def is_mark(table: str, row: tuple[object, ...]) -> bool:
    """Whether a row of a dump is the mark."""
    return table == "state" and row[0] == _SCOPE


async def unfinished(store: TaskStore) -> str:
    """What the store is being filled from; '' = it is whole."""
    page = await store.rows(RowQuery(Table.STATE, _MARK[:3], limit=1))
    return next((row.body.decode() for row in page.rows if isinstance(row, StateRow)), "")


async def mark_unfinished(store: TaskStore, origin: str) -> None:
    """Say that the store is being filled from `origin`; '' = it is whole from now on. Idempotent."""
    mark = _MARK._replace(body=origin.encode())
    await store.turn(Needs(), lambda _: Changes(states=[mark]))


async def refuse_unfinished(store: TaskStore) -> None:
    """Raises ConfigurationError for a store that holds a part of a copy."""
    if origin := await unfinished(store):
        raise ConfigurationError(
            f"this store holds a part of a copy of {origin}: give the same command again, which goes on with it, or "
            "name another --store."
        )
