"""A worker with a free slot gets past what a full gate refuses, however much of it stands in front."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from a2a_server import Agent
from a2a_server.lifecycle.limits import SetLimit
from a2a_server.model.objects import Message, Role, Scope, Text
from a2a_server.model.options import Requirements, TaskOptions
from a2a_server.model.turns import Needs
from a2a_server.service.batching import Batching, Item
from a2a_server.service.sending import Sending
from tests.server.engines import LONG, running
from tests.server.waiting import until

REFUSED = 200
MOST_CLAIMS = 20


def item(text: str, **resources: int) -> Item:
    requires = Requirements(resources=resources) if resources else None
    return Item(Message(Role.USER, (Text(text),)), options=TaskOptions(requires=requires))


pytestmark = pytest.mark.backends


async def test_hundreds_of_refused_tasks_take_a_few_claims(tmp_path: Path) -> None:
    agent, go, begun = Agent("Past"), asyncio.Event(), list[str]()
    claims = claims_before_plain = 0

    @agent.skill
    async def work(text: str) -> str:
        nonlocal claims_before_plain
        begun.append(text)
        if text == "plain":
            claims_before_plain = claims
        if text == "long":
            await go.wait()
        return text

    def counted(needs: Needs) -> bool:
        nonlocal claims
        claims += len(needs.claims)
        return False

    async with running(
        agent, tmp_path, slots=2, resources={"gpu": 1}, poll_seconds=LONG, lease_seconds=3600.0
    ) as server:
        batching = Batching(server.engine, Sending(server.engine, str))
        await batching.submit(Scope(), [item("long", gpu=1)])
        await until(lambda: begun == ["long"])
        server.store.holds = counted
        await batching.submit(Scope(), [*(item("gpu", gpu=1) for _ in range(REFUSED)), item("plain")])
        await until(lambda: "plain" in begun)
        assert begun == ["long", "plain"]
        assert 0 < claims_before_plain <= MOST_CLAIMS
        server.engine.worker.resize(REFUSED, threaded=False)
        await server.engine.submit(SetLimit("resource:gpu", REFUSED))
        go.set()
        await until(lambda: len(begun) == REFUSED + 2)
