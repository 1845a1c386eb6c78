"""A fresh part of a shared service is new, usable, and gone afterwards."""

from __future__ import annotations

from typing import Any

import asyncpg  # type: ignore[import-untyped,unused-ignore]
from pymongo import MongoClient
from redis import Redis

from tests.services import service
from tests.services.answers import aws
from tests.services.fresh import fresh_bucket, fresh_database, fresh_mongodb, fresh_name, fresh_queues, fresh_redis


async def test_a_database_is_dropped_though_somebody_is_connected() -> None:
    server = service("postgresql")
    with fresh_database(server) as one, fresh_database(server) as two:
        assert one != two
        held = await asyncpg.connect(one)
        await held.execute("CREATE TABLE thing()")
        name = await held.fetchval("SELECT current_database()")
        assert one.endswith(name)
    held.terminate()
    connection = await asyncpg.connect(server)
    assert await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name) == 0
    await connection.close()


def test_a_mongodb_database_is_dropped() -> None:
    server = service("mongodb")
    with MongoClient[dict[str, Any]](server) as client:
        with fresh_mongodb(server) as url, MongoClient[dict[str, Any]](url) as mine:
            name = mine.get_default_database().name
            mine[name].things.insert_one({})
            assert name in client.list_database_names()
        assert name not in client.list_database_names()


def test_redis_keys_of_a_prefix_are_deleted_and_no_others() -> None:
    server = service("redis")
    other = fresh_name()
    with Redis.from_url(server, decode_responses=True) as client:
        client.set(other, "stays")
        with fresh_redis(server) as prefix:
            client.mset({f"{prefix}{number}": "goes" for number in range(20)})
        assert not list(client.scan_iter(f"{prefix}*"))
        assert client.getdel(other) == "stays"


def test_a_bucket_is_deleted_with_all_that_is_in_it() -> None:
    server = service("s3")
    client = aws("s3", server)
    with fresh_bucket(server) as bucket:
        client.put_object(Bucket=bucket, Key="a/b", Body=b"x")
        client.create_multipart_upload(Bucket=bucket, Key="begun")
    assert bucket not in [found["Name"] for found in client.list_buckets()["Buckets"]]


def test_queues_of_a_prefix_are_deleted() -> None:
    server = service("sqs")
    client = aws("sqs", server)
    with fresh_queues(server) as prefix:
        client.create_queue(QueueName=f"{prefix}a")
        assert len(client.list_queues(QueueNamePrefix=prefix)["QueueUrls"]) == 1
    assert not client.list_queues(QueueNamePrefix=prefix).get("QueueUrls")
