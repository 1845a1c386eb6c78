"""`batch submit|show|results`: many tasks made at once, and what came of them, over the management API."""

from __future__ import annotations

import sys

from a2a_server.cli import output
from a2a_server.cli.admin import Pages, Source, under
from a2a_server.cli.failures import CommandError, Exit, UsageError
from a2a_server.cli.managing import reason, rehearsing, show_fields
from a2a_server.cli.rpc import Json
from a2a_server.cli.target import Target

PAGE = 200


def submit(
    file: Source,
    /,
    *,
    each: bool = False,
    unique_key: str = "",
    dry_run: bool = False,
    target: Target | None = None,
) -> int:
    """Submit many tasks from a file of JSON lines, and print the batch's id.

    All of them or none; with --each what is right is submitted, and it ends with 1 if one of them was refused.

    Args:
        file: One task a line, as `task submit` sends it; `name` is what others call it (`"dependsOn": ["#name"]`).
            A hyphen reads stdin.
        each: Each for itself, instead of all or none.
        unique_key: At most one batch has this key; a repeat prints the id of the first one and makes nothing.
        dry_run: Check everything, and submit nothing.
        target: Which server.
    """
    lines = _read(file)
    numbers = [number for number, line in enumerate(lines.splitlines(), 1) if line.strip()]
    count = len(numbers)
    if not count:
        raise UsageError(f"{file} has no tasks; give one JSON object a line")
    failed: list[Json] = []

    def show(batch: Json) -> None:
        failed.extend(item for item in batch.get("items") or () if item.get("error"))
        if batch.get("id"):
            output.emit(f"{batch['id']}\n")
        repeated = int(batch.get("repeated") or 0)
        before = f", {repeated} of them before" if repeated else ""
        done = "would be submitted" if dry_run else "submitted"
        output.say(f"{int(batch.get('created') or 0) + repeated} of {count} tasks {done}{before}")

    chosen = target or Target()
    query = [("atomic", "false" if each else "true"), *([("uniqueKey", unique_key)] if unique_key else [])]
    doing = f"{'checking' if dry_run else 'submitting'} {count} tasks"
    code = chosen.ask("POST", "batches", show, [*query, *rehearsing(dry_run)], lines, doing=doing)
    if failed:
        first = failed[0]
        line, why = f"line {numbers[int(first.get('index', 0))]}: ", reason(first["error"])
        raise CommandError(f"{len(failed)} tasks refused, the first: {line}{why.removeprefix(line)}")
    return code


def show(id: str, /, *, target: Target | None = None) -> int:
    """Show how far a batch is.

    Args:
        id: The batch's id.
        target: Which server.
    """
    return (target or Target()).ask("GET", under("batches", id), _show_batch)


def results(id: str, /, *, target: Target | None = None) -> int:
    """Show what came out of the tasks of a batch, in the order of its items.

    A line a task: its id, its state and what it said. With -o json a line is an object, with the task's artifacts.

    Args:
        id: The batch's id.
        target: Which server.
    """
    chosen = target or Target()

    async def work() -> int:
        async with chosen.admin() as admin:
            async for one in Pages(admin, under("batches", id, "results"), most=PAGE).items():
                if chosen.json:
                    output.emit_json(one)
                else:
                    output.emit(f"{_line(one)}\n")
        return Exit.OK

    return chosen.run(work)


def _show_batch(batch: Json) -> None:
    failures = batch.get("failures") or ()
    show_fields({name: value for name, value in batch.items() if name not in ("failures", "links")})
    for one in failures:
        output.emit(f"{'failure':<18}{one.get('title') or one.get('id')}: {_why(one.get('error') or {})}\n")


def _why(error: Json) -> str:
    return " ".join(str(error.get("text") or error.get("reason") or "").split())


def _line(result: Json) -> str:
    texts = [output.artifact_text(artifact) for artifact in result.get("artifacts") or ()]
    texts.append(output.message_text(result.get("message")))
    said = " ".join(" ".join(texts).split())
    return output.safe(f"{result.get('id', '')}  {result.get('state', '')}  {said}".rstrip())


def _read(file: Source) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
