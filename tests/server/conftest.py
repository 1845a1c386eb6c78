"""One served workbench for all tests of a module; tests that change the server's settings make their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest_asyncio

from a2a_server.examples.workbench import agent
from a2a_server.testing import Connection, connect
from tests.clients.rpc import new_http


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Connection]:
    async with connect(agent) as connection:
        yield connection


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with new_http() as client:
        yield client
