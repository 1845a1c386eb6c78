"""`a2a_server.asgi`: an agent inside somebody else's application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from a2a_server import Agent, asgi
from tests.server.behaviours import new_id

agent = Agent("Mounted")


@agent.skill
async def echo(text: str) -> str:
    return text


def application(directory: Path) -> Starlette:
    mounted = asgi(
        agent,
        public_url="http://127.0.0.1:9000/agent",
        store=f"sqlite:///{directory}/tasks.db",
        artifacts=f"file:{directory}/artifacts",
    )
    return Starlette(routes=[Mount("/agent", mounted)], lifespan=mounted.router.lifespan_context)


async def test_the_address_on_the_card_answers_and_work_lives_as_long_as_the_application(tmp_path: Path) -> None:
    message = {"messageId": new_id(), "role": "ROLE_USER", "parts": [{"text": "hello"}]}
    request: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    seen = []
    for _ in range(2):
        app = application(tmp_path)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1:9000") as http,
        ):
            card = (await http.get("/agent/.well-known/agent-card.json")).json()
            assert card["url"] == "http://127.0.0.1:9000/agent/"
            for url in (card["url"], card["url"].rstrip("/")):
                answer = await http.post(url, json=request, follow_redirects=True)
                seen.append(answer.json()["result"]["task"])
    assert seen[0]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert seen == [seen[0]] * 4


class Counted:
    """Middleware of whoever embeds the agent: counts the requests it sees."""

    seen = 0

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        Counted.seen += 1
        await self._app(scope, receive, send)


GET_TASK = b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"nobody"}}'
JSON = {"Content-Type": "application/json"}
OPTIONS = "urn:a2a-task-server:task-options:v1"
ASKED: dict[str, tuple[str, str, dict[str, str], bytes]] = {
    "an error": ("POST", "/", JSON, GET_TASK),
    "python-a2a's path": ("POST", "/a2a/tasks/get", JSON, GET_TASK),
    "a notification": ("POST", "/", JSON, b'{"jsonrpc":"2.0","method":"GetTask","params":{}}'),
    "an extension": ("POST", "/", JSON | {"A2A-Extensions": f"x, {OPTIONS}"}, GET_TASK),
    "both extensions": ("POST", "/", JSON | {"A2A-Extensions": OPTIONS, "X-A2A-Extensions": OPTIONS}, GET_TASK),
    "a version in the query": ("POST", "/?A2A-Version=0.9", JSON, GET_TASK),
    "no JSON": ("POST", "/", {"Content-Type": "text/plain"}, GET_TASK),
    "encoded": ("POST", "/", JSON | {"Content-Encoding": "gzip"}, GET_TASK),
    "too large": ("POST", "/", JSON, b" " * (11 * 1024 * 1024)),
    "a page": ("GET", "/", {}, b""),
    "no method": ("PUT", "/", JSON, GET_TASK),
    "no path": ("POST", "/nothing", JSON, GET_TASK),
    "a slash": ("POST", "/tasks/send/", JSON, GET_TASK),
    "another host": ("POST", "/", JSON | {"Host": "evil.example"}, GET_TASK),
}


@pytest.mark.parametrize("name", ASKED)
async def test_middleware_before_the_agent_sees_all_and_changes_nothing(tmp_path: Path, name: str) -> None:
    """Requests to the door take no short way around whatever an embedding application put before it."""
    method, path, headers, body = ASKED[name]
    places = {"store": f"sqlite:///{tmp_path}/tasks.db", "artifacts": f"file:{tmp_path}/artifacts"}
    answers = []
    for counted in False, True:
        app = asgi(agent, allowed_hosts="localhost", **places)
        if counted:
            app.add_middleware(Counted)
        before = Counted.seen
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost") as http,
        ):
            answer = await http.request(method, path, headers=headers, content=body)
        assert Counted.seen - before == counted
        answers.append((answer.status_code, answer.headers.multi_items(), answer.content))
    assert answers[0] == answers[1]
