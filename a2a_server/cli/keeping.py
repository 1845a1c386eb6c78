"""`schedule`, `template`, `queue`, `limit`, `dead-letters`: what the management API keeps beside tasks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from a2a_server.cli import output
from a2a_server.cli.admin import Source, under
from a2a_server.cli.failures import CommandError, Exit, UsageError
from a2a_server.cli.managing import reason as why, show_fields, words
from a2a_server.cli.rpc import Json
from a2a_server.cli.target import Target

COLUMNS = {
    "schedules": "cron intervalSeconds runAt timeZone paused nextAt runs skipped lastTaskId lastError",
    "templates": "source description options",
    "queues": "pulled depth held running scheduled waiting pausedTasks paused until reason",
    "limits": "capacity used rate breaker closed closedUntil reason",
    "deadLetters": "skill reason failedAt",
    "workers": "kind agent host pid alive draining running skills seenAt",
}
"""What a line of a list tells behind the name of the thing; `-o json` tells all."""
ALWAYS = frozenset({"depth", "used", "runs"})
"""What is told though it is 0."""


def list_schedules(*, target: Target | None = None) -> int:
    """List schedules.

    Args:
        target: Which server.
    """
    return _list(target, "schedules")


def list_templates(*, target: Target | None = None) -> int:
    """List templates.

    Args:
        target: Which server.
    """
    return _list(target, "templates")


def list_queues(*, target: Target | None = None) -> int:
    """List queues: what waits in each, and which are paused.

    Args:
        target: Which server.
    """
    return _list(target, "queues")


def list_limits(*, target: Target | None = None) -> int:
    """List limits: how much of each is used.

    Args:
        target: Which server.
    """
    return _list(target, "limits")


def list_dead(*, target: Target | None = None) -> int:
    """List the tasks that were given up.

    Args:
        target: Which server.
    """
    return _list(target, "dead-letters")


def show_schedule(id: str, /, *, target: Target | None = None) -> int:
    """Show a schedule.

    Args:
        id: Its id.
        target: Which server.
    """
    return (target or Target()).ask("GET", under("schedules", id), show_fields)


def show_template(id: str, /, *, target: Target | None = None) -> int:
    """Show a template.

    Args:
        id: Its id.
        target: Which server.
    """
    return (target or Target()).ask("GET", under("templates", id), show_fields)


def create_schedule(file: Source, /, *, target: Target | None = None) -> int:
    """Create a schedule, and print its id.

    Args:
        file: A JSON object that describes it; a hyphen reads stdin.
        target: Which server.
    """
    return (target or Target()).ask("POST", "schedules", _show_id, (), _document(file))


def create_template(file: Source, /, *, target: Target | None = None) -> int:
    """Create a template, and print its id.

    Args:
        file: A JSON object that describes it; a hyphen reads stdin.
        target: Which server.
    """
    return (target or Target()).ask("POST", "templates", _show_id, (), _document(file))


def change_schedule(id: str, file: Source, /, *, target: Target | None = None) -> int:
    """Change what a file says of a schedule, and leave the rest.

    Args:
        id: Its id.
        file: A JSON object with what is to change; null takes a member away. A hyphen reads stdin.
        target: Which server.
    """
    return (target or Target()).ask("PATCH", under("schedules", id), show_fields, (), _document(file))


def change_template(id: str, file: Source, /, *, target: Target | None = None) -> int:
    """Change what a file says of a template, and leave the rest.

    Args:
        id: Its id.
        file: A JSON object with what is to change; null takes a member away. A hyphen reads stdin.
        target: Which server.
    """
    return (target or Target()).ask("PATCH", under("templates", id), show_fields, (), _document(file))


def delete_schedule(id: str, /, *, target: Target | None = None) -> int:
    """Delete a schedule; tasks that it made stay.

    Args:
        id: Its id.
        target: Which server.
    """
    return (target or Target()).ask("DELETE", under("schedules", id), _said(f"schedule {id} is deleted"))


def delete_template(id: str, /, *, target: Target | None = None) -> int:
    """Delete a template; tasks that were made from it stay.

    Args:
        id: Its id.
        target: Which server.
    """
    return (target or Target()).ask("DELETE", under("templates", id), _said(f"template {id} is deleted"))


def pause_schedule(id: str, /, *, target: Target | None = None) -> int:
    """Have a schedule make no more tasks until it is resumed.

    Args:
        id: Its id.
        target: Which server.
    """
    return (target or Target()).ask("POST", under("schedules", id, "pause"), _said(f"schedule {id} is paused"))


def resume_schedule(id: str, /, *, target: Target | None = None) -> int:
    """Have a schedule go on.

    Args:
        id: Its id.
        target: Which server.
    """
    return (target or Target()).ask("POST", under("schedules", id, "resume"), _said(f"schedule {id} goes on"))


def trigger_schedule(id: str, /, *, target: Target | None = None) -> int:
    """Have a schedule make a task now, and print its id.

    Args:
        id: Its id.
        target: Which server.
    """
    return (target or Target()).ask("POST", under("schedules", id, "trigger"), _show_id)


def preview_schedule(id: str, /, *, count: int = 5, target: Target | None = None) -> int:
    """Show when a schedule makes its next tasks, a time a line.

    Args:
        id: Its id.
        count: How many times.
        target: Which server.
    """

    def show(found: Json) -> None:
        output.emit("".join(f"{tick}\n" for tick in found.get("ticks") or ()))

    path = under("schedules", id, "preview")
    return (target or Target()).ask("GET", path, show, [("count", str(count))])


def pause_queue(name: str, /, *, until: str = "", reason: str = "", target: Target | None = None) -> int:
    """Have a queue start no more tasks; those that run go on.

    Args:
        name: The queue's name, as `queue list` shows it.
        until: Go on by itself then, such as 2026-05-28T10:00:00Z.
        reason: What people are told who ask why their tasks wait.
        target: Which server.
    """
    body = {key: value for key, value in (("until", until), ("reason", reason)) if value}
    done = _said(f"queue {name} is paused")
    return (target or Target()).ask("POST", under("queues", name, "pause"), done, (), body)


def resume_queue(name: str, /, *, target: Target | None = None) -> int:
    """Have a queue start tasks again.

    Args:
        name: The queue's name.
        target: Which server.
    """
    return (target or Target()).ask("POST", under("queues", name, "resume"), _said(f"queue {name} goes on"))


def set_limit(
    key: str, /, *, capacity: int | None = None, body: Source | None = None, target: Target | None = None
) -> int:
    """Set a limit.

    Args:
        key: What it bounds, such as skill:echo, client:alice or resource:gpu.
        capacity: How many tasks may run at once.
        body: Or a JSON object with any kind of limit (rate …); a hyphen reads stdin.
        target: Which server.
    """
    if (capacity is None) == (body is None):
        raise UsageError("give --capacity or --body; --body takes rates and breakers")
    said = {"capacity": capacity} if body is None else _document(body)
    return (target or Target()).ask("PUT", under("limits", key), show_fields, (), said)


def delete_limit(key: str, /, *, target: Target | None = None) -> int:
    """Lift a limit.

    Args:
        key: What it bounds.
        target: Which server.
    """
    return (target or Target()).ask("DELETE", under("limits", key), _said(f"limit {key} is lifted"))


def retry_dead(*id: str, target: Target | None = None) -> int:
    """Try again what was given up, each as a new task.

    Ends with 1 if one of them could not be tried again.

    Args:
        id: The tasks' ids; none = all, 1,000 at most.
        target: Which server.
    """
    failed: list[Json] = []

    def show(result: Json) -> None:
        items = result.get("items") or ()
        failed.extend(item for item in items if not item.get("newId"))
        again = [f"{item.get('id', '')}  again as {item['newId']}\n" for item in items if item.get("newId")]
        output.emit("".join(again))
        output.say(f"{len(again)} of {len(items)} tasks are tried again" if items else "there are no dead letters")

    body: Json = {"ids": list(id)} if id else {}
    code = (target or Target()).ask("POST", "dead-letters/retry", show, (), body)
    if failed:
        first = failed[0]
        raise CommandError(f"{len(failed)} failed, the first: task {first.get('id')}: {why(first.get('error'))}")
    return code


def list_workers(*, target: Target | None = None) -> int:
    """The workers that a server's store knows."""
    return _list(target, "workers")


