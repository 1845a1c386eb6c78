"""fasta2a 2.x: its application, broker and storage in memory.

Environment: PORT; CONC, `1` for a worker that runs tasks beside each other: the one that fasta2a ships runs one after
the other, so that a thousand tasks that wait would wait in a line.

Its send never waits for the task. It is best asked by the names of 0.3 (`message/send`, `tasks/get`), read directly;
requests by the names of 1.0 it translates and parses twice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from anyio import create_task_group
from fasta2a import FastA2A, Worker
from fasta2a.broker import InMemoryBroker
from fasta2a.schema import Artifact, Message, Part, TaskIdParams, TaskSendParams
from fasta2a.storage import InMemoryStorage


class Echo(Worker[Any]):  # type: ignore[misc]  # fasta2a has no types
    """The agent, run as fasta2a runs its workers."""

    async def run_task(self, params: TaskSendParams) -> None:
        """`working`, a chunk or many, and the end."""
        task_id, context_id = params["id"], params["context_id"]
        await self.storage.update_task(task_id, state="working")
        await self.publish_status(task_id, context_id, "working")
        text = "".join(part.get("text", "") for part in params["message"]["parts"])
        command, _, argument = text.partition(" ")
        if command == "stream":
            count, _, gap = argument.partition(" ")
            answer = await self.stream(task_id, context_id, int(count), float(gap or 0))
        else:
            if command == "sleep":
                await asyncio.sleep(float(argument))
            answer = "x" * int(argument) if command == "blob" else text[:64]
            await self.publish_artifact(task_id, context_id, artifact(answer))
        await self.storage.update_task(task_id, state="completed", new_artifacts=[artifact(answer)])

    async def stream(self, task_id: str, context_id: str, count: int, gap: float) -> str:
        """One artifact in so many chunks; all of its text."""
        chunks = [f"chunk {number}" for number in range(count)]
        for number, chunk in enumerate(chunks):
            last = number == count - 1
            await self.publish_artifact(task_id, context_id, artifact(chunk), append=number > 0, last_chunk=last)
            if gap:
                await asyncio.sleep(gap)
        return "".join(chunks)

    async def cancel_task(self, params: TaskIdParams) -> None:
        """Cancelled at once."""
        await self.storage.update_task(params["id"], state="canceled")

    def build_message_history(self, history: list[Message]) -> list[Any]:
        """Not asked for by this agent."""
        raise NotImplementedError

    def build_artifacts(self, result: Any) -> list[Artifact]:  # noqa: ANN401 - fasta2a's own
        """Not asked for by this agent."""
        raise NotImplementedError


class ConcurrentEcho(Echo):
    """The same, each task in one of its own."""

    async def _loop(self) -> None:
        async with create_task_group() as group:
            async for operation in self.broker.receive_task_operations():
                group.start_soon(self._handle_task_operation, operation)


def artifact(text: str) -> Artifact:
    """The artifact of every task, or a chunk of it."""
    return Artifact(artifact_id="a", parts=[Part(text=text)])


def main() -> None:
    """Serve."""
    port = int(os.environ["PORT"])
    storage, broker = InMemoryStorage[Any](), InMemoryBroker()
    worker = (ConcurrentEcho if os.environ.get("CONC") == "1" else Echo)(storage=storage, broker=broker)

    @asynccontextmanager
    async def lifespan(app: FastA2A) -> AsyncIterator[None]:
        async with app.task_manager, worker.run():
            yield

    uvicorn.run(
        FastA2A(storage=storage, broker=broker, lifespan=lifespan, url=f"http://127.0.0.1:{port}/"),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        backlog=4096,
        timeout_keep_alive=3600,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )


if __name__ == "__main__":
    main()
