"""One served workbench for all tests of a module; tests that change the server's settings make their own.

`elsewhere` runs the same tests over other backends.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from a2a_server.examples.workbench import agent
from a2a_server.testing import Connection, connect
from a2a_server.wiring.system import Process
from tests.clients.rpc import new_http
from tests.server.elsewhere import CHOSEN, SETS, cleared, moved

_init = Process.__init__


def _init_elsewhere(self: Process, agent: Any, settings: Any, **more: Any) -> None:  # noqa: ANN401 - as it is given
    _init(self, agent, moved(settings), **more)


if CHOSEN:
    Process.__init__ = _init_elsewhere  # type: ignore[method-assign]  # one place where all tests go through
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        os.environ.setdefault(f"AWS_{name}", "test")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not CHOSEN:
        return
    assert CHOSEN in SETS, f"A2A_TEST_BACKENDS is one of {', '.join(SETS)}"
    wanted = [
        item
        for item in items
        if not item.get_closest_marker("embedded") and (SETS[0] == CHOSEN or item.get_closest_marker("backends"))
    ]
    items[:] = wanted


@pytest.fixture(autouse=True)
def places() -> Iterator[None]:
    with cleared():
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Connection]:
    async with connect(agent) as connection:
        yield connection


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with new_http() as client:
        yield client
