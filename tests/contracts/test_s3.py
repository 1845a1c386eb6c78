"""What the artifact store in a bucket does beyond the contract: requests, links, failures, what stays behind."""

import asyncio
import hashlib
import socket
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from a2a_server.artifacts import s3 as s3_artifacts, s3_bucket
from a2a_server.artifacts.s3 import S3Artifacts
from a2a_server.artifacts.s3_address import S3Address
from a2a_server.artifacts.s3_upload import PART_BYTES
from a2a_server.errors import ConfigurationError, DataRejected, ObjectMissing, StoreUnavailable
from tests.clients.rpc import new_http
from tests.contracts.artifact_stores import (
    KEY,
    NAME,
    address,
    client,
    content,
    credentials,
    names,
    new_bucket,
    pieces,
    put,
)
from tests.contracts.s3_door import Answer, Asked, Door, opened_door
from tests.patience import PATIENCE
from tests.server.waiting import until

LARGE = 2 * PART_BYTES + 5


@pytest.fixture
def bucket() -> Iterator[str]:
    with new_bucket() as bucket:
        yield bucket


@pytest.fixture
def door() -> Iterator[Door]:
    with opened_door() as door:
        yield door


@pytest.fixture
async def direct(bucket: str) -> AsyncIterator[S3Artifacts]:
    """Without the door, because links are signed for the address that they go to."""
    store = S3Artifacts(address(bucket, "prefix"))
    await store.open()
    yield store
    await store.close()


