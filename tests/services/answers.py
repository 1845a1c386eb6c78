"""The first real command to each service: an open port is not a ready server.

Each function returns when the server has answered and raises what its driver raises otherwise, after `SECONDS` at the
latest: a server that is half there may never answer, and is asked again. They block and have event loops of their own:
call them in a thread where a loop runs.
"""
# ruff: noqa: PLC0415 - drivers are slow to import: each when its service is first asked

from __future__ import annotations

import asyncio
import socket
from typing import Any
from urllib.parse import urlsplit

from tests.patience import PATIENCE

SECONDS = 20.0


def postgresql(url: str) -> None:
    import asyncpg  # type: ignore[import-untyped,unused-ignore]

    async def ask() -> None:
        connection = await asyncpg.connect(url, timeout=SECONDS, statement_cache_size=0)
        try:
            await connection.execute("SELECT 1", timeout=SECONDS)
        finally:
            connection.terminate()

    asyncio.run(ask())


def redis(url: str) -> None:
    from redis import Redis

    with Redis.from_url(url, socket_timeout=SECONDS) as client:
        client.ping()


def rabbitmq(url: str) -> None:
    import aio_pika

    async def ask() -> None:
        async with asyncio.timeout(SECONDS), await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            await channel.declare_queue(exclusive=True)

    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), SECONDS) as greeted:  # the driver logs refusals
        greeted.sendall(b"AMQP\x00\x00\x09\x01")
        if not greeted.recv(1):
            raise ConnectionResetError
    asyncio.run(ask())


def mongodb(url: str) -> None:
    from pymongo import MongoClient

    limit = SECONDS * 1000
    with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=limit, socketTimeoutMS=limit) as client:
        client.list_database_names()


def s3(url: str) -> None:
    aws("s3", url, SECONDS).list_buckets()


def sqs(url: str) -> None:
    aws("sqs", url, SECONDS).list_queues()


def aws(name: str, url: str, seconds: float = PATIENCE) -> Any:  # noqa: ANN401 - boto3's clients have no types
    """A client that waits so long, and tries once."""
    import boto3
    from botocore.config import Config

    once = Config(connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 1})
    return boto3.client(
        name,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=once,
    )
