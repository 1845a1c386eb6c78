"""What the drills of several processes serve: the workbench, and the same once more with room for two.

`narrow` notes the beginning and the end of each of its runs in the file that A2A_DRILL_NOTES names, one line a note:
`begin` or `end`, the process, the task, its attempt. A killed process leaves beginnings without an end.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from a2a_server import Agent, TaskContext
from a2a_server.examples import workbench as bench

ROOM = 2

agent = Agent("Drill", description="The workbench, wide and narrow.", version="1.0.0")


@agent.skill(default=True)
async def workbench(task: TaskContext, text: str) -> AsyncIterator[bench.Item]:
    """Do what one line of text says."""
    async for item in bench.workbench(task, text):
        yield item


@agent.skill(max_concurrency=ROOM)
async def narrow(task: TaskContext, text: str) -> AsyncIterator[bench.Item]:
    """The same, two at a time in all processes together."""
    _note("begin", task)
    try:
        async for item in bench.workbench(task, text):
            yield item
    finally:
        _note("end", task)


def _note(what: str, task: TaskContext) -> None:
    path = os.environ.get("A2A_DRILL_NOTES")
    if path:
        with Path(path).open("a", encoding="utf-8") as notes:  # one short write, so lines of processes do not mix
            notes.write(f"{what} {os.getpid()} {task.id} {task.attempt}\n")
