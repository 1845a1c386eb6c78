"""`task watch` of many tasks over the management API: one stream for all of them, as a table, lines or JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING

from a2a_server.cli import output
from a2a_server.cli.admin import Many, Query
from a2a_server.cli.failures import CommandError, Exit
from a2a_server.cli.rpc import Json
from a2a_server.cli.target import Target

if TYPE_CHECKING:
    from a2a_server.cli.board import Board

MOST_NAMED_BAD = 10
ENDED = frozenset({"completed", "failed", "rejected", "canceled"})


def watch_many(target: Target, ids: Sequence[str], query: Query) -> int:
    """Watch tasks by their ids, or those of a query, until they have ended; the exit code.

    Raises CommandError that names those that ended badly.
    """
    board = _board() if not target.json and sys.stdout.isatty() else None
    lines = Lines(lambda: datetime.now().astimezone())
    ends: dict[str, str] = {}

    def show(kind: str, data: Json) -> None:
        if kind == "task":
            ends[data["taskId"]] = str(data.get("state", ""))
        if target.json:
            output.emit_json({kind: data})
        elif board is not None:
            board.show(kind, data)
        elif kind == "task":
            output.emit(f"{output.safe(lines.of(data))}\n")

    async def work() -> int:
        async with target.admin() as admin:
            note = board.note if board is not None else output.say
            with board or nullcontext():
                async with aclosing(Many(admin, query, ids, note).items()) as items:
                    async for kind, data in items:
                        show(kind, data)
        return verdict(ends)

    return target.run(work, lambda: "The tasks go on." if any(end not in ENDED for end in ends.values()) else "")


def _board() -> Board:
    from a2a_server.cli.board import Board

    return Board()


def verdict(ends: dict[str, str]) -> int:
    """The exit code. Raises CommandError that names the first tasks that ended badly."""
    bad = [f"task {task} {end}" for task, end in ends.items() if end != "completed"]
    if bad:
        more = [f"and {len(bad) - MOST_NAMED_BAD} more"] if len(bad) > MOST_NAMED_BAD else []
        raise CommandError("; ".join([*bad[:MOST_NAMED_BAD], *more]))
    return Exit.OK


class Lines:
    """Events as lines for people. now: the local time."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    def of(self, data: Json) -> str:
        """Time, task and how it stands."""
        progress = data.get("progress") or {}
        words = [str(data.get("state", "")), share(progress), str(progress.get("note") or data.get("text") or "")]
        line = f"{self._now():%H:%M:%S}  {data['taskId']}  {'  '.join(word for word in words if word)}"
        return " ".join(line.splitlines())


def share(progress: Json) -> str:
    """How far a run is, as it says; '' = it does not say."""
    if progress.get("total") and progress.get("done") is not None:
        return f"{progress['done']:g}/{progress['total']:g}"
    return f"{progress['fraction']:.0%}" if progress.get("fraction") is not None else ""
