"""What drills serve: the workbench, the same under limits, and families of tasks.

`narrow` notes the beginning and the end of each of its runs in the file that A2A_DRILL_NOTES names, one line a note:
`begin` or `end`, the process, the task, its attempt. A killed process leaves beginnings without an end.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from a2a_server import Agent, TaskContext
from a2a_server.context.family import TaskHandle
from a2a_server.examples import workbench as bench

ROOM = 2
NESTED_ROOM = 10

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


@agent.skill(context="serial")
async def serial(task: TaskContext, text: str) -> AsyncIterator[bench.Item]:
    """The same, one at a time in each context."""
    async for item in bench.workbench(task, text):
        yield item


@agent.skill(max_concurrency=NESTED_ROOM)
async def nested(task: TaskContext, text: str) -> str:
    """`parent` has a part of the same skill and joins it."""
    if text == "parent":
        (part,) = await task.join(await task.spawn("part"))
        return part.text
    return text


@agent.skill
async def family(task: TaskContext, text: str) -> str:
    """`family N line`: N parts that do the line, each numbered; every second one behind the one before; all joined."""
    _, number, line = text.split(" ", 2)
    parts: list[TaskHandle] = []
    for index in range(int(number)):
        after = parts[-1:] if index % 2 else []
        parts.append(await task.spawn(line.replace("#", str(index)), skill="workbench", depends_on=after))
    return "\n".join(part.text for part in await task.join(*parts))


def _note(what: str, task: TaskContext) -> None:
    path = os.environ.get("A2A_DRILL_NOTES")
    if path:
        with Path(path).open("a", encoding="utf-8") as notes:  # one short write, so lines of processes do not mix
            notes.write(f"{what} {os.getpid()} {task.id} {task.attempt}\n")
