"""The documents' example with real processes: a batch of pictures, the urgent ones first, in one stream, as artifacts.

With A2A_TEST_FULL=1 it is as large as the documents say, 1,000 pictures; otherwise smaller.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from a2a_server.cli.sse import Reader
from a2a_server.examples.image_analysis import HOT, brightness, coloured, found, heated, measured
from a2a_server.examples.image_client import ENDED, Options, tasks_of
from a2a_server.examples.pictures import drawn, opened, png, spots_of
from tests.acceptance.test_cli import Served
from tests.acceptance.waiting import standing_still
from tests.drills.counts import CI, FULL
from tests.patience import PATIENCE

Json = dict[str, Any]

AGENT = "a2a_server.examples.image_analysis:agent"
THREADS = 4
PICTURES = (FULL if os.environ.get("A2A_TEST_FULL") == "1" else CI).pictures
SIDE = 32
LIMIT = "rate:analyse"


@contextmanager
def served(directory: Path, *flags: str) -> Iterator[Served]:
    """The example's agent, with few threads so that cases wait for each other."""
    settings = directory / "settings.yaml"
    settings.write_text(f"threads: {THREADS}\n")
    server = Served(directory, "run", AGENT, "--config", str(settings), *flags)
    server.start()
    try:
        yield server
    finally:
        code = server.stop()
    assert code == 0


def program(*words: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "a2a_server.examples.image_analysis", *words]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def api(server: Served) -> Iterator[Callable[[str], Json]]:
    """Reads the management API over one connection."""
    with httpx2.Client(base_url=f"{server.url}/api/v1", trust_env=False, timeout=PATIENCE) as http:

        def get(path: str) -> Json:
            response = http.get(path)
            assert response.status_code == 200, response.text
            answer: Json = response.json()
            return answer

        yield get


def told(server: Served, batch: str) -> list[tuple[str, Json]]:
    """All that one connection tells of a batch; the server closes it."""
    events: list[tuple[str, Json]] = []
    reader = Reader()
    url = f"{server.url}/api/v1/events"
    with httpx2.stream("GET", url, params={"batch": batch}, trust_env=False, timeout=PATIENCE) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for chunk in response.iter_bytes():
            events += [(event.event, json.loads(event.data)) for event in reader.feed(chunk)]
    return events


def expected(parameters: Json) -> tuple[Json, bytes]:
    """What comes of a drawn picture: the data, and the heat map."""
    picture = drawn(**parameters)
    bright = brightness(picture)
    heat = heated(bright, picture.width, picture.height)
    content = {"statistics": measured(picture, bright), "findings": found(heat)}
    data: Json = json.loads(json.dumps(content, default=vars_of))
    return data, png(coloured(heat))


def vars_of(value: object) -> Json:
    return {name: getattr(value, name) for name in value.__slots__}  # type: ignore[attr-defined]  # dataclasses with slots


