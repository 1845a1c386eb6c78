"""A client of the management API of a served agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx2

from a2a_server import Agent
from a2a_server.testing import Connection, connect
from a2a_server.wiring import System
from tests.clients.rpc import new_http
from tests.patience import PATIENCE

API = "/api/v1"
T = TypeVar("T")
MOST_SHOWN = 2000


class Managed:
    """Says what came back, and that nothing came back as an error of the server's."""

    def __init__(self, server: Connection, http: httpx2.AsyncClient) -> None:
        self.server = server
        self.http = http
        self.system: System = server._system

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        **query: Any,  # noqa: ANN401 - any member
    ) -> httpx2.Response:
        """The response to a request; body: JSON."""
        response = await self.http.request(
            method, self.server.url + API + path, json=body, headers=headers, params=query or None
        )
        assert response.status_code < 500 or response.status_code == 503, response.text[:MOST_SHOWN]
        return response

    async def get(self, path: str, **query: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
        """What a GET shows."""
        return await self.done("GET", path, **query)

    async def post(self, path: str, body: object = None) -> dict[str, Any]:
        """What a POST shows."""
        return await self.done("POST", path, body)

    async def done(self, method: str, path: str, body: object = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
        """What a request shows that succeeds."""
        response = await self.ask(method, path, body, **more)
        assert response.status_code < 300, response.text[:MOST_SHOWN]
        return dict(response.json()) if response.content else {}

    async def refused(self, status: int, method: str, path: str, body: object = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
        """The error of a request that is refused so."""
        response = await self.ask(method, path, body, **more)
        assert response.status_code == status, (response.status_code, response.text[:MOST_SHOWN])
        return dict(response.json()["error"])


def fields_of(error: dict[str, Any]) -> list[str]:
    """The fields at fault."""
    return [one["field"] for one in error.get("details", ())]


@asynccontextmanager
async def managed(agent: Agent, **settings: object) -> AsyncIterator[Managed]:
    """Serve the agent, with a client of its management API."""
    async with connect(agent, **settings) as server, new_http() as http:
        yield Managed(server, http)


async def sent(office: Managed, text: str, skill: str, **options: Any) -> str:  # noqa: ANN401 - any option
    """The id of a task that nobody waits for."""
    task = await office.server.send(text, blocking=False, options={"skill": skill, **options})
    return str(task["id"])


async def seen(read: Callable[[], Awaitable[T]], expected: Callable[[T], bool]) -> T:
    """What is read, once it is as expected."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await read()
            if expected(found):
                return found
            await asyncio.sleep(0.01)


async def ended(office: Managed, task_id: str) -> str:
    """The task's state, once it goes on no more."""
    under_way = {"TASK_STATE_SUBMITTED", "TASK_STATE_WORKING"}
    found = await seen(lambda: office.server.get(task_id), lambda task: task["status"]["state"] not in under_way)
    return str(found["status"]["state"])
