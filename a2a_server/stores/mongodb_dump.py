"""The whole database as rows, and rows into a database: what copies, backups and restores of tasks are made of.

A dump reads in a snapshot session, so it is one moment of the database, for as long as the deployment keeps that
(`minSnapshotHistoryWindowInSeconds`, five minutes unless set): one that takes longer ends with an error. SecantusDB
takes such a session and shows what is newest instead; there a dump is one moment only while nobody writes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from functools import partial
from typing import Final

from pymongo import ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError

from a2a_server.errors import DataRejected
from a2a_server.model.rows import DUMPED
from a2a_server.stores.mongodb_content import put_aside
from a2a_server.stores.mongodb_link import Link, is_duplicate
from a2a_server.stores.mongodb_rows import SHAPES, Document
from a2a_server.stores.mongodb_view import BY_KEY, View, among

PAGE_ROWS: Final = 500
PAGE_BYTES: Final = 1 << 20
"""A page ends behind the row that reaches this."""

Rows = Sequence[tuple[object, ...]]


async def pages(link: Link) -> AsyncGenerator[tuple[str, Rows], None]:
    """Pages of every table. Raises StoreUnavailable."""
    async with link.client.start_session(snapshot=True) as session:
        for table in DUMPED:
            async for page in _pages_of(View(link.db, session), table):
                yield table, page


async def _pages_of(view: View, table: str) -> AsyncIterator[Rows]:
    page: list[tuple[object, ...]] = []
    size = 0
    async for row in view.each(table, {}, BY_KEY, batch=PAGE_ROWS):
        page.append(row)
        size += sum(len(value) for value in row if isinstance(value, bytes))
        if len(page) == PAGE_ROWS or size >= PAGE_BYTES:
            yield page
            page, size = [], 0
    if page:
        yield page


async def fill(link: Link, table: str, rows: Rows) -> int:
    """Insert those whose key is new, and say how many these were.

    Raises:
        DataRejected: A row is none of this table, or has the name of another one.
        StoreUnavailable: As ever; some rows may have been inserted, and the same call may be made again.
    """
    shape = SHAPES[table]
    small: list[Document] = []
    inserted = 0
    for row in rows:
        document = shape.document(row)
        if aside := put_aside(table, document, row[: len(shape.key)]):
            inserted += await link.transaction(partial(_insert_large, link, table, document, aside))
        else:
            small.append(document)
    return inserted + (await _insert_small(link, table, small) if small else 0)


async def _insert_large(
    link: Link, table: str, document: Document, aside: list[ReplaceOne[Document]], session: AsyncClientSession
) -> int:
    if await link.db[table].find_one({"_id": document["_id"]}, {"_id": 1}, session=session):
        return 0
    await link.db["content"].bulk_write(aside, session=session)
    await link.db[table].insert_one(document, session=session)
    return 1


async def _insert_small(link: Link, table: str, documents: list[Document]) -> int:
    with link.translated():
        try:
            await link.db[table].insert_many(documents, ordered=False)
        except BulkWriteError as error:
            if not is_duplicate(error):
                raise
            refused = {documents[each["index"]]["_id"] for each in error.details["writeErrors"]}
            if await link.db[table].count_documents({"_id": among(refused)}) != len(refused):  # another index refused
                raise DataRejected("a row has the name of another one") from error
            return int(error.details["nInserted"])
    return len(documents)
