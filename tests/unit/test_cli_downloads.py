"""`task download`: names are made safe, nothing that exists is lost, and files come from where they may come from."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, strategies as st

from a2a_server.cli import main
from a2a_server.cli.downloading import _new_file, chosen, files_of
from a2a_server.cli.failures import CommandError
from a2a_server.cli.filenames import LONGEST_BYTES, distinct, safe_name, with_extension
from tests.unit.cli_servers import Json, method, result, serve, task

BIG = bytes(range(256)) * 4096
HERE = "http://127.0.0.1:8000/artifacts/k/1/1"


def artifact(*parts: Json, id: str = "a1", name: str = "") -> Json:
    return {"artifactId": id, "parts": list(parts)} | ({"name": name} if name else {})


def served(
    monkeypatch: pytest.MonkeyPatch, *artifacts: Json, body: bytes = BIG, etag: str | None = None, code: int = 200
) -> list[httpx2.Request]:
    headers = {"ETag": f'"{etag or hashlib.sha256(body).hexdigest()}"', "Content-Length": str(len(body))}

    def answer(request: httpx2.Request) -> httpx2.Response:
        if method(request) == "GET":
            return httpx2.Response(code, headers=headers, content=body)
        return result(request, task("T", artifacts=list(artifacts)))

    return serve(monkeypatch, answer)


@given(st.text(max_size=400))
def test_a_name_is_one_part_of_a_path_whatever_was_meant(wanted: str) -> None:
    name = safe_name(wanted)
    assert name
    assert name not in (".", "..")
    assert not set(name) & set('/\\<>:"|?*\0')
    assert name.isprintable() or not any(ord(character) < 32 for character in name)
    assert not name.startswith((".", "-.")) and not name.endswith((".", " "))  # noqa: PT018 - one rule
    assert len(name.encode()) <= LONGEST_BYTES + len("artifact_")
    assert Path("/to", name).parent == Path("/to")


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("a/b/", "b"),
        ("a\\b.txt", "b.txt"),
        ("..", "artifact"),
        ("", "artifact"),
        (".bashrc", "bashrc"),
        ("con.txt", "artifact_con.txt"),
        ("LPT1", "artifact_LPT1"),
        ("a\0b\nc.txt", "a_b_c.txt"),
        ("photo\u202egpj.exe", "photo_gpj.exe"),
        ("größe.txt", "größe.txt"),
        ("x" * 300 + ".csv", "x" * 196 + ".csv"),
    ],
)
def test_names_that_mean_harm(wanted: str, name: str) -> None:
    assert safe_name(wanted) == name


def test_names_get_extensions_and_numbers() -> None:
    assert with_extension("a", "application/json; charset=utf-8") == "a.json"
    assert with_extension("a.b", "application/json") == "a.b"
    assert with_extension("a", "x/unknown") == "a"
    taken: set[str] = set()
    assert [distinct(name, taken) for name in ("a.txt", "A.TXT", "a.txt", "b")] == ["a.txt", "A-2.TXT", "a-3.txt", "b"]


def test_what_artifacts_become() -> None:
    files = files_of(
        [
            artifact({"text": "one "}, {"text": "two"}, name="words"),
            artifact({"data": {"é": 1}}, id="d"),
            artifact({"raw": base64.b64encode(b"\0\1").decode(), "filename": "x.bin"}, {"text": "and"}, name="mixed"),
            artifact({"url": HERE, "filename": "../big.iso"}),
        ]
    )
    assert [(file.name, file.content, file.url) for file in files] == [
        ("words.txt", b"one two", None),
        ("d.json", '{\n  "é": 1\n}'.encode(), None),
        ("x.bin", b"\0\1", None),
        ("mixed.txt", b"and", None),
        ("big.iso", b"", HERE),
    ]


def test_one_artifact_by_name_or_id() -> None:
    both = task("T", artifacts=[artifact(id="1", name="x"), artifact(id="2")])
    assert [one["artifactId"] for one in chosen(both, "x") + chosen(both, "2")] == ["1", "2"]
    with pytest.raises(CommandError, match="no artifact 'y'; it has: x, 2"):
        chosen(both, "y")


def test_files_are_written_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    big = artifact({"url": HERE, "filename": "big.bin"}, id="b")
    asked = served(monkeypatch, artifact({"text": "hi"}, name="said"), big)
    to = tmp_path / "made" / "here"
    assert main(["task", "download", "T", "--to", str(to), "--token", "secret"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(to / "said.txt"), str(to / "big.bin")]
    assert (to / "said.txt").read_bytes() == b"hi"
    assert (to / "big.bin").read_bytes() == BIG
    assert sorted(path.name for path in to.iterdir()) == ["big.bin", "said.txt"]
    assert asked[-1].headers["authorization"] == "Bearer secret"
    assert main(["task", "download", "T", "--to", str(to), "--force", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["files"]
    assert [(file["artifactId"], file["size"]) for file in told] == [("a1", 2), ("b", len(BIG))]
    assert sorted(path.name for path in to.iterdir()) == ["big.bin", "said.txt"]


def test_a_file_that_exists_is_left_alone_and_links_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served(monkeypatch, artifact({"text": "new"}, name="other"), artifact({"text": "new"}, name="said"))
    to = tmp_path / "to"
    to.mkdir()
    precious = tmp_path / "precious"
    precious.write_text("old")
    (to / "said.txt").symlink_to(precious)
    assert main(["task", "download", "T", "--to", str(to)]) == 1
    assert "said.txt exists; --force replaces it" in capsys.readouterr().err
    assert [path.name for path in to.iterdir()] == ["said.txt"]  # nothing was half done
    assert main(["task", "download", "T", "--to", str(to), "--force"]) == 0
    assert (precious.read_text(), (to / "said.txt").read_text()) == ("old", "new")
    assert not (to / "said.txt").is_symlink()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"etag": "0" * 64}, "does not have the checksum"),
        ({"code": 404}, "no such file any more"),
        ({"code": 302}, "cannot be fetched (HTTP 302)"),
    ],
)
@pytest.mark.parametrize("force", [[], ["--force"]], ids=["new", "force"])
def test_what_cannot_be_fetched_whole_leaves_nothing(
    more: dict[str, Any], said: str, force: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served(monkeypatch, artifact({"url": HERE, "filename": "x"}), **more)
    errors: list[str] = []
    monkeypatch.setattr("a2a_server.cli.say", errors.append)
    assert main(["task", "download", "T", "--to", str(tmp_path), *force]) == 1
    assert said in errors[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:9/x", "lies on another host"),
        ("https://127.0.0.1:8000/x", "lies on another host"),
        ("http://169.254.169.254/latest", "lies on another host"),
        ("file:///etc/passwd", "no web address"),
        ("ftp://127.0.0.1:8000/x", "no web address"),
        ("http://a:b/x", "cannot be read"),
    ],
)
def test_other_hosts_are_asked_only_where_that_is_allowed_and_without_the_token(
    url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = served(monkeypatch, artifact({"url": url, "filename": "x"}))
    assert main(["task", "download", "T", "--to", str(tmp_path)]) == 1
    assert said in capsys.readouterr().err
    assert [request.method for request in asked] == ["POST"]
    allowed = main(["task", "download", "T", "--to", str(tmp_path), "--any-host", "--token", "secret"])
    assert allowed == (0 if "another host" in said else 1)
    assert all("authorization" not in request.headers for request in asked if request.method == "GET")


def test_a_file_that_appears_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "said.txt"
    path.write_text("old")
    with pytest.raises(CommandError, match="exists"), _new_file(path, force=False):
        pytest.fail("it was opened")
    assert path.read_text() == "old"


def test_names_of_this_machine_are_one_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served(monkeypatch, artifact({"url": "http://localhost:8000/artifacts/x", "filename": "x"}))
    assert main(["task", "download", "T", "--to", str(tmp_path)]) == 0
    assert (tmp_path / "x").read_bytes() == BIG


def test_a_task_without_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served(monkeypatch)
    assert main(["task", "download", "T", "--to", str(tmp_path)]) == 0
    assert capsys.readouterr() == ("", "task T has no artifacts yet\n")
