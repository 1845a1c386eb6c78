"""The workbench: one skill that does on command whatever a test, a benchmark or a curious person wants of an agent.

It understands one line of text:

| line | what the task does |
|---|---|
| `echo X` | answers `X`, exactly |
| `stream N [gap]` | yields N chunks `chunk 0`, `chunk 1`, … with `gap` seconds between them |
| `work N [gap]` | takes N steps, `gap` seconds before each, and tells its progress after each |
| `sleep S` | answers `slept` after S seconds |
| `blob N` | gives a file artifact `blob` of N bytes: 0, 1, 2, … 255, 0, 1, … |
| `fail` | fails at once |
| `flaky N` | fails transiently N times, then answers `succeeded on attempt N+1` |
| `reject` | rejects the task |
| `ask N [gap]` | asks N questions, `gap` seconds of work before each, then gives the answers |
| `steps N [gap]` | remembers N steps that take `gap` seconds each, then gives what they returned |
| `talk N [gap]` | the same mixed: a step, a question, a step, … N questions and N + 1 steps |

A chunk has no separator, so the text of `stream 2` is `chunk 0chunk 1`. Answers and chunks are the artifact `text`.
What was asked and remembered stands in it in order, one to a line. The questions are `question 1 of 3` and so on. A
step returns a random token, which its run also tells as progress: every run of the task must tell the same one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias
from uuid import uuid4

from a2a_server import Agent, Artifact, Fail, File, Progress, Reject, Retry, TaskContext

Item: TypeAlias = str | Progress | Artifact

MOST_STEPS = 1_000_000
MOST_QUESTIONS = 100
MOST_SECONDS = 86_400.0
MOST_BYTES = 64 * 1024 * 1024

agent = Agent("Workbench", description="Does on command what a test wants of an agent.", version="1.0.0")


@agent.skill(tags=["test"], examples=["echo hello", "stream 10 0.1", "work 5 1", "sleep 2", "blob 1048576"])
async def workbench(task: TaskContext, text: str) -> AsyncIterator[Item]:
    """Do what one line of text says: echo, stream, work, sleep, blob, fail, flaky, reject, ask, steps or talk."""
    command, _, rest = text.lstrip().partition(" ")
    command, words = command.rstrip(), rest.split()
    if command == "echo":
        yield rest
    elif command in ANSWERS:
        yield await ANSWERS[command](task, words)
    elif command in SERIES:
        async with aclosing(SERIES[command](task, words)) as items:
            async for item in items:
                yield item
    else:
        raise Reject(f"Unknown command. Send one line of: {'; '.join(['echo X', *USAGE.values()])}.")


async def stream(_task: TaskContext, words: list[str]) -> AsyncGenerator[Item, None]:
    """Chunks of text, each one yield."""
    number, gap = _steps("stream", words)
    for index in range(number):
        if index and gap:
            await asyncio.sleep(gap)
        yield f"chunk {index}"


async def work(_task: TaskContext, words: list[str]) -> AsyncGenerator[Item, None]:
    """Steps with progress."""
    number, gap = _steps("work", words)
    for step in range(1, number + 1):
        await asyncio.sleep(gap)
        yield Progress(done=step, total=number, note=f"step {step} of {number}")
    yield f"worked {number} steps"


async def ask(task: TaskContext, words: list[str]) -> AsyncGenerator[Item, None]:
    """Questions."""
    number, gap = _steps("ask", words, MOST_QUESTIONS)
    answers = [await _answer(task, index, number, gap) for index in range(1, number + 1)]
    yield "\n".join(answers)


async def steps(task: TaskContext, words: list[str]) -> AsyncGenerator[Item, None]:
    """Steps that are remembered."""
    number, gap = _steps("steps", words, MOST_QUESTIONS)
    tokens: list[str] = []
    for index in range(1, number + 1):
        tokens.append(await _token(task, index, gap))
        yield _told(index, number, tokens[-1])
    yield "\n".join(tokens)


async def talk(task: TaskContext, words: list[str]) -> AsyncGenerator[Item, None]:
    """Questions between remembered steps."""
    number, gap = _steps("talk", words, MOST_QUESTIONS)
    lines = [await _token(task, 1, gap)]
    yield _told(1, number + 1, lines[-1])
    for index in range(1, number + 1):
        lines.append(await _answer(task, index, number, gap))
        lines.append(await _token(task, index + 1, gap))
        yield _told(index + 1, number + 1, lines[-1])
    yield "\n".join(lines)


async def _answer(task: TaskContext, index: int, number: int, gap: float) -> str:
    await asyncio.sleep(gap)
    return str(await task.ask(f"question {index} of {number}"))


async def _token(task: TaskContext, index: int, gap: float) -> str:
    async def made() -> str:
        await asyncio.sleep(gap)
        return uuid4().hex

    name = "step" if index % 2 else f"step {index}"  # a name may be used again
    return str(await task.step(name, made))


def _told(index: int, number: int, token: str) -> Progress:
    return Progress(done=index, total=number, note=token)


async def sleep(_task: TaskContext, words: list[str]) -> Item:
    """An answer that takes its time."""
    await asyncio.sleep(_number("sleep", words, MOST_SECONDS))
    return "slept"


async def blob(_task: TaskContext, words: list[str]) -> Item:
    """A file of so many bytes."""
    size = int(_number("blob", words, MOST_BYTES))
    raw = (bytes(range(256)) * (size // 256 + 1))[:size]
    return Artifact("blob", (File("blob.bin", "application/octet-stream", raw=raw),))


async def flaky(task: TaskContext, words: list[str]) -> Item:
    """A failure that passes."""
    if task.attempt <= _number("flaky", words, MOST_STEPS):
        raise Retry(f"Attempt {task.attempt} fails as asked.")
    return f"succeeded on attempt {task.attempt}"


async def fail(_task: TaskContext, _words: list[str]) -> Item:
    """A failure that stays."""
    raise Fail("Failed as asked.")


async def reject(_task: TaskContext, _words: list[str]) -> Item:
    """A no."""
    raise Reject("Rejected as asked.")


ANSWERS: dict[str, Callable[[TaskContext, list[str]], Awaitable[Item]]] = {
    "sleep": sleep,
    "blob": blob,
    "flaky": flaky,
    "fail": fail,
    "reject": reject,
}
SERIES: dict[str, Callable[[TaskContext, list[str]], AsyncGenerator[Item, None]]] = {
    "stream": stream,
    "work": work,
    "ask": ask,
    "steps": steps,
    "talk": talk,
}
USAGE = {
    "stream": "stream N [gap_seconds]",
    "work": "work N [gap_seconds]",
    "sleep": "sleep SECONDS",
    "blob": "blob BYTES",
    "fail": "fail",
    "flaky": "flaky N",
    "reject": "reject",
    "ask": "ask N [gap_seconds]",
    "steps": "steps N [gap_seconds]",
    "talk": "talk N [gap_seconds]",
}


def _steps(command: str, words: list[str], most: float = MOST_STEPS) -> tuple[int, float]:
    if len(words) not in {1, 2}:
        raise Reject(f"Write {USAGE[command]}.")
    gap = _number(command, words[1:], MOST_SECONDS) if words[1:] else 0.0
    return int(_number(command, words[:1], most)), gap


def _number(command: str, words: list[str], most: float) -> float:
    try:
        (word,) = words
        number = float(word)
    except ValueError:
        raise Reject(f"Write {USAGE[command]}.") from None
    if not 0 <= number <= most:
        raise Reject(f"Write {USAGE[command]}; {word} is not from 0 to {most:g}.")
    return number
