"""`python -m tests.bench`: measures our server against its peers, and says what holds."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import uvloop
from rich.console import Console

from a2a_server.errors import EngineError
from tests.bench.costs import Bench
from tests.bench.counts import FULL, QUICK
from tests.bench.durability import doubts
from tests.bench.load import Broken
from tests.bench.pairing import Verdict
from tests.bench.picture import picture
from tests.bench.report import Outcome, Report
from tests.bench.rows import ROWS, Row
from tests.bench.scale.rows import SCALE
from tests.bench.servers import PEERS, ROOT, Failed
from tests.bench.tasks.rows import TASKS
from tests.bench.tasks.table import markdown as tasks_table

EVERY = (*ROWS, *SCALE, *TASKS)


def main() -> int:
    """The exit code: 0, 1 when a row missed its limit or could not be measured, 2 when nothing was measured."""
    asked = _asked()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended, as by Ctrl-C
    console = Console(stderr=True)
    if asked.list:
        for row in EVERY:
            Console().print(f"{row.name:18} {row.title} ({row.unit})", markup=False)
        return 0
    group = TASKS if asked.tasks else SCALE if asked.scale else ROWS
    rows = [row for row in EVERY if (row.name in asked.row if asked.row else row in group)]
    if any(row.peers for row in rows) and not PEERS.exists():
        console.print("The peers are not installed; scripts/peers does that.")
        return 2
    directory = asked.directory or ROOT / ".cache/bench"
    directory.mkdir(parents=True, exist_ok=True)
    found = list(dict.fromkeys(doubt for each in _kept(rows, directory) for doubt in doubts(each)))
    if found and not asked.not_durable:
        console.print(f"Not measured: {'; '.join(found)}. --not-durable measures all the same, and says so.")
        return 2
    work = Path(tempfile.mkdtemp(prefix="run-", dir=directory))
    began = time.monotonic()
    bench = Bench(work, FULL if asked.full else QUICK, _Progress(console))
    try:
        outcomes, failed = _measured(rows, bench, console)
    finally:
        bench.services.close()
        shutil.rmtree(work, ignore_errors=True)
    report = Report("full" if asked.full else "quick", outcomes, found, time.monotonic() - began)
    report.show(Console(width=None if sys.stdout.isatty() else 120))
    managed = all(row in TASKS for row in rows)
    table = tasks_table(report) if managed else report.markdown()
    if managed:
        sys.stdout.write(f"\n{table}")
    for path, text in ((asked.json, report.json()), (asked.markdown, table)):
        if path is not None:
            path.write_text(text, encoding="utf-8")
    if asked.picture is not None:
        asked.picture.write_text(picture(report), encoding="utf-8")
    missed = any(each.verdict is Verdict.MISSED for outcome in outcomes for each in outcome.findings)
    return 1 if missed or failed else 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures our server against its peers.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="two minutes: fewer and shorter rounds (the default)")
    how.add_argument("--full", action="store_true", help="figures to be published: 5 to 9 rounds of 2 s of CPU")
    names = [row.name for row in EVERY]
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--scale", action="store_true", help="the rows about several processes on PostgreSQL instead")
    which.add_argument("--tasks", action="store_true", help="the rows about task management instead, and their table")
    parser.add_argument("--row", action="append", choices=names, metavar="NAME", help="only this; may be repeated")
    parser.add_argument("--list", action="store_true", help="name the rows, measure nothing")
    parser.add_argument("--json", type=Path, help="write everything that was measured there")
    parser.add_argument("--markdown", type=Path, help="write the table there")
    parser.add_argument("--picture", type=Path, help="draw the table there, as SVG")
    parser.add_argument("--directory", type=Path, help="for the servers' files, on a real disk (.cache/bench)")
    parser.add_argument("--not-durable", action="store_true", help="measure also where nothing survives a power cut")
    return parser.parse_args()


def _kept(rows: list[Row], directory: Path) -> list[Path]:
    """Where what is measured lies: the servers' files, and PostgreSQL's."""
    services = [Path(tempfile.gettempdir())] if any(row in (*SCALE, *TASKS) for row in rows) else []
    return [directory, *services]


def _measured(rows: list[Row], bench: Bench, console: Console) -> tuple[list[Outcome], bool]:
    outcomes: list[Outcome] = []
    failed = False
    for number, row in enumerate(rows, 1):
        bench.say(f"[{number}/{len(rows)}] {row.name}: {row.title}")
        try:
            outcomes.append(Outcome(row, uvloop.run(row.measure(bench))))
        except* (Broken, Failed, OSError, EngineError, asyncpg.PostgresError) as group:
            failed = True
            console.print(f"{row.name} could not be measured: {group.exceptions[0]}", markup=False)
    return outcomes, failed


class _Progress:
    """Lines of progress, the latest in place of the one before where there is a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        line = f"{time.monotonic() - self._began:5.0f} s  {text}"
        if self._console.is_terminal:
            self._console.print(line[: self._console.width - 1].ljust(self._console.width - 1), end="\r", markup=False)
        else:
            self._console.print(line, markup=False)


if __name__ == "__main__":
    sys.exit(main())
