"""`task watch`: several tasks at once, one line for each thing that happens.

Every task has a stream of its own, continued when it breaks. The tasks of a conversation are looked for again and
again, so that one which begins later is watched too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing
from datetime import datetime

from a2a_server.cli import output
from a2a_server.cli.admin import Filters, pairs
from a2a_server.cli.failures import CommandError, Exit, UsageError
from a2a_server.cli.follow import ASKING, ENDED, Follower, state_of
from a2a_server.cli.listing import Listed
from a2a_server.cli.rpc import Connection, Json
from a2a_server.cli.target import Target

MOST_WATCHED = 50
LOOK_AGAIN_SECONDS = 2.0
WHICH = "name tasks, or a --batch, or choose them with --filter and --context; not several"


def watch(
    *id: str,
    context: str = "",
    batch: str = "",
    filters: Filters = None,
    admin: bool = False,
    target: Target | None = None,
) -> int:
    """Follow several tasks to their ends, one line for each thing that happens.

    Ends with 1 if one of them fails, is rejected or canceled. With -o json every event is a line. --admin, --batch and
    --filter use one stream of the management API for all tasks, and show a table on a terminal; --filter does not end.

    Args:
        id: The tasks' ids.
        context: The tasks of this conversation that have not ended, and those that begin while it is watched.
        batch: The tasks of this batch.
        filters: The tasks that match, as NAME=VALUE, such as skill=echo; may be given several times.
        admin: Over the management API.
        target: Which server.
    """
    target = target or Target()
    ids = list(dict.fromkeys(id))
    if admin or batch or filters:
        if bool(ids) + bool(batch) + bool(filters or context) > 1:
            raise UsageError(WHICH)
        from a2a_server.cli.crowds import watch_many

        named = [("batch", batch), ("contextId", context)]
        return watch_many(target, ids, [*((name, value) for name, value in named if value), *pairs(filters or ())])
    if bool(ids) == bool(context):
        raise UsageError(WHICH)
    lines = Lines(target, lambda: datetime.now().astimezone())

    def show(item: Json) -> None:
        if target.json:
            output.emit_json(item)
        else:
            output.emit(f"{output.safe(lines.of(item))}\n")

    watching = Watching(target, show)

    async def work() -> int:
        async with target.connection() as connection:
            await (watching.context(connection, context) if context else watching.tasks(connection, ids))
        return watching.verdict()

    return target.run(work, watching.way_back)


class Watching:
    """The tasks that are watched, by id, and how each ended. Shows every item of their streams with `show`."""

    def __init__(
        self, target: Target, show: Callable[[Json], None], look_again_seconds: float = LOOK_AGAIN_SECONDS
    ) -> None:
        self._target = target
        self._show = show
        self._look_again_seconds = look_again_seconds
        self._followers: dict[str, Follower] = {}

    async def tasks(self, connection: Connection, ids: list[str]) -> None:
        """Until all have ended. Raises what the first that cannot be followed raises."""
        try:
            async with asyncio.TaskGroup() as group:
                self._begin(group, connection, ids)
        except ExceptionGroup as failed:
            raise _first(failed) from None

    async def context(self, connection: Connection, context: str) -> None:
        """Until all tasks of the conversation have ended, and none has begun since.

        Raises what the first that cannot be followed raises, and CommandError where there is no task.
        """
        filters: Json = {"contextId": context}
        found: set[str] = set()
        running: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    new = [task async for task in Listed().tasks(connection, filters) if task["id"] not in found]
                    filters |= _since(new)
                    found |= {task["id"] for task in new}
                    left = [task["id"] for task in new if state_of(task) not in ENDED]
                    running |= self._begin(group, connection, left)
                    if not running:
                        break
                    _, running = await asyncio.wait(running, timeout=self._look_again_seconds)
        except ExceptionGroup as failed:
            raise _first(failed) from None
        if not found:
            raise CommandError(f"there is no task of the conversation {context}")
        if not self._followers:
            output.say(f"every task of the conversation has ended; {self._target.command('task', 'list')} lists them")

    def verdict(self) -> int:
        """The exit code. Raises CommandError that names the tasks that ended badly."""
        ends = {task: output.state_name(_state(follower)) for task, follower in self._followers.items()}
        bad = [f"task {task} {end}" for task, end in ends.items() if end not in ("", "completed")]
        if bad:
            raise CommandError("; ".join(bad))
        return Exit.OK

    def way_back(self) -> str:
        """How to watch on those that have not ended."""
        left = [task for task, follower in self._followers.items() if _state(follower) not in ENDED]
        return f"The tasks go on. Watch them with: {self._target.command('task', 'watch', *left)}" if left else ""

    def _begin(self, group: asyncio.TaskGroup, connection: Connection, ids: Iterable[str]) -> set[asyncio.Task[None]]:
        begun = set()
        for task_id in ids:
            if len(self._followers) >= MOST_WATCHED:
                raise UsageError(f"at most {MOST_WATCHED} tasks are watched at once")
            follower = self._followers[task_id] = Follower(connection, task_id=task_id, notice=output.say)
            begun.add(group.create_task(self._follow(follower)))
        return begun

    async def _follow(self, follower: Follower) -> None:
        async with aclosing(follower.items()) as items:
            async for item in items:
                self._show(item)


class Lines:
    """Items of streams as lines for people. now: the local time."""

    def __init__(self, target: Target, now: Callable[[], datetime]) -> None:
        self._target = target
        self._now = now
        self._states: dict[str, str] = {}

    def of(self, item: Json) -> str:
        """Time, task and what happened; a question with the command that answers it."""
        kind, inner = next(iter(item.items()))
        task_id = str(inner.get("id" if kind == "task" else "taskId") or "-")
        words = self._words(kind, inner, task_id, output.progress_of(item))
        return f"{self._now():%H:%M:%S}  {task_id}  {'  '.join(word for word in words if word)}".replace("\n", " ")

    def _words(self, kind: str, inner: Json, task_id: str, progress: Json | None) -> list[str]:
        if kind == "message":
            return ["message", output.message_text(inner)]
        if kind == "artifactUpdate":
            artifact = inner.get("artifact") or {}
            name = str(artifact.get("name") or artifact.get("artifactId") or "")
            return [f"artifact {name}", output.artifact_text(artifact)]
        state = self._states.get(task_id, "")
        if kind in ("task", "statusUpdate"):
            state = self._states[task_id] = state_of(inner)
        said = output.message_text((inner.get("status") or {}).get("message"))
        answer = f'answer with: {self._target.command("send", "--task", task_id)} "…"' if state in ASKING else ""
        return [output.state_name(state), _progress(progress or {}), said, answer]


def _progress(progress: Json) -> str:
    if progress.get("total") and progress.get("done") is not None:
        share = f"{progress['done']}/{progress['total']}"
    elif isinstance(progress.get("progress"), int | float):
        share = f"{progress['progress']:.0%}"
    else:
        share = ""
    return " ".join(word for word in (share, str(progress.get("note") or "")) if word)


def _since(tasks: list[Json]) -> Json:
    times = [str(task["status"].get("timestamp") or "") for task in tasks]
    return {"statusTimestampAfter": max(times)} if any(times) else {}


def _state(follower: Follower) -> str:
    return str((follower.status or {}).get("state", ""))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
