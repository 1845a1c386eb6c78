"""Searches: one filter decides which range of an index is walked, all others are asked of the rows on the way.

One statement numbers the rows of the range while it walks them and keeps those that fit. It ends with one row more than
the page takes, or with the row behind the last one that may be looked at: whichever it is, that row says that the
search goes on, and remembers the place of the row before it. So nothing is read twice, and all is of one moment.
"""

# ruff: noqa: S608 - nothing but our own tables and columns is put into SQL

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

from a2a_server.model.objects import State
from a2a_server.model.queries import Found, Search, SearchCursor
from a2a_server.model.rows import Interest
from a2a_server.stores.postgresql_link import Database
from a2a_server.stores.postgresql_tables import TASK, task_row

# Questions about tags are scalar: an EXISTS may be answered by a look at every tag there is.
_OWN_TAGS: Final = "tag AS own WHERE own.tenant = task.tenant AND own.owner = task.owner AND own.task = task.key"
_HIGHER: Final = "tag AS own WHERE own.tenant = tag.tenant AND own.owner = tag.owner AND own.task = tag.task"


class _Values(list[object]):
    """The values of a statement."""

    def of(self, value: object, kind: str) -> str:
        """What stands for one more value."""
        self.append(value)
        return f"${len(self)}::{kind}"


class _Walk(NamedTuple):
    """rows: SQL of the columns place, key and fits. order: what they are ordered by. place: that of all."""

    rows: str
    order: str
    place: int | str | None = None


async def search(database: Database, query: Search) -> Found:
    """See `TaskStore.search`."""
    values = _Values()
    walk = _walk(query, values)
    records = await database.fetch(_statement(query, walk, values), *values)
    if not records:
        return Found((), None)
    *_, number, place, key = records[-1]
    if number <= query.scan and len(records) <= query.limit:
        return Found([task_row(record) for record in records], None)
    after = SearchCursor(place if walk.place is None else walk.place, key)
    return Found([task_row(record) for record in records[:-1]], after)


def _statement(query: Search, walk: _Walk, values: _Values) -> str:
    scan, limit = values.of(query.scan, "int8"), values.of(query.limit, "int8")
    return (
        "WITH found AS MATERIALIZED (SELECT * FROM ("
        "SELECT key, place, fits, row_number() OVER down AS n, lag(place) OVER down AS last_place, "
        f"lag(key) OVER down AS last_key FROM (SELECT * FROM ({walk.rows}) AS every ORDER BY {walk.order} "
        f"LIMIT {scan} + 1) AS walked WINDOW down AS (ORDER BY {walk.order})) AS counted "
        f"WHERE fits OR n > {scan} ORDER BY {walk.order} LIMIT {limit} + 1) "
        f"SELECT {TASK.of('task')}, n, last_place, last_key FROM found JOIN task ON task.key = found.key ORDER BY n"
    )


def _walk(query: Search, values: _Values) -> _Walk:
    if query.parent:
        return _by_parent(query, values)
    if query.tag:
        return _by_tag(query, values)
    if query.tag_prefix:
        return _by_prefix(query, values, query.tag_prefix)
    return _by_status(query, values)


def _by_parent(query: Search, values: _Values) -> _Walk:
    within = f"parent = {values.of(query.parent, 'bytea')} AND parent > ''"
    if query.after:
        within += f" AND key < {values.of(query.after.key, 'bytea')}"
    fits = _all(_owned(query, values), _tags(query, values), _stands(query, values), _plain(query, values))
    return _Walk(f"SELECT 0 AS place, key, {fits} AS fits FROM task WHERE {within} ORDER BY key DESC", "key DESC", 0)


def _by_tag(query: Search, values: _Values) -> _Walk:
    within = f"{_tags_of_owner(query, values)} AND tag.tag = {values.of(query.tag, 'text')}"
    if query.after:
        within += f" AND tag.task < {values.of(query.after.key, 'bytea')}"
    fits = _all(_owned(query, values), _tags(query, values), _stands(query, values), _plain(query, values))
    rows = (
        f"SELECT 0 AS place, tag.task AS key, {fits} AS fits FROM tag JOIN task ON task.key = tag.task WHERE {within} "
        "ORDER BY tag.task DESC"
    )
    return _Walk(rows, "key DESC", query.tag)


