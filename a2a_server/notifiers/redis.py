"""Doorbells by Redis publish and subscribe: two connections, one that listens and one that publishes.

Channels belong to a whole Redis, whatever database the address names: deployments that share one each need a `prefix`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from a2a_server.errors import ConfigurationError, StoreUnavailable
from a2a_server.notifiers.relay import Relay, refused, unreachable
from a2a_server.settings.services import not_taken, redis_address, shown

GAP_SECONDS: Final = 0.001
LIMIT_BYTES: Final = 65_536
_CLOSE_SECONDS: Final = 1.0
_LATER: Final = (BusyLoadingError, OutOfMemoryError, ReadOnlyError, TryAgainError)
_REFUSED: Final = (AuthenticationError, AuthorizationError, ResponseError)
_FAILED: Final = (RedisError, OSError, TimeoutError)


class RedisNotifier(Relay):
    """A `Notifier` between all processes on one Redis.

    Args:
        url: `redis://host:6379/0`, which may be the queue's; option `prefix` (default a2a) names the channel,
            `{prefix}:bells`.

    Raises:
        ConfigurationError: an option that cannot be.
    """

    def __init__(self, url: str) -> None:
        super().__init__(_Redis(url))


class _Redis:
    limit_bytes = LIMIT_BYTES
    gap_seconds = GAP_SECONDS

    def __init__(self, url: str) -> None:
        self._url, prefix = redis_address(url)
        self.address = shown(url)
        self._channel = f"{prefix}:bells"

    @asynccontextmanager
    async def link(self, heard: Callable[[bytes], None]) -> AsyncIterator[_Link]:
        try:
            client = Redis.from_url(self._url, retry=Retry(NoBackoff(), 0), client_name=self._channel)
            client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # where options are found that are none
        except (TypeError, ValueError) as error:
            raise not_taken(self._url, error) from error
        pubsub = client.pubsub(ignore_subscribe_messages=True)
        try:
            await pubsub.subscribe(self._channel)
            yield _Link(client, pubsub, self._channel, heard)
        finally:
            await _closed(client, pubsub)

    def explain(self, error: Exception) -> StoreUnavailable | ConfigurationError | None:
        if isinstance(error, ConfigurationError):
            return error
        if isinstance(error, _REFUSED) and not isinstance(error, _LATER):
            return refused(self.address, error)
        return unreachable(self.address, error) if isinstance(error, _FAILED) else None


class _Link:
    def __init__(self, client: Redis, pubsub: PubSub, channel: str, heard: Callable[[bytes], None]) -> None:
        self._client = client
        self._pubsub = pubsub
        self._channel = channel
        self._heard = heard

    async def send(self, payloads: Sequence[bytes]) -> None:
        if len(payloads) == 1:
            await self._client.publish(self._channel, payloads[0])
            return
        async with self._client.pipeline(transaction=False) as pipeline:
            for payload in payloads:
                pipeline.publish(self._channel, payload)
            await pipeline.execute()

    async def stay(self) -> None:
        async for message in self._pubsub.listen():
            self._heard(message["data"])


async def _closed(client: Redis, pubsub: PubSub) -> None:
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis has no types here
            await client.aclose()
    except _FAILED:
        await client.connection_pool.disconnect()
