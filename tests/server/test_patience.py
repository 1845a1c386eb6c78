"""Whether the end of a run may wait for another operation to be committed with: not where somebody waits for it."""

from __future__ import annotations

from pathlib import Path

from a2a_server import Agent
from a2a_server.model.objects import Generation, Message, Role, Scope, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.requests import SendRequest
from a2a_server.model.rows import TaskRow
from tests.server.engines import Running, running


def agent_of() -> Agent:
    agent = Agent("Two")

    @agent.skill(default=True)
    async def free(text: str) -> str:
        return text

    @agent.skill(max_concurrency=1)
    async def limited(text: str) -> str:
        return text

    return agent


async def row_of(server: Running, skill: str) -> TaskRow:
    message = Message(Role.USER, (Text("go"),), id=f"go-{skill}")
    request = SendRequest(Generation.V10, message, blocking=True, options=TaskOptions(skill=skill))
    answer = await server.operations.send(Scope(), request)
    assert not isinstance(answer, Message)
    row = await server.store.find(Scope(), server.engine.agent, answer.id)
    assert row is not None
    return row


async def test_an_end_waits_for_company_only_where_nobody_waits_for_it(tmp_path: Path) -> None:
    async with running(agent_of(), tmp_path) as server:
        engine, free, limited = server.engine, await row_of(server, "free"), await row_of(server, "limited")
        assert not engine._awaited(free)
        assert engine._awaited(limited), "tasks may be held until it ends"
        assert engine._awaited(free._replace(crashes=2)), "other suspects wait for it"
        with engine.hub.watch(free.key):
            assert engine._awaited(free)
        slots = engine.limits.slots
        reserved = sum(engine.worker.reserve("free") for _ in range(slots // 2 + 1))
        assert engine._awaited(free), "tasks may wait for its slot"
        for _ in range(reserved):
            engine.worker.release("free")
