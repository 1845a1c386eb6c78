"""Every artifact store that the contract suite runs over, one function and one line each, and how tests use one."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from a2a_server.artifacts.filesystem import FilesystemArtifacts
from a2a_server.model.queries import Stored
from a2a_server.ports import ArtifactStore

KEY = "01938a6e-7b1c-7d3e-8f00-1a2b3c4d5e6f"
NAME = f"{KEY}/1/1"


@asynccontextmanager
async def filesystem(directory: Path) -> AsyncIterator[ArtifactStore]:
    store = FilesystemArtifacts(directory / "objects")
    yield store
    await store.close()


ARTIFACT_STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[ArtifactStore]]] = {
    "filesystem": filesystem,
}


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
