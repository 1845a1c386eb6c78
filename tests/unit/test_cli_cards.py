"""`card get` and `card validate`: what servers serve, what files say, and every complaint."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest

from a2a_server.cli import main
from a2a_server.model.card import AgentCard, AgentSkill
from a2a_server.wire.cards import render, with_interfaces
from tests.unit.cli_servers import Json, serve

URL = "https://agent.example/mounted"
PATHS = ["/mounted/.well-known/agent-card.json", "/mounted/.well-known/agent.json"]


def card(**more: object) -> Json:
    own = AgentCard(name="Echo", skills=[AgentSkill(id="echo", name="Echo", description="Say it back.")])
    return {**render(with_interfaces(own, f"{URL}/"), pure=False), **more}


def served(monkeypatch: pytest.MonkeyPatch, *documents: object) -> list[httpx2.Request]:
    def answer(request: httpx2.Request) -> httpx2.Response:
        document = documents[min(PATHS.index(request.url.path), len(documents) - 1)]
        if isinstance(document, int):
            return httpx2.Response(document, text="no")
        return httpx2.Response(200, text=document if isinstance(document, str) else json.dumps(document))

    return serve(monkeypatch, answer)


def test_a_card_is_shown_for_people_and_as_it_is_served(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = served(monkeypatch, '{"name":  "Echo"}')
    assert main(["card", "get", "--url", URL]) == 0
    assert capsys.readouterr().out == '{\n  "name": "Echo"\n}\n'
    assert main(["card", "get", "--url", URL, "-o", "json"]) == 0
    assert capsys.readouterr().out == '{"name":  "Echo"}'
    assert asked[0].headers["a2a-version"] == ""  # the card that every generation reads


def test_the_older_path_is_asked_where_the_newer_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served(monkeypatch, 404, {"name": "Old"})
    assert main(["card", "get", "--url", URL]) == 0
    assert "Old" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("documents", "code", "said"),
    [
        ((404, 404), 1, "is not served (HTTP 404)"),
        ((401,), 4, "not allowed (HTTP 401)"),
        (("<html>",), 1, "no JSON object"),
        (("[1]",), 1, "no JSON object"),
        (("[" * 100_000,), 1, "no JSON object"),
        (("x" * (1 << 21),), 1, "is larger than"),
    ],
)
def test_what_is_no_card_is_one_calm_line(
    documents: tuple[object, ...],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    served(monkeypatch, *documents)
    assert main(["card", "get", "--url", URL]) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def complaints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *documents: object, url: str = URL
) -> list[str]:
    served(monkeypatch, *documents)
    code = main(["card", "validate", url, "-o", "json"])
    told: Json = json.loads(capsys.readouterr().out)
    assert (code, told["ok"]) == ((1, False) if told["complaints"] else (0, True))
    return list(told["complaints"])


def test_a_served_card_that_is_right(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert complaints(monkeypatch, capsys, card()) == []
    abilities = {"streaming": True, "pushNotifications": True, "extendedAgentCard": True}
    assert complaints(monkeypatch, capsys, card(capabilities=abilities)) == []  # others may have what we have not
    older = {name: value for name, value in card().items() if name != "supportedInterfaces"}
    assert complaints(monkeypatch, capsys, older) == []
    served(monkeypatch, card())
    assert main(["card", "validate", "--url", URL]) == 0
    assert capsys.readouterr().out == "OK\n"


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ((card(), 404), "/.well-known/agent.json is not served (HTTP 404)"),
        ((card(), card(name="Other")), "/.well-known/agent.json is not the card of /.well-known/agent-card.json"),
        ((card(nmae="x"),), 'unknown member "nmae"; did you mean "name"?'),
        ((card(skills=[]),), "skills: there is none"),
        ((card(name=""),), "name: "),
        ((card(supportedInterfaces=[]),), "supportedInterfaces: there is none"),
        (({"name": "x", "skills": card()["skills"]},), "supportedInterfaces: there is none, and no url"),
        (
            (card(supportedInterfaces=[{"url": URL, "protocolBinding": "SOAP", "protocolVersion": "1.0"}]),),
            "none of GRPC",
        ),
        (
            (card(supportedInterfaces=[{"url": URL, "protocolBinding": "JSONRPC", "protocolVersion": "v1"}]),),
            "like 1.0",
        ),
        ((card(supportedInterfaces=[{"url": "/rpc", "protocolBinding": "JSONRPC"}]),), "must be a whole address"),
        ((card(supportedInterfaces=[{"url": "http://127.0.0.1:1/"}]),), "names the server's own machine"),
        ((card(supportedInterfaces=["x"]),), "supportedInterfaces[0]"),
        ((card(capabilities=3),), "capabilities"),
    ],
)
def test_every_complaint_about_a_served_card(
    documents: tuple[object, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert any(said in complaint for complaint in complaints(monkeypatch, capsys, *documents))


def test_a_card_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "agent_card.json"
    path.write_text(json.dumps({"name": "Echo"}))
    assert main(["card", "validate", str(path)]) == 0
    path.write_text(json.dumps({"name": "", "nmae": "x"}))
    assert main(["card", "validate", str(path)]) == 1
    out = capsys.readouterr().out
    assert 'unknown member "nmae"' in out
    path.write_text("{")
    assert main(["card", "validate", str(path)]) == 2
    assert "is not JSON" in capsys.readouterr().err
    assert main(["card", "validate", str(tmp_path / "none.json")]) == 2
    assert "name a card file, or a server" in capsys.readouterr().err
