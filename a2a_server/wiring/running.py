"""A process from its start to its end: the event loop, the signals that stop it, and handlers that do not stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from a2a_server.agent import Agent
from a2a_server.engine.engine import Engine
from a2a_server.errors import ConfigurationError
from a2a_server.settings import Settings
from a2a_server.settings.services import shown
from a2a_server.telemetry import configure
from a2a_server.wiring.backends import shares
from a2a_server.wiring.system import Process

YOUNG_OBJECTS = 10_000
"""How many objects a process that does nothing else makes before it looks for cycles among them."""

_log = logging.getLogger("a2a_server.wiring")


def work(agent: Agent, settings: Settings, *, on_ready: Callable[[str], None]) -> int:
    """Run tasks until SIGTERM, SIGINT or an operator's word, drain, and return the exit code; nothing is served.

    on_ready: gets the id of the worker. Raises ConfigurationError.
    """
    if not (shares(settings) and settings.workers):
        raise ConfigurationError(
            f"A worker process needs a store that processes share, and {shown(settings.store)} is none: name one "
            "(--store postgresql://… or mongodb://…); with SQLite, `a2a-server run` runs the tasks itself."
            if settings.workers
            else "workers=0 leaves a worker process nothing to do; give it workers=1."
        )
    configure(settings.log_level, settings.log_format)

    async def main() -> int:
        process = Process(agent, settings)
        ended = asyncio.Event()
        with stopped(process.engine, settings.drain_seconds, ended.set, ended.set):
            await process.start()
            spare_what_stays()
            on_ready(process.engine.worker.id.hex())
            await ended.wait()
            await process.stop()
        return process.engine.running

    return run_until_over(main())


@contextmanager
def stopped(
    engine: Engine, drain_seconds: float, stop: Callable[[], None], again: Callable[[], None]
) -> Iterator[None]:
    """SIGTERM, SIGINT and an operator's word call `stop`; the second one `again`, and handlers are handed back."""
    asked = False

    def ask() -> None:
        nonlocal asked
        if asked:
            again()
            engine.hurry()
        elif engine.running:
            _log.info(
                "Stopping: %d running tasks have up to %g s; a second signal hands them back at once.",
                engine.running,
                drain_seconds,
            )
        asked = True
        stop()

    loop = asyncio.get_running_loop()
    told = loop.create_task(_told(engine, ask))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    try:
        yield
    finally:
        told.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _told(engine: Engine, ask: Callable[[], None]) -> None:
    await engine.told_to_drain.wait()
    _log.info("An operator asked this process to drain.")
    ask()


def run_until_over(main: Coroutine[Any, Any, int]) -> int:
    """Run `main` in an event loop of its own; it returns how many handlers did not stop. The exit code.

    The interpreter would wait for the threads of such handlers; the process ends without them.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        stuck = runner.run(main)
    if stuck:
        # Whatever they still say is refused.
        _log.warning("%d handlers did not stop; the process ends without them.", stuck)
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)
    return 0


def spare_what_stays() -> None:
    """Hardly anything here is a cycle, and modules stay for ever: by default every request would pay for looking.

    Nor does the first request wait for a look at what the start left: it is little, and stays as well.
    """
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop

    return uvloop.new_event_loop
