"""Stores with something in every table, and what is in them, for tests of copies and backups."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from a2a_server.model.objects import Lane, Phase, State
from a2a_server.model.rows import FairKey, JournalKind, JournalRow, PushRow, StateRow, TallyKey
from a2a_server.ports import ArtifactStore, TaskStore
from a2a_server.settings import Settings, load, local_path
from a2a_server.wiring.backends import artifacts_of, store_of
from tests.contracts.artifact_stores import content, names, put as put_object
from tests.contracts.rows import artifact, chunk, gate, key, leased, message, sent, status, task, worker

LARGE = bytes(range(256)) * 1600
"""400 KiB: far beyond what a store keeps beside the row."""


def settings_in(directory: Path, store: str = "") -> Settings:
    directory.mkdir(exist_ok=True)
    return load(
        None,
        store=store or f"sqlite:///{directory / 'tasks.db'}",
        artifacts=f"file:{directory / 'artifacts'}",
    )


def database(settings: Settings) -> Path:
    return local_path(settings.store)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[TaskStore]:
    store = store_of(settings)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def opened_objects(settings: Settings) -> AsyncIterator[ArtifactStore]:
    async with opened(settings) as store:
        artifacts = artifacts_of(settings, store)
        await artifacts.open()
        try:
            yield artifacts
        finally:
            await artifacts.close()


def everything(tasks: int) -> dict[str, Sequence[tuple[Any, ...]]]:
    """Rows of every table; what a dump of a store that was filled with them gives."""
    numbers = range(1, tasks + 1)
    return {
        "task": [*(task(number) for number in numbers[:-1]), leased(tasks, key(900), context="ü\U0001f600")],
        "event": [
            *(status(number, 1, b"\0\xff") for number in numbers),
            chunk(tasks, 2, body=LARGE),
            chunk(tasks, 3, artifact=1, body=b""),
        ],
        "journal": [JournalRow(key(1), 1, JournalKind.LEASED, 5, b"journal")],
        "message": [message(1, 1), message(1, 2)._replace(body=LARGE[::-1])],
        "artifact": [artifact(1, id=0, closed=True, body=b"parts"), artifact(1, id=1, location=object_name("a"))],
        "state": [StateRow(bytes(key(1)), "steps", "one", 0, 1, b"value"), StateRow(b"[1]", "", "ü", 0, 0, b"\0")],
        "sent": [sent(1, "first"), sent(2, "second")],
        "edge": [(key(1), key(2), 1, 0)],
        "tag": [("", "local", "blue", key(1))],
        "gate": [gate("client:local"), gate("skill:echo", capacity=7, used=1, reason="busy")],
        "fair": [(FairKey("0", "echo", Lane.NORMAL, "", "local"), 12)],
        "tally": [("0", TallyKey("", "local", "Echo", "echo", State.SUBMITTED, Phase.READY), tasks - 1)],
        "worker": [worker(900, dead=True)],
        "push": [PushRow(key(1), "id", 3, 0, 0, 0, False, b"sealed")],
        "record": [("schedule", "", "local", "id", 1, 0, b"record")],
        "blob": [("object", 0, b"about"), ("object", 1, LARGE[: 256 * 1024])],
        "audit": [("chain", 1, 5, b"hash", b"audit")],
    }


async def fill(settings: Settings, tasks: int = 5) -> None:
    async with opened(settings) as store:
        for table, rows in everything(tasks).items():
            assert await store.fill(table, rows) == len(rows)


async def rows_of(settings: Settings, *without: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every table that has rows, with these in the order of their lines."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    async with opened(settings) as store:
        async for table, rows in store.dump():
            if table not in without:
                found.setdefault(table, []).extend(rows)
    return {table: sorted(rows, key=repr) for table, rows in found.items()}


async def keep(settings: Settings, **objects: bytes) -> None:
    """Objects by the second part of their names."""
    async with opened_objects(settings) as artifacts:
        for name, body in objects.items():
            await put_object(artifacts, object_name(name), body)


def object_name(name: str) -> str:
    return f"01938a6e-7b1c-7d3e-8f00-1a2b3c4d5e6f/{name}/1"


async def kept(settings: Settings) -> dict[str, bytes]:
    """What every object holds, by its whole name."""
    async with opened_objects(settings) as artifacts:
        return {name: await content(artifacts, name) for name in await names(artifacts)}


def entries(directory: Path) -> list[str]:
    """The names of what is in a directory, in order."""
    return sorted(entry.name for entry in directory.iterdir())
