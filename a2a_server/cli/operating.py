"""`worker`, `workers`, `drain` and `migrate`: processes that share a store, and the store itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import Parameter

from a2a_server.cli.failures import CommandError, Exit, UsageError
from a2a_server.cli.flags import DEFAULT_URL, Flags
from a2a_server.cli.output import emit, emit_json
from a2a_server.errors import EngineError

if TYPE_CHECKING:
    from a2a_server.model.rows import WorkerRow

ResultT = TypeVar("ResultT")
SECOND = 1_000_000


def worker(target: Annotated[str, Parameter(name="OBJECT")], /, *, flags: Flags | None = None) -> int:
    """Run an agent's tasks until SIGTERM, Ctrl-C or `drain`; it serves nothing.

    Any number of them share a store (PostgreSQL or MongoDB) with any number of `run` processes.

    Args:
        target: `echo.py`, `echo.py:object` or `module:object`: the Agent, or function, that `run` serves.
        flags: Settings as flags.
    """
    from a2a_server import wiring
    from a2a_server.cli.loading import load_agent

    agent = load_agent(target)

    def on_ready(id: str) -> None:
        sys.stdout.write(f"Worker {id} runs tasks of {agent.name}.\n")
        sys.stdout.flush()

    try:
        return wiring.work(agent, (flags or Flags()).settings().settings, on_ready=on_ready)
    except EngineError as error:
        raise CommandError(str(error) or type(error).__name__) from error


def workers(
    worker: Annotated[str, Parameter(name="WORKER")] = "",
    /,
    *,
    dead: bool = False,
    admin: bool = False,
    url: Annotated[str, Parameter(env_var="A2A_URL")] = DEFAULT_URL,
    token: Annotated[str, Parameter(env_var="A2A_TOKEN")] = "",
    output: Annotated[Literal["text", "json"], Parameter(alias="-o", show_default=True)] = "text",
    flags: Flags | None = None,
) -> int:
    """List the workers of a store: which live, where, and when they were last seen.

    Args:
        worker: Only this one, by its whole id. Needs --admin.
        dead: Those too that are dead.
        admin: Ask a server's management API instead of the store.
        url: Where that server listens.
        token: Bearer token, where that server asks for one; better given in the environment.
        output: For people, or JSON: one object.
        flags: Settings as flags.
    """
    if admin:
        from a2a_server.cli.queues import list_workers, show_worker
        from a2a_server.cli.target import Target

        target = Target(url=url, token=token, output=output)
        return show_worker(worker, target=target) if worker else list_workers(dead=dead, target=target)
    if worker:
        raise UsageError("one worker is shown with --admin; without --admin leave its id out, and all are listed")
    from a2a_server.wiring.operating import workers_of

    rows, now = _run(workers_of((flags or Flags()).settings().settings))
    found = [_described(row, now) for row in rows]
    shown = [one for one in found if dead or one["alive"]]
    if output == "json":
        emit_json({"workers": shown})
        return Exit.OK
    for one in shown:
        life = f"{'alive' if one['alive'] else 'dead':<5}  seen {one['seen_seconds']:.1f} s ago"
        where = f"{one['host']}:{one['pid']}  {one['agent']}" if one["pid"] else "pulls its work over HTTP"
        emit(f"{one['id']}  {life}  {where}\n")
    if not shown:
        emit("No worker lives on this store.\n")
    return Exit.OK


def drain(
    worker: str,
    /,
    *,
    admin: bool = False,
    url: Annotated[str, Parameter(env_var="A2A_URL")] = DEFAULT_URL,
    token: Annotated[str, Parameter(env_var="A2A_TOKEN")] = "",
    flags: Flags | None = None,
) -> int:
    """Tell a worker process to finish what it runs and end, as SIGTERM does.

    Args:
        worker: Its id as `workers` shows it, or the beginning of it.
        admin: Ask a server's management API instead of the store; it wants the whole id.
        url: Where that server listens.
        token: Bearer token, where that server asks for one; better given in the environment.
        flags: Settings as flags.
    """
    if admin:
        from a2a_server.cli.queues import drain_worker
        from a2a_server.cli.target import Target

        return drain_worker(worker, target=Target(url=url, token=token))
    from a2a_server.wiring.operating import drain as tell

    key = _run(tell((flags or Flags()).settings().settings, worker))
    emit(f"Worker {key.hex()} was told to drain.\n")
    return Exit.OK


def migrate(*, flags: Flags | None = None) -> int:
    """Bring the store's schema up to date.

    With PostgreSQL and MongoDB: first let every process run the new version, which serves the previous schema too; then
    migrate. From then on older versions refuse the store.

    Args:
        flags: Settings as flags.
    """
    from a2a_server.wiring.operating import migrate as bring

    before, now = _run(bring((flags or Flags()).settings().settings))
    done = "is up to date" if before == now else f"was at {before or 'nothing'}, and is up to date now"
    emit(f"The schema ({now}) {done}.\n")
    return Exit.OK


def _described(row: WorkerRow, now: int) -> dict[str, Any]:
    from a2a_server.codec import decode

    about = decode(row.body) if row.body else {}
    return {
        "id": row.id.hex(),
        "alive": not row.dead and row.seen_at + row.ttl >= now,
        "seen_seconds": max(0, now - row.seen_at) / SECOND,
        "host": about.get("host", "?"),
        "pid": about.get("pid", 0),
        "agent": about.get("agent", "?"),
    }


def _run(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    try:
        return asyncio.run(work)
    except EngineError as error:
        raise CommandError(str(error) or type(error).__name__) from error
