"""The demo agent: four skills, each showing one thing that a task server is good for.

Try it with `a2a-server demo`, or serve it with `a2a-server run a2a_server.examples.demo:agent`. Its card, as one would
write it by hand, is `agent_card.json` beside the README.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from pydantic import Field

from a2a_server import Agent, Retry, TaskContext

agent = Agent(
    "Demo",
    description="Shows what a durable task server does: answers, long jobs, streams, and second attempts.",
    version="1.0.0",
)


@agent.skill(tags=["text"], examples=["hello"], default=True)
async def echo(text: str) -> str:
    """Say it back.

    The shortest skill there is: one required `str` takes the message's text, and the returned `str` is the result.
    """
    return text


@agent.skill(tags=["job", "progress"])
async def count(
    task: TaskContext,
    steps: Annotated[int, Field(ge=1, le=100_000)] = 10,
    seconds: Annotated[float, Field(ge=0, le=3600)] = 1.0,
) -> dict[str, int]:
    """Count slowly, telling how far it is.

    A long job: clients may leave and come back, and the server may be restarted meanwhile. `task.progress` tells
    everybody who watches; parameters come from the message's data part and are checked against their types.
    """
    for step in range(1, steps + 1):
        await asyncio.sleep(seconds)
        task.progress(done=step, total=steps, note=f"step {step} of {steps}")
    return {"steps": steps}


@agent.skill(tags=["text", "stream"])
async def story(
    about: str = "a lighthouse",
    gap_seconds: Annotated[float, Field(ge=0, le=60)] = 0.05,
) -> AsyncIterator[str]:
    """Tell a short story, word by word.

    A generator: everything that it yields is sent at once as one more chunk of the task's text, the way a language
    model's tokens arrive.
    """
    tale = (
        f"Once there was {about}. Every night somebody asked it for something that would take until the morning. "
        "It wrote each request down before it said yes, and so, whatever the storm took, no promise was lost."
    )
    for index, word in enumerate(tale.split()):
        if index:
            await asyncio.sleep(gap_seconds)
        yield word if index == 0 else f" {word}"


@agent.skill(tags=["retry"])
async def flaky(task: TaskContext) -> str:
    """Fail on the first attempt and succeed on the second.

    `Retry` says that trying again may help; the server does so by itself, and the client just waits a little longer.
    """
    if task.attempt == 1:
        raise Retry("The first attempt always fails.", after_seconds=1.0)
    return f"succeeded on attempt {task.attempt}"
