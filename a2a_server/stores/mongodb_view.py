"""What a session sees: rows of collections by conditions, whole, wherever their bodies stand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from a2a_server.stores.mongodb_content import is_aside, put_back
from a2a_server.stores.mongodb_rows import SHAPES, Document, span

Sort = Sequence[tuple[str, int]]
BY_KEY: Sort = (("_id", 1),)
BY_RANK: Sort = (("lane", 1), ("rank", 1), ("_id", 1))


class View(NamedTuple):
    """A database as `session` sees it; None = as it is committed, each read for itself."""

    db: AsyncDatabase[Document]
    session: AsyncClientSession | None = None

    async def each(
        self, table: str, where: Document, sort: Sort = (), limit: int = 0, batch: int = 0
    ) -> AsyncIterator[Any]:
        """The rows, one by one; `batch` of them come at once."""
        cursor = self.db[table].find(where, session=self.session)
        if sort:
            cursor = cursor.sort(list(sort))
        if limit:
            cursor = cursor.limit(limit)
        if batch:
            cursor = cursor.batch_size(batch)
        make = SHAPES[table].row
        async with cursor:
            async for document in cursor:
                if is_aside(table, (document,)):
                    await put_back(self.db, self.session, table, (document,))
                yield make(document)

    async def rows(self, table: str, where: Document, sort: Sort = (), limit: int = 0) -> list[Any]:
        """The rows in a list."""
        cursor = self.db[table].find(where, session=self.session)
        if sort:
            cursor = cursor.sort(list(sort))
        if limit:
            cursor = cursor.limit(limit)
        documents = await cursor.to_list()
        if is_aside(table, documents):
            await put_back(self.db, self.session, table, documents)
        return [SHAPES[table].row(document) for document in documents]

    async def fields(
        self, table: str, where: Document, names: Iterable[str], sort: Sort = (), limit: int = 0
    ) -> list[Document]:
        """Some fields of documents, `_id` among them."""
        cursor = self.db[table].find(where, dict.fromkeys(names, 1), session=self.session)
        if sort:
            cursor = cursor.sort(list(sort))
        return await (cursor.limit(limit) if limit else cursor).to_list()

    async def lock(self, table: str, ids: Collection[Any]) -> int:
        """Whoever has one of these documents in a transaction of their own now is in conflict. Returns how many exist.

        Inside a transaction only. What is read of them afterwards stays as it is until the commit.
        """
        locked = await self.db[table].update_many({"_id": among(ids)}, {"$inc": {"lock": 1}}, session=self.session)
        return locked.matched_count


def among(values: Collection[Any]) -> Any:  # noqa: ANN401 - a value, or a condition on one
    """The condition that a field has one of these values."""
    return next(iter(values)) if len(values) == 1 else {"$in": sorted(values)}


def of_tasks(keys: Collection[bytes]) -> Document:
    """The condition that a row's primary key begins with one of these tasks."""
    if len(keys) == 1:
        return {"_id": span(tuple(keys))}
    return {"$or": [{"_id": span((key,))} for key in sorted(keys)]}
