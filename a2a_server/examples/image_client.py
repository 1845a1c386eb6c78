"""Gives an image analysis server a batch of cases, follows it in one stream, and fetches what was found.

A client of the management API as one would write it in any language: one request makes the batch, one stream of
server-sent events tells how all of it stands, and each result is read when its task has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import socket
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx2
import uvicorn
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from a2a_server import asgi

Json = dict[str, Any]

API: Final = "/api/v1"
ENDED: Final = frozenset({"completed", "failed", "canceled", "rejected"})
FETCHERS: Final = 4
"""Results that are fetched at the same time."""
TRIES: Final = 8
"""Connections in a row that bring nothing before the stream is given up."""
SHOWN: Final = 5


class ServerError(Exception):
    """The server said no; the text is its own."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the batch is. count: tasks, urgent: how many of them. size: of a picture's side, in pixels."""

    count: int
    urgent: int
    size: int
    seed: int
    to: Path


@dataclass(slots=True)
class Case:
    """A task that has ended, as it was read. findings, statistics: None where it did not complete."""

    task: Json
    findings: list[Json] | None = None
    statistics: Json | None = None
    heat_map: bytes = b""

    @property
    def urgent(self) -> bool:
        """Whether it was sent as one."""
        return str(self.task["priority"]) == "critical"

    @property
    def started(self) -> datetime | None:
        """When its first run began."""
        began = self.task.get("startedAt")
        return None if began is None else datetime.fromisoformat(began)


@dataclass(slots=True)
class Outcome:
    """All of a batch. seconds: from its request to the end of the last task."""

    batch: str
    seconds: float = 0.0
    cases: list[Case] = field(default_factory=list)


def tasks_of(options: Options) -> list[Json]:
    """The tasks, the urgent ones somewhere among them."""
    urgent = set(random.Random(options.seed).sample(range(options.count), options.urgent))  # noqa: S311 - no secret
    return [
        {
            "skill": "analyse",
            "title": f"case {number:04}",
            "kind": "analysis",
            "priority": "critical" if number in urgent else "low",
            "tags": ["image", "urgent"] if number in urgent else ["image"],
            "parameters": {"seed": options.seed + number, "width": options.size, "height": options.size},
        }
        for number in range(options.count)
    ]


async def read(http: httpx2.AsyncClient, path: str) -> Json:
    """What the API says, asked again while the server is away. Raises ServerError."""
    tries = 0
    while True:
        try:
            return _checked(await http.get(API + path))
        except httpx2.TransportError as error:
            tries = await _waited(tries, error)


async def followed(http: httpx2.AsyncClient, batch: str) -> AsyncGenerator[tuple[str, Json]]:
    """How each task stands, then every change, until all have ended; over broken connections. Raises ServerError."""
    cursor, tries = "", 0
    while True:
        try:
            async with http.stream("GET", f"{API}/events", params={"batch": batch, "after": cursor}) as response:
                if not response.is_success:
                    await response.aread()
                    _checked(response)
                kind = ""
                async for line in response.aiter_lines():
                    name, _, value = line.partition(": ")
                    if name == "event":
                        kind = value
                    elif name == "id":
                        cursor = value
                    elif name == "data":
                        tries = 0
                        yield kind, json.loads(value)
                        if kind == "end":
                            return
            error = httpx2.TransportError("its stream ends too early")
        except httpx2.TransportError as broken:
            error = broken
        tries = await _waited(tries, error)


async def run(http: httpx2.AsyncClient, options: Options, progress: Progress) -> Outcome:
    """Send the batch and follow it to its end. Raises ServerError."""
    bars = {
        True: progress.add_task("urgent", total=options.urgent),
        False: progress.add_task("routine", total=options.count - options.urgent),
    }
    begun = time.monotonic()
    tasks = tasks_of(options)
    made = await _sent(http, tasks)
    outcome = Outcome(made["id"])
    urgent = {item["id"] for item, task in zip(made["items"], tasks, strict=True) if task["priority"] == "critical"}
    seen: set[str] = set()
    ended: asyncio.Queue[str] = asyncio.Queue()
    fetchers = [asyncio.create_task(_fetch(http, ended, outcome)) for _ in range(FETCHERS)]
    async with aclosing(followed(http, outcome.batch)) as events:
        async for kind, event in events:
            if kind != "task" or event["state"] not in ENDED or event["taskId"] in seen:
                continue
            seen.add(event["taskId"])
            progress.advance(bars[event["taskId"] in urgent])
            ended.put_nowait(event["taskId"])
    outcome.seconds = time.monotonic() - begun
    for _ in fetchers:
        ended.put_nowait("")
    await asyncio.gather(*fetchers)
    return outcome


async def _sent(http: httpx2.AsyncClient, tasks: Sequence[Json]) -> Json:
    try:
        return _checked(await http.post(f"{API}/batches", json={"tasks": tasks}))
    except httpx2.TransportError as error:
        raise ServerError(f"The server cannot be reached: {error}") from None


async def _waited(tries: int, error: Exception) -> int:
    """How many tries there were, after a pause. Raises ServerError: enough of them."""
    if tries >= TRIES:
        raise ServerError(f"The server cannot be reached: {error}") from None
    await asyncio.sleep(min(5.0, 0.2 * 2**tries))
    return tries + 1


async def _fetch(http: httpx2.AsyncClient, ended: asyncio.Queue[str], outcome: Outcome) -> None:
    while task_id := await ended.get():
        case = Case(await read(http, f"/tasks/{task_id}"))
        result = await read(http, f"/tasks/{task_id}/result")
        for artifact in result["artifacts"]:
            [part] = artifact["parts"]
            if artifact["name"] == "analysis":
                case.findings, case.statistics = part["data"]["findings"], part["data"]["statistics"]
            elif "raw" in part:
                case.heat_map = base64.b64decode(part["raw"])
        outcome.cases.append(case)


