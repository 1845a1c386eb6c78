"""`a2a_server.asgi`: an agent inside somebody else's application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.routing import Mount

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
