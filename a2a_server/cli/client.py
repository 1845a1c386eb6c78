"""The client's commands on one task: `send`, and `task send|get|cancel|subscribe`, over A2A 1.0.

A command that waits always follows the task's stream, shown or not, because then the task's id is known from the first
event on, and neither a broken connection nor Ctrl-C loses it.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter

from a2a_server.cli import output
from a2a_server.cli.admin import under
from a2a_server.cli.attachments import check_files, file_parts, parts_of, piped
from a2a_server.cli.failures import CommandError, Exit, UsageError
from a2a_server.cli.follow import ASKING, ENDED, Follower, immediately, state_of
from a2a_server.cli.invoked import command
from a2a_server.cli.rpc import Connection, Json
from a2a_server.cli.target import Target
from a2a_server.model.objects import OPTIONS_URI

Priority: TypeAlias = Literal["critical", "high", "normal", "low", "backlog"]


def send(
    text: str | None = None,
    /,
    *more: Annotated[str, Parameter(show=False)],
    stream: bool = False,
    task: Annotated[str | None, Parameter(alias="--task-id")] = None,
    context: str | None = None,
    skill: str = "",
    priority: Priority | None = None,
    data: str | None = None,
    file: list[Path] | None = None,
    no_wait: bool = False,
    target: Target | None = None,
) -> int:
    """Send a message and show the answer.

    Ends with 1 if the task fails, is rejected or canceled. Ctrl-C leaves the task running. Where the task asks for
    something, the question is shown with the command that answers it; on a terminal the answer can be typed at once.

    Args:
        text: What to say; after -- it may begin with a hyphen. Without it, --data and --file: what comes on stdin.
        more: Never given; only there to say what to do instead.
        stream: Show text and progress as they come.
        task: Answer this task, which asks for something.
        context: Continue this conversation.
        skill: The skill to run; without it the server chooses.
        priority: How urgent it is.
        data: A JSON value, as a data part.
        file: A file to send along, uploaded first if it is above 64 KiB; may be given several times.
        no_wait: Only print the task's id; the task goes on.
        target: Which server.
    """
    target = target or Target()
    files = file or []
    if stream and no_wait:
        raise UsageError("--stream waits for the task, --no-wait does not; give one of them")
    for flag, given in (("--task", task), ("--context", context)):
        if given == "":
            raise UsageError(f"{flag} is empty; give an id, or leave it out to begin anew")
    if more:
        raise UsageError(f"quote the text: {command('send', ' '.join((text or '', *more)))}")
    answered_here = _can_ask(target)
    if text is None and data is None and not files:
        text = piped()
    parts = parts_of(text, data)
    check_files(files)
    if not parts and not files and not skill:
        raise UsageError(f"there is nothing to send; give a text, --data or --file: {command('send', 'hello')}")
    options = {key: value for key, value in (("skill", skill), ("priority", priority)) if value}
    outgoing = _Outgoing(parts, files, options, task or "", context or "")
    if no_wait:
        return _submit(target, outgoing)
    conversation = _Conversation(target, live=stream)
    while True:
        code = conversation.send(outgoing)
        answer = conversation.answer() if answered_here else None
        if answer is None:
            return code
        outgoing = _Outgoing([{"text": answer}], [], {}, conversation.task_id, "")


@dataclass(frozen=True)
class _Outgoing:
    """One message. `options`: task options that are set."""

    parts: list[Json]
    files: list[Path]
    options: dict[str, str]
    task_id: str
    context: str

    async def params(self, connection: Connection) -> Json:
        """The parameters of a send, once the files are where the server finds them."""
        parts = [*self.parts, *await file_parts(connection, self.files)]
        parts = parts or [{"data": {}}]  # a skill may need no arguments, a message has at least one part
        message: Json = {"messageId": str(uuid.uuid4()), "role": "ROLE_USER", "parts": parts}
        message |= {key: value for key, value in (("taskId", self.task_id), ("contextId", self.context)) if value}
        return {"message": message} | ({"metadata": {OPTIONS_URI: self.options}} if self.options else {})


class _Conversation:
    """Sends one message after the other and follows what comes of each. `task_id`: the task that asks."""

    def __init__(self, target: Target, *, live: bool) -> None:
        self._target = target
        self._live = live
        self._follower: Follower | None = None

    @property
    def task_id(self) -> str:
        return self._follower.task_id if self._follower else ""

    def send(self, outgoing: _Outgoing) -> int:
        """Send and follow; the exit code. Raises CommandError where the task ends badly."""

        async def begin(connection: Connection, note: output.Note) -> Follower:
            params = await outgoing.params(connection)
            return Follower(connection, send=params, task_id=outgoing.task_id, notice=note)

        def began(follower: Follower) -> None:
            self._follower = follower

        self._follower = None
        return _follow(self._target, begin, began, live=self._live)

    def answer(self) -> str | None:
        """What the person at the terminal types in answer to the task's question; None = nothing is asked, or typed."""
        status = self._follower.status if self._follower else None
        if status is None or output.state_name(status["state"]) != "input-required":
            return None
        sys.stderr.write("Answer (empty: later): ")
        sys.stderr.flush()
        return sys.stdin.readline().strip() or None


