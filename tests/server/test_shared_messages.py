"""What a handler does to its own arguments must not change what clients read as the message that was sent."""

from __future__ import annotations

import copy
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from a2a_server import Agent
from a2a_server.model.objects import Data, Generation, JsonObject, Message, Role, Scope, Task
from a2a_server.model.requests import GetRequest, SendRequest
from tests.server.engines import running

SENT: JsonObject = {"order": {"lines": ["bread", "milk"]}}
_ids = count(1)


def agent_of() -> Agent:
    agent = Agent("Kitchen")

    @agent.skill(id="cook", default=True)
    async def cook(order: dict[str, Any]) -> str:
        order["lines"].clear()
        return "done"

    return agent


@pytest.mark.parametrize("blocking", [True, False])
async def test_an_answer_shows_the_message_as_it_was_sent(tmp_path: Path, blocking: bool) -> None:
    async with running(agent_of(), tmp_path) as system:
        message = Message(Role.USER, (Data(copy.deepcopy(SENT)),), id=f"m{next(_ids)}")
        answer = await system.operations.send(Scope(), SendRequest(Generation.V10, message, blocking=blocking))
        assert isinstance(answer, Task)
        stored = await system.operations.get(Scope(), GetRequest(answer.id, generation=Generation.V10))
    (kept,) = stored.history[0].parts
    (shown,) = answer.history[0].parts
    assert isinstance(kept, Data)
    assert kept.data == SENT
    assert isinstance(shown, Data)
    assert shown.data == SENT
