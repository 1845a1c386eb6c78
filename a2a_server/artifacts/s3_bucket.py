"""One bucket by boto3, as calls that block; each runs in a thread of `s3.S3Artifacts`.

All of them raise StoreUnavailable, `range` and `head` ObjectMissing too. The client is thread-safe. Checksums of what
is sent and of what comes back are the SDK's own (CRC of each request's body), on by its defaults; an operator with a
service that knows none of them turns them off as boto3's documentation says.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from typing import Any, Final, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from a2a_server.artifacts.names import is_name
from a2a_server.artifacts.s3_address import S3Address
from a2a_server.artifacts.s3_errors import code_of, starting, status_of, translated
from a2a_server.errors import ConfigurationError, StoreUnavailable
from a2a_server.model.attachments import PLAIN, attachment, is_media_type
from a2a_server.model.queries import StoredName

CONNECT_SECONDS: Final = 3
READ_SECONDS: Final = 20
TRIES: Final = 3
BATCH: Final = 1000
"""Most names that S3 lists or deletes at once."""
STALE_AT_ONCE: Final = 100
LINK_SECONDS: Final = 7 * 86_400
"""The longest that S3 lets an address last."""

_CHECKSUMS: Final = ("ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256")
_TAKEN: Final = frozenset({409, 412})
_HOME: Final = "us-east-1"

_log = logging.getLogger("a2a_server.artifacts.s3")


class Found(NamedTuple):
    """An object that exists: its size in bytes, and the sha256 that was kept with it ('' = none)."""

    size: int
    sha256: str


class Bucket:
    """The objects below one prefix of one bucket."""

    def __init__(self, address: S3Address, *, threads: int) -> None:
        """Makes the client and finds credentials. Raises ConfigurationError, StoreUnavailable."""
        self._address = address
        with starting(address.shown):
            try:
                self._s3 = _client(address, threads)
            except ValueError as error:  # botocore's, for a region or an endpoint that no address can be made of
                raise ConfigurationError(f"{address.shown}: no such region or endpoint can be.") from error

    def open(self, *, create: bool) -> None:
        """The bucket is there and may be listed; made where it is missing and `create` says so.

        Raises ConfigurationError, StoreUnavailable.
        """
        with starting(self._address.shown):
            try:
                self._look()
            except ClientError as error:
                if not create or code_of(error) != "NoSuchBucket":
                    raise
                self._make()
                self._look()

    def _look(self) -> None:
        self._s3.list_objects_v2(Bucket=self._address.bucket, Prefix=self._address.prefix, MaxKeys=1)

    def _make(self) -> None:
        region = self._s3.meta.region_name
        where = {} if region == _HOME else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            self._s3.create_bucket(Bucket=self._address.bucket, **where)
        except ClientError as error:
            if status_of(error) != 409:  # noqa: PLR2004 - Conflict: somebody else was quicker
                raise

    def close(self) -> None:
        """Connections are closed."""
        self._s3.close()

    def put(self, name: str, body: BytesIO, media_type: str, sha256: str) -> bool:
        """Store a whole object, in one request, and free the body. False = there is one of this name already."""
        with translated(self._address.shown), body:
            try:
                kept = {"Metadata": {"sha256": sha256}, **self._kind(media_type)}
                self._s3.put_object(**self._named(name), Body=body, IfNoneMatch="*", **kept)
            except ClientError as error:
                if status_of(error) in _TAKEN:
                    return False
                raise
        return True

    def begin(self, name: str, media_type: str) -> str:
        """Begin an object of several parts. Returns the upload's id."""
        with translated(self._address.shown):
            begun = self._s3.create_multipart_upload(**self._named(name), **self._kind(media_type))
        return str(begun["UploadId"])

    def part(self, name: str, upload: str, number: int, body: BytesIO) -> dict[str, Any]:
        """Store a part, and free the body. Returns what `complete` has to say of it."""
        with translated(self._address.shown), body:  # freed at once: boto3 keeps it in a cycle of references
            answer = self._s3.upload_part(**self._named(name), UploadId=upload, PartNumber=number, Body=body)
        sums = {sum_: answer[sum_] for sum_ in _CHECKSUMS if sum_ in answer}
        return {"PartNumber": number, "ETag": answer["ETag"], **sums}

    def complete(self, name: str, upload: str, parts: Sequence[dict[str, Any]]) -> bool:
        """Make the object of its parts. False = there is one of this name already, perhaps this very one."""
        with translated(self._address.shown):
            try:
                self._s3.complete_multipart_upload(
                    **self._named(name), UploadId=upload, IfNoneMatch="*", MultipartUpload={"Parts": list(parts)}
                )
            except ClientError as error:
                # An answer that was lost lets the SDK ask again for what is done and gone.
                if status_of(error) in _TAKEN or code_of(error) == "NoSuchUpload":
                    return False
                raise
        return True

    def abort(self, name: str, upload: str) -> None:
        """Forget an upload and its parts. One that is unknown is fine."""
        with translated(self._address.shown):
            try:
                self._s3.abort_multipart_upload(**self._named(name), UploadId=upload)
            except ClientError as error:
                if code_of(error) != "NoSuchUpload":
                    raise

    def abort_stale(self, before: datetime) -> None:
        """Forget uploads that began before `before`, some at a time. What fails is logged: it is tried again."""
        where = {"Bucket": self._address.bucket, "Prefix": self._address.prefix}
        try:
            uploads = self._s3.list_multipart_uploads(**where, MaxUploads=BATCH).get("Uploads", ())
            stale = [(self._name(each["Key"]), each["UploadId"]) for each in uploads if each["Initiated"] < before]
            for name, upload in [each for each in stale if is_name(each[0])][:STALE_AT_ONCE]:
                self.abort(name, upload)
        except (ClientError, BotoCoreError, StoreUnavailable) as error:
            code = code_of(error) if isinstance(error, ClientError) else type(error).__name__
            _log.warning("Unfinished uploads in %s could not be looked for (%s).", self._address.shown, code)

    def head(self, name: str) -> Found:
        """What is known of an object."""
        with translated(self._address.shown):
            answer = self._s3.head_object(**self._named(name))
        return Found(int(answer["ContentLength"]), str(answer.get("Metadata", {}).get("sha256", "")))

    def range(self, name: str, start: int, end: int) -> tuple[bytes, int]:
        """The bytes `start` to before `end`, fewer where the object ends, and the object's size."""
        with translated(self._address.shown):
            try:
                answer = self._s3.get_object(**self._named(name), Range=f"bytes={start}-{end - 1}")
            except ClientError as error:
                if status_of(error) == 416:  # noqa: PLR2004 - Range Not Satisfiable: it ends before
                    return b"", start
                raise
            with answer["Body"] as body:
                data: bytes = body.read()
        said = str(answer.get("ContentRange", "")).rpartition("/")[2]
        return (data, int(said)) if said.isdecimal() else (data[start:end], len(data))  # else it gave all of it

    def link(self, name: str, filename: str, media_type: str, expires_seconds: int) -> str:
        """An address that anybody may fetch the object from for so long."""
        shown = {
            "ResponseContentDisposition": attachment(filename),
            "ResponseContentType": media_type if is_media_type(media_type) else PLAIN,
        }
        seconds = min(max(expires_seconds, 1), LINK_SECONDS)
        with translated(self._address.shown):
            return str(
                self._s3.generate_presigned_url("get_object", Params={**self._named(name), **shown}, ExpiresIn=seconds)
            )

    def delete(self, names: Sequence[str]) -> None:
        """Forget objects, 1000 at most."""
        keys = [{"Key": self._address.prefix + name} for name in names]
        with translated(self._address.shown):
            answer = self._s3.delete_objects(Bucket=self._address.bucket, Delete={"Objects": keys, "Quiet": True})
        if errors := answer.get("Errors"):
            raise StoreUnavailable(f"{self._address.shown} refuses to delete {len(errors)} of {len(keys)} objects")

    def page(self, after: str, limit: int) -> tuple[list[StoredName], str]:
        """Some objects behind `after`, and behind what to go on ('' = that was all)."""
        prefix = self._address.prefix
        with translated(self._address.shown):
            behind = {"StartAfter": prefix + after} if prefix + after else {}  # not the prefix itself, a key of others
            answer = self._s3.list_objects_v2(
                Bucket=self._address.bucket, Prefix=prefix, MaxKeys=min(limit, BATCH), **behind
            )
        entries = answer.get("Contents", ())
        found = [
            StoredName(name, int(entry["Size"]), round(entry["LastModified"].timestamp() * 1_000_000))
            for entry in entries
            if is_name(name := self._name(entry["Key"]))
        ]
        return found, self._name(entries[-1]["Key"]) if entries and answer.get("IsTruncated") else ""

    def _name(self, key: str) -> str:
        return key[len(self._address.prefix) :]

    def _named(self, name: str) -> dict[str, str]:
        return {"Bucket": self._address.bucket, "Key": self._address.prefix + name}

    def _kind(self, media_type: str) -> dict[str, str]:
        return {"ContentType": media_type if is_media_type(media_type) else PLAIN, **self._address.encryption}


def _client(address: S3Address, threads: int) -> Any:  # noqa: ANN401 - boto3 has no types
    session = boto3.session.Session()
    return session.client(
        "s3",
        region_name=address.region or session.region_name or _HOME,
        endpoint_url=address.endpoint or None,
        config=Config(
            signature_version="s3v4",
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": TRIES},
            max_pool_connections=threads,
            s3={"addressing_style": "path" if address.path_style else "auto"},
        ),
    )
