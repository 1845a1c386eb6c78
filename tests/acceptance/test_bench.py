"""The benchmark measures: real servers, every kind of row, figures in every form. What it finds decides no test."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.bench.servers import PEERS, ROOT
from tests.services import needed, programs

REQUIRED = os.environ.get("A2A_TEST_REQUIRE_SERVICES") == "1"


async def test_our_own_rows_are_measured_and_drawn(tmp_path: Path) -> None:
    rows = ("same", "get-large", "store")
    found, said = await _benched(tmp_path, *rows)
    assert (found["mode"], found["durable"], [row["name"] for row in found["rows"]]) == ("quick", True, list(rows))
    assert {claim["side"] for row in found["rows"] for claim in row["claims"]} == {"4,000 chunks", "32 grouped callers"}
    _check(found)
    assert ET.parse(tmp_path / "table.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own
    assert "GetTask of a finished task of 31 KB" in (tmp_path / "table.md").read_text()
    assert "get-large" in said


@pytest.mark.skipif(not PEERS.exists() and not REQUIRED, reason="no peers are installed here; scripts/peers does it")
async def test_peers_are_measured_beside_ours(tmp_path: Path) -> None:
    found, _ = await _benched(tmp_path, "echo-1", "get")
    sides = {name for row in found["rows"] for name in row["sides"]}
    assert sides >= {"ours, 1.0", "ours, tasks/send", "a2a-sdk in memory", "fasta2a in memory"}
    _check(found)


async def test_rows_about_scaling_are_measured_on_a_postgresql_of_their_own(tmp_path: Path) -> None:
    with needed():
        programs.postgresql(as_nobody=os.geteuid() == 0)
    found, _ = await _benched(tmp_path, "scale-claim", "scale-claim-cpu")
    assert [set(row["sides"]) for row in found["rows"]] == [{"one by one", "100 at once"}] * 2
    assert [claim["limit"] for row in found["rows"] for claim in row["claims"]] == [1 / 6, None]
    _check(found)


async def _benched(tmp_path: Path, *rows: str) -> tuple[dict[str, Any], str]:
    words = [word for row in rows for word in ("--row", row)]
    for form, name in (("--json", "found.json"), ("--markdown", "table.md"), ("--picture", "table.svg")):
        words += [form, str(tmp_path / name)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench", "--quick", *words),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode in {0, 1}, said.decode()  # 1 = slower than it should be, which is no matter of tests
    return json.loads((tmp_path / "found.json").read_text()), said.decode()


def _check(found: dict[str, Any]) -> None:
    for row in found["rows"]:
        for side in row["sides"].values():
            assert len(side["rounds"]) == 3
            assert all(value > 0 for value in side["rounds"])
