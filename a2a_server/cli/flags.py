"""The settings that can be given as flags, wherever settings are read: `run`, `check`, `config show`.

They are those that differ from one process to the next: where it listens, what it reaches, how much and what it runs.
What all processes share stands in a file or in the environment.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from cyclopts import Parameter

if TYPE_CHECKING:
    from a2a_server.settings import Sourced

DEFAULT_URL = "http://127.0.0.1:8000"
"""Where a server listens that was given neither --host nor --port."""

Level: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]


@Parameter(name="*")
@dataclass(frozen=True)
class Flags:
    """Every setting can also come from the environment (A2A_SERVER_PORT) or from the --config file; flags win."""

    host: str | None = None
    """Address to listen on (127.0.0.1)."""
    port: int | None = None
    """TCP port to listen on (8000); 0 takes any free one."""
    store: str | None = None
    """Where tasks live: sqlite:///relative.db, postgresql://…, mongodb://…."""
    queue: str | None = None
    """How workers hear of work: memory://, store://, redis://…, amqp://…, sqs://…."""
    notifier: str | None = None
    """How processes hear of each other: poll://, postgresql://…, redis://…, amqp://…, mongodb://…."""
    artifacts: str | None = None
    """Where large content lives: file:relative, file:///absolute, s3://bucket/prefix, store://."""
    workers: int | None = None
    """0 = this process runs no tasks itself; others do, started by `a2a-server worker`."""
    lanes: str | None = None
    """Lanes that the worker takes tasks of: high,critical; default: all."""
    queues: str | None = None
    """Queues that the worker takes tasks of, by skill: a,b; default: all."""
    slots: int | None = None
    """Coroutine handlers that run at once in this process (1000)."""
    threads: int | None = None
    """Blocking handlers, plain functions, that run at once in this process (32)."""
    worker_tags: str | None = None
    """Words that tasks may require of the worker: gpu,eu."""
    worker_tools: str | None = None
    """Tools that the worker offers to tasks that require them: search,browser."""
    worker_agents: str | None = None
    """Agents that the worker reaches, for tasks that require them."""
    worker_cpu: float | None = None
    """Cores that tasks may require of the worker together; default: any number."""
    worker_memory_bytes: int | None = None
    """Memory that tasks may require of the worker together; default: any amount."""
    worker_storage_bytes: int | None = None
    """Storage that tasks may require of the worker together; default: any amount."""
    insecure: bool | None = None
    """Serve, without authentication, whoever reaches an address that is not loopback."""
    public_url: str | None = None
    """The address that the agent card gives, where it differs from the one listened on."""
    config: Path | None = None
    """Settings file, .yaml or .toml."""
    log_level: Level | None = None
    """The least severe records that are logged (info)."""
    log_format: Literal["text", "json"] | None = None
    """Log lines for people or for programs (text)."""

    def settings(self) -> Sourced:
        """The settings with their sources. Raises ConfigurationError."""
        from a2a_server.settings import load_sourced

        given = asdict(self)
        return load_sourced(given.pop("config"), **given)

    def words(self) -> list[str]:
        """The same flags as words of a command line."""
        given = {name.replace("_", "-"): value for name, value in asdict(self).items() if value is not None}
        return [word for name, value in given.items() for word in _words(f"--{name}", value)]


def _words(flag: str, value: object) -> tuple[str, ...]:
    return ((flag,) if value else ()) if isinstance(value, bool) else (flag, str(value))