@pytest.fixture(autouse=True)
def _unhurried_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cleaned up, and what is asked again, is not a matter of how quick the machine is."""
    monkeypatch.setattr(s3_artifacts, "CLEANUP_SECONDS", PATIENCE)
    for name in ("CONNECT_SECONDS", "READ_SECONDS"):
        monkeypatch.setattr(s3_bucket, name, PATIENCE)


@pytest.fixture
async def objects(bucket: str, door: Door) -> AsyncIterator[S3Artifacts]:
    store = S3Artifacts(address(bucket, "prefix", endpoint=door.address))
    await store.open()
    yield store
    await store.close()


def uploads(bucket: str) -> list[str]:
    with client() as s3:
        return [upload["Key"] for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]


def keys(bucket: str) -> list[str]:
    with client() as s3:
        return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]


def large(size: int = LARGE) -> bytes:
    return bytes(range(251)) * (size // 251) + b"x" * (size % 251)


# Writing


async def test_a_small_object_is_one_conditional_request_with_a_checksum(
    objects: S3Artifacts, bucket: str, door: Door
) -> None:
    door.asked.clear()
    stored = await put(objects, NAME, b"small")
    [asked] = door.asked
    assert (asked.method, asked.path) == ("PUT", f"/{bucket}/prefix/{NAME}")
    assert asked.headers["If-None-Match"] == "*"
    assert asked.headers["Content-Type"] == "text/plain"
    assert asked.headers["x-amz-meta-sha256"] == stored.sha256 == hashlib.sha256(b"small").hexdigest()
    assert asked.headers["x-amz-checksum-crc32"] or asked.headers["x-amz-trailer"] == "x-amz-checksum-crc32"


@pytest.mark.parametrize("size", [PART_BYTES, PART_BYTES + 1, LARGE])
async def test_a_larger_object_is_sent_in_parts(objects: S3Artifacts, bucket: str, door: Door, size: int) -> None:
    whole = large(size)
    stored = await put(objects, NAME, *(whole[at : at + 1_000_003] for at in range(0, size, 1_000_003)))
    assert (stored.size, stored.sha256) == (size, hashlib.sha256(whole).hexdigest())
    assert await content(objects, NAME) == whole
    parts = door.of("PUT", "partNumber=")
    assert len(parts) == (0 if size <= PART_BYTES else -(-size // PART_BYTES))
    assert all(part.headers["x-amz-checksum-crc32"] or part.headers["x-amz-trailer"] for part in parts)
    assert [asked.headers["If-None-Match"] for asked in door.of("POST", "uploadId=")] == ["*"] * bool(parts)
    assert uploads(bucket) == []


@pytest.mark.parametrize("size", [10, LARGE], ids=["small", "large"])
async def test_the_same_again_is_fine_and_other_content_is_refused(
    objects: S3Artifacts, bucket: str, size: int
) -> None:
    whole = large(size)
    assert await put(objects, NAME, whole) == await put(objects, NAME, whole)
    for other in (whole[:-1] + b"?", whole + b"?"):
        with pytest.raises(DataRejected, match="never used twice"):
            await put(objects, NAME, other)
    assert await content(objects, NAME) == whole
    assert uploads(bucket) == []


async def test_a_lost_answer_to_a_finished_upload_is_no_failure(objects: S3Artifacts, door: Door, bucket: str) -> None:
    """The SDK asks again, and hears that there is no such upload any more."""
    finished: list[Asked] = []

    def lose(asked: Asked) -> Answer | None:
        if asked.method == "POST" and "uploadId=" in asked.path:
            finished.append(asked)
            if len(finished) == 1:
                with client() as s3:
                    [upload] = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
                    named = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                    found = s3.list_parts(**named)["Parts"]
                    parts = [{name: part[name] for name in ("PartNumber", "ETag")} for part in found]
                    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
                return Answer(drop=True)
        return None

    door.answers = lose
    whole = large()
    await put(objects, NAME, whole)
    assert len(finished) == 2
    assert await content(objects, NAME) == whole


@pytest.mark.parametrize("failing", ["partNumber=2", "partNumber=3", "uploadId="])
async def test_a_failure_in_the_middle_leaves_nothing(
    objects: S3Artifacts, bucket: str, door: Door, failing: str
) -> None:
    door.answers = lambda asked: Answer(500) if asked.method != "DELETE" and failing in asked.path else None
    with pytest.raises(StoreUnavailable):
        await put(objects, NAME, large())
    door.answers = lambda asked: None
    assert (uploads(bucket), keys(bucket)) == ([], [])
    await put(objects, NAME, large())
    assert keys(bucket) == [f"prefix/{NAME}"]


async def test_a_canceled_put_leaves_nothing(objects: S3Artifacts, bucket: str, door: Door) -> None:
    sending, go_on = threading.Event(), threading.Event()

    def hold(asked: Asked) -> Answer | None:
        if "partNumber=" in asked.path:
            sending.set()
            assert go_on.wait(PATIENCE)
        return None

    door.answers = hold
    putting = asyncio.create_task(put(objects, NAME, large()))
    assert await asyncio.to_thread(sending.wait, PATIENCE)
    putting.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert (uploads(bucket), keys(bucket)) == ([], [])


async def test_closing_ends_a_put_and_keeps_nothing(objects: S3Artifacts, bucket: str) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield large()
        reached.set()
        await go_on.wait()

    putting = asyncio.create_task(objects.put(NAME, chunks(), limit_bytes=1 << 30, media_type=""))
    async with asyncio.timeout(PATIENCE):
        await reached.wait()
    assert uploads(bucket) != []
    await objects.close()
    assert uploads(bucket) == []
    go_on.set()
    with pytest.raises(StoreUnavailable):
        await putting


async def test_two_parts_at_most_are_in_memory(direct: S3Artifacts) -> None:
    """Counted by tracemalloc: all that Python holds at its highest, while 5 parts go out and come back."""
    chunk = b"x" * 100_000

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5 * PART_BYTES // len(chunk)):
            yield chunk

    await put(direct, f"{KEY}/1/2", b"warm")
    tracemalloc.start()
    tracemalloc.reset_peak()
    try:
        before = tracemalloc.get_traced_memory()[0]
        await direct.put(NAME, chunks(), limit_bytes=1 << 30, media_type="")
        written = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.reset_peak()
        size = sum([len(piece) async for piece in direct.read(NAME)])
        read = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert size == 5 * PART_BYTES // len(chunk) * len(chunk)
    assert written < 3 * PART_BYTES
    assert read < PART_BYTES


async def test_encryption_is_asked_for(bucket: str) -> None:
    for options, said in (
        ({"sse": "AES256"}, ("AES256", None)),
        ({"sse": "aws:kms", "kms_key": "our-key"}, ("aws:kms", "our-key")),
        ({}, (None, None)),
    ):
        with opened_door() as door:
            store = S3Artifacts(address(bucket, f"e{len(str(said))}", endpoint=door.address, **options))
            await store.open()
            await put(store, NAME, b"x")
            await put(store, f"{KEY}/1/2", large())
            await store.close()
        [one] = door.of("PUT", f"{NAME}")
        [many] = door.of("POST", "?uploads")
        for asked in (one, many):
            header = "x-amz-server-side-encryption"
            assert (asked.headers[header], asked.headers[f"{header}-aws-kms-key-id"]) == said


# Reading


async def test_a_slow_reader_holds_no_connection(objects: S3Artifacts, door: Door) -> None:
    await put(objects, NAME, large())
    readings = [objects.read(NAME) for _ in range(30)]
    for reading in readings:
        assert len(await anext(reading)) == 256 * 1024
    await until(lambda: door.inside == 0)  # the door may not know yet that it has written all
    assert b"".join([piece async for piece in objects.read(NAME)]) == large()


async def test_a_canceled_read_is_given_up_at_once(objects: S3Artifacts, door: Door) -> None:
    await put(objects, NAME, b"x")
    asked_for, go_on = threading.Event(), threading.Event()

    def hold(asked: Asked) -> Answer | None:
        asked_for.set()
        assert go_on.wait(PATIENCE)
        return None

    door.answers = hold
    reading = asyncio.create_task(content(objects, NAME))
    assert await asyncio.to_thread(asked_for.wait, PATIENCE)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert door.inside == 1
    go_on.set()


async def test_a_service_that_fails_while_reading_is_unavailable(objects: S3Artifacts, door: Door) -> None:
    await put(objects, NAME, large())
    reading = objects.read(NAME, 0)
    await anext(reading)
    door.answers = lambda asked: Answer(503)
    with pytest.raises(StoreUnavailable):
        assert [piece async for piece in reading]


# Links


async def test_a_link_downloads_without_credentials(direct: S3Artifacts) -> None:
    await put(direct, NAME, b"for you")
    link = await direct.link(NAME, 'rép"ort\r\n.txt', "text/plain; charset=utf-8", 60)
    assert link is not None
    async with new_http() as http:
        answer = await http.get(link)
    assert (answer.status_code, answer.content) == (200, b"for you")
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename=\"r_p_ort__.txt\"; filename*=UTF-8''r%C3%A9p_ort__.txt"
    )
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_a_changed_link_is_refused(direct: S3Artifacts) -> None:
    await put(direct, NAME, b"for you")
    await put(direct, f"{KEY}/1/2", b"not for you")
    link = str(await direct.link(NAME, "report.txt", "text/plain", 60))
    changed = [
        link.replace(NAME, f"{KEY}/1/2"),
        link.replace("text%2Fplain", "text%2Fhtml"),
        link.replace("attachment", "inline"),
        link.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"),
    ]
    async with new_http() as http:
        for tampered in changed:
            assert tampered != link
            assert (await http.get(tampered)).status_code == 403
        assert (await http.get(link)).status_code == 200


async def test_a_link_ends(direct: S3Artifacts) -> None:
    await put(direct, NAME, b"for you")
    link = str(await direct.link(NAME, "report.txt", "text/plain", 0))
    assert "X-Amz-Expires=1&" in link
    deadline = time.monotonic() + PATIENCE
    async with new_http() as http:
        while (answer := await http.get(link)).status_code == 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
    assert answer.status_code == 403


async def test_a_media_type_that_no_header_can_carry_is_plain(direct: S3Artifacts) -> None:
    await direct.put(NAME, pieces(b"x"), limit_bytes=9, media_type="text/html\r\nX-Evil: 1")
    link = str(await direct.link(NAME, "a", "text/html\r\nX-Evil: 1", 60))
    async with new_http() as http:
        assert (await http.get(link)).headers["Content-Type"] == "application/octet-stream"


async def test_there_is_no_link_where_clients_cannot_reach_the_bucket(bucket: str) -> None:
    store = S3Artifacts(address(bucket, links="false"))
    await store.open()
    await put(store, NAME, b"x")
    assert await store.link(NAME, "report.txt", "text/plain", 60) is None
    await store.close()


# What else is in the bucket


async def test_other_things_in_the_bucket_are_passed_over(objects: S3Artifacts, bucket: str) -> None:
    with client() as s3:
        below = ["", "0", "a/b", "é/1/1", f"{KEY}/1/1.txt"]
        others = [*(f"prefix/{key}" for key in below), f"{KEY}/1/1", "zz", "prefi/a/1/1"]
        for key in others:
            s3.put_object(Bucket=bucket, Key=key, Body=b"not ours")
    expected = sorted([NAME, "a/1/1", "zz/1/1"])
    for name in expected:
        await put(objects, name, b"x")
    assert await names(objects) == expected
    for limit in (1, 2):
        paged: list[str] = []
        while page := await objects.list(paged[-1] if paged else "", limit):
            paged += [stored.name for stored in page]
        assert paged == expected
    await objects.delete([*expected, "a/b", "../zz"])
    assert sorted(keys(bucket)) == sorted(others)


async def test_a_thousand_names_are_deleted_at_once(objects: S3Artifacts, door: Door) -> None:
    last = f"{KEY}/1/2500"
    await put(objects, last, b"x")
    await objects.delete([f"{KEY}/1/{n}" for n in range(2_501)])
    assert len(door.of("POST", "?delete")) == 3
    assert await names(objects) == []


async def test_what_cannot_be_deleted_is_told(objects: S3Artifacts, door: Door) -> None:
    body = b"<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code><Message>secret</Message></Error></DeleteResult>"
    door.answers = lambda asked: Answer(200, body) if asked.method == "POST" else None
    with pytest.raises(StoreUnavailable, match="1 of 1 objects") as refused:
        await objects.delete([NAME])
    assert "secret" not in str(refused.value)


async def test_what_a_kill_left_is_aborted_when_a_walk_begins(bucket: str) -> None:
    left, foreign = f"prefix/{NAME}", "prefix/other"
    with client() as s3:
        for key in (left, foreign, NAME):
            s3.create_multipart_upload(Bucket=bucket, Key=key)
    for stale, after, rest in (
        (timedelta(days=1), "", {left, foreign, NAME}),
        (timedelta(seconds=-60), "0", {left, foreign, NAME}),
        (timedelta(seconds=-60), "", {foreign, NAME}),
    ):
        store = S3Artifacts(address(bucket, "prefix"), stale=stale)
        await store.open()
        await store.list(after, 10)
        await store.close()
        assert set(uploads(bucket)) == rest


async def test_a_walk_goes_on_where_unfinished_uploads_cannot_be_listed(objects: S3Artifacts, door: Door) -> None:
    await put(objects, NAME, b"x")
    door.answers = lambda asked: Answer(403) if "uploads" in asked.path else None
    assert await names(objects) == [NAME]


# At start


async def test_a_missing_bucket_is_made_where_that_is_set(bucket: str) -> None:
    missing = f"tests-{uuid4()}"
    with pytest.raises(ConfigurationError, match=rf"s3://{missing}/some: .*create_missing=true"):
        await S3Artifacts(address(missing, "some")).open()
    stores = [S3Artifacts(address(missing, "some"), create=True) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    await put(stores[0], NAME, b"x")
    assert await content(stores[3], NAME) == b"x"
    for store in stores:
        await store.delete([NAME])
        await store.close()
    with client() as s3:
        s3.delete_bucket(Bucket=missing)


async def test_a_service_out_of_reach_is_unavailable(bucket: str) -> None:
    with closing(socket.socket()) as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(StoreUnavailable, match=f"s3://{bucket}/"):
            await S3Artifacts(address(bucket, endpoint=endpoint)).open()


async def test_a_service_that_never_answers_is_unavailable(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_bucket, "READ_SECONDS", 0.1)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        store = S3Artifacts(address(bucket, endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}"))
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                await store.open()
    await store.close()


@pytest.mark.parametrize(
    ("status", "error"), [(200, StoreUnavailable), (403, ConfigurationError), (404, ConfigurationError)]
)
async def test_what_is_no_s3_cannot_be_used(bucket: str, door: Door, status: int, error: type[Exception]) -> None:
    door.answers = lambda asked: Answer(status, b"<!doctype html><p>Hello")
    with pytest.raises(error, match=f"s3://{bucket}/"):
        await S3Artifacts(address(bucket, endpoint=door.address)).open()


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "InvalidAccessKeyId", (ConfigurationError, "credentials")),
        (403, "SignatureDoesNotMatch", (ConfigurationError, "credentials")),
        (400, "ExpiredToken", (ConfigurationError, "credentials")),
        (400, "AuthorizationHeaderMalformed", (ConfigurationError, "region")),
        (404, "NoSuchBucket", (ConfigurationError, "create_missing")),
        (503, "SlowDown", (StoreUnavailable, "does not answer")),
        (500, "<b>secret</b>", (StoreUnavailable, "500")),
    ],
)
async def test_a_refusal_says_what_to_do_and_nothing_of_the_service(
    bucket: str, door: Door, status: int, code: str, expected: tuple[type[Exception], str]
) -> None:
    text = "a-secret-of-tests arn:aws:iam::123456789012:user/secret"
    code = code.replace("<", "&lt;")
    body = f"<Error><Code>{code}</Code><Message>{text}</Message><AWSAccessKeyId>tests</AWSAccessKeyId></Error>"
    door.answers = lambda asked: Answer(status, body.encode())
    with pytest.raises(expected[0], match=expected[1]) as refused:
        await S3Artifacts(address(bucket, endpoint=door.address)).open()
    assert "secret" not in str(refused.value)
    assert str(refused.value).startswith(f"s3://{bucket}/")
    assert "?" not in str(refused.value)


async def test_a_refusal_later_is_unavailable_and_tells_nothing(objects: S3Artifacts, door: Door) -> None:
    body = b"<Error><Code>AccessDenied</Code><Message>arn:aws:iam::123456789012:user/secret</Message></Error>"
    door.answers = lambda asked: Answer(403, body)
    for use in (put(objects, NAME, b"x"), put(objects, NAME, large()), content(objects, NAME), objects.list("", 1)):
        with pytest.raises(StoreUnavailable, match=r"AccessDenied|403") as refused:
            await use
        assert "secret" not in str(refused.value)


async def test_missing_credentials_are_told(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with credentials():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "BOTO_CONFIG"):
            monkeypatch.setenv(name, str(tmp_path / "none"))
        with pytest.raises(ConfigurationError, match="AWS_ACCESS_KEY_ID"):
            await S3Artifacts(address(bucket)).open()
        monkeypatch.setenv("AWS_PROFILE", "unknown")
        with pytest.raises(ConfigurationError, match="profile"):
            await S3Artifacts(address(bucket)).open()


async def test_a_store_that_was_never_opened_is_closed_and_unavailable() -> None:
    store = S3Artifacts("s3://bucket")
    with pytest.raises(StoreUnavailable):
        await content(store, NAME)
    await store.close()


def test_an_address_says_where_and_how() -> None:
    url = "s3://Some.bucket/a/b/?region=eu-west-1&endpoint=https://s3.example.org&sse=aws:kms&kms_key=k&links=no"
    assert S3Address.of(url) == S3Address(
        bucket="Some.bucket",
        prefix="a/b/",
        region="eu-west-1",
        endpoint="https://s3.example.org",
        path_style=False,
        sse="aws:kms",
        kms_key="k",
        links=False,
        shown="s3://Some.bucket/a/b/",
    )
    assert S3Address.of("s3://bucket").encryption == {}
    assert S3Address.of("s3://bucket").links


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://key:secret@bucket/a", "credentials"),
        ("s3://", "s3://bucket"),
        ("s3://b/a", "s3://bucket"),
        ("s4://bucket", "s3://bucket"),
        ("s3://bucket:80/a", "s3://bucket"),
        ("s3://bucket/a//b", "prefix"),
        ("s3://bucket/a b", "prefix"),
        ("s3://bucket/é", "prefix"),
        (f"s3://bucket/{'a' * 201}", "prefix"),
        ("s3://bucket?sse=none", "sse"),
        ("s3://bucket?kms_key=k", "sse=aws:kms"),
        ("s3://bucket?kms_key=k&sse=AES256", "sse=aws:kms"),
        ("s3://bucket?endpoint=127.0.0.1:9000", "endpoint"),
        ("s3://bucket?endpoint=http://user:secret@host", "endpoint"),
        ("s3://bucket?path_style=maybe", "path_style"),
        ("s3://bucket?links=", "links"),
        ("s3://bucket?acl=public", "acl"),
        ("s3://bucket?region=a&region=b", "region"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        S3Address.of(url)
    assert "secret" not in str(refused.value)


async def test_a_bucket_or_region_that_cannot_be_is_named() -> None:
    with credentials(), pytest.raises(ConfigurationError):
        await S3Artifacts(address("bucket", region="no region")).open()


async def test_a_deleted_object_is_missing_to_whoever_reads_on(objects: S3Artifacts) -> None:
    await put(objects, NAME, large())
    reading = objects.read(NAME)
    await anext(reading)
    await objects.delete([NAME])
    with pytest.raises(ObjectMissing):
        assert [piece async for piece in reading]
