"""Erasing of finished tasks, inside a transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from pymongo import DeleteMany

from a2a_server.errors import Conflict
from a2a_server.model.objects import Phase
from a2a_server.model.rows import Key, TallyKey
from a2a_server.stores.mongodb_rows import PHASES, STATES, Document, span
from a2a_server.stores.mongodb_view import View, among
from a2a_server.stores.mongodb_write import add_tally

_BY_KEY: Final = ("event", "journal", "message", "artifact", "state", "edge", "push", "content")
_BY_FIELD: Final = (("sent", "task"), ("edge", "downstream"), ("tag", "task"))


async def erase(view: View, keys: Sequence[Key], *, whole: bool = False) -> int:
    """Delete those of the tasks that are final, with all their rows, and lower the tally.

    Raises Conflict, and the driver's errors.
    """
    where: Document = {"_id": among(keys), "phase": int(Phase.FINAL)}
    found = await view.fields("task", where, ("visible", *TallyKey._fields))
    if not found or (whole and len(found) < len(keys)):
        return 0
    ended: list[Key] = [each["_id"] for each in found]
    gone = await view.db["task"].delete_many({**where, "_id": among(ended)}, session=view.session)
    if gone.deleted_count != len(ended):
        raise Conflict("another writer erases these tasks too")
    for table in _BY_KEY:
        await view.db[table].bulk_write([DeleteMany({"_id": span((key,))}) for key in ended], session=view.session)
    for table, field in _BY_FIELD:
        await view.db[table].delete_many({field: among(ended)}, session=view.session)
    kinds = Counter(tuple(each[name] for name in TallyKey._fields) for each in found if each["visible"])
    for kind, count in kinds.items():
        await _lower(view, TallyKey._make((*kind[:4], STATES[kind[4]], PHASES[kind[5]])), count)
    return len(ended)


async def _lower(view: View, kind: TallyKey, count: int) -> None:
    # Whose count is lowered does not matter, totals add the shards up; the highest one most likely stays above zero.
    where: Document = {**kind._asdict(), "state": int(kind.state), "phase": int(kind.phase)}
    tallies = await view.fields("tally", where, ("shard", "count"), (("count", -1),), 1)
    shard, counted = (tallies[0]["shard"], tallies[0]["count"]) if tallies else ("", 0)
    if counted == count and tallies:
        await view.db["tally"].delete_one({"_id": tallies[0]["_id"]}, session=view.session)
    else:
        await view.db["tally"].bulk_write([add_tally((shard, kind, -count))], session=view.session)