def _by_prefix(query: Search, values: _Values, prefix: str) -> _Walk:
    within = f"{_tags_of_owner(query, values)} AND {_begins('tag', prefix, values)}"
    if query.after:
        place, key = values.of(query.after.order, "text"), values.of(query.after.key, "bytea")
        within += f" AND (tag.tag, tag.task) < ({place}, {key})"
    first = f"(SELECT true FROM {_HIGHER} AND own.tag > tag.tag AND {_begins('own', prefix, values)} LIMIT 1) IS NULL"
    asked = (_owned(query, values), _tags(query, values), _stands(query, values), _plain(query, values))
    rows = (
        f"SELECT tag.tag AS place, tag.task AS key, {_all(iter((first,)), *asked)} AS fits "
        f"FROM tag JOIN task ON task.key = tag.task WHERE {within} ORDER BY tag.tag DESC, tag.task DESC"
    )
    return _Walk(rows, "place DESC, key DESC")


def _by_status(query: Search, values: _Values) -> _Walk:
    """Each state is a range of its own in the index; they are merged."""
    asked = [*_owned(query, values), *_status_times(query, values)]
    if query.after:
        place, key = values.of(query.after.order, "int8"), values.of(query.after.key, "bytea")
        asked.append(f"(status_at, key) < ({place}, {key})")
    within = " AND ".join(asked)
    fits = _all(_tags(query, values), _stands(query, values), _rest(query, values))
    states = {state for state, _ in query.stands} or set(State)
    one = (
        f"(SELECT status_at AS place, key, {fits} AS fits FROM task WHERE {within} AND state = {{}} "
        "ORDER BY status_at DESC, key DESC)"
    )
    rows = " UNION ALL ".join(one.replace("{}", str(int(state))) for state in sorted(states))
    return _Walk(rows, "place DESC, key DESC")


def _all(*conditions: Iterator[str]) -> str:
    return " AND ".join(f"({each})" for some in conditions for each in some) or "true"


def _owned(query: Search, values: _Values) -> Iterator[str]:
    for name in ("tenant", "owner", "agent"):
        yield f"task.{name} = {values.of(getattr(query, name), 'text')}"
    yield "task.visible"
    if query.context:
        yield f"task.context = {values.of(query.context, 'text')}"


def _tags_of_owner(query: Search, values: _Values) -> str:
    return f"tag.tenant = {values.of(query.tenant, 'text')} AND tag.owner = {values.of(query.owner, 'text')}"


def _tags(query: Search, values: _Values) -> Iterator[str]:
    labels = {*query.tags, *([query.tag] if query.tag and query.parent else [])}
    if labels:
        yield f"(SELECT count(*) FROM {_OWN_TAGS} AND own.tag = ANY ({values.of([*labels], 'text[]')})) = {len(labels)}"
    if query.tag_prefix and (query.parent or query.tag):
        yield f"(SELECT true FROM {_OWN_TAGS} AND {_begins('own', query.tag_prefix, values)} LIMIT 1) IS NOT NULL"


def _begins(table: str, prefix: str, values: _Values) -> str:
    bounds = f"{table}.tag >= {values.of(prefix, 'text')}"
    behind = _behind(prefix)
    return f"{bounds} AND {table}.tag < {values.of(behind, 'text')}" if behind else bounds


def _behind(prefix: str) -> str:
    """The first text behind all that begin so, in the order of code points, which is that of bytes; '' = none."""
    kept = prefix.rstrip(chr(sys.maxunicode))
    if not kept:
        return ""
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)  # noqa: PLR2004 - surrogates are no characters


def _stands(query: Search, values: _Values) -> Iterator[str]:
    if query.stands:  # each pair as one number; phases are below 8
        pairs = [8 * state + phase for state, phase in query.stands]
        yield f"8 * task.state + task.phase = ANY ({values.of(pairs, 'int4[]')})"


def _plain(query: Search, values: _Values) -> Iterator[str]:
    yield from _status_times(query, values)
    yield from _rest(query, values)


def _status_times(query: Search, values: _Values) -> Iterator[str]:
    if query.status_from is not None:
        yield f"task.status_at >= {values.of(query.status_from, 'int8')}"
    if query.status_to is not None:
        yield f"task.status_at < {values.of(query.status_to, 'int8')}"


def _rest(query: Search, values: _Values) -> Iterator[str]:
    if query.skills:
        yield f"task.skill = ANY ({values.of([*query.skills], 'text[]')})"
    if query.queues:
        yield f"task.queue = ANY ({values.of([*query.queues], 'text[]')})"
    if query.lanes:
        yield f"task.lane = ANY ({values.of([*query.lanes], 'int2[]')})"
    if query.parents is not None:
        yield f"(task.pushes & {Interest.PARENT} <> 0) = {values.of(query.parents, 'bool')}"
    if query.created_from is not None:
        yield f"task.created_at >= {values.of(query.created_from, 'int8')}"
    if query.created_to is not None:
        yield f"task.created_at < {values.of(query.created_to, 'int8')}"
