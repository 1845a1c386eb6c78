"""How long calls of the management API take beside many stored tasks, while others run.

Some clients send tasks and wait for them, one after the other, without a pause; one client asks the API everything in
turn. Each call is checked, and does what it says: what is changed, canceled, retried and deleted are stored tasks.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from tests.bench.costs import Bench, Series
from tests.bench.load import Broken, Connection, connections
from tests.bench.scale.latency import quantile
from tests.bench.servers import Failed
from tests.bench.speech import Speaker
from tests.bench.tasks.filling import RARE, filled
from tests.bench.tasks.managed import Json, Managed, asked, request

ALLOWED: Final = "200 ms"
"""What the 95th percentile of a call may be."""
_ALLOWED_MS = 200.0
_SHARE = 0.95
_PAGE = 200


@dataclass
class Known:
    """What there is to be asked about.

    done: a task that is complete, and stays. tied: another one, which others come to depend on. cursor: of a second
    page. batch: of a hundred tasks. since, until: moments between which some were made. ended, waiting: ids of stored
    tasks, each given once.
    """

    done: str
    tied: str
    cursor: str
    batch: str
    since: str
    until: str
    ended: Iterator[str]
    waiting: Iterator[str]
    numbers: Iterator[int] = field(default_factory=lambda: count(1))


@dataclass(frozen=True, slots=True)
class Ask:
    """A call. group: its row. name: as the table shows it. operation: as the API's document calls it.

    make: method, path, and body (None = none) of one call.
    """

    group: str
    name: str
    operation: str
    make: Callable[[Known], tuple[str, str, Json | None]]


def _get(group: str, name: str, operation: str, path: Callable[[Known], str]) -> Ask:
    return Ask(group, name, operation, lambda known: ("GET", path(known), None))


def _of_one(part: str, operation: str, group: str = "read") -> Ask:
    return _get(group, part.strip("/?") or "a task", operation, lambda known: f"/tasks/{known.done}{part}")


def _listed(name: str, query: Callable[[Known], str]) -> Ask:
    return _get("list", name, "listTasks", lambda known: f"/tasks?{query(known)}")


def _new(known: Known) -> Json:
    number = next(known.numbers)
    return {"text": f"new {number}", "title": f"New {number}", "tags": ["new"], "priority": "high"}


ASKS: Final = (
    Ask("make", "make a task", "createTask", lambda known: ("POST", "/tasks", _new(known))),
    Ask("make", "check a task", "createTask", lambda known: ("POST", "/tasks?dryRun=true", _new(known))),
    Ask(
        "make",
        "make a batch of 20",
        "createBatch",
        lambda known: ("POST", "/batches", {"tasks": [{**_new(known), "delaySeconds": 86_400} for _ in range(20)]}),
    ),
    _of_one("", "getTask"),
    _of_one("/events", "listEvents"),
    _of_one("/journal", "listJournal"),
    _of_one("/messages", "listMessages"),
    _of_one("/result", "getResult"),
    _of_one("/artifacts", "listArtifacts"),
    _of_one("/children", "listChildren"),
    _of_one("/graph", "getGraph"),
    _get("read", "a batch, counted", "getBatch", lambda known: f"/batches/{known.batch}"),
    _of_one("/explain", "explainTask", "explain"),
    Ask(
        "explain",
        "explain a task that waits",
        "explainTask",
        lambda known: ("GET", f"/tasks/{next(known.waiting)}/explain", None),
    ),
    _listed("first page", lambda _: "limit=50"),
    _listed("200 a page", lambda _: "limit=200"),
    _listed("second page", lambda known: f"limit=50&cursor={known.cursor}"),
    _listed("by status", lambda _: "status=failed&status=canceled"),
    _listed("by tag", lambda _: f"tag={RARE}"),
    _listed("by two tags", lambda _: f"tag=bench&tag={RARE}"),
    _listed("by title", lambda _: "title=task%20number%207"),
    _listed("by skill, priority, state", lambda _: "skill=echo&priority=low&state=completed"),
    _listed("by time", lambda known: f"createdFrom={known.since}&createdTo={known.until}"),
    _listed("finding none", lambda _: "state=completed&priority=backlog"),
    Ask(
        "change",
        "patch",
        "changeTask",
        lambda known: ("PATCH", f"/tasks/{known.done}", {"title": f"Changed {next(known.numbers)}"}),
    ),
    Ask(
        "change",
        "reprioritise",
        "changeTask",
        lambda known: ("PATCH", f"/tasks/{next(known.waiting)}", {"priority": "critical"}),
    ),
    Ask(
        "change",
        "put off",
        "requeueTask",
        lambda known: ("POST", f"/tasks/{next(known.waiting)}/requeue", {"delaySeconds": 7_200}),
    ),
    Ask(
        "change",
        "one more dependency",
        "addDependencies",
        lambda known: ("POST", f"/tasks/{next(known.waiting)}/dependencies", {"dependsOn": [known.tied]}),
    ),
    Ask("end", "cancel", "cancelTask", lambda known: ("POST", f"/tasks/{next(known.waiting)}/cancel", None)),
    Ask("end", "retry", "retryTask", lambda known: ("POST", f"/tasks/{next(known.ended)}/retry", {})),
    Ask("end", "delete", "deleteTask", lambda known: ("DELETE", f"/tasks/{next(known.ended)}", None)),
    Ask(
        "end",
        "cancel 20 at once",
        "bulk",
        lambda known: (
            "POST",
            "/tasks/bulk",
            {"action": "cancel", "ids": [next(known.waiting) for _ in range(20)]},
        ),
    ),
    _get("queues", "queues", "listQueues", lambda _: "/queues"),
    _get("queues", "a queue", "getQueue", lambda _: "/queues/echo"),
    Ask("queues", "pause a queue", "pauseQueue", lambda _: ("POST", "/queues/fail/pause", {"reason": "bench"})),
    Ask("queues", "resume a queue", "resumeQueue", lambda _: ("POST", "/queues/fail/resume", None)),
    _get("queues", "limits", "listLimits", lambda _: "/limits"),
    Ask("queues", "set a limit", "setLimit", lambda _: ("PUT", "/limits/skill:fail", {"capacity": 1_000})),
    _get("queues", "workers", "listWorkers", lambda _: "/workers"),
    _get("beside", "schedules", "listSchedules", lambda _: "/schedules"),
    _get("beside", "templates", "listTemplates", lambda _: "/templates"),
    _get("beside", "dead letters", "listDeadLetters", lambda _: "/dead-letters"),
    _get("beside", "settings", "showSettings", lambda _: "/settings"),
)
GROUPS: Final = tuple(dict.fromkeys(ask.group for ask in ASKS))


def sides(group: str) -> list[str]:
    """The calls of a row."""
    return [ask.name for ask in ASKS if ask.group == group]


async def group_of(bench: Bench, group: str) -> Series:
    """Milliseconds on the clock, of each call of the group that which 95 % take at most.

    Raises Failed where the server has not all of them.
    """
    found = (await bench.once("tasks api", _measured))["p95"]
    if missing := [name for name in sides(group) if name not in found]:
        raise Failed(f"this server's management API cannot {', '.join(missing)}")
    return {name: found[name] for name in sides(group)} | {ALLOWED: [_ALLOWED_MS] * bench.counts.tasks.rounds}


async def _measured(bench: Bench) -> dict[str, Series]:
    counts = bench.counts.tasks
    found: Series = {}
    async with AsyncExitStack() as stack:
        kind = await filled(bench, counts.stored)
        server = await bench.start(stack, kind)
        (client,) = await stack.enter_async_context(connections(server.port, 1))
        asks = await _there(client)
        known = await _known(client, counts.calls * (counts.rounds + 1))
        async with _busy(server.port, counts.echoes):
            for number in range(-1, counts.rounds):  # one before, which warms up
                taken: dict[str, list[float]] = {ask.name: [] for ask in asks}
                for turn in range(counts.calls):
                    bench.say(f"round {max(number, 0) + 1} of {counts.rounds}, call {turn + 1} of {counts.calls}")
                    for ask in asks:
                        taken[ask.name].append(await _seconds(client, ask, known))
                for name, seconds in taken.items() if number >= 0 else ():
                    found.setdefault(name, []).append(quantile(seconds, _SHARE) * 1000)
    return {"p95": found}


async def _there(client: Connection) -> list[Ask]:
    """The calls that the server knows."""
    document = await asked(client, "GET", "/openapi.json")
    operations = {one["operationId"] for path in document["paths"].values() for one in path.values()}
    return [ask for ask in ASKS if ask.operation in operations]


async def _known(client: Connection, turns: int) -> Known:
    page = await asked(client, "GET", "/tasks?limit=50")
    batch = await asked(client, "POST", "/batches", {"tasks": [{"text": "counted", "delaySeconds": 86_400}] * 100})
    ended = await _ids(client, "state=completed", 2 * turns + 2)
    return Known(
        done=ended.pop(0),
        tied=ended.pop(0),
        cursor=page["next"],
        batch=batch["id"],
        since=page["tasks"][-1]["createdAt"],
        until=page["tasks"][0]["createdAt"],
        ended=iter(ended),
        waiting=iter(await _ids(client, "phase=scheduled&tag=bench", 25 * turns)),
    )


async def _ids(client: Connection, query: str, amount: int) -> list[str]:
    """So many tasks that match. Raises Broken for fewer."""
    found: list[str] = []
    cursor = ""
    while len(found) < amount:
        page = await asked(client, "GET", f"/tasks?{query}&limit={_PAGE}{cursor}")
        found += [task["id"] for task in page["tasks"]]
        if "next" not in page:
            break
        cursor = f"&cursor={page['next']}"
    if len(found) < amount:
        raise Broken(f"{len(found)} tasks match {query} instead of {amount}")
    return found[:amount]


async def _seconds(client: Connection, ask: Ask, known: Known) -> float:
    method, path, body = ask.make(known)
    wanted = request(method, path, body)
    began = time.perf_counter()
    answer = await client.ask(wanted)
    taken = time.perf_counter() - began
    if method != "DELETE":
        json.loads(answer)
    return taken


@asynccontextmanager
async def _busy(port: int, clients: int) -> AsyncIterator[None]:
    """So many clients have tasks run all the while."""
    speaker = Speaker(Managed("busy"))

    async def work(client: Connection) -> None:
        while True:
            await speaker.echo(client)

    async with connections(port, clients) as all_of_them, asyncio.TaskGroup() as group:
        working = [group.create_task(work(client)) for client in all_of_them]
        yield
        for each in working:
            each.cancel()
