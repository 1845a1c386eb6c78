"""`task submit|show|retry|requeue|reprioritise|delete|feedback|bulk`: tasks over the management API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter, validators

from a2a_server.cli import output
from a2a_server.cli.admin import Filters, json_of, pairs, under
from a2a_server.cli.client import Priority
from a2a_server.cli.crowds import ENDED
from a2a_server.cli.failures import CommandError, UsageError
from a2a_server.cli.rpc import Json
from a2a_server.cli.spending import allocated, took
from a2a_server.cli.target import Target

OnFailure: TypeAlias = Literal["fail", "cancel", "run"]
Action: TypeAlias = Literal["cancel", "retry", "reprioritise", "requeue", "delete"]

SECONDS = frozenset({"durationSeconds", "responseSeconds"})
"""Members of `FIELDS` that are shown with their unit."""
REPEATED = frozenset({"state", "phase", "status", "skill", "priority", "tag"})
"""Filters that may be given more than once: lists in a body."""

FIELDS = (
    ("task", "id"),
    ("context", "contextId"),
    ("title", "title"),
    ("about", "description"),
    ("kind", "kind"),
    ("skill", "skill"),
    ("state", "state"),
    ("status", "status"),
    ("phase", "phase"),
    ("priority", "priority"),
    ("tags", "tags"),
    ("attempt", "attempt"),
    ("held by", "heldBy"),
    ("depends on", "dependsOn"),
    ("parent", "parentTaskId"),
    ("retry of", "retryOf"),
    ("completes", "completeWhen"),
    ("batch", "batch"),
    ("schedule", "schedule"),
    ("template", "template"),
    ("worker", "worker"),
    ("made by", "createdBy"),
    ("source", "source"),
    ("method", "method"),
    ("created", "createdAt"),
    ("queued", "queuedAt"),
    ("assigned", "assignedAt"),
    ("started", "startedAt"),
    ("ended", "endedAt"),
    ("took", "durationSeconds"),
    ("response", "responseSeconds"),
    ("per second", "throughput"),
    ("updated", "updatedAt"),
    ("run at", "runAt"),
    ("due", "dueAt"),
    ("deadline", "deadline"),
    ("requires", "requires"),
    ("error", "error"),
    ("partial", "partial"),
    ("checks", "checks"),
    ("feedback", "feedback"),
    ("revision", "revision"),
)


def submit(
    text: str | None = None,
    /,
    *,
    skill: str = "",
    title: str = "",
    priority: Priority | None = None,
    tag: list[str] | None = None,
    context: str = "",
    depends_on: list[str] | None = None,
    delay: float = 0.0,
    template: str = "",
    parameters: str | None = None,
    on_failure: OnFailure | None = None,
    parent: str = "",
    complete_when: str = "",
    run_at: str = "",
    deadline: str = "",
    unique_key: str = "",
    options: str | None = None,
    dry_run: bool = False,
    target: Target | None = None,
) -> int:
    """Submit a task over the management API, and print its id.

    Args:
        text: What to say.
        skill: The skill to run; without it the server chooses.
        title: A name for people.
        priority: How urgent it is.
        tag: A label to find it by; may be given several times.
        context: The conversation that it belongs to.
        depends_on: A task that must have ended first; may be given several times.
        delay: Do not start before so many seconds have passed.
        template: A template that gives what is not said here.
        parameters: The skill's arguments, a JSON object.
        on_failure: What becomes of it if a task that it depends on does not complete: it fails, is canceled, or runs.
        parent: The task that it is a part of.
        complete_when: What must be so for it to complete: all, any, or a number of its parts; or a JSON object such as
            {"children": "all", "checks": ["format"]}.
        run_at: Do not start before then, such as 2026-05-28T10:00:00Z.
        deadline: It fails if it has not ended by then.
        unique_key: At most one task has this key; a repeat prints the id of the first one and makes nothing.
        options: Any other task options, a JSON object.
        dry_run: Only show the task as it would be.
        target: Which server.
    """
    body: Json = {} if options is None else object_of(options, "--options")
    said = {
        "text": text,
        "skill": skill,
        "title": title,
        "priority": priority,
        "tags": tag,
        "contextId": context,
        "dependsOn": depends_on,
        "delaySeconds": delay,
        "template": template,
        "parameters": None if parameters is None else object_of(parameters, "--parameters"),
        "onDependencyFailure": on_failure,
        "parentTaskId": parent,
        "completeWhen": _criterion(complete_when),
        "runAt": run_at,
        "deadline": deadline,
        "uniqueKey": unique_key,
    }
    body |= {name: value for name, value in said.items() if value}
    if not body:
        raise UsageError("there is nothing to submit; give a text, --skill or --template")
    query = rehearsing(dry_run)
    chosen = target or Target()

    def made(task: Json) -> None:
        _show_id(task)
        if task.get("repeat"):
            again = chosen.command("task", "retry", str(task.get("id", "")))
            more = f"; {again} runs it once more, as a new task" if task.get("state") in ENDED else ""
            output.say(f"an earlier send made this task, which is {task.get('state', '')}{more}")

    return chosen.ask("POST", "tasks", show_task if dry_run else made, query, body)


def show(id: str, /, *, target: Target | None = None) -> int:
    """Show a task as the management API does.

    Args:
        id: The task's id.
        target: Which server.
    """
    return (target or Target()).ask("GET", under("tasks", id), show_task)


def retry(
    id: str,
    /,
    *,
    from_step: str = "",
    text: str = "",
    parameters: str | None = None,
    unique_key: str = "",
    target: Target | None = None,
) -> int:
    """Run a task that has ended once more, as a new task, and print its id.

    Args:
        id: The task's id.
        from_step: Begin anew at this remembered step, and keep what was before it.
        text: Say this instead.
        parameters: Arguments instead of those of these names, a JSON object.
        unique_key: With one key comes one new task, however often it is asked for.
        target: Which server.
    """
    given = {} if parameters is None else object_of(parameters, "--parameters")
    said = (("fromStep", from_step), ("text", text), ("parameters", given), ("uniqueKey", unique_key))
    body = {name: value for name, value in said if value}
    return (target or Target()).ask("POST", under("tasks", id, "retry"), _show_id, (), body)


def requeue(id: str, /, *, delay: float | None = None, target: Target | None = None) -> int:
    """Have a task start later.

    Args:
        id: The task's id.
        delay: So many seconds from now; without it 60, twice as many with each requeue of the task, at most 3,600.
        target: Which server.
    """
    body = {} if delay is None else {"delaySeconds": delay}
    return (target or Target()).ask("POST", under("tasks", id, "requeue"), _say_state, (), body)


def reprioritise(id: str, priority: Priority, /, *, target: Target | None = None) -> int:
    """Change how urgent a task is.

    Args:
        id: The task's id.
        priority: How urgent it is from now on.
        target: Which server.
    """
    return (target or Target()).ask("PATCH", under("tasks", id), _say_state, (), {"priority": priority})


def delete(
    id: str,
    /,
    *,
    cancel: bool = False,
    revision: int | None = None,
    dry_run: bool = False,
    target: Target | None = None,
) -> int:
    """Delete a task that has ended, with everything of it.

    Args:
        id: The task's id.
        cancel: Cancel it first, if it has not ended.
        revision: Only if it still has this revision, which `task show` tells.
        dry_run: Only say whether it could be.
        target: Which server.
    """

    def deleted(_: Json) -> None:
        output.emit(f"task {id} {'would be' if dry_run else 'is'} {'canceled and then ' if cancel else ''}deleted\n")

    query = [*([("cancel", "true")] if cancel else []), *rehearsing(dry_run)]
    return (target or Target()).ask("DELETE", under("tasks", id), deleted, query, revision=revision)


def feedback(
    id: str,
    /,
    *,
    rating: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=5))],
    comment: str = "",
    target: Target | None = None,
) -> int:
    """Say how good a task was that has ended.

    Args:
        id: The task's id.
        rating: 1 (poor) to 5 (excellent).
        comment: In words.
        target: Which server.
    """

    def given(_: Json) -> None:
        output.emit(f"task {id} is rated {rating} of 5\n")

    body = {"rating": rating, "comment": comment}
    return (target or Target()).ask("POST", under("tasks", id, "feedback"), given, (), body)


def bulk(
    action: Action,
    /,
    *id: str,
    filters: Filters = None,
    priority: Priority | None = None,
    delay: float | None = None,
    atomic: bool = False,
    limit: int | None = None,
    dry_run: bool = False,
    target: Target | None = None,
) -> int:
    """Do one thing with many tasks.

    Ends with 1 if it failed for one of them.

    Args:
        action: What to do.
        id: The tasks' ids.
        filters: Or the tasks that match, as NAME=VALUE; may be given several times.
        priority: How urgent they are from now on (reprioritise).
        delay: So many seconds from now (requeue); without it as `task requeue`.
        atomic: All of them or none, at most 1,000.
        limit: How many at most, up to 10,000.
        dry_run: Only say how many match.
        target: Which server.
    """
    if bool(id) == bool(filters):
        raise UsageError("name tasks, or choose them with --filter; not both")
    body: Json = {"action": action, "dryRun": dry_run}
    body |= {"ids": list(id)} if id else {"filter": _filter_of(filters or ())}
    given = (("priority", priority), ("delaySeconds", delay), ("atomic", atomic or None), ("limit", limit))
    body |= {name: value for name, value in given if value is not None}
    failed: list[Json] = []

    def show(result: Json) -> None:
        failed.extend(result.get("failed") or ())
        output.emit(f"{result.get('matched', 0)} match, {result.get('done', 0)} done\n")
        if result.get("more"):
            output.say("there are more; repeat the command")

    code = (target or Target()).ask("POST", "tasks/bulk", show, (), body, doing="going through the tasks")
    if failed:
        first = failed[0]
        which = "cannot be done, so none was" if atomic else "failed"
        raise CommandError(f"{len(failed)} {which}, the first: task {first.get('id')}: {reason(first.get('error'))}")
    return code


def rehearsing(dry_run: bool) -> list[tuple[str, str]]:
    """What asks that everything is checked and nothing done."""
    return [("dryRun", "true")] if dry_run else []


def show_task(task: Json) -> None:
    """A task for people."""
    lines = [
        (name, words(value) + (" s" if field in SECONDS else ""))
        for name, field in FIELDS
        if (value := task.get(field)) not in (None, "", [])
    ]
    if takes := task.get("estimatedDuration"):
        lines.append(("duration", took(takes)))
    lines += [("run", allocated(run)) for run in task.get("resources") or ()]
    output.emit("".join(f"{name:<11}{value}\n" for name, value in lines))


def show_fields(thing: Json) -> None:
    """Any object for people, a member a line."""
    output.emit("".join(f"{name:<18}{words(value)}\n" for name, value in thing.items()))


def words(value: object) -> str:
    """A member of an answer on one line."""
    if isinstance(value, dict) and isinstance(value.get("parts"), list):
        return " ".join(output.message_text(value).split())
    if isinstance(value, dict):
        return ", ".join(f"{name} {words(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(words(one) for one in value)
    return json.dumps(value) if isinstance(value, bool) else " ".join(str(value).split())


def reason(error: object) -> str:
    """What an item's error says."""
    return str(error.get("message") or error) if isinstance(error, dict) else str(error)


def _show_id(task: Json) -> None:
    output.emit(f"{task.get('id', '')}\n")


def _say_state(task: Json) -> None:
    due = f", due {task['dueAt']}" if task.get("dueAt") else ""
    output.emit(f"task {task.get('id', '')} is {task.get('state', '')}, priority {task.get('priority', '')}{due}\n")


def object_of(text: str, flag: str) -> Json:
    """A JSON object of the command line. Raises UsageError."""
    value = json_of(text, flag)
    if not isinstance(value, dict):
        raise UsageError(f"{flag} must be a JSON object")
    return value


def _criterion(said: str) -> object:
    return object_of(said, "--complete-when") if said.startswith("{") else said


def _filter_of(filters: Sequence[str]) -> Json:
    found: Json = {}
    for name, value in pairs(filters):
        if name in REPEATED:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found
