"""The client's commands: `send`, and `task send|get|cancel|subscribe`, over A2A 1.0.

A command that waits always follows the task's stream, shown or not, because then the task's id is known from the first
event on, and neither a broken connection nor Ctrl-C loses it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import mimetypes
import os
import sys
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter

from a2a_server.cli import output
from a2a_server.cli.failures import CommandError, Exit, UnreachableError, UsageError, WaitedTooLongError
from a2a_server.cli.follow import ASKING, ENDED, Follower, immediately, state_of
from a2a_server.cli.invoked import command
from a2a_server.cli.rpc import DEFAULT_URL, BrokenError, Connection, Json
from a2a_server.model.objects import OPTIONS_URI

Priority: TypeAlias = Literal["critical", "high", "normal", "low", "backlog"]


@Parameter(name="*")
@dataclass(frozen=True)
class Target:
    """Which server, for how long, and how the answer is shown."""

    url: Annotated[str, Parameter(env_var="A2A_URL", show_default=True)] = DEFAULT_URL
    """Where the server listens."""
    token: Annotated[str, Parameter(env_var="A2A_TOKEN")] = ""
    """Bearer token, where the server asks for one; better given in the environment."""
    timeout: float | None = None
    """Give up waiting after so many seconds; the task goes on. Without it there is no limit."""
    output: Annotated[Literal["text", "json"], Parameter(alias="-o", show_default=True)] = "text"
    """For people, or JSON: one object, and one a line when streaming."""

    @property
    def json(self) -> bool:
        """Whether programs read the answer."""
        return self.output == "json"


def send(
    text: str | None = None,
    /,
    *more: Annotated[str, Parameter(show=False)],
    stream: bool = False,
    task_id: str = "",
    context: str = "",
    skill: str = "",
    priority: Priority | None = None,
    data: str | None = None,
    file: list[Path] | None = None,
    no_wait: bool = False,
    target: Target | None = None,
) -> int:
    """Send a message and show the answer.

    Ends with 1 if the task fails, is rejected or canceled. Ctrl-C leaves the task running.

    Args:
        text: What to say; after -- it may begin with a hyphen. Without it, --data and --file: what comes on stdin.
        more: Never given; only there to say what to do instead.
        stream: Show text and progress as they come.
        task_id: Answer this task, which asks for something.
        context: Continue this conversation.
        skill: The skill to run; without it the server chooses.
        priority: How urgent it is.
        data: A JSON value, as a data part.
        file: A file to send along; may be given several times.
        no_wait: Only print the task's id; the task goes on.
        target: Which server.
    """
    target = target or Target()
    if stream and no_wait:
        raise UsageError("--stream waits for the task, --no-wait does not; give one of them")
    if more:
        raise UsageError(f"quote the text: {command('send', ' '.join((text or '', *more)))}")
    if text is None and data is None and not file:
        text = _piped()
    parts = _parts(text, data, file or [])
    if not parts and not skill:
        raise UsageError(f"there is nothing to send; give a text, --data or --file: {command('send', 'hello')}")
    parts = parts or [{"data": {}}]  # a skill may need no arguments, a message has at least one part
    message: Json = {"messageId": str(uuid.uuid4()), "role": "ROLE_USER", "parts": parts}
    message |= {key: value for key, value in (("taskId", task_id), ("contextId", context)) if value}
    options = {key: value for key, value in (("skill", skill), ("priority", priority)) if value}
    params: Json = {"message": message} | ({"metadata": {OPTIONS_URI: options}} if options else {})
    if no_wait:
        return _call(target, "SendMessage", immediately(params), _show_sent)
    return _follow(target, lambda to, note: Follower(to, send=params, task_id=task_id, notice=note), live=stream)


def get(id: str, /, *, history: int | None = None, target: Target | None = None) -> int:
    """Show a task.

    Args:
        id: The task's id.
        history: How many of its last messages to show; without it the server's choice.
        target: Which server.
    """
    params = {"id": id} | ({} if history is None else {"historyLength": history})
    return _call(target or Target(), "GetTask", params, lambda task: output.emit(output.task_report(task)))


def cancel(id: str, /, *, target: Target | None = None) -> int:
    """Cancel a task.

    Args:
        id: The task's id.
        target: Which server.
    """

    def show(task: Json) -> None:
        output.emit(f"task {task.get('id', id)} is {output.state_name(state_of(task))}\n")

    return _call(target or Target(), "CancelTask", {"id": id}, show)


def subscribe(id: str, /, *, after: int | None = None, target: Target | None = None) -> int:
    """Follow a task to its end: what it has, then text and progress as they come.

    Args:
        id: The task's id.
        after: Begin behind this event; 0 shows the whole stream again, also of a task that has ended.
        target: Which server.
    """
    if after is not None and after < 0:
        raise UsageError("--after is the number of an event, 0 or more")
    return _follow(target or Target(), lambda to, note: Follower(to, task_id=id, after=after, notice=note), live=True)


def _piped() -> str | None:
    if sys.stdin is None or sys.stdin.isatty():
        return None
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n") or None
    except UnicodeDecodeError as error:
        raise UsageError("what comes on stdin is no UTF-8 text; send it with --file") from error


def _parts(text: str | None, data: str | None, files: list[Path]) -> list[Json]:
    parts: list[Json] = [] if text is None else [{"text": text}]
    if data is not None:
        try:
            parts.append({"data": json.loads(data)})
        except ValueError as error:
            raise UsageError(f"--data is not JSON: {error}") from error
    for path in files:
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise UsageError(f"--file {path}: {error.strerror}") from error
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        parts.append({"raw": base64.b64encode(raw).decode(), "filename": path.name, "mediaType": kind})
    return parts


def _show_sent(result: Json) -> None:
    message = result.get("message")
    output.emit(f"{output.message_text(message) if message else result['task']['id']}\n")


def _call(target: Target, method: str, params: Json, show: Callable[[Json], None]) -> int:
    async def work() -> int:
        async with _connection(target) as connection:
            result = await connection.call(method, params)
        (output.emit_json if target.json else show)(result)
        return Exit.OK

    return _run(target, work, lambda: "")


def _follow(target: Target, begin: Callable[[Connection, output.Note], Follower], *, live: bool) -> int:
    following: list[Follower] = []

    async def work() -> int:
        async with _connection(target) as connection:
            with _view(target, live=live) as view:
                follower = begin(connection, view.note)
                following.append(follower)
                async with aclosing(follower.items()) as items:
                    async for item in items:
                        view.show(item)
            if not live:
                await _show_end(connection, follower, target)
        return _verdict(follower, target)

    return _run(target, work, lambda: _way_back(target, following))


def _view(target: Target, *, live: bool) -> output.View:
    if not live:
        return output.Silent()
    if target.json:
        return output.JsonLines()
    if not sys.stdout.isatty():
        return output.Plain()
    from a2a_server.cli.live import LiveView

    return LiveView()


async def _show_end(connection: Connection, follower: Follower, target: Target) -> None:
    if follower.message is not None:
        result = {"message": follower.message}
        text = f"{output.message_text(follower.message)}\n"
    else:
        task = await connection.call("GetTask", {"id": follower.task_id})
        result, text = {"task": task}, output.task_text(task)
    if target.json:
        output.emit_json(result)
    else:
        output.emit(text)


def _verdict(follower: Follower, target: Target) -> int:
    status = follower.status
    if follower.message is not None or status is None:
        return Exit.OK
    if status["state"] in ASKING:
        answer = _command(target, "send", "--task-id", follower.task_id)
        output.say(f'The task waits for an answer. Give it with: {answer} "…"')
    elif status["state"] in ENDED and output.state_name(status["state"]) != "completed":
        text = output.message_text(status.get("message"))
        raise CommandError(f"task {follower.task_id} {output.state_name(status['state'])}{text and f': {text}'}")
    return Exit.OK


def _run(target: Target, work: Callable[[], Awaitable[int]], way_back: Callable[[], str]) -> int:
    async def bounded() -> int:
        async with asyncio.timeout(target.timeout):
            return await work()

    try:
        return asyncio.run(bounded())
    except KeyboardInterrupt:
        output.say(f"\n{way_back()}".rstrip())
        return Exit.INTERRUPTED
    except TimeoutError as error:
        text = f"no end within {target.timeout:g} s at {target.url}. {way_back()}"
        raise WaitedTooLongError(text.rstrip()) from error
    except BrokenError as error:
        raise UnreachableError(f"lost {target.url}: {error}. {way_back()}".rstrip()) from error
    except UnreachableError as error:
        raise UnreachableError(f"{error} {way_back()}".rstrip()) from error


def _way_back(target: Target, following: list[Follower]) -> str:
    if not following or not following[0].task_id:
        return ""
    follower = following[0]
    after = () if follower.n is None else ("--after", str(follower.n))
    return f"The task goes on. Follow it with: {_command(target, 'task', 'subscribe', follower.task_id, *after)}"


def _command(target: Target, *words: str) -> str:
    where = () if target.url in {DEFAULT_URL, os.environ.get("A2A_URL")} else ("--url", target.url)
    return command(*words, *where)


def _connection(target: Target) -> Connection:
    if target.timeout is not None and target.timeout <= 0:
        raise UsageError("--timeout is a number of seconds above 0")
    return Connection(target.url, target.token)
