"""Doorbells by a RabbitMQ fan-out exchange: every process has a queue of its own that goes when its connection goes.

The queue keeps the newest `BACKLOG` payloads of a process that does not keep up; nothing is acknowledged or confirmed.
Payloads go to and come from the driver's inner channel: aio-pika's own objects, and its two tasks for each message,
are a tenth to a quarter of a doorbell's way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelInvalidStateError,
    ChannelPreconditionFailed,
    ConnectionNotAllowed,
    IncompatibleProtocolError,
    ProbableAuthenticationError,
)

from a2a_server.errors import ConfigurationError, StoreUnavailable
from a2a_server.notifiers.relay import Relay, refused, unreachable
from a2a_server.settings.services import rabbitmq_address, shown

GAP_SECONDS: Final = 0.001
LIMIT_BYTES: Final = 65_536
BACKLOG: Final = 1_000
"""Payloads that wait for one process."""
_CLOSE_SECONDS: Final = 1.0
_REFUSED: Final = (
    AuthenticationError,
    ChannelAccessRefused,
    ChannelPreconditionFailed,
    ConnectionNotAllowed,
    IncompatibleProtocolError,
    ProbableAuthenticationError,
)
# RuntimeError: the broker closed the connection between two steps; the driver has no error of its own for it.
_FAILED: Final = (AMQPError, ChannelInvalidStateError, OSError, RuntimeError, TimeoutError)


class RabbitmqNotifier(Relay):
    """A `Notifier` between all processes on one RabbitMQ virtual host.

    Args:
        url: `amqp://user:password@host/vhost`, which may be the queue's; option `prefix` (default a2a) names the
            exchange, `{prefix}.bells`, which stays behind.

    Raises:
        ConfigurationError: an option that cannot be.
    """

    def __init__(self, url: str) -> None:
        super().__init__(_Rabbitmq(url))


class _Rabbitmq:
    limit_bytes = LIMIT_BYTES
    gap_seconds = GAP_SECONDS

    def __init__(self, url: str) -> None:
        self._url, prefix = rabbitmq_address(url)
        self.address = shown(url)
        self._exchange = f"{prefix}.bells"

    @asynccontextmanager
    async def link(self, heard: Callable[[bytes], None]) -> AsyncIterator[_Link]:
        async def hear(message: DeliveredMessage) -> None:  # the driver awaits it
            heard(message.body)

        connection = await aio_pika.connect(self._url, client_properties={"connection_name": self._exchange})
        try:
            channel = await connection.channel(publisher_confirms=False)
            exchange = await channel.declare_exchange(self._exchange, aio_pika.ExchangeType.FANOUT, durable=True)
            queue = await channel.declare_queue(
                exclusive=True, auto_delete=True, arguments={"x-max-length": BACKLOG, "x-overflow": "drop-head"}
            )
            await queue.bind(exchange)
            gone = asyncio.Event()
            connection.close_callbacks.add(lambda *_: gone.set())
            channel.close_callbacks.add(lambda *_: gone.set())
            inner = await channel.get_underlay_channel()
            await inner.basic_consume(queue.name, hear, no_ack=True)
            yield _Link(inner, self._exchange, gone)
        finally:
            await _closed(connection)

    def explain(self, error: Exception) -> StoreUnavailable | ConfigurationError | None:
        if isinstance(error, _REFUSED):
            return refused(self.address, error)
        return unreachable(self.address, error) if isinstance(error, _FAILED) else None


class _Link:
    def __init__(self, channel: AbstractChannel, exchange: str, gone: asyncio.Event) -> None:
        self._channel = channel
        self._exchange = exchange
        self._gone = gone

    async def send(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:  # not persistent; it waits for room in the socket's buffer, for nothing else
            await self._channel.basic_publish(payload, exchange=self._exchange)

    async def stay(self) -> None:
        await self._gone.wait()


async def _closed(connection: AbstractConnection) -> None:
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await connection.close()
    except _FAILED:
        pass  # it was closed by the other side, or the event loop drops it with its socket
