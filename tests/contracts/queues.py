"""Every work queue that the contract suite runs over: one function and one line each."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from a2a_server.ports import WorkQueue
from a2a_server.queues.memory import MemoryQueue


@asynccontextmanager
async def memory() -> AsyncIterator[WorkQueue]:
    queue = MemoryQueue()
    yield queue
    await queue.close()


QUEUES: dict[str, Callable[[], AbstractAsyncContextManager[WorkQueue]]] = {
    "memory": memory,
}
