"""`schedule`, `template`: what tasks are made by and from, over the management API."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from a2a_server.cli import output
from a2a_server.cli.admin import Source, under
from a2a_server.cli.failures import UsageError
from a2a_server.cli.managing import show_fields
from a2a_server.cli.rpc import Json
from a2a_server.cli.tables import show_things
from a2a_server.cli.target import Target


def list_schedules(*, target: Target | None = None) -> int:
    """List schedules.

    Args:
        target: Which server.
    """
    return show_things(target, "schedules")


def list_templates(*, target: Target | None = None) -> int:
    """List templates.

    Args:
        target: Which server.
    """
    return show_things(target, "templates")


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
    return (target or Target()).ask("POST", "schedules", _show_id, (), document(file))


def create_template(file: Source, /, *, target: Target | None = None) -> int:
    """Create a template, and print its id.

    Args:
        file: A JSON object that describes it; a hyphen reads stdin.
        target: Which server.
    """
    return (target or Target()).ask("POST", "templates", _show_id, (), document(file))


def change_schedule(
    id: str, file: Source, /, *, replace: bool = False, revision: int | None = None, target: Target | None = None
) -> int:
    """Change what a file says of a schedule, and leave the rest.

    Args:
        id: Its id.
        file: A JSON object with what is to change; null takes a member away. A hyphen reads stdin.
        replace: The file is all of it: what it does not say is as in a new one.
        revision: Only if it still has this revision, which `schedule show` tells.
        target: Which server.
    """
    method = "PUT" if replace else "PATCH"
    path = under("schedules", id)
    return (target or Target()).ask(method, path, show_fields, (), document(file), revision=revision)


def change_template(
    id: str, file: Source, /, *, replace: bool = False, revision: int | None = None, target: Target | None = None
) -> int:
    """Change what a file says of a template, and leave the rest.

    Args:
        id: Its id.
        file: A JSON object with what is to change; null takes a member away. A hyphen reads stdin.
        replace: The file is all of it: what it does not say is as in a new one.
        revision: Only if it still has this revision, which `template show` tells.
        target: Which server.
    """
    method = "PUT" if replace else "PATCH"
    path = under("templates", id)
    return (target or Target()).ask(method, path, show_fields, (), document(file), revision=revision)


def delete_schedule(id: str, /, *, revision: int | None = None, target: Target | None = None) -> int:
    """Delete a schedule; tasks that it made stay.

    Args:
        id: Its id.
        revision: Only if it still has this revision, which `schedule show` tells.
        target: Which server.
    """
    done = said(f"schedule {id} is deleted")
    return (target or Target()).ask("DELETE", under("schedules", id), done, revision=revision)


def delete_template(id: str, /, *, revision: int | None = None, target: Target | None = None) -> int:
    """Delete a template; tasks that were made from it stay.

    Args:
        id: Its id.
        revision: Only if it still has this revision, which `template show` tells.
        target: Which server.
    """
    done = said(f"template {id} is deleted")
    return (target or Target()).ask("DELETE", under("templates", id), done, revision=revision)


def pause_schedule(id: str, /, *, target: Target | None = None) -> int:
    """Have a schedule make no more tasks until it is resumed.

    Args:
        id: Its id.
        target: Which server.
    """
    return (target or Target()).ask("POST", under("schedules", id, "pause"), said(f"schedule {id} is paused"))


def resume_schedule(id: str, /, *, target: Target | None = None) -> int:
    """Have a schedule go on.

    Args:
        id: Its id.
        target: Which server.
    """
    return (target or Target()).ask("POST", under("schedules", id, "resume"), said(f"schedule {id} goes on"))


def trigger_schedule(id: str, /, *, unique_key: str = "", target: Target | None = None) -> int:
    """Have a schedule make a task now, and print its id.

    Args:
        id: Its id.
        unique_key: At most one task has this key; a repeat prints the id of the first one and makes nothing.
        target: Which server.
    """
    body: Json | None = {"uniqueKey": unique_key} if unique_key else None
    return (target or Target()).ask("POST", under("schedules", id, "trigger"), _show_id, (), body)


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


def said(text: str) -> Callable[[Json], None]:
    """Shows an answer by this line."""
    return lambda _: output.emit(f"{text}\n")


def _show_id(thing: Json) -> None:
    output.emit(f"{thing.get('id') or thing.get('taskId') or thing.get('name') or ''}\n")


def document(file: Source) -> Json:
    """The JSON object in a file. Raises UsageError."""
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
