"""What the benchmark makes of its measurements, and that its load sees what a server does wrong."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tests.bench.costs import PARTS, Bench, Series, _share
from tests.bench.counts import FULL, QUICK
from tests.bench.durability import doubts
from tests.bench.load import Broken, connections, work_off
from tests.bench.pairing import Claim, Verdict, ratio
from tests.bench.picture import picture
from tests.bench.report import Outcome, Report
from tests.bench.rows import ROWS, Row
from tests.bench.scale import echoes, latency, places, stored
from tests.bench.scale.rows import SCALE
from tests.bench.servers import OURS, RAW, Failed, environment
from tests.patience import PATIENCE

REQUEST = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"


def test_a_ratio_is_of_medians_and_its_interval_of_single_rounds() -> None:
    found = ratio([1.0, 2.0, 9.0], [2.0, 4.0, 3.0])
    assert (found.value, found.low, found.high) == (2 / 3, 0.5, 3.0)
    with pytest.raises(ValueError, match="at least one round"):
        ratio([], [])
    with pytest.raises(ValueError, match="argument"):
        ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("limit", "verdict"), [(3.0, Verdict.HOLDS), (2.99, Verdict.OPEN), (0.5, Verdict.OPEN), (0.49, Verdict.MISSED)]
)
def test_a_claim_holds_when_its_whole_interval_does(limit: float, verdict: Verdict) -> None:
    assert ratio([1.0, 2.0, 9.0], [2.0, 4.0, 3.0]).within(limit) is verdict


def test_rows_have_names_of_their_own_and_claims_that_can_fail() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert [row.name for row in ROWS if not row.claims] == ["same"]
    assert all(claim.limit and 0 <= (claim.aim or 0) <= claim.limit for row in ROWS for claim in row.claims)


def test_rows_about_scaling_are_a_group_of_their_own() -> None:
    assert len({row.name for row in (*ROWS, *SCALE)}) == len(ROWS) + len(SCALE)
    assert all(row.name.startswith("scale-") and row.claims and not row.peers for row in SCALE)
    limits = {row.name: {claim.limit for claim in row.claims} - {None} for row in SCALE}
    assert {name: found for name, found in limits.items() if found} == {
        "scale-claim": {1 / 6},
        "scale-capped": {2.0},
        "scale-answer": {10.0},
        "scale-stored-list": {1.3},
        "scale-stored-claim": {1.3},
    }


def test_claims_of_rows_about_scaling_name_sides_that_are_measured() -> None:
    sides = {
        "scale-cpu": {
            *(part for name in echoes.DEPLOYMENTS for part in echoes.parts(name)),
            echoes.PGBENCH,
            echoes.RAW,
        },
        "scale-rate": {*echoes.DEPLOYMENTS, echoes.PGBENCH, echoes.RAW},
        "scale-answer": {latency.TRIP, *map(latency.added, latency.WAYS)},
        "scale-stored-list": {stored.name_of(amount) for amount in FULL.stored},
    }
    for row in SCALE:
        named = {side for claim in row.claims for side in (claim.side, claim.against)}
        assert named <= sides.get(row.name, named), row.name


def test_a_claim_without_a_limit_is_only_told() -> None:
    report = _report({"ours": [1.0, 1.2, 1.1], "theirs <&>": [4.0, 5.0, 4.5]}, limit=None)
    (row,) = json.loads(report.json())["rows"]
    (claim,) = row["claims"]
    assert (claim["limit"], claim["verdict"], round(claim["value"], 3)) == (None, "", 0.244)
    assert report.markdown().endswith("ours ÷ theirs <&>: × 0.24 (0.24–0.25) |  |\n")
    assert "×" not in "".join(ET.fromstring(picture(report)).itertext())  # noqa: S314 - our own


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_quantile_is_the_value_that_so_many_do_not_exceed(share: float, value: int) -> None:
    assert latency.quantile([float(each) for each in range(100, 0, -1)], share) == value
    assert latency.quantile([7.0], share) == 7.0


class Meter(places.Family):
    def __init__(self) -> None:
        self.used = 0.0

    def cpu_seconds(self) -> float:
        return self.used


async def test_what_a_side_needs_to_start_does_not_count() -> None:
    meter = Meter()

    async def work(amount: int) -> None:
        meter.used += amount

    side = echoes.Side("one", work, {"all": [meter]}, start=lambda: work(2))
    await side.do(5)
    await side.do(6)
    assert side.taken()[0] == {"all": 7.0}
    assert side.taken() == ({}, 0.0)


def test_the_time_of_processes_that_have_ended_counts() -> None:
    busy = "sum(range(60_000_000))"
    runs = f"subprocess.run([sys.executable, '-c', {busy!r}])"
    script = f"import subprocess, sys, time; {runs}; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        try:
            family = places.Family("one", process.pid)
            assert process.stdout is not None
            process.stdout.readline()
            alone = places._busy_seconds(psutil.Process(process.pid))
            assert family.cpu_seconds() > alone + 0.05
        finally:
            process.kill()
    with pytest.raises(Failed, match="one ended by itself"):
        family.cpu_seconds()


async def test_one_measurement_serves_several_rows(tmp_path: Path) -> None:
    with places.spread(sorted(os.sched_getaffinity(0))):  # a bench takes a core for itself
        bench = Bench(tmp_path, QUICK, lambda _: None)
    asked: list[str] = []

    async def measure(_: Bench) -> dict[str, Series]:
        asked.append("")
        if len(asked) > 1:
            raise Failed("nothing there")
        return {"p50": {"one": [1.0]}}

    assert await bench.once("good", measure) is await bench.once("good", measure)
    for _ in range(2):
        with pytest.raises(Failed, match="nothing there"):
            await bench.once("bad", measure)
    assert len(asked) == 2


def test_a_report_says_the_same_in_every_form() -> None:
    report = _report({"ours": [1.0, 1.2, 1.1], "theirs <&>": [4.0, 5.0, 4.5]})
    (row,) = json.loads(report.json())["rows"]
    (claim,) = row["claims"]
    assert (row["name"], claim["verdict"], round(claim["value"], 3)) == ("one", "holds", 0.244)
    assert row["sides"]["ours"] == {"median": 1.1, "rounds": [1.0, 1.2, 1.1]}
    assert "× 0.24 (0.24–0.25); limit 0.27, aim 0.18" in report.markdown()
    assert "× 0.24 of at most 0.27" in "".join(ET.fromstring(picture(report)).itertext())  # noqa: S314 - our own


def test_a_report_that_is_not_durable_says_so() -> None:
    report = _report({"ours": [1.0], "theirs <&>": [4.0]}, "kept in memory")
    assert json.loads(report.json())["durable"] is False
    assert "not durable" in picture(report)


def test_a_directory_in_memory_is_not_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"/": "ext4", str(tmp_path): "tmpfs"}

    def partitions(*, all: bool) -> list[SimpleNamespace]:  # noqa: A002 - psutil's name
        return [SimpleNamespace(mountpoint=at, fstype=kind) for at, kind in kinds.items()]

    monkeypatch.setattr(psutil, "disk_partitions", partitions)
    (doubt,) = doubts(tmp_path)
    assert "kept in memory (tmpfs)" in doubt
    kinds[str(tmp_path)] = "ext4"
    assert doubts(tmp_path) == []


def test_no_setting_of_whoever_measures_reaches_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("A2A_SERVER_SLOTS", "PYTHONPATH", "LD_PRELOAD"):
        monkeypatch.setenv(name, "1")
    seen = environment(RAW, 8000, tmp_path)
    assert not {"A2A_SERVER_SLOTS", "PYTHONPATH", "LD_PRELOAD"} & seen.keys()
    assert (seen["PORT"], seen["KIND"]) == ("8000", "raw")
    assert str(tmp_path / "tasks.db") in " ".join(OURS.command(8000, tmp_path))


async def test_events_are_counted_wherever_pieces_end() -> None:
    pieces = [b"da", b"ta: 1\n\ndata", b": 2\n\n: ping\n\nd", b"ata: 3\n\n"]
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"
    async with _server(answer) as port, connections(port, 2) as clients:
        assert [await client.follow(REQUEST) for client in clients] == [3, 3]
        assert clients[0].events == 3


@pytest.mark.parametrize(
    ("answer", "seconds", "text"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", PATIENCE, "status 503.*busy"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhal", 0.1, "no answer in 0 s"),
        (b"", PATIENCE, "closed the connection"),
    ],
)
async def test_a_server_that_does_not_answer_is_no_fast_one(answer: bytes, seconds: float, text: str) -> None:
    async with _server(answer) as port, connections(port, 1) as (client,):
        with pytest.raises(Broken, match=text):
            await client.ask(REQUEST, seconds)


async def test_work_is_done_once_by_whoever_is_free() -> None:
    done: list[int] = []
    async with _server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as port, connections(port, 3) as clients:

        async def job(client: object, number: int) -> None:
            await asyncio.sleep(0)
            done.append(number)

        await work_off(clients, 10, job)
    assert sorted(done) == list(range(10))


def _report(series: Series, *found: str, limit: float | None = 0.27) -> Report:
    async def measure(bench: Bench) -> Series:
        return series

    row = Row("one", "a thing", "ms a thing", (Claim("ours", "theirs <&>", limit, 0.18 if limit else None),), measure)
    return Report("quick", [Outcome(row, series)], found, 1.0)


@asynccontextmanager
async def _server(answer: bytes) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while await reader.readuntil(b"\r\n\r\n") and answer:
                writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(("amount", "clients"), [(1, 1), (7, 1), (1_000, 32), (100, 100), (50, 1), (33, 32)])
def test_a_round_does_all_of_its_work_in_parts_that_keep_every_client_busy(amount: int, clients: int) -> None:
    shares = [_share(amount, part, clients) for part in range(PARTS)]
    assert sum(shares) == amount
    assert all(share == 0 or share >= min(clients, amount) for share in shares)