def kept(outcome: Outcome, to: Path) -> None:
    """Write `results.jsonl`, a line for each case, and `heat-maps/`."""
    maps = to / "heat-maps"
    maps.mkdir(parents=True, exist_ok=True)
    with (to / "results.jsonl").open("w", encoding="utf-8") as results:
        for case in sorted(outcome.cases, key=lambda case: str(case.task["title"])):
            name = f"{case.task['title'].replace(' ', '-')}.png"
            if case.heat_map:
                (maps / name).write_bytes(case.heat_map)
            members = ("id", "title", "priority", "state", "startedAt", "parameters", "batch")
            line = {member: case.task.get(member) for member in members}
            line |= {"findings": case.findings, "statistics": case.statistics, "heatMap": f"heat-maps/{name}"}
            results.write(json.dumps(line) + "\n")


def report(outcome: Outcome, options: Options, console: Console) -> bool:
    """Say what came of it; whether all completed."""
    states = sorted({case.task["state"] for case in outcome.cases})
    counts = ", ".join(f"{sum(case.task['state'] == state for case in outcome.cases)} {state}" for state in states)
    rate = len(outcome.cases) / outcome.seconds
    found = [case for case in outcome.cases if case.findings]
    lines = [
        f"batch {outcome.batch}: {counts} in {outcome.seconds:.1f} s, {rate:.0f} a second",
        _order(outcome.cases),
        f"findings: {sum(len(case.findings or ()) for case in found)} in {len(found)} cases",
    ]
    urgent = [(case.findings[0], case.task) for case in found if case.findings and case.urgent]
    for first, task in sorted(urgent, key=lambda one: -one[0]["score"])[:SHOWN]:
        where = f"{first['kind']} at {first['x']}, {first['y']}, score {first['score']}"
        lines.append(f"  urgent {task['title']}: {where}; task {task['id']}")
    lines.append(f"written: {options.to / 'results.jsonl'}, {options.to / 'heat-maps'}")
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
    return states == ["completed"]


def _order(cases: Sequence[Case]) -> str:
    urgent = [case.started for case in cases if case.urgent and case.started is not None]
    routine = [case.started for case in cases if not case.urgent and case.started is not None]
    if not urgent or not routine:
        return "order: all alike"
    overtaken = sum(started < max(urgent) for started in routine)
    wait = (max(urgent) - min([*urgent, *routine])).total_seconds()
    return f"order: the last urgent case started after {wait:.2f} s, {overtaken} routine ones before it"


def _checked(response: httpx2.Response) -> Json:
    try:
        answer: Json = response.json()
    except ValueError:
        raise ServerError(f"The server answered {response.status_code}, and no JSON; is it an A2A server?") from None
    if not response.is_success:
        raise ServerError(str(answer.get("error", {}).get("message", response.status_code)))
    return answer


@contextmanager
def serving(to: Path) -> Iterator[str]:
    """The agent's server in a thread of this process while the context lasts: its address."""
    from a2a_server.examples.image_analysis import agent  # noqa: PLC0415 - not needed with --url

    to.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        app = asgi(
            agent,
            host="127.0.0.1",
            port=port,
            store=f"sqlite:///{(to / 'tasks.db').resolve()}",
            artifacts=f"file:{(to / 'artifacts').resolve()}",
        )
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"  # connections wait in the listener until the server takes them
        finally:
            server.should_exit = True
            thread.join()


def main(words: Sequence[str]) -> int:
    """The exit code: 0 = all completed, 1 = not all, or the server said no, 2 = wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m a2a_server.examples.image_analysis", description=__doc__)
    parser.add_argument("--url", default="", help="a server of this agent; without it one is started here")
    parser.add_argument("--count", type=_from(1, 10_000), default=1000, help="pictures (1 to 10,000; %(default)s)")
    parser.add_argument("--urgent", type=_from(0, 10_000), default=None, help="how many of them are urgent (a tenth)")
    parser.add_argument("--size", type=_from(16, 512), default=48, help="pixels of a side (16 to 512; %(default)s)")
    parser.add_argument("--seed", type=_from(0, 2**30), default=0, help="of the first picture; %(default)s")
    parser.add_argument("--to", type=Path, default=Path("image-analysis"), help="where results go (%(default)s)")
    given = parser.parse_args(words)
    urgent = given.count // 10 if given.urgent is None else given.urgent
    if urgent > given.count:
        parser.error(f"--urgent {urgent} is more than --count {given.count}")
    options = Options(given.count, urgent, given.size, given.seed, given.to)
    console = Console()
    try:
        with nullcontext(given.url) if given.url else serving(options.to) as url:
            outcome = asyncio.run(_work(url, options, console))
    except ServerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Stopped looking; the tasks go on, here at the next start of their server.\n")
        return 130
    kept(outcome, options.to)
    return 0 if report(outcome, options, console) else 1


def _from(least: int, most: int) -> Callable[[str], int]:
    def number(word: str) -> int:
        if not (word.isascii() and word.isdigit() and least <= int(word) <= most):
            raise argparse.ArgumentTypeError(f"{word} is not a whole number from {least} to {most}")
        return int(word)

    return number


async def _work(url: str, options: Options, console: Console) -> Outcome:
    columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    timeout = httpx2.Timeout(60.0, connect=5.0)
    async with httpx2.AsyncClient(base_url=url, timeout=timeout, trust_env=False) as http:
        with Progress(*columns, console=console) as progress:
            return await run(http, options, progress)
