"""Files that clients upload: what is taken, what it is called, what is refused, and that nothing half is ever there."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

import httpx2
import pytest

from a2a_server import Agent, Artifact, File
from a2a_server.artifacts import filesystem
from a2a_server.examples.workbench import agent
from a2a_server.testing import Connection, connect
from a2a_server.web.dispositions import filename_of
from tests.clients.rpc import new_http
from tests.contracts.artifact_stores import pieces
from tests.patience import PATIENCE
from tests.server.samples import content
from tests.server.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 100_000
LITTLE = 60_000
"""Bytes that a server reads at once: none of them is unread when it gives up, which would cost its answer."""
SIZES = [0, 1, 65_535, 65_536, 65_537, 3_000_001]


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_uploaded_can_be_had(server: Connection, http: httpx2.AsyncClient, size: int) -> None:
    response = await http.post(
        f"{server.url}/artifacts?filename=ä%20b.txt", content=content(size), headers={"Content-Type": "text/plain"}
    )
    assert response.status_code == 201
    shown = response.json()
    assert list(shown) == ["id", "url", "filename", "mediaType", "size", "sha256", "createdAt"]
    assert str(UUID(shown["id"])) == shown["id"]
    assert (shown["filename"], shown["mediaType"], shown["size"]) == ("ä b.txt", "text/plain", size)
    assert shown["sha256"] == hashlib.sha256(content(size)).hexdigest()
    assert shown["createdAt"].endswith("Z")
    assert response.headers["location"] == shown["url"]
    got = await http.get(shown["url"])
    assert (got.status_code, got.content) == (200, content(size))
    assert got.headers["content-type"] == "text/plain"
    assert got.headers["etag"] == f'"{shown["sha256"]}"'


@pytest.mark.parametrize("said", ["", "application/x-www-form-urlencoded"])
async def test_of_a_file_without_a_type_nothing_is_known(
    server: Connection, http: httpx2.AsyncClient, said: str
) -> None:
    """curl says that every body is a form unless it is told otherwise."""
    headers = {"Content-Type": said} if said else {}
    response = await http.post(f"{server.url}/artifacts", content=b"x", headers=headers)
    assert (response.status_code, response.json()["mediaType"]) == (201, "application/octet-stream")


async def test_two_uploads_of_the_same_are_two_files(server: Connection, http: httpx2.AsyncClient) -> None:
    first, second = [(await http.post(f"{server.url}/artifacts", content=b"same")).json() for _ in range(2)]
    assert first["url"] != second["url"]
    assert first["sha256"] == second["sha256"]


@pytest.mark.parametrize(
    ("header", "query", "name"),
    [
        (None, None, ""),
        (None, "a.txt", "a.txt"),
        (b'attachment; filename="a.txt"', "b.txt", "a.txt"),
        (b"attachment; filename=a.txt", None, "a.txt"),
        (b'attachment; filename="a \\"quoted\\" name.txt"', None, 'a "quoted" name.txt'),
        (b"attachment; filename*=UTF-8''%e2%82%ac%20rates", None, "€ rates"),
        (b"attachment; filename=\"EURO\"; filename*=utf-8'en'%e2%82%ac", None, "€"),
        (b"attachment; filename*=ISO-8859-1''%e4.txt", None, "ä.txt"),
        ('attachment; filename="ä.txt"'.encode(), None, "ä.txt"),
        ('attachment; filename="ä.txt"'.encode("latin-1"), None, "ä.txt"),
        (b"attachment", "a.txt", "a.txt"),
        (None, "../../etc/passwd", "../../etc/passwd"),
        (None, "x" * 255, "x" * 255),
    ],
)
async def test_the_name_is_what_the_client_says(
    server: Connection, http: httpx2.AsyncClient, header: bytes | None, query: str | None, name: str
) -> None:
    url = f"{server.url}/artifacts" + ("" if query is None else f"?filename={quote(query, safe='')}")
    response = await http.post(url, content=b"x", headers=[] if header is None else [(b"Content-Disposition", header)])
    assert (response.status_code, response.json()["filename"]) == (201, name)


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({}, "filename=", 400),
        ({}, f"filename={'x' * 256}", 400),
        ({}, "filename=a%00b", 400),
        ({}, "filename=a%0d%0ab", 400),
        ({}, "filename=%e2%80%ae", 400),
        ({"Content-Disposition": "attachment; filename*=UTF-8''%ff"}, "", 400),
        ({"Content-Disposition": "attachment; filename*=UTF-8''%0d%0aX:1"}, "", 400),
        ({"Content-Disposition": "attachment; filename*=UTF-16''a"}, "", 400),
        ({"Content-Disposition": "attachment; filename*=a"}, "", 400),
        ({"Content-Type": "no type"}, "", 400),
        ({"Content-Type": "a/b; c"}, "", 400),
        ({"Content-Type": f"a/{'b' * 260}"}, "", 400),
        ({"Content-Type": "multipart/form-data; boundary=x"}, "", 415),
        ({"Content-Encoding": "gzip"}, "", 415),
        ({"Sec-Fetch-Site": "cross-site"}, "", 403),
    ],
)
async def test_what_is_refused_keeps_nothing(
    http: httpx2.AsyncClient, tmp_path: Path, headers: dict[str, str], query: str, status: int
) -> None:
    async with connect(agent, artifacts=f"file://{tmp_path}/objects") as server:
        response = await http.post(f"{server.url}/artifacts?{query}", content=b"x", headers=headers)
        assert response.status_code == status
        error = response.json()["error"]
        assert error["code"] == status
        assert error["message"].endswith((".", ")."))
        assert files_below(tmp_path) == []


@pytest.mark.embedded
async def test_the_limit_is_counted_while_reading(http: httpx2.AsyncClient, tmp_path: Path) -> None:
    async with connect(agent, artifacts=f"file://{tmp_path}/objects", artifact_limit_bytes=LIMIT) as server:
        for size, status in {LIMIT - 1: 201, LIMIT: 201, LIMIT + 1: 413, LIMIT * 10: 413}.items():
            for body in (content(size), pieces(content(size)[: LIMIT // 2], content(size)[LIMIT // 2 :])):
                response = await http.post(f"{server.url}/artifacts", content=body)
                assert response.status_code == status, size
                if status == 413:
                    assert f"{LIMIT} bytes (artifact_limit_bytes)" in response.json()["error"]["message"]
        assert len(files_below(tmp_path)) == 4


@pytest.mark.embedded
async def test_a_client_that_hangs_up_leaves_nothing(tmp_path: Path) -> None:
    async with connect(agent, artifacts=f"file://{tmp_path}/objects") as server:
        _, writer = await connection(server)
        writer.write(
            b"POST /artifacts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000000\r\n\r\n" + bytes(2_000_000)
        )
        await writer.drain()
        await until(lambda: len(files_below(tmp_path)) == 1)
        assert ".incoming" in files_below(tmp_path)[0]
        writer.close()
        await until(lambda: files_below(tmp_path) == [])


@pytest.mark.embedded
async def test_a_client_that_stalls_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[str] = []
    write = filesystem._Upload.write

    def noted(upload: filesystem._Upload, piece: bytes | bytearray) -> None:
        write(upload, piece)
        there.extend(files_below(tmp_path))

    monkeypatch.setattr(filesystem, "PIECE_BYTES", 10_000)  # so that `LITTLE` is written before it is all
    monkeypatch.setattr(filesystem._Upload, "write", noted)
    async with connect(agent, artifacts=f"file://{tmp_path}/objects", write_stall_seconds=0.2) as server:
        reader, writer = await connection(server)
        writer.write(b"POST /artifacts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000000\r\n\r\n" + bytes(LITTLE))
        assert b" 408 " in await asyncio.wait_for(reader.readline(), PATIENCE)
        writer.close()
        assert there
        assert ".incoming" in there[0]
        assert files_below(tmp_path) == []


@pytest.mark.embedded
async def test_a_full_disk_is_said_and_passes(
    http: httpx2.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with connect(agent, artifacts=f"file://{tmp_path}/objects") as server:
        with monkeypatch.context() as broken:
            broken.setattr("a2a_server.artifacts.filesystem.os.fsync", full)
            response = await http.post(f"{server.url}/artifacts", content=b"x")
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert "space" not in response.text
        assert files_below(tmp_path) == []
        assert (await http.post(f"{server.url}/artifacts", content=b"x")).status_code == 201


async def test_only_what_is_recorded_has_an_address(http: httpx2.AsyncClient, server: Connection) -> None:
    missing = {"code": 404, "status": "NOT_FOUND", "message": "There is no such file, or it is not yours."}
    for name in ("01938a6e-7b1c-7d3e-8f00-1a2b3c4d5e6f/upload/0", "", "upload/0"):
        response = await http.get(f"{server.url}/artifacts/{name}")
        assert (response.status_code, response.json()) == (404, {"error": missing})
    assert (await http.get(f"{server.url}/artifacts")).status_code == 405


@pytest.mark.parametrize(
    ("given", "saved"),
    [
        ("notes.txt", "notes.txt"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/", "download"),
        ("..", "download"),
        (" . ", "download"),
        ('a"; filename=evil.exe', "a_; filename=evil.exe"),
        ("€ rates.pdf", "€ rates.pdf"),
        ("COM1.txt", "_COM1.txt"),
        ("nul", "_nul"),
        ("a:b|c?.txt", "a_b_c_.txt"),
    ],
)
async def test_a_name_to_save_under_is_harmless(
    server: Connection, http: httpx2.AsyncClient, given: str, saved: str
) -> None:
    shown = (await http.post(f"{server.url}/artifacts?filename={quote(given, safe='')}", content=b"x")).json()
    assert shown["filename"] == given
    response = await http.get(shown["url"])
    disposition = response.headers["content-disposition"]
    assert disposition.startswith("attachment; filename=")
    assert filename_of(disposition) == saved


def files_below(directory: Path) -> list[str]:
    return [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]


def listing(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def connection(server: Connection) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))


@pytest.mark.embedded
async def test_five_hundred_hostile_names_reach_nothing(tmp_path: Path) -> None:
    """As names of uploads, of artifacts and of downloads: data only, and no file elsewhere is written or read."""
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "root"
    root.mkdir()
    before = listing(tmp_path)
    async with connect(named(), artifacts=f"file://{root}/objects") as server, new_http() as http:
        for name in HOSTILE:
            await survives(server, http, name)
    assert listing(tmp_path) == before
    assert listing(root) == ["objects"]
    assert all(OUR_PATH.fullmatch(path) for path in files_below(root / "objects"))


def named() -> Agent:
    agent = Agent("Named")

    @agent.skill
    async def name(name: str) -> Artifact:
        return Artifact(name, (File(name, raw=bytes(70_000)),))

    return agent


async def survives(server: Connection, http: httpx2.AsyncClient, name: str) -> None:
    said = quote(name.encode("utf-8", "surrogatepass"), safe="")
    response = await http.post(f"{server.url}/artifacts?filename={said}", content=b"x")
    assert response.status_code in {201, 400, 414}, name[:80]
    if response.status_code == 201:
        got = await http.get(response.json()["url"])
        assert (got.status_code, got.content) == (200, b"x"), name[:80]
        assert set(got.headers) <= DOWNLOAD_HEADERS, name[:80]
    task = await server.send(data={"name": name.encode(errors="replace").decode()})
    for artifact in task.get("artifacts", ()):
        got = await http.get(artifact["parts"][0]["url"])
        assert (got.status_code, got.content) == (200, bytes(70_000)), name[:80]
    for path in (said, quote(name.encode("utf-8", "surrogatepass"), safe="/.%~\\:;@&=+$,!*'()")):
        assert b"secret" not in await raw_get(server, f"/artifacts/{path}"), name[:80]


async def raw_get(server: Connection, path: str) -> bytes:
    """What a client gets that does not tidy its paths."""
    reader, writer = await connection(server)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode("latin-1", "replace"))
    answer = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    assert answer.split(b" ", 2)[1] in {b"400", b"404", b"405", b"414"}, path[:80]
    return answer


OUR_PATH = re.compile(r"[0-9a-f]{6}/[0-9a-f]{8}/[0-9a-f-]{36}\.(?:upload\.0|files\.1\.1)")
DOWNLOAD_HEADERS = {
    *("accept-ranges", "cache-control", "content-disposition", "content-length", "content-security-policy"),
    *("content-type", "date", "etag", "x-content-type-options"),
}
WORDS = [
    *("..", "../secret", "../../secret", "../../../etc/passwd", "..\\secret", "/etc/passwd", "//etc/passwd", "~root"),
    *(
        "%2e%2e%2fsecret",
        "%252e%252e/secret",
        "..%2fsecret",
        "..%5csecret",
        "....//secret",
        "..;/secret",
        ".%00./secret",
    ),
    *("\x00", "secret\x00.txt", "a\r\nSet-Cookie: x=1", "a\nb", "a\tb", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u2029"),
    *(
        "\uff0e\uff0e/secret",
        "\u2024\u2024/secret",
        "..\u2215secret",
        "..\u2044secret",
        "..\uff0fsecret",
        "\u202etxt.exe",
    ),
    *("\ufeffsecret", "a\u200bb", "e\u0301", "é", "😀", "\ud800", "\U000e0001", "\u0661", "İ", "ß"),
    *(
        "CON",
        "nul.txt",
        "COM1",
        "LPT9.log",
        "aux",
        "prn.",
        "con ",
        "a:stream",
        "C:\\secret",
        "\\\\host\\share",
        "?",
        "*",
    ),
    *("x" * 255, "x" * 256, "x" * 5000, "é" * 255, ".", " ", "  ", ".incoming", ".incoming/x", "-rf", "--help"),
    *("$(id)", "`id`", ";id", "|id", "&id", "'", '"', '";x="', "<script>", "{{7*7}}", "${jndi:x}", "%s%n", "%"),
    *("file:///etc/passwd", "http://127.0.0.1/", "data:,x", "javascript:alert(1)", "secret/.", "secret/..", "./secret"),
]
KEY = "01938a6e-7b1c-7d3e-8f00-1a2b3c4d5e6f"
HOSTILE = [
    *WORDS,
    *(f"{KEY}/{word}/0" for word in WORDS),
    *(f"{KEY}/upload/{word}" for word in WORDS),
    *(f"../{word}" for word in WORDS),
    *(f"{word}/upload/0" for word in WORDS),
    *(f"{word}{word}" for word in WORDS),
]
assert len(HOSTILE) >= 500
