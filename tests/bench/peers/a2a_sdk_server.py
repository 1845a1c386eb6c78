"""a2a-sdk 1.x: its request handler, JSON-RPC routes with 0.3 beside 1.0, and its stores.

Environment: PORT; STORE, one of `memory`, `sqlite` (its database store as its documentation makes it, with what SQLite
does by default) and `sqlite-wal` (the same with a write-ahead log, which is faster and is up to the user); DB, the
database's file; SEED, how many finished tasks are there from the start.

Its tracing is off, as it documents: nobody would read the spans. Its store in memory copies tasks in and out, as it
does by default; an echo costs as much without.
"""

from __future__ import annotations

import asyncio
import os

os.environ["OTEL_INSTRUMENTATION_A2A_SDK_ENABLED"] = "false"  # read when a2a is imported

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import uvicorn
from a2a.helpers import get_message_text, new_task_from_user_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.context import ServerCallContext
from a2a.server.events import EventQueue
from a2a.server.models import TaskModel
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import DatabaseTaskStore, InMemoryTaskStore, TaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Artifact,
    Message,
    Role,
    Task,
    TaskState,
    TaskStatus,
)
from sqlalchemy import RowMapping, event, insert, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette


class Echo(AgentExecutor):
    """The agent."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """The task, `working`, a chunk or many, and the end."""
        assert context.message is not None
        task = context.current_task
        if task is None:
            task = new_task_from_user_message(context.message)
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.start_work()
        text = get_message_text(context.message)
        command, _, argument = text.partition(" ")
        if command == "stream":
            count, _, gap = argument.partition(" ")
            await stream(updater, int(count), float(gap or 0))
        else:
            if command == "sleep":
                await asyncio.sleep(float(argument))
            answer = "x" * int(argument) if command == "blob" else text[:64]
            await updater.add_artifact([new_text_part(answer)], artifact_id="a")
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Cancelled at once."""
        assert context.task_id is not None
        assert context.context_id is not None
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


async def stream(updater: TaskUpdater, count: int, gap: float) -> None:
    """One artifact in so many chunks."""
    for number in range(count):
        parts = [new_text_part(f"chunk {number}")]
        await updater.add_artifact(parts, artifact_id="a", append=number > 0, last_chunk=number == count - 1)
        if gap:
            await asyncio.sleep(gap)


def card(port: int) -> AgentCard:
    """The agent's card."""
    return AgentCard(
        name="echo",
        description="Answers what a benchmark asks.",
        version="1",
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        capabilities=AgentCapabilities(streaming=True),
        supported_interfaces=[
            AgentInterface(url=f"http://127.0.0.1:{port}/", protocol_binding="JSONRPC", protocol_version="1.0")
        ],
        skills=[AgentSkill(id="echo", name="echo", description="Says it back.", tags=["echo"])],
    )


def store_of(name: str) -> TaskStore:
    """The store that STORE names."""
    if name == "memory":
        return InMemoryTaskStore()
    engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ['DB']}")
    if name == "sqlite-wal":
        event.listen(engine.sync_engine, "connect", write_ahead)
    return DatabaseTaskStore(engine)


def write_ahead(connection: DBAPIConnection, _: object) -> None:
    """Settings of one connection."""
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def finished() -> Task:
    """A task as an echo leaves it."""
    task = Task(
        id=str(uuid4()),
        context_id=str(uuid4()),
        status=TaskStatus(state=TaskState.TASK_STATE_COMPLETED),
        artifacts=[Artifact(artifact_id="a", parts=[new_text_part("echo hi")])],
        history=[Message(message_id=str(uuid4()), role=Role.ROLE_USER, parts=[new_text_part("echo hi")])],
    )
    task.status.timestamp.GetCurrentTime()
    return task


async def seed(store: TaskStore, count: int) -> None:
    """So many finished tasks in an empty store; in a database all but the first are copies made there."""
    saved = min(count, 1) if isinstance(store, DatabaseTaskStore) else count
    for _ in range(saved):
        await store.save(finished(), ServerCallContext())
    if isinstance(store, DatabaseTaskStore) and count > saved:
        async with store.engine.begin() as connection:
            row = (await connection.execute(select(TaskModel.__table__))).mappings().one()
            await connection.execute(insert(TaskModel), [{**row, **older(row, n)} for n in range(saved, count)])


def older(row: RowMapping, seconds: int) -> dict[str, object]:
    """What a copy of this row has of its own."""
    last_updated = row["last_updated"] - timedelta(seconds=seconds)
    return {"id": str(uuid4()), "context_id": str(uuid4()), "last_updated": last_updated}


def main() -> None:
    """Serve."""
    port = int(os.environ["PORT"])
    store = store_of(os.environ["STORE"])
    handler = DefaultRequestHandler(agent_executor=Echo(), task_store=store, agent_card=card(port))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if isinstance(store, DatabaseTaskStore):
            await store.initialize()
        await seed(store, int(os.environ.get("SEED", "0")))
        yield
        await handler.aclose()

    routes = [*create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True), *create_agent_card_routes(card(port))]
    uvicorn.run(
        Starlette(routes=routes, lifespan=lifespan),
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
