"""Addresses into backends. A driver is imported when its address is used; a missing one is named with its extra."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple, cast

from a2a_server.engine.engine import Backends
from a2a_server.engine.metering import MeteredArtifacts
from a2a_server.errors import ConfigurationError
from a2a_server.ports import ArtifactStore, Notifier, TaskStore, WorkQueue
from a2a_server.settings import Settings, kind_of, local_path
from a2a_server.settings.services import shown
from a2a_server.telemetry.observer import Observer

ALONE = "sqlite"
"""The kind of store that one process serves alone."""


class Home(NamedTuple):
    """Where a backend is: its module below the package, its class, and the extra that installs its driver."""

    module: str
    name: str
    extra: str = ""


STORES: Mapping[str, Home] = {
    "sqlite": Home("stores.sqlite", "SqliteStore"),
    "postgresql": Home("stores.postgresql", "PostgresqlStore", "postgresql"),
    "mongodb": Home("stores.mongodb", "MongodbStore", "mongodb"),
}
QUEUES: Mapping[str, Home] = {
    "memory": Home("queues.memory", "MemoryQueue"),
    "store": Home("queues.memory", "MemoryQueue"),  # fed by the doorbells of other processes
    "redis": Home("queues.redis", "RedisQueue", "redis"),
    "amqp": Home("queues.rabbitmq", "RabbitmqQueue", "rabbitmq"),
    "sqs": Home("queues.sqs", "SqsQueue"),
}
NOTIFIERS: Mapping[str, Home] = {
    "poll": Home("notifiers.local", "LocalNotifier"),
    "postgresql": Home("notifiers.postgresql", "PostgresqlNotifier", "postgresql"),
    "redis": Home("notifiers.redis", "RedisNotifier", "redis"),
    "amqp": Home("notifiers.rabbitmq", "RabbitmqNotifier", "rabbitmq"),
    "mongodb": Home("notifiers.mongodb", "MongodbNotifier", "mongodb"),
}
ARTIFACTS: Mapping[str, Home] = {
    "file": Home("artifacts.filesystem", "FilesystemArtifacts"),
    "s3": Home("artifacts.s3", "S3Artifacts"),
    "store": Home("artifacts.store", "StoreArtifacts"),
}
_DRIVERS = {"postgresql": "asyncpg", "mongodb": "pymongo", "redis": "redis", "rabbitmq": "aio_pika"}


def backends_of(settings: Settings, observer: Observer, store: TaskStore | None = None) -> Backends:
    """What the settings name, not opened yet. store: used instead of theirs.

    Raises ConfigurationError: a driver is missing, or a backend cannot use its address.
    """
    store = store or store_of(settings)
    artifacts = MeteredArtifacts(artifacts_of(settings, store), observer)
    fed = kind_of(queue_address(settings)) == "store"
    return Backends(store, queue_of(settings), notifier_of(settings), artifacts, fed=fed)


def shares(settings: Settings) -> bool:
    """Whether several processes may work on the store."""
    return kind_of(settings.store) != ALONE


def queue_address(settings: Settings) -> str:
    """The address of the queue: as it is set, or what goes with the store."""
    return settings.queue or ("store://" if shares(settings) else "memory://")


def notifier_address(settings: Settings) -> str:
    """The address of the notifier: as it is set, or the queue's broker, or the store where it is a service."""
    if settings.notifier or not shares(settings):
        return settings.notifier or "poll://"
    return settings.queue if kind_of(settings.queue) in ("redis", "amqp") else settings.store


def store_of(settings: Settings) -> TaskStore:
    """The task store. Raises ConfigurationError."""
    address = settings.store
    kind = kind_of(address)
    made = _made(STORES[kind], address, local_path(address) if kind == ALONE else address)
    return cast("TaskStore", made)


def queue_of(settings: Settings) -> WorkQueue:
    """The work queue. Raises ConfigurationError."""
    address = queue_address(settings)
    kind = kind_of(address)
    given: tuple[object, ...] = () if kind in ("memory", "store") else (address,)
    options = {"create": settings.create_missing} if kind == "sqs" else {}
    return cast("WorkQueue", _made(QUEUES[kind], address, *given, **options))


def notifier_of(settings: Settings) -> Notifier:
    """The notifier. Raises ConfigurationError."""
    address = notifier_address(settings)
    kind = kind_of(address)
    return cast("Notifier", _made(NOTIFIERS[kind], address, *(() if kind == "poll" else (address,))))


def artifacts_of(settings: Settings, store: TaskStore) -> ArtifactStore:
    """The artifact store; where its address is store://, `store` keeps it. Raises ConfigurationError."""
    address = settings.artifacts
    kind = kind_of(address)
    make = partial(_made, ARTIFACTS[kind], address)
    if kind == "file":
        return cast("ArtifactStore", make(local_path(address)))
    if kind == "s3":
        return cast("ArtifactStore", make(address, create=settings.create_missing))
    blobs = store.blobs()
    if blobs is None:
        raise ConfigurationError(f"{shown(settings.store)} keeps no large content; name another place for artifacts.")
    return cast("ArtifactStore", make(blobs))


def _made(home: Home, address: str, *args: object, **options: object) -> Any:  # noqa: ANN401 - a backend of any port
    try:
        module = import_module(f"a2a_server.{home.module}")
    except ModuleNotFoundError as error:
        driver = _DRIVERS.get(home.extra, "")
        if not driver or (error.name or "").partition(".")[0] != driver:
            raise
        raise ConfigurationError(
            f"{shown(address)} needs {driver}, which is not installed: pip install 'a2a-task-server[{home.extra}]'."
        ) from error
    return getattr(module, home.name)(*args, **options)
