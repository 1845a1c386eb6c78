"""`queue`, `limit`, `dead-letters`, `workers --admin`: what holds tasks up, and who runs them."""

from __future__ import annotations

from typing import Literal, TypeAlias

from a2a_server.cli import output
from a2a_server.cli.admin import Source, under
from a2a_server.cli.failures import CommandError, UsageError
from a2a_server.cli.keeping import document, said
from a2a_server.cli.managing import reason as why, show_fields
from a2a_server.cli.rpc import Json
from a2a_server.cli.tables import show_things
from a2a_server.cli.target import Target

Dead: TypeAlias = Literal["attempts", "poison", "timeout", "deadline", "unanswered", "dependency"]


def list_queues(*, target: Target | None = None) -> int:
    """List queues: what waits in each, and which are paused.

    Args:
        target: Which server.
    """
    return show_things(target, "queues")


def show_queue(name: str, /, *, target: Target | None = None) -> int:
    """Show a queue: what waits in it, by priority too, and whether it is paused.

    Args:
        name: The queue's name, as `queue list` shows it.
        target: Which server.
    """
    return (target or Target()).ask("GET", under("queues", name), show_fields)


def pause_queue(name: str, /, *, until: str = "", reason: str = "", target: Target | None = None) -> int:
    """Have a queue start no more tasks; those that run go on.

    Args:
        name: The queue's name, as `queue list` shows it.
        until: Go on by itself then, such as 2026-05-28T10:00:00Z.
        reason: What people are told who ask why their tasks wait.
        target: Which server.
    """
    body = {key: value for key, value in (("until", until), ("reason", reason)) if value}
    done = said(f"queue {name} is paused")
    return (target or Target()).ask("POST", under("queues", name, "pause"), done, (), body)


def resume_queue(name: str, /, *, target: Target | None = None) -> int:
    """Have a queue start tasks again.

    Args:
        name: The queue's name.
        target: Which server.
    """
    return (target or Target()).ask("POST", under("queues", name, "resume"), said(f"queue {name} goes on"))


def list_limits(*, target: Target | None = None) -> int:
    """List limits: how much of each is used.

    Args:
        target: Which server.
    """
    return show_things(target, "limits")


def show_limit(key: str, /, *, target: Target | None = None) -> int:
    """Show a limit: how much of it is used, and whether it lets tasks start.

    Args:
        key: What it bounds, as `limit list` shows it.
        target: Which server.
    """
    return (target or Target()).ask("GET", under("limits", key), show_fields)


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
    said = {"capacity": capacity} if body is None else document(body)
    return (target or Target()).ask("PUT", under("limits", key), show_fields, (), said)


def delete_limit(key: str, /, *, target: Target | None = None) -> int:
    """Lift a limit.

    Args:
        key: What it bounds.
        target: Which server.
    """
    return (target or Target()).ask("DELETE", under("limits", key), said(f"limit {key} is lifted"))


def list_dead(*, reason: Dead | None = None, target: Target | None = None) -> int:
    """List the tasks that were given up.

    Args:
        reason: Only those that failed for this reason.
        target: Which server.
    """
    return show_things(target, "dead-letters", [("reason", reason)] if reason else [])


def retry_dead(*id: str, reason: Dead | None = None, limit: int | None = None, target: Target | None = None) -> int:
    """Try again what was given up, each as a new task.

    Ends with 1 if one of them could not be tried again.

    Args:
        id: The tasks' ids; none = all, 1,000 at most.
        reason: Those that failed for this reason.
        limit: How many at most, up to 1,000.
        target: Which server.
    """
    if id and reason:
        raise UsageError("name tasks, or choose them with --reason; not both")
    failed: list[Json] = []

    def show(result: Json) -> None:
        items = result.get("items") or ()
        failed.extend(item for item in items if not item.get("newId"))
        again = [f"{item.get('id', '')}  again as {item['newId']}\n" for item in items if item.get("newId")]
        output.emit("".join(again))
        output.say(f"{len(again)} of {len(items)} tasks are tried again" if items else "there are no dead letters")

    asked = (("ids", list(id)), ("reason", reason), ("limit", limit))
    body: Json = {name: value for name, value in asked if value not in (None, [])}
    code = (target or Target()).ask("POST", "dead-letters/retry", show, (), body, doing="trying tasks again")
    if failed:
        first = failed[0]
        raise CommandError(f"{len(failed)} failed, the first: task {first.get('id')}: {why(first.get('error'))}")
    return code


def list_workers(*, dead: bool = False, target: Target | None = None) -> int:
    """The workers that a server's store knows. dead: those too that are dead."""
    return show_things(target, "workers", [("dead", "true")] if dead else [])


def show_worker(id: str, /, *, target: Target | None = None) -> int:
    """A worker that a server's store knows."""
    return (target or Target()).ask("GET", under("workers", id), show_fields)


def drain_worker(id: str, /, *, target: Target | None = None) -> int:
    """Have a worker finish what it runs and end."""
    done = said(f"Worker {id} was told to drain.")
    return (target or Target()).ask("POST", under("workers", id, "drain"), done)
