"""Limits at their edges: agents with rules and agents without in one turn, and a rate in next to no time."""

from __future__ import annotations

from types import MappingProxyType

from a2a_server import Agent
from a2a_server.engine.bounds import Bounds
from a2a_server.engine.limits import Limits
from a2a_server.lifecycle.limits import SetLimit
from tests.unit.turns import WORKER, MemoryTurns, claim, submit

RULES = MappingProxyType({"client": 1, "client+skill": 1})


def test_an_agents_rules_do_not_bind_the_others_of_its_turn() -> None:
    store = MemoryTurns()
    store.register()
    store.do(
        submit(1, worker=WORKER, standing=RULES),
        submit(2, worker=WORKER, agent="task-manager"),
        submit(3, worker=WORKER, agent="task-manager"),
    )
    assert sorted(store.gates) == ["client+skill:local+echo", "client:local"]
    store.do(submit(4, agent="task-manager"), submit(5, agent="task-manager"))
    theirs = claim(10, queues=("task-manager/echo",))
    _, claimed = store.do(claim(10, standing=RULES), theirs)
    assert len(claimed.rows) == 2
    assert sorted(store.gates) == ["client+skill:local+echo", "client:local"]


def test_a_rate_in_next_to_no_time_keeps_nobody_from_claiming() -> None:
    agent = Agent("Quick")

    @agent.skill(rate=(5, 1e-7))
    async def echo(text: str) -> str:
        return text

    store = MemoryTurns()
    store.register()
    store.one(SetLimit("rate:echo", Bounds("", agent.specs, Limits()).limits["rate:echo"]))
    store.one(submit(1))
    assert len(store.one(claim(1)).rows) == 1
