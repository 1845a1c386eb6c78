"""A database of its own for each test, on the MongoDB that all tests of a run share."""

from pathlib import Path
from uuid import uuid4

from pymongo import MongoClient

from a2a_server.ports import TaskStore
from a2a_server.stores.mongodb import MongodbStore
from a2a_server.stores.mongodb_rows import Document
from tests.services import service
from tests.services.server import free_ports


def address(server: str, database: str, options: str = "") -> str:
    """The database of this name on the server, whatever path and options its own address has."""
    host, _, given = server.partition("?")
    scheme, _, rest = host.partition("://")
    query = "&".join(each for each in (given, options) if each)
    return f"{scheme}://{rest.partition('/')[0]}/{database}{'?' if query else ''}{query}"


def closed_port() -> int:
    """A port of this machine where nobody listens."""
    [port] = free_ports(1)
    return port


class MongodbDatabase:
    def __init__(self, _: Path) -> None:
        self.name = f"a2a_test_{uuid4().hex}"
        self.url = self._first = address(service("mongodb"), self.name)

    def store(self, clock_offset_us: int = 0) -> TaskStore:
        return MongodbStore(self.url, clock_offset_us=clock_offset_us)

    def make_newer(self) -> None:
        with self.client() as client:
            client[self.name]["meta"].update_one({"_id": "schema"}, {"$set": {"value": 9999}})

    def make_foreign(self) -> None:
        with self.client() as client:
            client[self.name]["meta"].insert_one({"name": "theirs"})

    def faults(self) -> list[str]:
        """Large bodies without a row, and rows whose key and columns differ, are what nothing else would notice."""
        with self.client() as client:
            db = client[self.name]
            tasks = {each["_id"].hex() for each in db["task"].find({}, {"_id": 1})}
            lost = [each["_id"] for each in db["content"].find({}, {"_id": 1})]
            return [id for id in lost if id.split("/")[0] not in tasks]

    def unlink(self) -> None:
        self.url = f"mongodb://127.0.0.1:{closed_port()}/{self.name}?serverSelectionTimeoutMS=300"

    def drop(self) -> None:
        with self.client() as client:
            client.drop_database(self.name)

    def client(self) -> MongoClient[Document]:
        return MongoClient(self._first, socketTimeoutMS=20_000)
