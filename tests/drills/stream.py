"""The stream drill: every event index is a place to cut at, and those who do not read harm nobody.

Cuts: a task of N chunks is read by a client whose connection is closed after every single event, while the task runs
and again when it has ended; each time it goes on by `Last-Event-ID` or `afterEvent`. In the end it must hold the log
without gap or duplicate, and the text. Finished logs are also read from every index to their end.

Silence: sockets with small buffers subscribe to a chatty task and never read. The server's memory may grow by less than
50 MB, another client's echoes are answered all the while, and a client that does read gets everything.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, nullcontext, suppress
from pathlib import Path
from uuid import uuid4

import psutil

from tests.clients.rpc import BadAnswer, new_http
from tests.clients.v01 import A2AClientError
from tests.drills.checker import check_stream, expected
from tests.drills.counts import MAX_GROWTH_BYTES, Counts
from tests.drills.follower import Follower
from tests.drills.heldup import held_up
from tests.drills.ledger import Ledger, Order, Seen, Stream, Violation, assembled
from tests.drills.report import Report, say
from tests.drills.server import Server, serving
from tests.drills.wires import LOST, After, Refused, Wire, wires
from tests.patience import PATIENCE

_MOST_CHUNKS = 250
_ECHO_SECONDS = 5.0
"""And for how long the machine held this process up."""


class OpenLine:
    """A line to a server that is not killed."""

    def request(self) -> nullcontext[None]:
        return nullcontext()

    async def up(self) -> None:
        await asyncio.sleep(0.02)


async def stream(directory: Path, counts: Counts, seed: int) -> Report:
    """Cut streams `counts.cuts` times, then hold silent sockets. Raises ServerFailure."""
    begun = time.monotonic()
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    violations: list[Violation] = []
    figures: dict[str, object] = {"seed": seed}
    async with serving(directory) as server, new_http(PATIENCE) as http:
        every = wires(server.url, http)
        cuts = 0
        chunks = min(_MOST_CHUNKS, -(-counts.cuts // (2 * len(every))))  # each generation, running and finished
        for number in range(-(-counts.cuts // (chunks * 2))):
            wire = every[number % len(every)]
            made, found = await _cut_everywhere(wire, chunks, rng)
            cuts += made
            violations += found
            say(f"{wire.generation}: a task cut {made} times, {len(violations)} violations")
        figures["cuts"] = cuts
        if cuts < counts.cuts:
            violations.append(Violation("load", "", f"only {cuts} of {counts.cuts} cuts could be made"))
        silent, found = await _silence(server, every, counts)
        figures |= silent
        violations += found
    figures["seconds"] = round(time.monotonic() - begun, 1)
    return Report("stream", figures, violations)


async def _cut_everywhere(wire: Wire, chunks: int, rng: random.Random) -> tuple[int, list[Violation]]:
    """One task, cut at every index while it runs, then once more when it has ended. Returns the cuts made."""
    order = Order(uuid4().hex, wire.generation, f"stream {chunks} {rng.uniform(0.004, 0.012):.4f}")
    running, finished = Stream(generation=wire.generation), Stream(generation=wire.generation, whole=True)
    try:
        made = await _chain(wire, running, order)
        view = await wire.get(running.task)
        finished.task = running.task
        made += await _chain(wire, finished, None)
        found = await _from_everywhere(wire, finished)
    except (Refused, BadAnswer, A2AClientError, *LOST) as error:
        last = finished.last_n or running.last_n
        return 0, [Violation("refused", running.task, f"{wire.generation}, behind event {last}: {error!r}")]
    want = expected(order.line).content or ""
    for seen in (running, finished):
        found += check_stream(seen)
        text = "".join(assembled(seen.items).values())
        if text != want or [text] != [content for _, content in view.artifacts]:
            found.append(
                Violation("text-stored", seen.task, f"assembled {text[-80:]!r}, stored {view.artifacts!r:.200}")
            )
        if not seen.ended:
            found.append(Violation("no-terminal", seen.task, f"the end was not seen, only up to {seen.last_n}"))
    return made, found


async def _chain(wire: Wire, seen: Stream, order: Order | None) -> int:
    """Reads one event a connection until the end; returns how often the connection was cut."""
    cuts = 0
    for _ in range(10_000):
        async with aclosing(_open(wire, seen, order)) as items:
            async for item in items:
                if seen.take(item):
                    break
        if seen.ended or seen.last_n is None:
            break
        cuts += 1
        seen.cut()
    return cuts


def _open(wire: Wire, seen: Stream, order: Order | None) -> AsyncGenerator[Seen]:
    if seen.last_n is not None:
        return wire.subscribe(seen.task, After(seen.last_n, by_header=seen.last_n % 2 == 0))
    if order is not None:
        return wire.stream(order)
    return wire.subscribe(seen.task, After(0, by_header=True))


async def _from_everywhere(wire: Wire, whole: Stream) -> list[Violation]:
    """The rest of a finished log, behind every index but the last, must be what the whole log has there."""
    found: list[Violation] = []
    for k in range(len(whole.items)):
        rest: list[Seen] = []
        async with aclosing(wire.subscribe(whole.task, After(k, by_header=k % 2 == 0))) as items:
            rest = [item async for item in items]
        if rest != whole.items[k:]:
            numbers = [item.n for item in rest]
            found.append(Violation("gap", whole.task, f"behind {k} came {numbers!r:.200}, not {k + 1}…{whole.last_n}"))
    return found


async def _silence(server: Server, every: Sequence[Wire], counts: Counts) -> tuple[dict[str, object], list[Violation]]:
    new = every[-1]
    warm_up = Order(uuid4().hex, new.generation, f"stream {counts.chatty_chunks // 4} 0")
    await Follower(new, Ledger(), OpenLine(), Stream(), warm_up).run()
    process = psutil.Process(server.pid)
    before = process.memory_info().rss
    most = before
    order = Order(uuid4().hex, new.generation, f"stream {counts.chatty_chunks} 0")
    task = (await new.send(order, wait=False)).id
    ledger = Ledger()
    reader = Follower(new, ledger, OpenLine(), Stream(task, whole=True))
    waits: list[float] = []
    async with _silent_sockets(server, task, counts.silent_sockets), held_up() as held:
        reading = asyncio.create_task(reader.run())
        deadline = time.monotonic() + PATIENCE
        quiet_until = time.monotonic() + 3.0
        while (not reading.done() or time.monotonic() < quiet_until) and time.monotonic() < deadline:
            waits.append(await _echo(every[len(waits) % len(every)], len(waits)))
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.05)
        finished = reading.done() and await reading
        if not reading.done():
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
    found = [*ledger.problems, *check_stream(reader.stream)]
    if max(waits) >= _ECHO_SECONDS + held.seconds:
        found.append(Violation("starved", "", f"an echo took {max(waits):.1f} s"))
    if not finished:
        found.append(Violation("unfinished", task, f"the reader got to {reader.stream.last_n}"))
    elif "".join(assembled(reader.stream.items).values()) != expected(order.line).content:
        found.append(Violation("text-expected", task, "the chatty text is not what was asked for"))
    if most - before >= MAX_GROWTH_BYTES:
        found.append(Violation("memory", task, f"the server grew by {(most - before) / 2**20:.1f} MB"))
    figures: dict[str, object] = {
        "silent_sockets": counts.silent_sockets,
        "chatty_events": reader.stream.last_n,
        "memory_before_mb": round(before / 2**20, 1),
        "memory_growth_mb": round((most - before) / 2**20, 1),
        "echoes": len(waits),
        "slowest_echo_seconds": round(max(waits), 3),
    }
    return figures, found


async def _echo(wire: Wire, number: int) -> float:
    """How many seconds an echo took."""
    asked = time.monotonic()
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await wire.send(Order(uuid4().hex, wire.generation, f"echo {number}"), wait=True)
    return time.monotonic() - asked


@asynccontextmanager
async def _silent_sockets(server: Server, task: str, number: int) -> AsyncIterator[None]:
    """Subscribed to the task from its first event on, never read, closed at the end."""
    params = {"id": task, "metadata": {"afterEvent": 0}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": params}).encode()
    head = (
        f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
        f"A2A-Version: 1.0\r\nAccept: text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    sockets: list[socket.socket] = []
    try:
        for _ in range(number):
            silent = socket.socket()
            sockets.append(silent)
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            silent.settimeout(PATIENCE)
            silent.connect(("127.0.0.1", server.port))
            silent.sendall(head.encode() + body)
        yield
    finally:
        for silent in sockets:
            silent.close()
