"""All tests in lanes side by side: `scripts/test` without arguments is `python -m tests.lanes`.

A lane is one pytest process with services, temporary folders, a cache and a log of its own: no lane knows of another.
Most tests wait more than they compute, so more lanes run at once than there are processors. What a lane said is shown
whole when it has ended; the last lines are one for each lane, and the sum of all.

Which files belong to a lane is counted, not listed: every `n`th file of a folder. A new file is in one lane by itself.

Few tests that failed while all ran at once are run again when all have ended, alone: a machine that had no time for a
test is no fault of it. What fails then too fails the run; what does not is told as unsteady in the end, to be mended.
"""
# ruff: noqa: T201 - it talks to a terminal

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tests.server.elsewhere import SETS

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
END_SECONDS = 25.0
"""For a lane that is told to end: its servers end first."""
_COUNT = re.compile(r"(\d+) (passed|failed|error|skipped|xfailed|xpassed|deselected|warning)s?\b")


@dataclass(frozen=True, slots=True)
class Lane:
    """Part `part` of `parts` of the test files of some folders or of single files. backends: as A2A_TEST_BACKENDS."""

    name: str
    places: tuple[str, ...]
    part: int = 0
    parts: int = 1
    without: tuple[str, ...] = ()
    backends: str = ""

    @property
    def files(self) -> list[Path]:
        """In the order of their names."""
        left_out = {TESTS / name for name in self.without}
        found = sorted(path for place in self.places for path in found_in(TESTS / place) if path not in left_out)
        return found[self.part :: self.parts]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a lane ended. code: pytest's. counts: of its last line, by pytest's words; none where there is none.

    again: the code of what had failed, run again; None = it was not.
    """

    lane: Lane
    code: int
    seconds: float
    counts: Counter[str]
    again: int | None = None

    @property
    def line(self) -> str:
        """For people."""
        ended = "" if self.code == 0 else f", exit code {self.code}"
        if self.again is not None:
            ended += ", failed again" if self.again else ", passed when run again alone: UNSTEADY"
        return f"{self.lane.name}: {told(self.counts)} in {self.seconds:.0f} s{ended}"


def found_in(place: Path) -> Iterable[Path]:
    return [place] if place.is_file() else place.rglob("test_*.py")


FAILED = 1
"""pytest's exit code where tests failed, and nothing else went wrong."""
NOTHING_CHOSEN = 5
"""And where no test was left."""
MOST_AGAIN = 24
"""So many failures of all lanes may be the machine's, if it is slow enough; more are somebody's."""
DRILLS = "acceptance/test_drills.py"
EVERYTHING = (  # what takes longest begins first, and what ends last is short
    Lane("drills", (DRILLS,)),
    Lane("acceptance", ("acceptance",), without=(DRILLS,)),
    Lane("contracts 1 of 2", ("contracts",), 0, 2),
    Lane("contracts 2 of 2", ("contracts",), 1, 2),
    Lane("server 1 of 3", ("server",), 0, 3),
    Lane("server 2 of 3", ("server",), 1, 3),
    Lane("server 3 of 3", ("server",), 2, 3),
    Lane("unit", ("unit",)),
    Lane("services", ("services",)),
)
ELSEWHERE = (
    Lane(f"over {SETS[0]}, 1 of 2", ("server",), 0, 2, backends=SETS[0]),
    Lane(f"over {SETS[0]}, 2 of 2", ("server",), 1, 2, backends=SETS[0]),
    *(Lane(f"over {backends}", ("server",), backends=backends) for backends in SETS[1:]),
)


def chosen(*, elsewhere: bool) -> Sequence[Lane]:
    """Everything, where services are required with the server over other backends; `elsewhere`: that alone."""
    if elsewhere:
        return ELSEWHERE
    required = os.environ.get("A2A_TEST_REQUIRE_SERVICES") == "1"
    return [*EVERYTHING[:2], *ELSEWHERE, *EVERYTHING[2:]] if required else EVERYTHING


