"""Every artifact store that the contract suite runs over, one function and one line each, and how tests use one."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config

from a2a_server.artifacts.filesystem import FilesystemArtifacts
from a2a_server.artifacts.s3 import S3Artifacts
from a2a_server.artifacts.store import StoreArtifacts
from a2a_server.model.queries import Stored
from a2a_server.ports import ArtifactStore
from tests.contracts.stores import DATABASES, Database
from tests.services import service

KEY = "01938a6e-7b1c-7d3e-8f00-1a2b3c4d5e6f"
NAME = f"{KEY}/1/1"


@asynccontextmanager
async def filesystem(directory: Path) -> AsyncIterator[ArtifactStore]:
    store = FilesystemArtifacts(directory / "objects")
    yield store
    await store.close()


@asynccontextmanager
async def s3(directory: Path) -> AsyncIterator[ArtifactStore]:
    with new_bucket() as bucket:
        store = S3Artifacts(address(bucket, "some/prefix"))
        await store.open()
        yield store
        await store.close()


@asynccontextmanager
async def in_database(directory: Path, make: Callable[[Path], Database]) -> AsyncIterator[ArtifactStore]:
    tasks = make(directory).store()
    await tasks.open()
    blobs = tasks.blobs()
    if blobs is None:
        await tasks.close()
        pytest.skip("a store without the capability `blobs`")
    store = StoreArtifacts(blobs)
    await store.open()
    yield store
    await store.close()
    await tasks.close()


ARTIFACT_STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[ArtifactStore]]] = {
    "filesystem": filesystem,
    "s3": s3,
    **{f"store-{name}": partial(in_database, make=make) for name, make in DATABASES.items()},
}


@contextmanager
def credentials() -> Iterator[None]:
    """What boto3 finds meanwhile, whatever the machine has: the pair that the simulator signs with."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        environment.delenv("AWS_SESSION_TOKEN", raising=False)
        yield


@contextmanager
def new_bucket() -> Iterator[str]:
    """A bucket of its own, with credentials for it; it is taken away with all that is in it."""
    with credentials(), client() as s3:
        bucket = f"tests-{uuid4()}"
        s3.create_bucket(Bucket=bucket)
        yield bucket
        for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", ()):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        while found := s3.list_objects_v2(Bucket=bucket).get("Contents"):
            s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": each["Key"]} for each in found]})
        s3.delete_bucket(Bucket=bucket)


@contextmanager
def client() -> Iterator[Any]:
    """The service as its own client sees it."""
    path_style = Config(s3={"addressing_style": "path"})
    s3 = boto3.session.Session().client("s3", endpoint_url=service("s3"), region_name="us-east-1", config=path_style)
    yield s3
    s3.close()


def address(bucket: str, prefix: str = "", *, endpoint: str = "", **options: str) -> str:
    """The address of a bucket of the service, or of one that is named."""
    query = {"endpoint": endpoint or service("s3"), "path_style": "true", "region": "us-east-1", **options}
    return f"s3://{bucket}/{prefix}?{urlencode(query)}"


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def put(store: ArtifactStore, name: str, *chunks: bytes, limit_bytes: int = 1 << 30) -> Stored:
    return await store.put(name, pieces(*chunks), limit_bytes=limit_bytes, media_type="text/plain")


async def content(store: ArtifactStore, name: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in store.read(name, start, end)])


async def names(store: ArtifactStore) -> list[str]:
    return [stored.name for stored in await store.list("", 10_000)]


def below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir())
