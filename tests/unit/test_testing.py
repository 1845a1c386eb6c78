"""What `a2a_server.testing` refuses itself."""

from __future__ import annotations

import pytest

from a2a_server import Agent
from a2a_server.testing import connect

agent = Agent("Echo")


@agent.skill
async def echo(text: str) -> str:
    """Say it back."""
    return text


async def test_a_message_says_only_what_messages_say() -> None:
    async with connect(agent) as server:
        with pytest.raises(TypeError, match=r"a message says no skill; it says data, .*options"):
            await server.send("x", skill="echo")  # type: ignore[call-arg]
        assert (await server.send("x", options={"skill": "echo"}))["status"]["state"] == "TASK_STATE_COMPLETED"
