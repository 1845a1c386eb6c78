"""The loop of the Python programs: requests from standard input, answers to standard output, any number at a time."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeAlias

Args: TypeAlias = dict[str, Any]
Operation: TypeAlias = Callable[[Args], AsyncIterator[Any]]

BEGUN = 0
"""Answered once the program is ready; no operation has this number."""


async def serve(operations: Mapping[str, Operation], code_of: Callable[[Exception], int | None]) -> None:
    """Answer until standard input ends. `code_of`: the JSON-RPC code that the client's exception shows, if any."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    running: dict[int, asyncio.Task[None]] = {}

    async def answer(number: int, operation: Operation, args: Args) -> None:
        last: dict[str, Any] = {"done": True}
        try:
            async for item in operation(args):
                _say(number, {"item": item})
        except Exception as error:  # noqa: BLE001 - the tests judge it
            last = {"error": {"code": code_of(error), "message": f"{type(error).__name__}: {error}"}}
        finally:
            del running[number]
            _say(number, last)

    _say(BEGUN, {"done": True})
    while line := await reader.readline():
        request = json.loads(line)
        number: int = request["id"]
        if request["op"] != "stop":
            running[number] = loop.create_task(answer(number, operations[request["op"]], request["args"]))
        elif number in running:
            running[number].cancel()


def _say(number: int, words: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"id": number, **words}) + "\n")
    sys.stdout.flush()
