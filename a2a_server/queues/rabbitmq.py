"""Hints in RabbitMQ: one queue of the broker for each queue of tasks and lane, up to 100 hints in a message.

Address: `amqp://user:password@host:port/vhost?prefix=a2a`, or `amqps://` for TLS; `prefix` stands before every name,
and other options are the driver's (`heartbeat`, `cafile`). The broker's queues are made here, when they are missing.

A queue for each lane, and not one with priorities: a full priority queue drops its best messages first, and one that is
prefetched holds up all better ones. Here the consumer has at most one message of each lane before it (prefetch 1), and
gives the best hint of those. It consumes while somebody asks; when nobody has for two seconds its channel is closed,
and what was not taken is the broker's again. A message is acknowledged when its first hint is taken; the rest of it
stays in this process, and is sent again when the process stops asking.

Hints are sent and fetched over two connections, because a broker short of memory stops reading those that send. What
is sent is confirmed; a queue that was missing is made and gets it then.

Bounds: 100,000 messages or 4 MiB in a queue, beyond which the oldest are dropped; messages live a day, and so do queues
that nobody uses. Queues are durable (brokers give up transient ones), messages are not: they are hints.

Weaknesses. Inside a lane the order is that of sending, and what arrives first is given first, so priorities are the
store's to keep. `depth` counts messages, and only in queues that this process has used.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aiormq import exceptions
from aiormq.abc import FieldTable

from a2a_server.errors import ConfigurationError, StoreUnavailable
from a2a_server.model.turns import Hint
from a2a_server.queues.messages import packed, unpacked
from a2a_server.queues.remote import KEEP_SECONDS, LANES, SEND_SECONDS, RemoteQueue
from a2a_server.settings.services import rabbitmq_address

# Changing these needs another name: the broker refuses a queue that exists with others.
_ARGUMENTS: Final[FieldTable] = {
    "x-queue-type": "classic",
    "x-max-length": 100_000,
    "x-max-length-bytes": 4 << 20,
    "x-overflow": "drop-head",
    "x-message-ttl": KEEP_SECONDS * 1000,
    "x-expires": KEEP_SECONDS * 1000,
}
_LONGEST_NAME: Final = 120
_STRANGE: Final = re.compile(r"[^A-Za-z0-9_/-]+", re.ASCII)  # all others, '.' too: no name is another's hash
_HEARTBEAT_SECONDS: Final = 10
_GOODBYE_SECONDS: Final = 0.5

_driver_log = logging.getLogger("aiormq")

_REFUSED: Final = (
    exceptions.AuthenticationError,
    exceptions.ProbableAuthenticationError,
    exceptions.ConnectionNotAllowed,
    exceptions.ChannelAccessRefused,
)


class RabbitmqQueue(RemoteQueue):
    """A `WorkQueue` in RabbitMQ.

    Args:
        url: as above. Raises ConfigurationError for one that cannot be.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        rest, self._prefix = rabbitmq_address(url)
        parts = urlsplit(rest)
        if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
            raise ConfigurationError(f"{self.address}: a RabbitMQ is amqp://host:port/vhost, or amqps:// for TLS.")
        theirs = {"heartbeat": str(_HEARTBEAT_SECONDS)} | dict(parse_qsl(parts.query, keep_blank_values=True))
        self._url = urlunsplit(parts._replace(query=urlencode(theirs)))
        if _driver_log.level == logging.NOTSET:  # it tells every try, with traceback; here an outage is told once
            _driver_log.setLevel(logging.CRITICAL)
        self._sender = _Line(self._url, self._sent_to_nobody)
        self._consumer = _Line(self._url, self._ask_again)
        self._consumed: set[str] = set()
        self._stale = False
        self._sent_to: set[str] = set()
        self._used: set[str] = set()

    async def _connect(self) -> None:
        channel = await self._sender.channel()
        await channel.declare_queue(f"{self._prefix}.check.{uuid.uuid4()}", exclusive=True, auto_delete=True)
        await channel.close()
        await self._consumer.channel()

    def _refusal(self, error: BaseException) -> Exception | None:
        # A vhost that is not there is told as a frame that the driver did not expect.
        no_vhost = isinstance(error, exceptions.InvalidFrameError) and "Connection.OpenOk" in str(error)
        if isinstance(error, _REFUSED) or no_vhost:
            return ConfigurationError(
                f"{self.address}: RabbitMQ refuses this user here; mend user, password or vhost in the address, or let "
                f"the user configure, write and read what is called {self._prefix}.*"
            )
        # RuntimeError: the broker closed the connection between two steps; the driver has no error of its own for it.
        if isinstance(error, OSError | TimeoutError | RuntimeError | exceptions.AMQPError):
            kind = type(error).__name__
            return StoreUnavailable(f"{self.address}: RabbitMQ cannot be reached ({kind}); is it running?")
        if isinstance(error, ValueError):
            return ConfigurationError(f"{self.address}: the driver does not take this address.")
        return None

    async def _send(self, hints: Sequence[Hint]) -> None:
        places: dict[tuple[str, int], list[Hint]] = {}
        for hint in hints:
            places.setdefault((hint.queue, hint.lane), []).append(hint)
        try:
            channel = await self._sender.channel()
            for queue, lane in sorted(places, key=lambda place: place[1]):
                name = self._name(queue, lane)
                if name not in self._sent_to:
                    await self._declare(channel, queue, lane)
                    self._sent_to.add(name)
                await asyncio.gather(
                    *(self._publish(channel, queue, lane, body) for _, body in packed(places[queue, lane]))
                )
        except BaseException:
            await self._sender.close()
            raise

    async def _publish(self, channel: AbstractChannel, queue: str, lane: int, body: bytes) -> None:
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.NOT_PERSISTENT)
        name = self._name(queue, lane)
        try:
            await channel.default_exchange.publish(message, name)
        except exceptions.PublishError:  # no such queue: nobody used it for a day, or somebody deleted it
            await self._declare(channel, queue, lane)
            await channel.default_exchange.publish(message, name)

    async def _fetch_next(self) -> bool:
        if not await self._somebody_asks():
            await self._return(self._give_back())
            return False
        try:
            async with self._whole, asyncio.timeout(SEND_SECONDS):
                await self._consume(self._wanted())
        except BaseException:
            self._consumed.clear()
            await self._consumer.close()
            raise
        return True

    async def _consume(self, wanted: frozenset[str]) -> None:
        if self._stale or self._consumer.broken:
            self._stale = False
            await self._hang_up()
        missing = sorted(wanted - self._consumed)
        if not missing:
            return
        channel = await self._consumer.channel()
        await channel.set_qos(prefetch_count=1)
        for lane in LANES:
            declared = await asyncio.gather(*(self._declare(channel, queue, lane) for queue in missing))
            await asyncio.gather(*(queue.consume(self._deliver) for queue in declared))
        self._consumed.update(missing)

    async def _deliver(self, message: AbstractIncomingMessage) -> None:
        self._receive(unpacked(message.body), message)

    def _ask_again(self) -> None:
        """The channel or a consumer is gone; when somebody waits they are made again."""
        self._stale = True
        self._asked.set()

    def _sent_to_nobody(self) -> None:
        self._sent_to.clear()

    async def _declare(self, channel: AbstractChannel, queue: str, lane: int) -> AbstractQueue:
        self._used.add(queue)
        return await channel.declare_queue(self._name(queue, lane), durable=True, arguments=dict(_ARGUMENTS))

    async def _acknowledge(self, receipts: Sequence[AbstractIncomingMessage]) -> None:
        async with self._whole:
            for message in receipts:
                # Of a channel that is gone the broker has its messages again: they are repeated.
                with contextlib.suppress(Exception):
                    await message.ack()

    async def _return(self, receipts: Sequence[Any]) -> None:  # noqa: ARG002 - all of the channel go at once
        """Closing the channel gives all of them back."""
        known, self._receipts = self._receipts, []
        await self._acknowledge(known)
        async with self._whole:
            await self._hang_up()

    async def _hang_up(self) -> None:
        self._consumed.clear()
        await self._consumer.hang_up()

    async def _depth(self) -> Mapping[tuple[str, int], int]:
        depth: dict[tuple[str, int], int] = {}
        if not self._used:
            return depth
        async with await aio_pika.connect(self._url, timeout=SEND_SECONDS) as connection:
            channel = await connection.channel()
            for queue in tuple(self._used):
                for lane in LANES:
                    declared = await self._declare(channel, queue, lane)
                    depth[queue, lane] = declared.declaration_result.message_count or 0
        return depth

    async def _disconnect(self) -> None:
        await asyncio.gather(self._sender.close(), self._consumer.close())

    def _name(self, queue: str, lane: int) -> str:
        name = _STRANGE.sub("-", queue[:_LONGEST_NAME])
        if name != queue:
            name += "." + hashlib.sha256(queue.encode()).hexdigest()
        return f"{self._prefix}.hints.{lane}.{name}"


class _Line:
    """A connection with one channel, made when it is asked for and none lives.

    on_end: called when the channel ends otherwise than by `hang_up`, or the broker ends a consumer of it.
    """

    def __init__(self, url: str, on_end: Callable[[], None]) -> None:
        self._url = url
        self._on_end = on_end
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    @property
    def broken(self) -> bool:
        return self._channel is None or self._channel.is_closed

    async def channel(self) -> AbstractChannel:
        if self._channel is not None and not self._channel.is_closed:
            return self._channel
        if self._connection is None or self._connection.is_closed:
            self._connection = await aio_pika.connect(self._url, timeout=SEND_SECONDS)
        self._channel = channel = await self._connection.channel(on_return_raises=True)

        def ended(*_: object) -> None:
            if self._channel is channel:
                self._on_end()

        channel.close_callbacks.add(ended)
        (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(ended)
        return channel

    async def hang_up(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None and not channel.is_closed:
            await channel.close()

    async def close(self) -> None:
        self._channel = None
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_GOODBYE_SECONDS):
                    await connection.close()
