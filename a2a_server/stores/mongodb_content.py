"""Bodies that are too large for a document beside others: they stand in parts in the collection `content`.

A document has 16 MiB at most, a task has two bodies of any size, and a message may have 10 MiB. A body above
LARGE_BYTES becomes a `Binary` of a type of its own that says how many parts it has; everything else comes back as plain
bytes, so that looking for it costs one comparison. A part's `_id` is the task's key, the name of the field and the
part's number: a body that is replaced replaces its parts, and those of a task go with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bson import Binary
from pymongo import ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from a2a_server.errors import StoreUnavailable
from a2a_server.stores.mongodb_rows import SHAPES, Document, encoded, span

LARGE_BYTES: Final = 4 << 20
_ELSEWHERE: Final = 128  # the first of BSON's binary types that are an application's own
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "task": ("status", "spec"),
    "event": ("body",),
    "message": ("body",),
    "artifact": ("body",),
}


def put_aside(table: str, document: Document, key: tuple[Any, ...]) -> list[ReplaceOne[Document]]:
    """Take large bodies out of a document, or of some fields of it; returns what writes their parts.

    key: the primary key of its row.
    """
    writes: list[ReplaceOne[Document]] = []
    for field in _FIELDS.get(table, ()):
        body = document.get(field, b"")
        if len(body) <= LARGE_BYTES:
            continue
        starts = range(0, len(body), LARGE_BYTES)
        for part, start in enumerate(starts):
            id = encoded((*_name(table, field, key), part))
            piece = {"_id": id, "body": body[start : start + LARGE_BYTES]}
            writes.append(ReplaceOne({"_id": id}, piece, upsert=True))
        document[field] = Binary(len(starts).to_bytes(4, "big"), _ELSEWHERE)
    return writes


def is_aside(table: str, documents: Sequence[Document]) -> bool:
    """Whether any of the documents has a body elsewhere."""
    fields = _FIELDS.get(table, ())
    return any(type(document.get(field)) is Binary for document in documents for field in fields)


async def put_back(
    db: AsyncDatabase[Document], session: AsyncClientSession | None, table: str, documents: Sequence[Document]
) -> None:
    """Put bodies that are elsewhere into their documents, which have all columns of their key.

    Raises StoreUnavailable for a body that changed meanwhile, which it cannot in a transaction.
    """
    shape = SHAPES[table]
    for document in documents:
        for field in _FIELDS.get(table, ()):
            marker = document.get(field)
            if type(marker) is not Binary:
                continue
            key = (document["_id"],) if len(shape.key) == 1 else tuple(document[name] for name in shape.key)
            parts = int.from_bytes(marker, "big")
            found = db["content"].find({"_id": span(_name(table, field, key))}, session=session).sort("_id", 1)
            pieces = [piece["body"] async for piece in found.limit(parts)]
            if len(pieces) != parts:
                raise StoreUnavailable("a large body changed while it was read")
            document[field] = b"".join(pieces)


def _name(table: str, field: str, key: tuple[Any, ...]) -> tuple[str | int | bytes, ...]:
    task, *rest = key
    return (task, table, field, encoded(rest))
