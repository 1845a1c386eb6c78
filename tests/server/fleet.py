"""Several systems on one set of shared backends, in this process, as several processes would be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from a2a_server import Agent
from a2a_server.wiring import System
from a2a_server.wiring.backends import store_of
from tests.server.engines import Running, loaded
from tests.services import service
from tests.services.fresh import fresh_database, fresh_name
from tests.unit.misbehaving import MisbehavingStore


@dataclass(frozen=True)
class Fleet:
    """Systems that serve, and systems that work."""

    fronts: list[Running]
    workers: list[Running]


@contextmanager
def shared_places(directory: Path, *, queue: str = "redis") -> Iterator[dict[str, object]]:
    """Settings that several systems share: PostgreSQL, a queue of its own prefix, artifacts in the store.

    queue: redis, or store for the database and its doorbells alone.
    """
    with fresh_database(service("postgresql")) as store:
        address = "store://" if queue == "store" else f"{service(queue)}?prefix={fresh_name()}"
        yield {"store": f"{store}?pool=4", "queue": address, "artifacts": "store://"}


@asynccontextmanager
async def fleet(
    agents: Callable[[int], Agent],
    places: Mapping[str, object],
    *,
    fronts: int = 2,
    workers: int = 1,
    **settings: object,
) -> AsyncIterator[Fleet]:
    """So many systems that run no tasks, and so many that do. agents: the agent of each by number, fronts first."""
    async with AsyncExitStack() as stack:
        made = Fleet([], [])
        for number in range(fronts + workers):
            workers_here = int(number >= fronts)
            chosen = {"backoff_base_seconds": 0.01, "drain_seconds": 0.0, **places, **settings, "workers": workers_here}
            found = loaded(chosen)
            store = MisbehavingStore(store_of(found))
            running = Running(System(agents(number), found, store=store), store)
            await running.system.start()
            stack.push_async_callback(running.system.stop)
            (made.fronts if number < fronts else made.workers).append(running)
        yield made
