"""`task events|journal|messages|checkpoints|steps|artifacts|result|children|graph`: what is known of one task."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from a2a_server.cli import output
from a2a_server.cli.admin import under
from a2a_server.cli.crowds import share
from a2a_server.cli.listing import task_line
from a2a_server.cli.managing import words
from a2a_server.cli.rpc import Json
from a2a_server.cli.tables import show_list
from a2a_server.cli.target import Target

Limit: TypeAlias = Annotated[int, Parameter(show_default=True)]
MOST_OF_A_PAGE = 1000
MOST_CHILDREN_OF_A_PAGE = 200
DEEPEST = 40
"""Steps that a tree goes to the right."""
TIES = {"child": "part", "fail": "after", "cancel": "after, else canceled", "run": "after, however it ends"}


def events(id: str, /, *, after: int = 0, limit: Limit = 0, target: Target | None = None) -> int:
    """Show the log of a task: changes of its status and chunks of artifacts, in order, a line each.

    Args:
        id: The task's id.
        after: Only those behind this number.
        limit: How many at most; 0 = all.
        target: Which server.
    """
    return _list(target, id, "events", _event, after, limit)


def journal(id: str, /, *, after: int = 0, limit: Limit = 0, target: Target | None = None) -> int:
    """Show the audit trail of a task, a line an entry: later runs, retries, crashes, log lines.

    Args:
        id: The task's id.
        after: Only those behind this number.
        limit: How many at most; 0 = all.
        target: Which server.
    """
    return _list(target, id, "journal", _entry, after, limit)


def messages(id: str, /, *, after: int = 0, limit: Limit = 0, target: Target | None = None) -> int:
    """Show what was said to a task and by it, a line a message.

    Args:
        id: The task's id.
        after: Only those behind this number.
        limit: How many at most; 0 = all.
        target: Which server.
    """
    return _list(target, id, "messages", _message, after, limit)


def checkpoints(id: str, /, *, after: str = "", limit: Limit = 0, target: Target | None = None) -> int:
    """Show the checkpoints of a task, a line each: its name, the run that made it, and what it holds.

    Args:
        id: The task's id.
        after: Only those behind this name.
        limit: How many at most; 0 = all.
        target: Which server.
    """
    return _list(target, id, "checkpoints", _value, after, limit)


def steps(id: str, /, *, after: str = "", limit: Limit = 0, target: Target | None = None) -> int:
    """Show the remembered steps of a task, a line each: its name, the run that took it, and what came of it.

    Args:
        id: The task's id.
        after: Only those behind this name.
        limit: How many at most; 0 = all.
        target: Which server.
    """
    return _list(target, id, "steps", _value, after, limit)


def artifacts(id: str, /, *, target: Target | None = None) -> int:
    """Show what artifacts a task has, a line each; `task result` has their content, `task download` saves it.

    Args:
        id: The task's id.
        target: Which server.
    """
    return show_list(target, under("tasks", id, "artifacts"), "artifacts", _artifact)


def result(id: str, /, *, target: Target | None = None) -> int:
    """Show what came out of a task: its artifacts, then what was said last.

    Args:
        id: The task's id.
        target: Which server.
    """

    def show(found: Json) -> None:
        texts = [output.artifact_text(one).removesuffix("\n") for one in found.get("artifacts") or ()]
        texts.append(output.message_text(found.get("message")))
        output.emit("".join(f"{text}\n" for text in texts if text))
        if found.get("state") != "completed":
            output.say(f"the task is {found.get('state', '')}")

    return (target or Target()).ask("GET", under("tasks", id, "result"), show)


def children(id: str, /, *, limit: Limit = 0, target: Target | None = None) -> int:
    """List the parts of a task, those that changed last first.

    Args:
        id: The task's id.
        limit: How many at most; 0 = all.
        target: Which server.
    """
    path = under("tasks", id, "children")
    return show_list(target, path, "parts", task_line, limit=limit, most=MOST_CHILDREN_OF_A_PAGE)


def graph(id: str, /, *, limit: Limit = 1000, target: Target | None = None) -> int:
    """Show all that a task is tied to, however far: below each task its parts and what it waits for.

    Args:
        id: The task's id.
        limit: How many tasks at most, up to 10,000.
        target: Which server.
    """

    def show(found: Json) -> None:
        output.emit("".join(f"{line}\n" for line in tree(found, id)))
        if not found.get("complete", True):
            output.say(f"these are {len(found.get('tasks') or ())} of more tasks; --limit shows up to 10000")

    return (target or Target()).ask("GET", under("tasks", id, "graph"), show, [("limit", str(limit))])


def tree(graph: Json, id: str) -> Iterator[str]:
    """The lines of a graph: those that nobody waits for first, below each what it waits for and its parts.

    What was shown already is not shown again with all that is below it. id: the task that was asked for.
    """
    tasks = {str(task["id"]): task for task in graph.get("tasks") or ()}
    below: dict[str, list[tuple[str, str]]] = {}
    for edge in graph.get("edges") or ():
        upper, lower = str(edge["to"]), str(edge["from"])
        if edge["kind"] == "child":
            upper, lower = lower, upper
        below.setdefault(upper, []).append((lower, str(edge["kind"])))
    needed = {lower for ties in below.values() for lower, _ in ties}
    shown: set[str] = set()
    for root in [*(one for one in tasks if one not in needed), *tasks]:
        stack = [] if root in shown else [(root, "", 0)]
        while stack:
            one, kind, depth = stack.pop()
            task = tasks.get(one, {"id": one})
            again = one in shown and one in below
            title = " ".join(str(task.get("title") or task.get("skill") or "").split())
            tie = f"{TIES.get(kind, kind)}: " if kind else ""
            notes = [note for note, so in (("this task", one == id), ("see above", again)) if so]
            marks = f"  ({', '.join(notes)})" if notes else ""
            line = f"{tie}{task.get('id')}  {task.get('state', '')}  {task.get('status', '')}  {title}".rstrip()
            yield f"{'  ' * min(depth, DEEPEST)}{line}{marks}"
            if one not in shown:
                stack += [(lower, how, depth + 1) for lower, how in reversed(below.get(one, ()))]
            shown.add(one)


def _list(  # noqa: PLR0917 - what its five commands have in common
    target: Target | None, id: str, what: str, line: Callable[[Json], str], after: int | str, limit: int
) -> int:
    named = "journal entries" if what == "journal" else what
    query = [("after", str(after))] if after else []
    return show_list(target, under("tasks", id, what), named, line, query, by="after", limit=limit, most=MOST_OF_A_PAGE)


def _event(event: Json) -> str:
    if event.get("type") == "artifact":
        artifact = event.get("artifact") or {}
        said = [f"artifact {artifact.get('name') or artifact.get('artifactId', '')}", output.artifact_text(artifact)]
    else:
        progress = event.get("progress") or {}
        note = str(progress.get("note") or "")
        said = [str(event.get("state", "")), share(progress), note, output.message_text(event.get("message"))]
    return _joined(event.get("n"), event.get("at"), *said)


def _entry(entry: Json) -> str:
    return _joined(entry.get("n"), entry.get("at"), entry.get("kind"), words(entry.get("data") or ""))


def _message(found: Json) -> str:
    message = found.get("message") or {}
    who = str(message.get("role", "")).removeprefix("ROLE_").lower()
    return _joined(found.get("seq"), who, output.message_text(message))


def _value(found: Json) -> str:
    value = json.dumps(found.get("value"), ensure_ascii=False)
    return _joined(found.get("name"), f"run {found.get('run', '')}", value)


def _artifact(found: Json) -> str:
    size = f"{found['sizeBytes']} bytes" if found.get("sizeBytes") is not None else ""
    where = found.get("url") or ("inline" if found.get("inline") else "")
    more = "" if found.get("closed", True) else "being written"
    return _joined(found.get("id"), found.get("name"), found.get("mediaType"), size, more, where)


def _joined(*parts: object) -> str:
    """On one line, without what is empty."""
    found = (" ".join(str(part).split()) for part in parts if part is not None)
    return "  ".join(part for part in found if part)
