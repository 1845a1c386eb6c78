"""`task change|depend|answer`: a task that is there already, changed over the management API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, TypeAlias

from a2a_server.cli import output
from a2a_server.cli.admin import Admin, Query, Source, under
from a2a_server.cli.attachments import parts_of
from a2a_server.cli.client import Priority
from a2a_server.cli.failures import CommandError, Exit, RpcError, UsageError
from a2a_server.cli.keeping import document
from a2a_server.cli.managing import OnFailure, object_of, rehearsing, show_task
from a2a_server.cli.rpc import Json
from a2a_server.cli.target import Target

Kind: TypeAlias = Literal["processing", "analysis", "integration", "control"]
Removable: TypeAlias = Literal[
    "title",
    "description",
    "kind",
    "tags",
    "priority",
    "run-at",
    "deadline",
    "run-seconds",
    "max-attempts",
    "parameters",
    "context",
    "metadata",
]
MEMBERS = {"run-at": "runAt", "run-seconds": "timeoutSeconds", "max-attempts": "maxAttempts"}
"""Members of a task that are called otherwise on the command line."""
TRIES = 8
CHANGED_MEANWHILE = 412


def change(
    id: str,
    file: Source | None = None,
    /,
    *,
    title: str | None = None,
    description: str | None = None,
    kind: Kind | None = None,
    priority: Priority | None = None,
    tag: list[str] | None = None,
    add_tag: list[str] | None = None,
    remove_tag: list[str] | None = None,
    run_at: str | None = None,
    deadline: str | None = None,
    run_seconds: float | None = None,
    max_attempts: int | None = None,
    parameters: str | None = None,
    context: str | None = None,
    metadata: str | None = None,
    remove: list[Removable] | None = None,
    replace: bool = False,
    revision: int | None = None,
    dry_run: bool = False,
    target: Target | None = None,
) -> int:
    """Change what is said here of a task, and leave the rest; show the task.

    Args:
        id: The task's id.
        file: A JSON object with what is to change, as the management API takes it; null takes a member away. A hyphen
            reads stdin.
        title: A name for people.
        description: What it is about, for people.
        kind: What sort of work it is.
        priority: How urgent it is.
        tag: Its labels from now on; may be given several times.
        add_tag: A label that it shall have too; may be given several times.
        remove_tag: A label that it shall not have; may be given several times.
        run_at: Do not start before then, such as 2026-05-28T10:00:00Z.
        deadline: It fails if it has not ended by then.
        run_seconds: Longest time of one run.
        max_attempts: How often it may be tried.
        parameters: The skill's arguments, a JSON object: those of these names; null takes one away.
        context: What the agent is told beside, a JSON object, member by member as --parameters.
        metadata: Your own, a JSON object, member by member as --parameters.
        remove: Have this be as in a new task; may be given several times.
        replace: The file is all of it: what it does not say is as in a new task.
        revision: Only if it still has this revision, which `task show` tells.
        dry_run: Only show the task as it would be.
        target: Which server.
    """
    body: Json = {} if file is None else document(file)
    body |= {MEMBERS.get(name, name): None for name in remove or ()}
    said = {
        "title": title,
        "description": description,
        "kind": kind,
        "priority": priority,
        "tags": tag,
        "runAt": run_at,
        "deadline": deadline,
        "timeoutSeconds": run_seconds,
        "maxAttempts": max_attempts,
        "parameters": None if parameters is None else object_of(parameters, "--parameters"),
        "context": None if context is None else object_of(context, "--context"),
        "metadata": None if metadata is None else object_of(metadata, "--metadata"),
    }
    body |= {name: value for name, value in said.items() if value is not None}
    adds, removes = add_tag or (), remove_tag or ()
    _check(body, one_by_one=bool(adds or removes), replace=replace, from_file=file is not None)
    chosen, query = target or Target(), rehearsing(dry_run)

    async def work() -> int:
        async with chosen.admin() as admin:
            if adds or removes:
                tags = partial(retagged, adds=adds, removes=removes)
                task = await _retagged(admin, id, body, tags, revision=revision, query=query)
            else:
                method = "PUT" if replace else "PATCH"
                task = await admin.request(method, under("tasks", id), query, body, revision=revision)
        (output.emit_json if chosen.json else show_task)(task)
        return Exit.OK

    return chosen.run(work)


def depend(
    id: str,
    /,
    *,
    on: list[str],
    on_failure: OnFailure | None = None,
    target: Target | None = None,
) -> int:
    """Have a task that has not begun wait for others too.

    Args:
        id: The task's id.
        on: A task of yours that must have ended first; may be given several times.
        on_failure: What becomes of it if one of them does not complete: it fails, is canceled, or runs.
        target: Which server.
    """

    def show(task: Json) -> None:
        known, unmet = task.get("dependsOn") or (), task.get("unmet") or 0
        output.emit(f"task {task.get('id', id)} depends on {', '.join(known)}; {unmet} not ended yet\n")

    body: Json = {"dependsOn": on} | ({"onDependencyFailure": on_failure} if on_failure else {})
    return (target or Target()).ask("POST", under("tasks", id, "dependencies"), show, (), body)


def answer(
    id: str,
    text: str | None = None,
    /,
    *,
    data: str | None = None,
    message_id: str = "",
    target: Target | None = None,
) -> int:
    """Answer what a task asked.

    Args:
        id: The task's id.
        text: What to say.
        data: A JSON value, as a data part.
        message_id: With one, a repeat is recognised.
        target: Which server.
    """
    parts = parts_of(text, data)
    if not parts:
        raise UsageError("there is nothing to answer; give a text or --data")
    body: Json = {"parts": parts} | ({"messageId": message_id} if message_id else {})

    def show(task: Json) -> None:
        output.emit(f"task {task.get('id', id)} is {task.get('state', '')}\n")

    return (target or Target()).ask("POST", under("tasks", id, "messages"), show, (), body)


def retagged(tags: Sequence[str], adds: Sequence[str], removes: Sequence[str]) -> list[str]:
    """The tags with those that are added, without those that are removed, each once."""
    return [one for one in dict.fromkeys([*tags, *adds]) if one not in removes]


async def _retagged(
    admin: Admin,
    id: str,
    body: Json,
    change: Callable[[Sequence[str]], list[str]],
    *,
    revision: int | None,
    query: Query,
) -> Json:
    """The task, changed at the revision that its tags were read at; read again where it changed meanwhile."""
    path = under("tasks", id)
    for _ in range(TRIES):
        task = await admin.request("GET", path)
        at = task.get("revision") if revision is None else revision
        try:
            said = {**body, "tags": change(task.get("tags") or ())}
            return await admin.request("PATCH", path, query, said, revision=at)
        except RpcError as error:
            if error.code != CHANGED_MEANWHILE or revision is not None:
                raise
    raise CommandError(f"task {id} changes all the time; try again, or say all its tags with --tag")


def _check(body: Json, *, one_by_one: bool, replace: bool, from_file: bool) -> None:
    if one_by_one and "tags" in body:
        raise UsageError("give all tags with --tag, or change some with --add-tag and --remove-tag; not both")
    if replace and (one_by_one or not from_file):
        raise UsageError("--replace needs a file with all of it, and takes neither --add-tag nor --remove-tag")
    if not body and not one_by_one and not replace:
        raise UsageError("there is nothing to change; give a file, or an option such as --title")
