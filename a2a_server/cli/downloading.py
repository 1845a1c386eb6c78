"""`task download`: what a task made, as files in one directory.

Names and addresses come from an agent, so neither is trusted: a name becomes one part of a path below the directory, a
file that exists is left alone, and an address on another host is fetched only where that is allowed, without the token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, TypeAlias

import httpx2
from cyclopts import Parameter

from a2a_server.cli import output
from a2a_server.cli.failures import CommandError, Exit, UnauthorizedError, UsageError
from a2a_server.cli.filenames import distinct, safe_name, with_extension
from a2a_server.cli.rpc import Connection, Json
from a2a_server.cli.target import Target

Tell: TypeAlias = Callable[[int, int | None], None]
"""Told the bytes that came so far and, where it is known, of how many."""

_CHECKSUM = re.compile(r'"([0-9a-f]{64})"')


def download(
    id: str,
    /,
    *,
    artifact: str = "",
    to: Annotated[Path, Parameter(show_default=True)] = Path(),
    force: bool = False,
    any_host: bool = False,
    target: Target | None = None,
) -> int:
    """Write a task's artifacts to files, and print their paths.

    Text becomes a .txt file, data a .json file; files keep their names, as far as those are safe.

    Args:
        id: The task's id.
        artifact: Only this one, by name or id.
        to: The directory to write to; made if it is missing.
        force: Replace files that exist.
        any_host: Also fetch files whose addresses lie on other hosts than the server's; without the token.
        target: Which server.
    """
    target = target or Target()

    async def work() -> int:
        async with target.connection() as connection:
            task = await connection.call("GetTask", {"id": id, "historyLength": 0})
            wanted = files_of(chosen(task, artifact))
            if not wanted:
                output.say(f"task {id} has no artifacts yet")
            paths = _paths(wanted, to, force=force)
            written = []
            for file, path in zip(wanted, paths, strict=True):
                with _progress(path, shown=file.url is not None and not target.json) as tell:
                    size = await _write(connection, file, path, tell, force=force, any_host=any_host)
                written.append({"path": str(path), "artifactId": file.artifact_id, "size": size})
                if not target.json:
                    output.emit(f"{path}\n")
        if target.json:
            output.emit_json({"files": written})
        return Exit.OK

    return target.run(work)


@dataclass(frozen=True)
class Wanted:
    """One file to write: its content, or the address where it is. `name` is safe, and distinct in its task."""

    artifact_id: str
    name: str
    content: bytes = b""
    url: str | None = None


def chosen(task: Json, artifact: str) -> list[Json]:
    """The task's artifacts, or those of this name or id. Raises CommandError where there is none."""
    artifacts: list[Json] = task.get("artifacts") or []
    if not artifact:
        return artifacts
    found = [one for one in artifacts if artifact in (one.get("artifactId"), one.get("name"))]
    if not found:
        known = ", ".join(str(one.get("name") or one.get("artifactId")) for one in artifacts) or "none"
        raise CommandError(f"the task has no artifact {artifact!r}; it has: {known}")
    return found


def files_of(artifacts: list[Json]) -> list[Wanted]:
    """What the artifacts become: a file for each part, and one for the whole of an artifact that is text."""
    taken: set[str] = set()
    files = []
    for artifact in artifacts:
        artifact_id = str(artifact.get("artifactId", ""))
        parts = artifact.get("parts") or []
        if parts and all("text" in part for part in parts):
            parts = [{**parts[0], "text": "".join(str(part["text"]) for part in parts)}]
        for part in parts:
            content, media_type = _content(part)
            if part.get("filename"):
                name = safe_name(str(part["filename"]))
            else:
                name = safe_name(str(artifact.get("name") or artifact_id))
                name = with_extension(name, str(part.get("mediaType") or media_type))
            name = distinct(name, taken)
            url = str(part["url"]) if part.get("url") else None
            files.append(Wanted(artifact_id, name, content, url))
    return files


