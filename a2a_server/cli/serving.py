"""`run` and `demo`: an agent, settings, and a server until it is told to stop."""

from __future__ import annotations

import json
import shlex
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from cyclopts import Parameter

from a2a_server.cli.failures import CommandError, UsageError
from a2a_server.cli.flags import DEFAULT_URL, Flags, Level
from a2a_server.cli.invoked import command
from a2a_server.errors import ConfigurationError, EngineError

if TYPE_CHECKING:
    from a2a_server.agent import Agent
    from a2a_server.cli.checking import Subject
    from a2a_server.settings import Settings, Sourced

DEMO = "a2a_server.examples.demo:agent"
DEFAULT = "default"
CARD = "/.well-known/agent-card.json"


def run(
    target: Annotated[str, Parameter(name="OBJECT")] = "",
    /,
    *,
    reload: bool = False,
    validate_config: bool = False,
    validate_queues: bool = False,
    flags: Flags | None = None,
) -> int:
    """Serve an agent until SIGTERM or Ctrl-C.

    Every setting can also come from the environment (A2A_SERVER_PORT) or from the --config file; flags win.

    Args:
        target: `echo.py`, `echo.py:object` or `module:object`: an Agent, or a function.
        reload: Start again whenever a .py file in the agent's directory changes; for development.
        validate_config: Check the settings, and serve nothing.
        validate_queues: Check the queue, and serve nothing.
        flags: Settings as flags.
    """
    from a2a_server.cli.loading import load_agent

    flags = flags or Flags()
    if validate_config or validate_queues:
        from a2a_server.cli.checking import examine, report

        subjects = (*(("config",) if validate_config else ()), *(("queues",) if validate_queues else ()))
        return report(examine(cast("tuple[Subject, ...]", subjects), target, flags), as_json=False)
    if not target:
        raise UsageError(f"name an agent, for example echo.py: {command('run', 'echo.py')}")
    sourced = flags.settings()
    if reload:
        from a2a_server.cli.reloading import supervise

        return supervise(target, flags.words(), drain_seconds=sourced.settings.drain_seconds)
    return _serve(load_agent(target), sourced.settings, "hello", *notes_of(sourced))


def notes_of(sourced: Sourced) -> list[str]:
    """What the settings say that is not done, or not yet, for the start-up text."""
    from a2a_server.settings import knobs

    notes = []
    execution = sourced.settings.task_manager.databases.execution
    if execution:
        notes.append(f"Log lines and resource samples ({execution}) are kept in the tasks' database.")
    recorded = [knob.name for knob in knobs() if knob.recorded and sourced.source(knob.name) != DEFAULT]
    if recorded:
        notes.append(f"Recorded, without effect yet: {', '.join(recorded)}.")
    return notes


def demo(
    *,
    data: Annotated[Path, Parameter(show_default=True)] = Path(".a2a-demo"),
    host: str | None = None,
    port: int | None = None,
    log_level: Level | None = None,
) -> int:
    """Serve the example agent, with its tasks on disk, and show what to try.

    Args:
        data: Directory for the tasks and files of the demonstration; made if it is missing. Delete it to start anew.
        host: Address to listen on (127.0.0.1).
        port: TCP port to listen on (8000); 0 takes any free one.
        log_level: The least severe records that are logged (info).
    """
    from a2a_server.cli.loading import load_agent
    from a2a_server.settings import load

    directory = data.resolve()
    settings = load(
        host=host,
        port=port,
        store=f"sqlite:///{directory / 'tasks.db'}",
        artifacts=f"file:{directory / 'artifacts'}",
        log_level=log_level,
    )
    agent = load_agent(DEMO)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ".gitignore").write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--data {data}: {error.strerror}; name another directory") from error
    return _serve(agent, settings, "hello", f"Tasks and files: {directory}")


def _serve(agent: Agent, settings: Settings, text: str, *notes: str) -> int:
    from a2a_server import wiring

    def on_ready(url: str) -> None:
        sys.stdout.write(welcome(agent.name, url, text, notes))
        sys.stdout.flush()

    try:
        return wiring.serve(agent, settings, on_ready=on_ready)
    except EngineError as error:
        raise CommandError(str(error) or type(error).__name__) from error


def welcome(name: str, url: str, text: str, notes: tuple[str, ...] = ()) -> str:
    """What is shown when the server listens: where, and commands that work as they stand."""
    url = url.rstrip("/")
    once = f"{text}-{uuid.uuid4().hex[:8]}"  # v0.1 clients make the task's id
    legacy = {"id": once, "message": {"role": "user", "parts": [{"type": "text", "text": text}]}}
    current = {"message": {"messageId": f"{once}-stream", "role": "ROLE_USER", "parts": [{"text": text}]}}
    where = () if url == DEFAULT_URL else ("--url", url)
    lines = [
        f"{name} listens on {url}",
        f"Agent card: {url}{CARD}",
        *notes,
        "",
        "Send a message (A2A v0.1), stream one (A2A 1.0), or use the client that comes with the server:",
        "",
        f"  {_curl('-s', url, 'tasks/send', legacy)}",
        f"  {_curl('-sN', url, 'SendStreamingMessage', current)}",
        f"  {command('send', text, '--stream', *where)}",
        "",
        "Ctrl-C stops the server; tasks that run go on at its next start, or in another process that shares its store.",
    ]
    return "".join(f"{line}\n" for line in lines)


def _curl(flags: str, url: str, method: str, params: Mapping[str, object]) -> str:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, separators=(",", ":"))
    return f"curl {flags} {url}/ -H 'Content-Type: application/json' -d {shlex.quote(body)}"