def get(id: str, /, *, history: int | None = None, target: Target | None = None) -> int:
    """Show a task.

    Args:
        id: The task's id.
        history: How many of its last messages to show; without it the server's choice.
        target: Which server.
    """
    target = target or Target()

    def show(task: Json) -> None:
        output.emit(output.task_report(task))
        if state_of(task) in ASKING:
            output.say(_way_to_answer(target, str(task.get("id", id))))

    return target.call("GetTask", {"id": id} | ({} if history is None else {"historyLength": history}), show)


def cancel(id: str, /, *, admin: bool = False, target: Target | None = None) -> int:
    """Cancel a task.

    Args:
        id: The task's id.
        admin: Over the management API.
        target: Which server.
    """

    def show(task: Json) -> None:
        output.emit(f"task {task.get('id', id)} is {output.state_name(state_of(task))}\n")

    if admin:

        def show_state(task: Json) -> None:
            output.emit(f"task {task.get('id', id)} is {task.get('state', '')}\n")

        return (target or Target()).ask("POST", under("tasks", id, "cancel"), show_state)
    return (target or Target()).call("CancelTask", {"id": id}, show)


def subscribe(id: str, /, *, after: int | None = None, target: Target | None = None) -> int:
    """Follow a task to its end: what it has, then text and progress as they come.

    Args:
        id: The task's id.
        after: Begin behind this event; 0 shows the whole stream again, also of a task that has ended.
        target: Which server.
    """
    if after is not None and after < 0:
        raise UsageError("--after is the number of an event, 0 or more")

    async def begin(connection: Connection, note: output.Note) -> Follower:
        return Follower(connection, task_id=id, after=after, notice=note)

    return _follow(target or Target(), begin, lambda _: None, live=True)


def _submit(target: Target, outgoing: _Outgoing) -> int:
    async def work() -> int:
        async with target.connection() as connection:
            result = await connection.call("SendMessage", immediately(await outgoing.params(connection)))
        if target.json:
            output.emit_json(result)
        else:
            message = result.get("message")
            output.emit(f"{output.message_text(message) if message else result['task']['id']}\n")
        return Exit.OK

    return target.run(work)


def _can_ask(target: Target) -> bool:
    return not target.json and sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def _follow(
    target: Target,
    begin: Callable[[Connection, output.Note], Awaitable[Follower]],
    began: Callable[[Follower], None],
    *,
    live: bool,
) -> int:
    following: list[Follower] = []

    async def work() -> int:
        async with target.connection() as connection:
            with _view(target, live=live) as view:
                follower = await begin(connection, view.note)
                following.append(follower)
                began(follower)
                async with aclosing(follower.items()) as items:
                    async for item in items:
                        view.show(item)
            if not live:
                await _show_end(connection, follower, target)
        return _verdict(follower, target)

    return target.run(work, lambda: _way_back(target, following))


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
        output.say(_way_to_answer(target, follower.task_id))
    elif status["state"] in ENDED and output.state_name(status["state"]) != "completed":
        text = output.message_text(status.get("message"))
        raise CommandError(f"task {follower.task_id} {output.state_name(status['state'])}{text and f': {text}'}")
    return Exit.OK


def _way_to_answer(target: Target, task_id: str) -> str:
    return f'The task waits for an answer. Give it with: {target.command("send", "--task", task_id)} "…"'


def _way_back(target: Target, following: list[Follower]) -> str:
    if not following or not following[0].task_id:
        return ""
    follower = following[0]
    after = () if follower.n is None else ("--after", str(follower.n))
    return f"The task goes on. Follow it with: {target.command('task', 'subscribe', follower.task_id, *after)}"
