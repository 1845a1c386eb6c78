"""The fuzz drill: whatever bytes arrive get one of the answers of errors.md, in time, from a process that goes on.

Two thirds of the requests are good ones of every method of every generation, with one mutation at one place (or in one
header); the rest are bodies that are hardly JSON, and bytes on sockets that are hardly HTTP, some of which never end.
Before them each kind of good request is sent as it is, for only what is good can be made wrong.

The same seed makes the same requests, but for the ids of tasks. One that is answered wrongly is written to
`request-N.bin`: a head of HTTP and the body, or the bytes as they went to the socket.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path

import httpx2
import psutil

from a2a_server.errors import Overloaded
from a2a_server.wire.operations import Operation
from tests.clients.rpc import new_http
from tests.drills import rubbish
from tests.drills.asks import RESULT, Ask, Asker
from tests.drills.counts import MAX_FUZZ_GROWTH_BYTES, Counts
from tests.drills.judge import Judge
from tests.drills.ledger import Violation
from tests.drills.mutations import encode, mutated, mutations, tree
from tests.drills.report import Report, say
from tests.drills.server import Server, serving
from tests.patience import PATIENCE
from tests.server.asked import METHODS

SETTINGS = {"HEADER_SECONDS": "3", "BODY_STALL_SECONDS": "3", "BODY_LIMIT_BYTES": "1000000", "BODIES_BYTES": "4000000"}
PAIRS = tuple((generation, operation) for generation, methods in METHODS.items() for operation in methods)
_CLIENTS = 16
_STREAM_SECONDS = 0.5
_QUIET_SECONDS = 0.1
_OVERLOADS = 20
_MUTATED, _BODIES, _SLOW_EVERY = 0.66, 0.83, 100
_RESPONSE = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [A-Za-z -]*\r\n((?:[!-9;-~]+:[^\r\n]*\r\n)*)\r\n")
_HEADERS: tuple[tuple[str, bytes], ...] = (
    *(
        ("A2A-Version", value)
        for value in (b"9.9", b"x", b"1", b"1.0.1", b"0.1", b"0.3", b"1.0", b"\xff", b"1.0.x", b",")
    ),
    *(("Last-Event-ID", value) for value in (b"x", b"-1", b"0", b"9" * 30, b"1.5", b"", b"\xc2\xb2")),
    *(("Content-Type", value) for value in (b"text/plain", b"", b"application/json; charset=utf-7", b"\xff")),
    *(("Content-Encoding", value) for value in (b"gzip", b"identity", b"\xff")),
    *(("A2A-Extensions", value) for value in (b"urn:x", b",,,", b"\xff")),
    ("Accept", b"\xff"),
)


class Fuzz:
    """One run against one server."""

    def __init__(self, server: Server, http: httpx2.AsyncClient, asker: Asker, seed: int) -> None:
        self.judge = Judge()
        self.violations: list[Violation] = []
        self.made: Counter[str] = Counter()
        self.per_method: Counter[tuple[str, Operation]] = Counter()
        self._server = server
        self._http = http
        self._asker = asker
        self._seed = seed
        self._order: dict[tuple[str, Operation, str], list[int]] = {}

    async def controls(self) -> None:
        """Each kind of good request, as it is."""
        for generation, operation in PAIRS:
            for ask in self._asker.asks(generation, operation, self._rng("control"), f"control-{operation}"):
                before = self.judge.seen.copy()
                body = encode(tree(ask.request("control")))
                await self._post(f"control {ask.method} {ask.name}", body, _headers(generation), ask, control=True)
                codes = set(self.judge.seen - before)
                if len(codes) != 1 or not codes <= ask.expected:
                    what = f"{generation} {ask.method} ({ask.name}): {codes}, not {set(ask.expected)}"
                    self.violations.append(Violation("control", "", what))

    async def request(self, number: int) -> None:
        """Request `number` of this seed."""
        rng = self._rng(number)
        kind = rng.random()
        if kind < _MUTATED:
            await self._mutated(number, rng)
        elif kind < _BODIES:
            self.made["body"] += 1
            await self._post(str(number), rubbish.body(rng, self._good(number, rng)), _headers(rng.choice([*METHODS])))
        else:
            self.made["socket"] += 1
            make = rubbish.slow if number % _SLOW_EVERY == 0 else rubbish.wire
            await self._wire(number, make(rng, self._good(number, rng)))

    async def overload(self) -> None:
        """More bodies at once than the server reads at once: the last one is told so, in one of some tries."""
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n"
        half = head + b" " * 899_000
        for _ in range(_OVERLOADS):  # on a busy machine the first ones may be over before the last one comes
            await asyncio.gather(*(self._wire(-number, rubbish.Wire((half,), slow=True)) for number in range(1, 8)))
            if self.judge.seen[Overloaded.code]:
                return

    def _rng(self, number: int | str) -> random.Random:
        return random.Random(f"{self._seed}/{number}")  # noqa: S311 - repeatable, not secret

    def _good(self, number: int, rng: random.Random) -> bytes:
        generation, operation = rng.choice([pair for pair in PAIRS if not pair[1].streams])
        return encode(tree(self._asker.asks(generation, operation, rng, self._unique(number))[0].request("good")))

    def _unique(self, number: int) -> str:
        return f"{self._seed}-{number}"

    async def _mutated(self, number: int, rng: random.Random) -> None:
        generation, operation = pair = min(PAIRS, key=lambda pair: self.per_method[pair])
        self.per_method[pair] += 1
        self.made["mutated"] += 1
        kinds = self._asker.asks(generation, operation, rng, self._unique(number))
        ask = kinds[self.per_method[pair] % len(kinds)]
        whole = tree(ask.request(self._unique(number)))
        headers = _headers(generation if rng.random() < 0.5 else "")
        if rng.random() < 0.06:
            name, value = rng.choice(_HEADERS)
            await self._post(str(number), encode(whole), {**headers, name: value}, ask)
            return
        places = list(mutations(whole))
        order = self._order.setdefault((*pair, ask.name), [])
        if not order:  # every mutation of every place comes once before one comes again
            order += range(len(places))
            rng.shuffle(order)
        mutation = places[order.pop() % len(places)]
        self.made[mutation.kind] += 1
        await self._post(str(number), encode(mutated(whole, mutation, rng)), headers, ask)

    async def _post(
        self, name: str, body: bytes, headers: Mapping[str, bytes], ask: Ask | None = None, *, control: bool = False
    ) -> None:
        for last in (False, True):
            try:
                status, answered, content = await self._exchange(body, headers, ask, control=control)
            except TimeoutError:
                self._wrong(name, _shown(headers, body), ["hang"])
            except httpx2.TransportError as error:
                if not last:  # a connection from the pool may have been closed meanwhile
                    continue
                self._wrong(name, _shown(headers, body), [f"no answer: {error!r}"])
            else:
                self._wrong(name, _shown(headers, body), self.judge.answered(status, answered, content))
                if ask and ask.operation is Operation.CANCEL and (status == 204 or b'"result"' in content):
                    await self._asker.replace(
                        ask.generation, str((ask.params or {}).get("id")), f"new-{name}-{time.time_ns()}"
                    )
            return

    async def _exchange(
        self, body: bytes, headers: Mapping[str, bytes], ask: Ask | None, *, control: bool
    ) -> tuple[int, Mapping[str, str], bytes]:
        content = bytearray()
        async with asyncio.timeout(PATIENCE):
            request = self._http.build_request(
                "POST",
                self._server.url,
                content=body,
                headers=[(name.encode(), value) for name, value in headers.items()],
            )
            response = await self._http.send(request, stream=True)
            streamed = response.headers.get("content-type", "").startswith("text/event-stream")
            once = ask is not None and ask.operation is Operation.SUBSCRIBE
            try:
                # A stream goes on as long as its task, so it is cut; anything else has to end. That of a good request
                # says something first, however long it takes.
                with suppress(TimeoutError) if streamed else nullcontext():
                    async with asyncio.timeout(_STREAM_SECONDS if streamed and not control else None) as cut:
                        async for piece in response.aiter_bytes():
                            content += piece
                            if streamed and b"data: " in content:
                                if once:
                                    break
                                if cut.when() is None:
                                    cut.reschedule(asyncio.get_running_loop().time() + _STREAM_SECONDS)
            finally:
                await response.aclose()
        return response.status_code, response.headers, bytes(content)

    async def _wire(self, number: int, wire: rubbish.Wire) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                raw = await self._spoken(wire)
        except TimeoutError:
            self._wrong(str(number), b"".join(wire.packets), ["hang: the connection stays open"])
            return
        self._wrong(str(number), b"".join(wire.packets), self._responses(raw))

    async def _spoken(self, wire: rubbish.Wire) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        raw = bytearray()
        with suppress(OSError):
            try:
                for packet in wire.packets:
                    writer.write(packet)
                    await writer.drain()
                    await asyncio.sleep(0)
                if not wire.slow:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_QUIET_SECONDS):
                            while piece := await reader.read(65536):
                                raw += piece
                    writer.write_eof()
                while piece := await reader.read(65536):
                    raw += piece
            finally:
                writer.close()
        return bytes(raw)

    def _responses(self, raw: bytes) -> Iterator[str]:
        found = list(_RESPONSE.finditer(raw))
        if raw and (not found or found[0].start()):
            yield f"no HTTP: {raw[:200]!r}"
        for number, response in enumerate(found):
            end = found[number + 1].start() if number + 1 < len(found) else len(raw)
            lines = [line.partition(": ") for line in response[2].decode("latin-1").split("\r\n") if line]
            headers = {name.lower(): value for name, _, value in lines}
            content = raw[response.end() : end]
            if len(content) == int(headers.get("content-length", len(content))):  # else it was cut, or HEAD
                yield from self.judge.answered(int(response[1]), headers, content)

    def _wrong(self, name: str, request: bytes, faults: Iterable[str]) -> None:
        for fault in faults:
            self.violations.append(Violation("answer", name, f"{fault}; asked with {request[:300]!r}"))
            (self._server.directory / f"request-{name.replace('/', '.')}.bin").write_bytes(request)


async def fuzz(directory: Path, counts: Counts, seed: int) -> Report:
    """Send `counts.requests` generated requests. Raises ServerFailure."""
    begun = time.monotonic()
    async with serving(directory, SETTINGS) as server, new_http(PATIENCE, _CLIENTS * 2) as http:
        asker = Asker(http, server.url)
        await asker.prepare()
        run = Fuzz(server, http, asker, seed)
        await run.controls()
        process = psutil.Process(server.pid)
        numbers = iter(range(counts.requests))
        warm = counts.requests // 5

        sizes = [process.memory_info().rss]

        async def client() -> None:
            for number in numbers:
                if number == warm:
                    sizes.append(process.memory_info().rss)
                if number and number % 10_000 == 0:
                    say(f"{number} requests, {len(run.violations)} violations")
                await run.request(number)

        await asyncio.gather(*(client() for _ in range(_CLIENTS)))
        await run.overload()
        growth = process.memory_info().rss - sizes[-1]
        violations = [*run.violations, *await _afterwards(server, http, run, counts)]
        if growth > MAX_FUZZ_GROWTH_BYTES:
            violations.append(Violation("memory", "", f"the server grew by {growth / 2**20:.0f} MiB"))
    figures: dict[str, object] = {
        "seed": seed,
        "requests": counts.requests,
        "made": dict(run.made),
        "fewest_per_method": min(run.per_method[pair] for pair in PAIRS),
        "codes": dict(run.judge.seen.most_common()),
        "statuses": dict(run.judge.statuses.most_common()),
        "busy": run.judge.busy,
        "growth_mib": round(growth / 2**20, 1),
        "seconds": round(time.monotonic() - begun, 1),
    }
    return Report("fuzz", figures, violations)


async def _afterwards(server: Server, http: httpx2.AsyncClient, run: Fuzz, counts: Counts) -> list[Violation]:
    _ = server.pid
    found = [Violation("unseen", "", f"no answer had code {code}") for code in run.judge.unseen()]
    if not run.judge.seen[RESULT]:
        found.append(Violation("unseen", "", "no request succeeded"))
    if (fewest := min(run.per_method[pair] for pair in PAIRS)) < counts.requests_per_method:
        found.append(Violation("load", "", f"only {fewest} of {counts.requests_per_method} requests for a method"))
    if (share := run.made["mutated"] / counts.requests) < 0.6:
        found.append(Violation("load", "", f"only {share:.0%} are good requests with one mutation"))
    if not (await http.get(server.url)).is_success:
        found.append(Violation("process", "", "the server does not answer afterwards"))
    log = server.log.read_text(encoding="utf-8", errors="replace")
    found += [
        Violation("log", "", at[0][:300] + " … " + at[0][-300:])
        for at in re.finditer("(?m)^.*(?:Traceback|Internal error).*$", log)
    ]
    return found


def _headers(generation: str) -> dict[str, bytes]:
    version = {"A2A-Version": generation.encode()} if generation else {}
    return {"Content-Type": b"application/json", **version}


def _shown(headers: Mapping[str, bytes], body: bytes) -> bytes:
    lines = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers.items())
    return b"POST / HTTP/1.1\r\n" + lines + b"\r\n" + body