def drain_worker(id: str, /, *, target: Target | None = None) -> int:
    """Have a worker finish what it runs and end."""
    done = _said(f"Worker {id} was told to drain.")
    return (target or Target()).ask("POST", under("workers", id, "drain"), done)


def _list(target: Target | None, path: str) -> int:
    """Every page of a list: for people a line each, for programs one object."""
    target = target or Target()

    async def work() -> int:
        found: list[Json] = []
        name, cursor = "", ""
        async with target.admin() as admin:
            while True:
                page = await admin.request("GET", path, [("cursor", cursor)] if cursor else ())
                name = name or next((key for key, value in page.items() if isinstance(value, list)), path)
                found += page.get(name) or ()
                following = str(page.get("next") or "")
                if not following or following == cursor:
                    break
                cursor = following
        if target.json:
            output.emit_json({name: found})
            return Exit.OK
        output.emit("".join(f"{_line(one, COLUMNS.get(name, ''))}\n" for one in found))
        if not found:
            output.say(f"there are no {path.replace('-', ' ')}")
        return Exit.OK

    return target.run(work)


def _line(thing: Json, columns: str) -> str:
    told = [(name, thing.get(name)) for name in columns.split()]
    shown = [
        name if value is True else f"{name} {words(value)}" for name, value in told if value or _is_told(name, value)
    ]
    return "  ".join([words(next(iter(thing.values()), "")), *shown])


def _is_told(name: str, value: object) -> bool:
    return value is not None and name in ALWAYS


def _said(text: str) -> Callable[[Json], None]:
    return lambda _: output.emit(f"{text}\n")


def _show_id(thing: Json) -> None:
    output.emit(f"{thing.get('id') or thing.get('taskId') or thing.get('name') or ''}\n")


def _document(file: Source) -> Json:
    from_stdin = str(file) == "-"
    name = "stdin" if from_stdin else str(file)
    try:
        text = sys.stdin.read() if from_stdin else file.read_text()
        found = json.loads(text)
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{name} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{name} must hold a JSON object")
    return found
