"""A part of a shared service for one test: a database, a prefix, a bucket, made empty and removed afterwards.

They block for some milliseconds and work inside a running event loop too.
"""
# ruff: noqa: PLC0415 - drivers are slow to import: each when its service is used

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.patience import PATIENCE
from tests.services.answers import aws


def fresh_name() -> str:
    """A name that nobody has had: 17 letters and digits, which every service takes as a name or as the start of one.

    RabbitMQ needs no more: what begins with it goes with the server, at the end of the run.
    """
    return f"t{secrets.token_hex(8)}"


@contextmanager
def fresh_database(url: str) -> Iterator[str]:
    """The URL of a new PostgreSQL database on the server of `url`; dropped afterwards, whoever is still connected."""
    name = fresh_name()
    _execute(url, f"CREATE DATABASE {name}")
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        _execute(url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def fresh_mongodb(url: str) -> Iterator[str]:
    """The URL of a new MongoDB database on the server of `url`; dropped afterwards."""
    from pymongo import MongoClient

    name = fresh_name()
    yield urlsplit(url)._replace(path=f"/{name}").geturl()
    with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=PATIENCE * 1000) as client:
        client.drop_database(name)


@contextmanager
def fresh_redis(url: str) -> Iterator[str]:
    """The beginning of new names on the Redis of `url`; keys that begin with it are deleted afterwards."""
    from redis import Redis

    prefix = f"{fresh_name()}:"
    yield prefix
    with Redis.from_url(url, socket_timeout=PATIENCE) as client:
        for key in client.scan_iter(f"{prefix}*", count=1000):
            client.delete(key)


@contextmanager
def fresh_bucket(url: str) -> Iterator[str]:
    """The name of a new bucket at the S3 endpoint `url`; deleted afterwards with all that is in it."""
    client, name = aws("s3", url), fresh_name()
    client.create_bucket(Bucket=name)
    try:
        yield name
    finally:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
            for found in page.get("Contents", ()):
                client.delete_object(Bucket=name, Key=found["Key"])
        for left in client.list_multipart_uploads(Bucket=name).get("Uploads", ()):
            client.abort_multipart_upload(Bucket=name, Key=left["Key"], UploadId=left["UploadId"])
        client.delete_bucket(Bucket=name)
        client.close()


@contextmanager
def fresh_queues(url: str) -> Iterator[str]:
    """The beginning of new names at the SQS endpoint `url`; queues that begin with it are deleted afterwards."""
    client, prefix = aws("sqs", url), f"{fresh_name()}-"
    yield prefix
    for queue in client.list_queues(QueueNamePrefix=prefix).get("QueueUrls", ()):
        client.delete_queue(QueueUrl=queue)
    client.close()


def _execute(url: str, sql: str) -> None:
    import asyncpg  # type: ignore[import-untyped,unused-ignore]

    async def execute() -> None:
        connection = await asyncpg.connect(url, timeout=PATIENCE)
        try:
            await connection.execute(sql, timeout=PATIENCE)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:  # a loop may be running here
        thread.submit(asyncio.run, execute()).result()