def test_urgent_cases_start_first_all_complete_and_one_stream_tells_each_end_once(tmp_path: Path) -> None:
    options = Options(count=PICTURES, urgent=PICTURES // 5, size=SIDE, seed=100, to=tmp_path)
    tasks = tasks_of(options)
    with served(tmp_path) as server, api(server) as get:
        sent = httpx2.post(f"{server.url}/api/v1/batches", json={"tasks": tasks}, trust_env=False, timeout=PATIENCE)
        assert sent.status_code == 201, sent.text
        made = sent.json()
        ids = [item["id"] for item in made["items"]]
        assert (made["created"], made["failed"], len({*ids})) == (options.count, 0, options.count)

        events = told(server, made["id"])
        assert [kind for kind, _ in events if kind not in {"task", "totals"}] == ["ready", "end"]
        kind, last = events[-1]
        everything = {"total": options.count, "ended": options.count, "states": {"completed": options.count}}
        assert (kind, last["totals"]) == ("end", everything)
        ends = Counter(event["taskId"] for kind, event in events if kind == "task" and event["state"] in ENDED)
        assert ends == Counter(ids)
        numbers: dict[str, int] = {}
        for _, event in events[:-1]:
            if "taskId" in event:
                assert event["n"] >= numbers.get(event["taskId"], 0)
                numbers[event["taskId"]] = event["n"]

        batch = get(f"/batches/{made['id']}")
        assert (batch["states"], batch["progress"]) == ({"completed": options.count}, 1.0)
        shown = [get(f"/tasks/{task_id}") for task_id in ids]
        assert [task["parameters"] for task in shown] == [task["parameters"] for task in tasks]
        assert {(task["kind"], task["skill"], task["attempt"]) for task in shown} == {("analysis", "analyse", 1)}
        started = {
            priority: [task["startedAt"] for task in shown if task["priority"] == priority]
            for priority in ("critical", "low")
        }
        assert (len(started["critical"]), len(started["low"])) == (options.urgent, options.count - options.urgent)
        # In one moment begin those that one claim took: at its end no urgent case is left, so others may fill it.
        assert max(started["critical"]) <= min(started["low"])
        assert sum(at == max(started["critical"]) for at in started["low"]) < THREADS

        for task_id, task in zip(ids, tasks, strict=True):
            result = get(f"/tasks/{task_id}/result")
            analysis, heat_map = result["artifacts"]
            data, picture = expected(task["parameters"])
            assert (analysis["name"], [part["data"] for part in analysis["parts"]]) == ("analysis", [data])
            [part] = heat_map["parts"]
            assert (heat_map["name"], part["filename"], part["mediaType"]) == ("heat map", "heat-map.png", "image/png")
            assert base64.b64decode(part["raw"]) == picture


def test_the_program_serves_itself_and_says_what_came_of_it(tmp_path: Path) -> None:
    done = program("--count", "30", "--size", str(SIDE), "--to", "out", cwd=tmp_path)
    out, err = done.communicate(timeout=PATIENCE)
    assert (done.returncode, err) == (0, "")
    said = re.search(r"^batch (\S+): 30 completed in [\d.]+ s, \d+ a second$", out, re.MULTILINE)
    assert said is not None
    assert re.search(
        r"^order: the last urgent case started after [\d.]+ s, 0 routine ones before it$", out, re.MULTILINE
    )
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [line["title"] for line in lines] == [f"case {number:04}" for number in range(30)]
    assert Counter(line["priority"] for line in lines) == {"critical": 3, "low": 27}
    for line in lines:
        data, picture = expected(line["parameters"])
        assert {"statistics": line["statistics"], "findings": line["findings"]} == data
        assert (tmp_path / "out" / line["heatMap"]).read_bytes() == picture
        assert len(line["findings"]) == len(spots_of(**line["parameters"]))
    kept = ("--store", f"sqlite:///{tmp_path}/out/tasks.db", "--artifacts", f"file:{tmp_path}/out/artifacts")
    with served(tmp_path, *kept) as server, api(server) as get:
        assert get(f"/batches/{said[1]}")["states"] == {"completed": 30}


def test_the_program_goes_on_behind_a_kill_of_its_server(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        rate = tmp_path / "rate.json"
        limit = {"starts": 140, "seconds": 86_400}  # some tasks are left, however late the kill
        rate.write_text(json.dumps({"rate": limit}))
        assert server.call("limit", "set", LIMIT, "--body", str(rate)).returncode == 0
        words = ("--url", server.url, "--count", "150", "--size", "64", "--to", "out")
        running = program(*words, cwd=tmp_path)
        try:
            some_have_ended(server)
            assert server.process is not None
            server.process.kill()
            server.ended()
            time.sleep(1)  # the program tries in vain; it would not for ever
            with standing_still(running):
                server.start()
                assert server.call("limit", "delete", LIMIT).returncode == 0
            out, err = running.communicate(timeout=PATIENCE)
        finally:
            running.kill()
        assert (running.returncode, err) == (0, "")
        assert re.search(r"^batch \S+: 150 completed in ", out, re.MULTILINE)
        lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
        assert len({line["id"] for line in lines}) == len(lines) == 150


def some_have_ended(server: Served) -> None:
    """Follows all tasks until the tenth has ended."""
    ended: set[str] = set()
    reader = Reader()
    with httpx2.stream("GET", f"{server.url}/api/v1/events", trust_env=False, timeout=PATIENCE) as response:
        for chunk in response.iter_bytes():
            for event in reader.feed(chunk):
                data = json.loads(event.data)
                if data.get("state") in ENDED:
                    ended.add(data["taskId"])
                if len(ended) >= 10:
                    return
    pytest.fail("the stream ended")


@pytest.mark.parametrize("seed", range(20))
def test_what_is_drawn_is_what_is_found(seed: int) -> None:
    picture = drawn(seed, 64, 48)
    assert opened(png(picture)) == picture
    heat = heated(brightness(picture), picture.width, picture.height)
    findings = found(heat)
    for spot in spots_of(seed, 64, 48):
        [one] = [
            finding
            for finding in findings
            if finding.x <= spot.x < finding.x + finding.width and finding.y <= spot.y < finding.y + finding.height
        ]
        assert (one.kind, one.score >= HOT) == ("bright" if spot.bright else "dark", True)
        findings.remove(one)
    assert findings == []


def test_a_picture_may_be_sent_and_what_is_none_is_rejected(tmp_path: Path) -> None:
    picture = drawn(7, 32, 16)
    (tmp_path / "seven.png").write_bytes(png(picture))
    (tmp_path / "seven.ppm").write_bytes(b"P6\n32 16\n255\n" + picture.pixels)
    (tmp_path / "none.png").write_bytes(png(picture)[:-20])
    data, _ = expected({"seed": 7, "width": 32, "height": 16})
    with served(tmp_path) as server:
        for name in ("seven.png", "seven.ppm"):
            done = server.call("send", "--file", str(tmp_path / name), "-o", "json")
            [analysis, _] = json.loads(done.stdout)["task"]["artifacts"]
            assert analysis["parts"][0]["data"] == data
        done = server.call("send", "--file", str(tmp_path / "none.png"))
        assert (done.returncode, "rejected: The image cannot be analysed: " in done.stderr) == (1, True)
