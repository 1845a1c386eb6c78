"""`server about|settings|openapi|counts|alerts|sizing`: what a server tells of itself and of all its tasks.

The last three are told by the task manager's own agent alone, so they are asked for over A2A.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

from a2a_server.cli import output
from a2a_server.cli.failures import CommandError, Exit
from a2a_server.cli.follow import state_of
from a2a_server.cli.managing import show_fields, words
from a2a_server.cli.rpc import Json
from a2a_server.cli.target import Target

MANAGER = "agents/task-manager"
"""Where the task manager's own agent is, below the server's address."""
COMPLETED = "TASK_STATE_COMPLETED"


def about(*, target: Target | None = None) -> int:
    """Show the names and versions that a server has.

    Args:
        target: Which server.
    """
    return (target or Target()).ask("GET", "", show_fields)


def settings(*, target: Target | None = None) -> int:
    """Show the settings of the process that answers; what is secret is left out.

    Args:
        target: Which server.
    """

    def show(found: Json) -> None:
        known = found.get("settings") or {}
        output.emit("".join(f"{name:<32}{words(one.get('value', ''))}\n" for name, one in known.items()))

    return (target or Target()).ask("GET", "settings", show)


def openapi(*, target: Target | None = None) -> int:
    """Print the OpenAPI document of the management API.

    Args:
        target: Which server.
    """
    return (target or Target()).ask("GET", "openapi.json", output.emit_json)


def counts(*, target: Target | None = None) -> int:
    """Count tasks: by state, and of each queue by where the scheduler has them.

    Args:
        target: Which server.
    """

    def show(found: Json) -> None:
        output.emit(f"{'all':<18}{words(found.get('states') or {})}\n")
        for name, phases in (found.get("queues") or {}).items():
            output.emit(f"{name:<18}{words(phases)}\n")
        for one in found.get("needing") or ():
            output.emit(f"{one['skill']:<18}{words(one['phases'])}, needing {words(one['requires'])}\n")

    return _told(target, {"operation": "countTasks"}, show)


def alerts(*, active: bool = False, target: Target | None = None) -> int:
    """Show the thresholds that are exceeded, or were, the newest first.

    Args:
        active: Only those that are exceeded now.
        target: Which server.
    """

    def show(found: Json) -> None:
        for one in found.get("alerts") or ():
            output.emit(f"{one['since']}  {'active' if one['active'] else 'over':<6}  {one['text']}\n")
        if not found.get("alerts"):
            output.say("there are no alerts")

    return _told(target, {"operation": "listAlerts"} | ({"active": True} if active else {}), show)


def sizing(*, target: Target | None = None) -> int:
    """Show what runs take, skill by skill, and what tasks had best require.

    Args:
        target: Which server.
    """

    def show(found: Json) -> None:
        for one in found.get("skills") or ():
            takes = one["durationSeconds"]
            output.emit(
                f"{one['skill']}  {one['runs']} runs, {takes['median']:g} s (median), {takes['p95']:g} s (p95); "
                f"suggested: {words(one['suggested'])}\n"
            )
        if not found.get("skills"):
            output.say("of no skill enough runs have ended")

    return _told(target, {"operation": "reportSizing"}, show)


def _told(target: Target | None, command: Json, show: Callable[[Json], None]) -> int:
    """Have the task manager's own agent carry a command out, and show its answer."""
    chosen = target or Target()
    manager = replace(chosen, url=f"{chosen.url.rstrip('/')}/{MANAGER}")
    message = {"messageId": str(uuid.uuid4()), "role": "ROLE_USER", "parts": [{"data": command}]}

    async def work() -> int:
        async with manager.connection() as connection:
            task = (await connection.call("SendMessage", {"message": message})).get("task") or {}
        if state_of(task) != COMPLETED:
            raise CommandError(output.message_text(task["status"].get("message")) or "the task manager gave no answer")
        parts = [part for artifact in task.get("artifacts") or () for part in artifact.get("parts") or ()]
        (output.emit_json if chosen.json else show)(next((part["data"] for part in parts if "data" in part), {}))
        return Exit.OK

    return chosen.run(work)
