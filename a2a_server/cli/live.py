"""Live displays on a terminal: of `--stream`, text above a progress bar, and of downloads. Imported where shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from a2a_server.cli.output import Json, Plain, progress_of, safe, state_name


class LiveView:
    """Whole lines scroll by above the bar; of a line that is still growing its last part stands directly on it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._plain = Plain(self._write, self.note)
        self._line = ""
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self._console,
            auto_refresh=False,
        )
        self._bar = self._progress.add_task("sending", total=None)
        self._state = ""
        self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=10, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._plain.__exit__()
        self._live.stop()

    def show(self, item: Json) -> None:
        """Text and progress of one item."""
        self._plain.show(item)
        status = (item.get("statusUpdate") or item.get("task") or {}).get("status")
        if status:
            self._state = state_name(status["state"])
        note = progress_of(item)
        if note is not None:
            self._move(note)
        elif status:
            self._progress.update(self._bar, description=self._state)

    def _move(self, note: Json) -> None:
        total, done = note.get("total"), note.get("done")
        if total and done is not None:
            self._progress.update(self._bar, total=float(total), completed=float(done))
        elif note.get("progress") is not None:
            self._progress.update(self._bar, total=1.0, completed=float(note["progress"]))
        self._progress.update(self._bar, description=safe(str(note.get("note") or self._state)).replace("\n", " "))

    def _write(self, text: str) -> None:
        *whole, self._line = (self._line + safe(text)).split("\n")
        for line in whole:
            self._console.print(Text(line), soft_wrap=True)

    def note(self, text: str) -> None:
        """A dim line above the bar."""
        self._console.print(Text(text, style="dim"), soft_wrap=True)

    def _render(self) -> Group:
        shown = self._line[-2 * self._console.width :]  # a display higher than the screen could not be taken back
        return Group(*([Text(shown)] if shown else ()), self._progress)


@contextmanager
def progress_bar(name: str, console: Console | None = None) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr for one download; it is told the bytes so far and the whole where it is known."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console or Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(name, total=None)
        yield lambda size, total: progress.update(bar, completed=size, total=total)
