"""What the slot optimiser does on this machine, for people to look at: `python -m tests.bench.slots [SECONDS]`.

Two loads, each in a server of its own: runs that only wait, and runs that only compute. It prints the number of slots
over time and the tasks that ended; nothing here is a test, because how fast a machine is decides it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from tempfile import TemporaryDirectory

from a2a_server import Agent
from a2a_server.model.objects import Generation, Message, Role, Scope, Text
from a2a_server.model.requests import SendRequest
from a2a_server.service.operations import Operations
from a2a_server.settings import load
from a2a_server.wiring import System

TASKS = {"wait": 2000, "compute": 200}
MOST = 200


def loads() -> Agent:
    """An agent that waits or computes for about 50 ms."""
    agent = Agent("Loads")

    @agent.skill
    async def work(text: str) -> None:
        if text == "wait":
            await asyncio.sleep(0.05)
            return
        for _ in range(10):
            until = time.thread_time() + 0.005
            while time.thread_time() < until:
                pass
            await asyncio.sleep(0)

    return agent


async def measured(kind: str, seconds: float) -> None:
    with TemporaryDirectory() as directory:
        places = {"store": f"sqlite:///{directory}/tasks.db", "artifacts": f"file://{directory}/artifacts"}
        system = System(loads(), load(None, **places, slots=MOST, optimise_slots=True, drain_seconds=0))
        await system.start()
        try:
            operations = Operations(system.engine)
            for number in range(TASKS[kind]):
                message = Message(Role.USER, (Text(kind),), id=str(number))
                await operations.send(Scope(), SendRequest(Generation.V10, message, blocking=False))
            ends_at = time.monotonic() + seconds
            while time.monotonic() < ends_at:
                used, slots = system.engine.worker.used[False]
                at = seconds - ends_at + time.monotonic()
                sys.stdout.write(f"{kind:8} {at:5.1f} s  slots {slots:4}  in use {used:4}\n")
                await asyncio.sleep(2)
        finally:
            await system.stop()


if __name__ == "__main__":
    for load_kind in ("wait", "compute"):
        asyncio.run(measured(load_kind, float(sys.argv[1]) if len(sys.argv) > 1 else 30))