def _content(part: Json) -> tuple[bytes, str]:
    if "text" in part:
        return str(part["text"]).encode("utf-8", "replace"), "text/plain"
    if "data" in part:
        return json.dumps(part["data"], ensure_ascii=False, indent=2).encode("utf-8", "replace"), "application/json"
    try:
        return base64.b64decode(str(part.get("raw") or "")), "application/octet-stream"
    except ValueError as error:
        raise CommandError("the server's answer has a file that is no base64") from error


def _paths(files: list[Wanted], directory: Path, *, force: bool) -> list[Path]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--to {directory}: {error.strerror}; name another directory") from error
    paths = [directory / file.name for file in files]
    if not force:
        for path in paths:
            if os.path.lexists(path):
                raise _exists(path)
    return paths


def _exists(path: Path) -> CommandError:
    return CommandError(f"{path} exists; --force replaces it, --to names another directory")


async def _write(connection: Connection, file: Wanted, path: Path, tell: Tell, *, force: bool, any_host: bool) -> int:
    size = 0
    with _new_file(path, force=force) as out:
        if file.url is None:
            size = out.write(file.content)
        else:
            async for piece in _fetched(connection, file.url, tell, any_host=any_host):
                size += out.write(piece)
    return size


@contextmanager
def _new_file(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """A file that is only there, or only replaced, when the block ends well. Never follows a link."""
    place = path.with_name(f".{path.name[-100:]}.{os.getpid()}.part") if force else path
    try:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    except FileExistsError as error:
        raise _exists(place) from error
    except OSError as error:
        raise CommandError(f"{place}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
        if force:
            place.replace(path)
    except BaseException as error:
        with suppress(OSError):
            place.unlink()
        if isinstance(error, OSError) and error.strerror:
            raise CommandError(f"{path}: {error.strerror}") from error
        raise


async def _fetched(connection: Connection, url: str, tell: Tell, *, any_host: bool) -> AsyncIterator[bytes]:
    address = _address(connection, url, any_host=any_host)
    digest, size = hashlib.sha256(), 0
    async with connection.download(address, {"Accept": "*/*"}) as response:
        _refuse_status(response, url)
        length = response.headers.get("content-length", "")
        total = int(length) if length.isascii() and length.isdigit() else None
        async for piece in response.aiter_bytes():
            size += len(piece)
            digest.update(piece)
            tell(size, total)
            yield piece
        checksum = _CHECKSUM.fullmatch(response.headers.get("etag", ""))
    if total is not None and size != total:
        raise CommandError(f"{url} ended after {size} of {total} bytes; try again")
    if connection.is_own(address) and checksum is not None and checksum[1] != digest.hexdigest():
        raise CommandError(f"{url} does not have the checksum that the server gives; try again")


def _address(connection: Connection, url: str, *, any_host: bool) -> httpx2.URL:
    try:
        address = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise CommandError("the server's answer has an address that cannot be read") from error
    if address.scheme not in {"http", "https"} or not address.host:
        raise CommandError(f"{url} is no web address, and is not fetched")
    if not any_host and not connection.is_own(address):
        raise CommandError(f"{url} lies on another host than {connection.url}; --any-host fetches it all the same")
    return address


def _refuse_status(response: httpx2.Response, url: str) -> None:
    status = response.status_code
    if status in {401, 403}:
        raise UnauthorizedError(f"{url}: not allowed (HTTP {status}). Give a token with --token or A2A_TOKEN.")
    if status in {404, 410}:
        raise CommandError(f"{url}: there is no such file any more, or it is not yours")
    if status != httpx2.codes.OK:
        raise CommandError(f"{url} cannot be fetched (HTTP {status})")


def _progress(path: Path, *, shown: bool) -> AbstractContextManager[Tell]:
    if not shown or not sys.stderr.isatty():
        return nullcontext(lambda _size, _total: None)
    from a2a_server.cli.live import progress_bar

    return progress_bar(output.safe(path.name))
