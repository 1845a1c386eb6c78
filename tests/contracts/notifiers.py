"""Every notifier that the contract suite runs over: one function and one line each."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from a2a_server.notifiers.local import LocalNotifier
from a2a_server.ports import Notifier


@asynccontextmanager
async def local() -> AsyncIterator[Notifier]:
    notifier = LocalNotifier()
    yield notifier
    await notifier.close()


NOTIFIERS: dict[str, Callable[[], AbstractAsyncContextManager[Notifier]]] = {
    "local": local,
}
