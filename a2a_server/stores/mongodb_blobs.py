"""Parts of large objects as documents of the collection `blob`: a part a document, far below the 16 MiB of one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from a2a_server.stores.mongodb_apart import apart, to_its_end
from a2a_server.stores.mongodb_link import Link
from a2a_server.stores.mongodb_rows import SHAPES, encoded, span
from a2a_server.stores.mongodb_view import View


class MongodbBlobs:
    """`ports.Blobs` by the client of a `MongodbStore`: `linked` gives it, or raises StoreUnavailable."""

    def __init__(self, linked: Callable[[], Link]) -> None:
        self._linked = linked

    @to_its_end
    async def write(self, name: str, part: int, body: bytes) -> None:
        link = self._linked()
        document = SHAPES["blob"].document((name, part, body))
        with link.translated():
            await link.db["blob"].replace_one({"_id": document["_id"]}, document, upsert=True)

    @apart
    async def read(self, name: str, part: int) -> bytes | None:
        link = self._linked()
        with link.translated():
            found = await link.db["blob"].find_one({"_id": encoded((name, part))})
        return None if found is None else bytes(found["body"])

    @to_its_end
    async def delete(self, names: Collection[str]) -> None:
        link = self._linked()
        with link.translated():
            for name in names:
                await link.db["blob"].delete_many({"_id": span((name,))})

    @apart
    async def list(self, after: str, limit: int) -> Sequence[tuple[str, bytes]]:
        if limit <= 0:
            return []
        link = self._linked()
        where = {"part": 0, "object": {"$gt": after}}
        with link.translated():
            found = await View(link.db).fields("blob", where, ("object", "body"), (("object", 1),), limit)
        return [(each["object"], each["body"]) for each in found]
