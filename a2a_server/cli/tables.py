"""Lists of the management API: for people a line a thing, as it comes; for programs one object."""

from __future__ import annotations

from collections.abc import Callable

from a2a_server.cli import output
from a2a_server.cli.admin import Pages, Query
from a2a_server.cli.failures import Exit, UsageError
from a2a_server.cli.managing import words
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
ALWAYS = frozenset({"depth", "capacity", "used", "runs"})
"""What is told though it is 0."""


def show_list(
    target: Target | None,
    path: str,
    what: str,
    line: Callable[[Json], str],
    query: Query = (),
    *,
    by: str = "cursor",
    limit: int = 0,
    most: int = 0,
) -> int:
    """Show a list to its end; the exit code.

    Args:
        target: Which server.
        path: Of the list.
        what: The things, for people: there are no ….
        line: Shows one of them.
        query: What is asked for beside the page.
        by: As `Pages` has it.
        limit: How many at most; 0 = all.
        most: As `Pages` has it.
    """
    chosen = target or Target()
    if limit < 0:
        raise UsageError("--limit is how many at most, 0 or more; 0 = all")

    async def work() -> int:
        found: list[Json] = []
        async with chosen.admin() as admin:
            pages = Pages(admin, path, query, by=by, limit=limit, most=most)
            async for one in pages.items():
                found.append(one)
                if not chosen.json:
                    output.emit(f"{line(one)}\n")
        if chosen.json:
            output.emit_json({pages.name: found})
        elif pages.more:
            output.say(f"the first {len(found)} {what}; --limit 0 shows all")
        elif not found:
            output.say(f"there are no {what}")
        return Exit.OK

    return chosen.run(work)


def show_things(target: Target | None, path: str, query: Query = ()) -> int:
    """Show all things of one kind, each with its columns."""
    columns = COLUMNS[_NAMES.get(path, path)]
    return show_list(target, path, path.replace("-", " "), lambda one: _line(one, columns), query)


_NAMES = {"dead-letters": "deadLetters"}


def _line(thing: Json, columns: str) -> str:
    told = [(name, thing.get(name)) for name in columns.split()]
    shown = [
        name if value is True else f"{name} {words(value)}" for name, value in told if value or _is_told(name, value)
    ]
    return "  ".join([words(next(iter(thing.values()), "")), *shown])


def _is_told(name: str, value: object) -> bool:
    return value is not None and name in ALWAYS
