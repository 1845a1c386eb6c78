"""What operators' machines ask: does the process live, can it take work, what does it count.

No answer needs a key, none is logged, and none tells more than words of this page: a check that fails says so and
nothing of the reason, which is in the log. Whoever asks while a check is under way gets its outcome, so that probes
cannot pile up before a store that is silent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import product
from typing import Final, Generic, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from a2a_server.engine.engine import Engine
from a2a_server.errors import ObjectMissing
from a2a_server.model.objects import Phase
from a2a_server.model.queries import TallyQuery
from a2a_server.policy import queue_of
from a2a_server.telemetry.metrics import WAITS, Metrics

CHECK_SECONDS: Final = 1.0
"""How long a check, or the count of waiting tasks, may take."""
NO_OBJECT: Final = "00000000-0000-0000-0000-000000000000/0/0"
"""An object's name that no task has."""

_NO_STORE = {"Cache-Control": "no-store"}
_PHASES = {phase: phase.name.lower() for phase in Phase if phase.name.lower() in WAITS}

ResultT = TypeVar("ResultT")


class HealthPages:
    """Serves the probes and the figures of one engine."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._checks = _Shared(self._check)
        self._waiting = _Shared(self._count)

    async def livez(self, request: Request) -> Response:  # noqa: ARG002 - a route's shape
        """GET /livez: 200 as long as the event loop turns."""
        return PlainTextResponse("ok\n", headers=_NO_STORE)

    async def readyz(self, request: Request) -> Response:  # noqa: ARG002 - a route's shape
        """GET /readyz: 200 where this process takes work, else 503; JSON `{status, checks: {name: outcome}}`.

        status: `ready` or `not ready`. outcome: `ok`, `failed`, or `timeout` after `CHECK_SECONDS`.
        """
        checks = await self._checks()
        ready = all(outcome == "ok" for outcome in checks.values())
        body = orjson.dumps({"status": "ready" if ready else "not ready", "checks": checks})
        return Response(body, 200 if ready else 503, _NO_STORE, media_type="application/json")

    async def metrics(self, request: Request) -> Response:
        """GET /metrics: every figure of the catalogue and of the process, as OpenMetrics where the client asks for it.

        Source: Prometheus text format 0.0.4; OpenMetrics 1.0.0.
        """
        counts = await self._waiting()
        engines = self._engine.engines
        queues = [queue_of(engine.agent, skill.id) for engine in engines for skill in engine.runner.skills]
        self._metrics.waiting(counts, queues)
        body, content_type = self._metrics.exposition(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type, **_NO_STORE})

    async def _check(self) -> Mapping[str, str]:
        engine = self._engine
        asked = await asyncio.gather(_outcome(self._store_answers), _outcome(self._artifacts_answer))
        known = {"writer": engine.writer.takes, "streams": not engine.hub.closed}
        if engine.working:
            known = {"worker": all(one.worker.ready for one in engine.engines), **known}
        outcomes = {name: "ok" if fine else "failed" for name, fine in known.items()}
        return dict(zip(("store", "artifacts"), asked, strict=True)) | outcomes

    async def _store_answers(self) -> None:
        await self._engine.backends.store.next_alarm()

    async def _artifacts_answer(self) -> None:
        try:
            await anext(self._engine.backends.artifacts.read(NO_OBJECT), b"")
        except ObjectMissing:
            return

    async def _count(self) -> Mapping[tuple[str, str], int] | None:
        counts: dict[tuple[str, str], int] = {}
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                for engine, (phase, name) in product(self._engine.engines, _PHASES.items()):
                    found = await engine.backends.store.totals(TallyQuery(agent=engine.agent, phase=phase))
                    for key, count in found.items():
                        counts[key.queue, name] = counts.get((key.queue, name), 0) + count
        except Exception:  # noqa: BLE001 - whatever ails the store, the other figures are shown
            return None
        return counts


class _Shared(Generic[ResultT]):
    """One call at a time: whoever asks while one is under way gets its result."""

    def __init__(self, call: Callable[[], Awaitable[ResultT]]) -> None:
        self._call = call
        self._running: asyncio.Task[ResultT] | None = None

    async def __call__(self) -> ResultT:
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._called())
        return await asyncio.shield(self._running)

    async def _called(self) -> ResultT:
        return await self._call()


async def _outcome(check: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except TimeoutError:
        return "timeout"
    except Exception:  # noqa: BLE001 - whatever ails a backend, the probe says so and nothing else
        return "failed"
    return "ok"
