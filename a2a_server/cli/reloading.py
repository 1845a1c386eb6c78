"""`run --reload`: a process that serves, and this one, which starts it anew whenever the agent's code changes.

Theory of operation: the server is a child process in a process group of its own, so that Ctrl-C reaches this process
alone, which passes every signal on: the first lets the child drain, the second hurries it. Files are compared by their
times and sizes, about twice a second. A child that ended by itself, for example over a syntax error, is started again
at the next change. Only that child is ever ended, by its id.

Weaknesses: an embedded interpreter is started for every change, so memory is not kept; a supervisor that is killed with
SIGKILL leaves its child behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeAlias

from a2a_server.cli import output
from a2a_server.cli.invoked import NAME

LOOK_SECONDS = 0.5
MOST_FILES = 10_000
END_SECONDS = 20.0
"""Beyond the time to drain: closing connections and the database."""

IGNORED = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})
Times: TypeAlias = Mapping[str, tuple[int, int]]


def supervise(target: str, words: list[str], *, drain_seconds: float) -> int:
    """Serve `target` and start again on changes, until a signal; the exit code of the last server.

    Args:
        target: as `run` takes it.
        words: the further words of `run`.
        drain_seconds: how long a server may take to end its running handlers.
    """
    # Started as this program was, it prints commands that work when they are pasted.
    started = [sys.argv[0]] if Path(sys.argv[0]).name == NAME else ["-m", "a2a_server"]
    program = [sys.executable, *started, "run", target, *words]
    return Supervisor(program, directory_of(target), end_seconds=drain_seconds + END_SECONDS).run()


def directory_of(target: str) -> Path:
    """Where the agent's code is: a file's directory, else the current one."""
    where = target.partition(":")[0]
    return Path(where).resolve().parent if where.endswith(".py") else Path.cwd()


def times_of(directory: Path) -> Times:
    """Change time and size of the .py files below the directory, at most `MOST_FILES`; hidden directories not."""
    times: dict[str, tuple[int, int]] = {}
    for folder, below, names in os.walk(directory):
        below[:] = sorted(name for name in below if name not in IGNORED and not name.startswith("."))
        for name in names:
            if not name.endswith(".py"):
                continue
            try:
                found = (Path(folder) / name).stat()
            except OSError:  # it went away
                continue
            times[f"{folder}/{name}"] = (found.st_mtime_ns, found.st_size)
            if len(times) >= MOST_FILES:
                return times
    return times


class Supervisor:
    """Runs `program`, and again on changes below `directory`. end_seconds: how long a child may take to end."""

    def __init__(self, program: list[str], directory: Path, *, end_seconds: float) -> None:
        self._program = program
        self._directory = directory
        self._end_seconds = end_seconds
        self._stopping = False
        self._told_child = False
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Until a signal; the exit code of the child."""
        with self._signals():
            while True:
                times = times_of(self._directory)
                self._told_child = False
                self._child = child = subprocess.Popen(self._program, process_group=0)  # noqa: S603 - this program
                changed = self._changed(child, times)
                code = self._end(child)
                if changed is None or self._stopping:
                    return code
                output.say(f"{changed} changed: starting again")

    def _changed(self, child: subprocess.Popen[bytes], times: Times) -> str | None:
        told = False
        while not self._stopping:
            time.sleep(LOOK_SECONDS)
            if not told and child.poll() is not None:
                told = True
                output.say(f"the server ended with {child.returncode}; it starts again when a .py file changes")
            now = times_of(self._directory)
            if now != times:
                changed = next(name for name in sorted({*now, *times}) if now.get(name) != times.get(name))
                return os.path.relpath(changed)
        return None

    def _end(self, child: subprocess.Popen[bytes]) -> int:
        if child.poll() is None and not self._told_child:
            child.terminate()
        try:
            return child.wait(self._end_seconds)
        except subprocess.TimeoutExpired:
            output.say(f"the server did not end within {self._end_seconds:g} s, and is killed; its tasks go on later")
            child.kill()
            return child.wait()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def pass_on(number: int, _: FrameType | None) -> None:
            self._stopping = True
            if self._child is not None and self._child.poll() is None:
                self._child.send_signal(number)
                self._told_child = True

        before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
