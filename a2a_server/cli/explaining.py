"""`task explain`: why a task is not running, over A2A for its sender or over the management API for operators."""

from __future__ import annotations

from a2a_server.cli import output
from a2a_server.cli.admin import under
from a2a_server.cli.follow import ASKING, ENDED, state_of
from a2a_server.cli.rpc import Json
from a2a_server.cli.spending import took
from a2a_server.cli.target import Target
from a2a_server.model.objects import TASK_URI


def explain(id: str, /, *, admin: bool = False, target: Target | None = None) -> int:
    """Say why a task is not running.

    Args:
        id: The task's id.
        admin: Over the management API: every reason, and when it may start.
        target: Which server.
    """
    target = target or Target()
    if admin:
        return target.ask("GET", under("tasks", id, "explain"), _show)

    def show(task: Json) -> None:
        about = (task.get("metadata") or {}).get(TASK_URI)
        told = about.get("explain") if isinstance(about, dict) else None
        state = output.state_name(state_of(task))
        if told is None:
            told = {"reasons": [{"text": _unsaid(task)}]}
        _show({"id": task.get("id", id), "state": state, **told})

    return target.call("GetTask", {"id": id}, show)


def _unsaid(task: Json) -> str:
    """What a state says by itself."""
    if state_of(task) in ENDED:
        return "It has ended."
    if state_of(task) in ASKING:
        asked = output.message_text((task.get("status") or {}).get("message"))
        return f"It asks its sender{asked and f': {asked}'}"
    return "It runs, as far as its sender is told; --admin says since when, and where."


def _show(found: Json) -> None:
    status = f", {found['status']}" if found.get("status") not in (None, found.get("state")) else ""
    lines = [f"task {found.get('id', '')} is {found.get('state', '')}{status}"]
    lines += [f"  {one.get('text', '')}" for one in found.get("reasons") or ()]
    if found.get("more"):
        lines.append(f"  and {found['more']} more reasons; --admin shows all")
    if guess := found.get("estimate"):
        by = f", probably by {guess['startsBy']}" if guess.get("startsBy") else ""
        tasks = "1 task" if guess["tasks"] == 1 else f"{guess['tasks']} tasks"
        waited = f"{tasks} waited {guess['medianSeconds']:g} s (median), {guess['p95Seconds']:g} s (p95)"
        lines.append(f"  may start at {guess['startsAt']}{by} ({waited})")
    if takes := found.get("estimatedDuration"):
        ends = f"; may end at {found['endsAt']}" if found.get("endsAt") else ""
        lines.append(f"  takes {took(takes)}{ends}")
    output.emit("".join(f"{line}\n" for line in lines))
