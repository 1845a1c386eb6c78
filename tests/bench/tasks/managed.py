"""A server whose tasks are managed, and what the load says to its management API."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from a2a_server.web.management.below import PREFIX
from a2a_server.web.management.table import JSON
from tests.bench.load import Connection
from tests.bench.servers import Kind

AGENT = Path(__file__).with_name("agent.py")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Managed(Kind):
    """Our server with the agent of these rows. store: the file of its tasks, None = a new one."""

    store: Path | None = None

    def command(self, port: int, directory: Path) -> list[str]:
        """What starts it."""
        options = {
            "--host": "127.0.0.1",
            "--port": str(port),
            "--store": f"sqlite:///{self.store or directory / 'tasks.db'}",
            "--artifacts": (directory / "artifacts").as_uri(),
        }
        words = [word for option in options.items() for word in option]
        return [sys.executable, "-m", "a2a_server", "run", str(AGENT), *words]


MANAGED = Managed("managed")
MANAGED_AGAIN = Managed("managed again")
LIMITED = Managed(
    "limited",
    environment=MappingProxyType({"BENCH_SKILL_LIMIT": "100000", "A2A_SERVER_CLIENT_MAX_CONCURRENCY": "100000"}),
)
"""Its limits are never reached."""


def request(method: str, path: str, body: object = None, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """A request for the management API. path: below its prefix."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {PREFIX}{path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(content)}"]
    if body is not None:
        lines.append(f"Content-Type: {JSON}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode() + content


async def asked(client: Connection, method: str, path: str, body: object = None) -> Json:
    """What it answers. Raises Broken for a status other than 2xx."""
    found: Json = json.loads(await client.ask(request(method, path, body)))
    return found
