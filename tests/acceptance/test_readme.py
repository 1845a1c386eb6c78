"""What the documentation shows is what happens: the README's first request, and every Python snippet."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.test_cli import Served

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = [
    pytest.param(snippet, id=f"{page.name}-{number}")
    for page in PAGES
    for number, snippet in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL), 1)
]


def test_the_first_curl_of_the_readme_is_answered_and_repeated_and_survives_a_kill(tmp_path: Path) -> None:
    shown = re.search(r"curl [^\n]*:8000/ .*?-d '(.*?)'", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    request = json.loads(shown[1])
    assert request["method"] == "tasks/send"
    served = Served(tmp_path, "demo")
    served.start()
    try:
        first = httpx2.post(served.url, json=request, trust_env=False).json()["result"]
        assert first["status"]["state"] == "completed"
        assert first["artifacts"][0]["parts"] == [{"type": "text", "text": "hello"}]
        assert httpx2.post(served.url, json=request, trust_env=False).json()["result"] == first
        assert served.process is not None
        served.process.kill()
        served.process.wait(10)
        served.start()
        read = {"jsonrpc": "2.0", "id": 2, "method": "tasks/get", "params": {"id": first["id"]}}
        again = httpx2.post(served.url, json=read, trust_env=False).json()["result"]
        assert (again["id"], again["status"], again["artifacts"]) == (first["id"], first["status"], first["artifacts"])
    finally:
        served.stop()


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_python_snippet_runs(snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "snippet.py").write_text(snippet)
    assert runpy.run_path(str(tmp_path / "snippet.py"))["agent"].check() is None
