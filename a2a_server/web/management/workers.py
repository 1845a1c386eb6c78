"""`/workers`: who runs tasks, and the word that has one of them go. What agents that pull say is in `pulling`."""

from __future__ import annotations

from pydantic import Field

from a2a_server.model.objects import Lane
from a2a_server.model.times import timestamp
from a2a_server.policy import SECOND
from a2a_server.service.showing import Shown
from a2a_server.service.workers import Workers, WorkerView
from a2a_server.web.management.table import Call, NoQuery, Query, Reply, Route


class WorkersQuery(Query):
    """Which."""

    dead: bool = Field(False, description="Those too that are dead; they are kept for a day.")  # noqa: FBT003


class OfferShown(Shown):
    """What tasks may require of it; sizes that are absent are as large as anybody wants."""

    tags: list[str] | None = None
    tools: list[str] | None = None
    agents: list[str] | None = None
    cpu: float | None = None
    memory_bytes: int | None = None
    storage_bytes: int | None = None


class WorkerShown(Shown):
    """A worker."""

    id: str
    kind: str = Field(description="process (of this server), or pulling (an agent over HTTP).")
    agent: str | None = Field(None, description="Whose tasks a process runs: each of its agents has a worker.")
    alive: bool
    draining: bool = Field(description="Whether it was told to go, and has not gone.")
    seen_at: str = Field(description="Its last sign of life.")
    lease_seconds: float = Field(description="Silent for longer, it loses its tasks.")
    agent_id: str | None = None
    serves: str | None = Field(None, description="The address of that agent; absent = the server's own.")
    host: str | None = Field(None, description="Where it runs, or what a pulling agent calls itself.")
    pid: int | None = None
    running: int | None = Field(None, description="Runs that hold a slot; only of the process that answers.")
    skills: list[str] | None = Field(None, description="Whose tasks it takes; absent = all that are not pulled.")
    lanes: list[str] | None = Field(None, description="Priorities that it takes; absent = all.")
    offers: OfferShown | None = None


class WorkersShown(Shown):
    """Every worker."""

    workers: list[WorkerShown]


class WorkerPages:
    """Serves them."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def routes(self) -> tuple[Route, ...]:
        """Its rows of the table."""
        return (
            Route(
                "GET", "/workers", "listWorkers", "Every worker, the oldest first.", self.workers, "workers",
                query=WorkersQuery, result=WorkersShown,
            ),
            Route("GET", "/workers/{id}", "getWorker", "One worker.", self.worker, "workers", result=WorkerShown),
            Route(
                "POST", "/workers/{id}/drain", "drainWorker", "Tell a worker to end what it runs, and go.", self.drain,
                "workers", result=WorkerShown, status=202, errors=(409,),
            ),
        )  # fmt: skip

    async def workers(self, call: Call[WorkersQuery, None]) -> Reply:
        """All."""
        known = await self._workers.known(call.scope, dead=call.query.dead)
        return Reply(WorkersShown(workers=[_shown(one) for one in known]))

    async def worker(self, call: Call[NoQuery, None]) -> Reply:
        """One."""
        return Reply(_shown(await self._workers.get(call.scope, call.path["id"])))

    async def drain(self, call: Call[NoQuery, None]) -> Reply:
        """As it is then."""
        return Reply(_shown(await self._workers.drain(call.scope, call.path["id"])))


def _shown(view: WorkerView) -> WorkerShown:
    row, about, pulls = view.row, view.about, view.pulls
    lanes = [Lane(one).name.lower() for one in pulls["lanes"]] if pulls else list(about.get("lanes", ()))
    skills = list(pulls["skills"]) if pulls else list(about.get("queues", ()))
    offers = about.get("offers")
    return WorkerShown(
        id=row.id.hex(),
        kind="pulling" if pulls else "process",
        agent=about.get("agent") or None,
        alive=view.alive,
        draining=view.draining,
        seen_at=timestamp(row.seen_at),
        lease_seconds=row.ttl / SECOND,
        agent_id=about.get("agentId"),
        serves=about.get("serves"),
        host=about.get("host") or None,
        pid=about.get("pid"),
        running=view.running,
        skills=skills or None,
        lanes=lanes or None,
        offers=OfferShown(**offers) if offers else None,
    )
