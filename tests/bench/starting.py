"""From the start of the process to the first answer, beside the time that its dependencies take to be imported."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.bench.costs import Bench, Series
from tests.bench.load import connections
from tests.bench.servers import OURS, ROOT, Failed, environment, last_words
from tests.bench.speech import Speaker
from tests.drills.server import free_port

ANSWER, IMPORTS, USED = "first answer", "import of the given dependencies", "the same without boto3"
# Those that were given, and those of them that a start needs: boto3 waits until one of its addresses is used.
NEEDED = ("starlette.applications", "uvicorn", "jsonrpcserver", "sse_starlette", "pydantic", "aiosqlite")
GIVEN = (*NEEDED, "boto3")
_LOOK_SECONDS = 0.002
_LATEST_SECONDS = 60.0


async def starting(bench: Bench) -> Series:
    """Milliseconds of wall time, on the servers' core."""
    series: Series = {ANSWER: [], IMPORTS: [], USED: []}
    for number in range(-1, bench.counts.starts):  # one before, which warms caches
        bench.say(f"start {max(number, 0) + 1} of {bench.counts.starts}")
        answered = await _first_answer(bench)
        given, needed = [await asyncio.to_thread(_imported, bench, names) for names in (GIVEN, NEEDED)]
        if number >= 0:
            for name, seconds in ((ANSWER, answered), (IMPORTS, given), (USED, needed)):
                series[name].append(seconds * 1000)
    return series


async def _first_answer(bench: Bench) -> float:
    directory, port, speaker = bench.fresh_directory("start"), free_port(), Speaker(OURS)
    await asyncio.to_thread(directory.mkdir, parents=True)
    with await asyncio.to_thread((directory / "log").open, "wb") as log:
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: ASYNC220 - what is measured begins here
            OURS.command(port, directory),
            cwd=ROOT,
            env=environment(OURS, port, directory),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _pin(process.pid, bench)
        while time.perf_counter() < began + _LATEST_SECONDS and process.poll() is None:
            try:
                async with connections(port, 1) as (client,):
                    await speaker.echo(client)
                    return time.perf_counter() - began
            except OSError:
                await asyncio.sleep(_LOOK_SECONDS)
        raise Failed(f"a server did not answer:\n{last_words(directory)}")
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


def _imported(bench: Bench, names: Sequence[str]) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-c", f"import {', '.join(names)}"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL) as process:
        _pin(process.pid, bench)
        process.wait()
        return time.perf_counter() - began


def _pin(pid: int, bench: Bench) -> None:
    if bench.server_cores:
        os.sched_setaffinity(pid, bench.server_cores)
