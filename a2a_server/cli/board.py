"""Live displays of many tasks on a terminal: a table with a bar for each. Imported where shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from a2a_server.cli.crowds import ENDED
from a2a_server.cli.output import Json, safe

BAR_WIDTH = 24
COLOURS = {"completed": "green", "failed": "red", "rejected": "red", "canceled": "yellow", "working": "cyan"}


class Board:
    """How many tasks stand. What has not ended stands first, as much of it as fits on the screen; counts come last.

    Where the stream says how many tasks there are, a bar above the counts says how many of them have ended.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._tasks: dict[str, Json] = {}
        self._totals: Json = {}
        self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=5)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, kind: str, data: Json) -> None:
        """Take in one event of the stream."""
        if kind == "task":
            self._tasks[data["taskId"]] = data
        self._totals = (data if kind == "totals" else data.get("totals")) or self._totals

    def note(self, text: str) -> None:
        """A dim line above the table."""
        self._console.print(Text(text, style="dim"), soft_wrap=True)

    def _render(self) -> Group:
        order = sorted(self._tasks.values(), key=lambda task: task.get("state") in ENDED)
        most = max(1, self._console.height - (5 if self._totals else 4))
        table = Table(box=None, pad_edge=False, expand=True)
        for name in ("task", "state", "progress"):
            table.add_column(name, no_wrap=True)
        table.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
        for task in order[:most]:
            state = str(task.get("state", ""))
            said = Text(" ".join(safe(_note(task)).split()))
            table.add_row(
                Text(safe(str(task.get("title") or task["taskId"]))),
                Text(state, COLOURS.get(state, "")),
                _bar(task),
                said,
            )
        return Group(table, *self._whole(), Text(self._counts(len(order) - most), style="dim"))

    def _whole(self) -> Iterator[Table]:
        if total := self._totals.get("total"):
            ended = self._totals.get("ended", 0)
            bar = ProgressBar(total=total, completed=ended, width=BAR_WIDTH)
            line = Table.grid(padding=(0, 2))
            line.add_row("all", bar, f"{ended:,} of {total:,} have ended")
            yield line

    def _counts(self, hidden: int) -> str:
        counts: dict[str, int] = {}
        for task in self._tasks.values():
            counts[str(task.get("state", ""))] = counts.get(str(task.get("state", "")), 0) + 1
        words = [f"{count:,} {state}" for state, count in sorted(counts.items())]
        return ", ".join([f"{len(self._tasks):,} tasks", *words, *([f"{hidden:,} not shown"] if hidden > 0 else ())])


def share_of(task: Json) -> float | None:
    """How far a task is, 0.0-1.0; None = it does not say."""
    progress = task.get("progress") or {}
    if task.get("state") == "completed":
        return 1.0
    if progress.get("total") and progress.get("done") is not None:
        return min(1.0, max(0.0, float(progress["done"]) / float(progress["total"])))
    return float(progress["fraction"]) if progress.get("fraction") is not None else None


@contextmanager
def working(text: str, console: Console | None = None) -> Iterator[None]:
    """A sign on stderr that something goes on."""
    with (console or Console(stderr=True)).status(text):
        yield


def _bar(task: Json) -> ProgressBar | Text:
    share = share_of(task)
    return Text("") if share is None else ProgressBar(total=1.0, completed=share, width=BAR_WIDTH)


def _note(task: Json) -> str:
    return str((task.get("progress") or {}).get("note") or task.get("text") or "")