def main() -> int:
    """The exit code: 0 when every lane's is."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.lanes",
        description="All tests in lanes side by side. Further arguments go to each pytest.",
        allow_abbrev=False,
    )
    parser.add_argument("--elsewhere", action="store_true", help="only the server's tests, over other backends")
    usual = 2 * (os.cpu_count() or 1) + 1
    parser.add_argument("--at-once", type=int, default=usual, metavar="N", help=f"lanes side by side ({usual})")
    asked, words = parser.parse_known_args()
    begun = time.monotonic()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in what it runs behind; tests use it
    with tempfile.TemporaryDirectory(prefix="a2a-lanes-", ignore_cleanup_errors=True) as made:
        home = Path(made)
        home.chmod(0o711)  # services that run as nobody look for their files below it
        try:
            outcomes = asyncio.run(everything(chosen(elsewhere=asked.elsewhere), asked.at_once, home, words))
            outcomes = asyncio.run(once_more(outcomes, home, words))
        except (KeyboardInterrupt, asyncio.CancelledError):
            print("lanes: ended before their time", flush=True)
            return 130
    print()
    for outcome in outcomes:
        print(f"lane {outcome.line}")
    seconds = time.monotonic() - begun
    minutes, rest = divmod(round(seconds), 60)
    whole = told(sum((outcome.counts for outcome in outcomes), Counter()))
    print(f"===== {whole} in {seconds:.2f}s ({minutes}:{rest:02}) =====", flush=True)
    return 0 if passed(outcomes, words) else 1


def passed(outcomes: Sequence[Outcome], words: Sequence[str] = ()) -> bool:
    """Whether nothing failed, or nothing twice. words: arguments of pytest, which may leave nothing of a lane."""
    fine = {0, NOTHING_CHOSEN} if words else {0}
    return fine.issuperset(outcome.code if outcome.again is None else outcome.again for outcome in outcomes)


async def everything(lanes: Sequence[Lane], at_once: int, home: Path, words: Sequence[str] = ()) -> list[Outcome]:
    """Runs them all, so many at once; shows what each said as it ends.

    Args:
        lanes: What takes longest comes first.
        at_once: One, if it is less.
        home: A folder for their files.
        words: Further arguments of pytest.
    """
    places = asyncio.Semaphore(max(1, at_once))
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)

    async def one(number: int, lane: Lane) -> Outcome:
        async with places:
            return await run(lane, home / str(number), words)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number, lane)) for number, lane in enumerate(lanes)]
    return [task.result() for task in tasks]


async def once_more(outcomes: Sequence[Outcome], home: Path, words: Sequence[str] = ()) -> list[Outcome]:
    """Runs what failed again, one lane after the other, if it is little enough. Arguments as `everything`."""
    failed = sum(outcome.counts["failed"] + outcome.counts["error"] for outcome in outcomes)
    if failed > MOST_AGAIN:
        return [*outcomes]
    only_failed = ("--last-failed", "--last-failed-no-failures=none")
    found = []
    for number, outcome in enumerate(outcomes):
        again = None
        if outcome.code == FAILED:
            again = (await run(outcome.lane, home / f"{number}-again", [*words, *only_failed])).code
        found.append(replace(outcome, again=again))
    return found


async def run(lane: Lane, home: Path, words: Sequence[str]) -> Outcome:
    """One lane, from its start to what it said. home: the beginning of the names of its log and its folder."""
    begun = time.monotonic()
    log = home.with_suffix(".log")
    print(f"lane {lane.name} begins", flush=True)
    cache = ROOT / ".cache/pytest" / re.sub(r"\W+", "-", lane.name)
    own = ["-q", f"--basetemp={home}", "-o", f"cache_dir={cache}"]
    command = [sys.executable, "-m", "pytest", *own, *words, *map(str, lane.files)]
    chosen = {"A2A_TEST_BACKENDS": lane.backends} if lane.backends else {}
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={**os.environ, **chosen},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,  # what ends this process is told to the lanes once, by this process
        )
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        await end(process)
        show(lane, log)
        raise
    show(lane, log)
    return Outcome(lane, code, time.monotonic() - begun, counted(log))


async def end(process: asyncio.subprocess.Process) -> None:
    """It has been told to end, as by Ctrl-C, and has; what is left of it is killed."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        await asyncio.wait_for(process.wait(), END_SECONDS)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def show(lane: Lane, log: Path) -> None:
    print(f"\n== lane {lane.name}\n{log.read_text(encoding='utf-8', errors='replace')}", end="", flush=True)


def counted(log: Path) -> Counter[str]:
    """What pytest's last line counts."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line for line in reversed(lines) if re.search(r" in [\d.]+s", line)), "")
    return Counter({word: int(count) for count, word in _COUNT.findall(last)})


def told(counts: Counter[str]) -> str:
    """As pytest tells it: `2 failed, 30 passed`."""
    words = {"error": "errors", "warning": "warnings"}
    order = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warning", "error")
    parts = [f"{counts[word]} {words.get(word, word)}" for word in order if counts[word]]
    return ", ".join(parts) or "nothing"


if __name__ == "__main__":
    sys.exit(main())
