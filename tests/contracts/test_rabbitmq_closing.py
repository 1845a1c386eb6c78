"""A RabbitMQ that stops while a process connects to it: not there now, which is no bug and ends no start."""

from __future__ import annotations

from typing import Any

import aio_pika
import pytest

from a2a_server.errors import StoreUnavailable
from a2a_server.notifiers.rabbitmq import RabbitmqNotifier
from a2a_server.queues.rabbitmq import RabbitmqQueue
from tests.services import service


@pytest.mark.parametrize("part", [RabbitmqQueue, RabbitmqNotifier])
async def test_a_broker_that_closes_a_new_connection_is_not_there_now(
    monkeypatch: pytest.MonkeyPatch, part: type[RabbitmqQueue | RabbitmqNotifier]
) -> None:
    real = aio_pika.connect

    async def connect(*args: Any, **options: Any) -> aio_pika.abc.AbstractConnection:  # noqa: ANN401 - the driver's
        connection: aio_pika.abc.AbstractConnection = await real(*args, **options)
        assert connection.transport is not None
        await connection.transport.connection.close()  # as the broker does when it is told to stop
        return connection

    monkeypatch.setattr(aio_pika, "connect", connect)
    opening = part(f"{service('rabbitmq')}?prefix=closing")
    try:
        with pytest.raises(StoreUnavailable, match=r"amqp://"):
            await opening.open()
    finally:
        await opening.close()
