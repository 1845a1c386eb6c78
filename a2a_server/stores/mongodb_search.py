"""Searches: places in an index, in the order that one filter decides, and which of their tasks pass all the others.

Places are read in rounds that grow while little is found; a round asks the tasks of its places, by their keys, what the
filters say, and the tags of those that pass. So what a search reads is bounded by how many places it may look at, and
only the tasks that it shows are read whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final

from a2a_server.model.objects import State
from a2a_server.model.queries import Found, Search, SearchCursor
from a2a_server.model.rows import Interest, Key, TaskRow
from a2a_server.stores.mongodb_lists import NEWEST_FIRST, behind, by_status, scoped
from a2a_server.stores.mongodb_rows import Document, encoded, span
from a2a_server.stores.mongodb_view import View, among

_AT_ONCE: Final = 500
"""Places of a round, at most."""
_LAST_FIRST: Final = (("_id", -1),)


async def search(view: View, query: Search) -> Found:
    """See `TaskStore.search`. In a transaction."""
    found: list[Key] = []
    after, left, size = query.after, query.scan, query.limit
    while len(found) < query.limit and left > 0:
        size = min(size, left, _AT_ONCE)
        places = await _places(view, query, after, size + 1)
        seen = places[:size]
        passing = (await _passing(view, query, seen))[: query.limit - len(found)]
        found += [place.key for place in passing]
        if not places:
            return Found(await _whole(view, found), None)
        last = passing[-1] if len(found) == query.limit else seen[-1]
        if last == places[-1]:
            return Found(await _whole(view, found), None)
        after = last
        left -= len(seen)
        size *= 2
    return Found(await _whole(view, found), after)


async def _whole(view: View, keys: Sequence[Key]) -> list[TaskRow]:
    if not keys:
        return []
    rows: list[TaskRow] = await view.rows("task", {"_id": among(keys)})
    return sorted(rows, key=lambda row: keys.index(row.key))


async def _places(view: View, query: Search, after: SearchCursor | None, limit: int) -> list[SearchCursor]:
    """Where the next rows stand, behind `after`."""
    if query.parent:
        where = {**scoped(query), "parent": query.parent}
        if after is not None:
            where["_id"] = {"$lt": after.key}
        return [SearchCursor(0, each["_id"]) for each in await view.fields("task", where, ("_id",), _LAST_FIRST, limit)]
    if query.tag or query.tag_prefix:
        scope = (query.tenant, query.owner)
        bounds = span((*scope, query.tag)) if query.tag else span(scope, query.tag_prefix or "")
        if after is not None:
            bounds["$lt"] = min(bounds["$lt"], encoded((*scope, after.order, after.key)))
        tags = await view.fields("tag", {"_id": bounds}, ("tag", "task"), _LAST_FIRST, limit)
        return [SearchCursor(each["tag"], each["task"]) for each in tags]
    where = by_status(query, {state for state, _ in query.stands} or State)
    if query.context:
        where["context"] = query.context
    moment = _between(query.status_from, query.status_to)
    if after is not None:
        moment["$lte"] = after.order
        where["$or"] = behind(int(after.order), after.key)
    if moment:
        where["status_at"] = moment
    tasks = await view.fields("task", where, ("status_at",), NEWEST_FIRST, limit)
    return [SearchCursor(each["status_at"], each["_id"]) for each in tasks]


def _between(first: int | None, end: int | None) -> Document:
    bounds = {"$gte": first, "$lt": end}
    return {operator: value for operator, value in bounds.items() if value is not None}


async def _passing(view: View, query: Search, places: Sequence[SearchCursor]) -> list[SearchCursor]:
    """The places whose tasks are what the search asks for; of a task's tags only the last one that begins so."""
    if not places:
        return []
    asked = await view.fields("task", _asked(query, {place.key for place in places}), ("_id",))
    keys = {each["_id"] for each in asked}
    wanted = {*query.tags, *([query.tag] if query.tag else [])}
    if not keys or not (wanted or query.tag_prefix):
        return [place for place in places if place.key in keys]
    labels = defaultdict[Key, set[str]](set)
    for each in await view.fields("tag", {"task": among(keys)}, ("task", "tag")):
        labels[each["task"]].add(each["tag"])
    begins = query.tag_prefix or ""
    lasts = {
        key: max((tag for tag in tags if tag.startswith(begins)), default=None)
        for key, tags in labels.items()
        if wanted <= tags
    }
    once = bool(begins) and not query.parent and not query.tag
    return [
        place for place in places if (last := lasts.get(place.key)) is not None and (not once or last == place.order)
    ]


def _asked(query: Search, keys: Collection[Key]) -> Document:
    """The condition of those of these tasks that pass every filter but those on tags."""
    where: Document = {**scoped(query), "_id": among(keys)}
    if query.context:
        where["context"] = query.context
    if query.parent:
        where["parent"] = query.parent
    if query.stands:
        where["$or"] = [{"state": int(state), "phase": int(phase)} for state, phase in sorted(query.stands)]
    for field, values in (("skill", query.skills), ("queue", query.queues), ("lane", {int(n) for n in query.lanes})):
        if values:
            where[field] = among(values)
    if query.parents is not None:
        where["pushes"] = {"$bitsAllSet" if query.parents else "$bitsAllClear": Interest.PARENT}
    for field, bounds in (
        ("created_at", _between(query.created_from, query.created_to)),
        ("status_at", _between(query.status_from, query.status_to)),
    ):
        if bounds:
            where[field] = bounds
    return where
