"""Bulk work that is done to all tasks or to none: what one turn takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from a2a_server import Agent, Fail
from a2a_server.errors import InvalidParams
from a2a_server.model.management import Bulk, BulkAction
from a2a_server.model.objects import Scope
from a2a_server.model.rows import Key
from a2a_server.service.retrying import Retrying
from a2a_server.service.together import Together
from tests.server.engines import running


async def test_what_is_too_large_for_one_turn_is_refused_as_one(tmp_path: Path) -> None:
    agent = Agent("Large")

    @agent.skill(default=True, max_attempts=1)
    async def fail(text: str) -> str:
        raise Fail("no")

    async with running(agent, tmp_path, writer_bytes=1 << 20) as server:
        ids = [(await server.send("x" * 400_000)).id for _ in range(3)]
        again = Bulk(action=BulkAction.RETRY, atomic=True)
        together = Together(server.engine, Retrying(server.engine, str))
        with pytest.raises(InvalidParams, match="larger together than one turn takes") as refused:
            await together.run(Scope(), again, ids)
        assert refused.value.path == "atomic"
        assert len(await server.store.inner.oldest(Key(b""), 100)) == 3
        assert await together.run(Scope(), again, ids[:2]) == []
