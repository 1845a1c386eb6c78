"""`python -m tests.drills NAME`: runs one drill in full.

Exit code 1: a promise was broken; 2: this machine lacks what the drill needs.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from tests.drills.counts import CI, FULL, Counts
from tests.drills.crash import crash
from tests.drills.fairness import fairness
from tests.drills.fuzz import fuzz
from tests.drills.gates import gates
from tests.drills.graph import graph
from tests.drills.history import history
from tests.drills.model import model
from tests.drills.races import races
from tests.drills.report import Report, say
from tests.drills.rolling import rolling
from tests.drills.soak import soak
from tests.drills.stream import stream
from tests.services import Missing

DRILLS: dict[str, Callable[[Path, Counts, int], Awaitable[Report]]] = {
    "crash": crash,
    "fairness": fairness,
    "fuzz": fuzz,
    "gates": gates,
    "graph": graph,
    "history": history,
    "model": model,
    "races": races,
    "rolling": rolling,
    "soak": soak,
    "stream": stream,
}
GIVEN = (
    "kills",
    "cuts",
    "requests",
    "histories",
    "rolls",
    "soak_seconds",
    "model_steps",
    "gated",
    "trials",
    "races",
)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="scripts/drill", description="A rehearsal of something going wrong.")
    parser.add_argument("name", choices=sorted(DRILLS))
    parser.add_argument("--kills", type=int, help="of the server (crash)")
    parser.add_argument("--cuts", type=int, help="of streams (stream)")
    parser.add_argument("--requests", type=int, help="that are generated (fuzz)")
    parser.add_argument("--histories", type=int, help="with a cluster each (history)")
    parser.add_argument("--rolls", type=int, help="of every process (rolling)")
    parser.add_argument("--model-steps", type=int, help="of clients and handlers (model)")
    parser.add_argument("--gated", type=int, help="tasks under limits (gates)")
    parser.add_argument("--trials", type=int, help="of one against many (fairness)")
    parser.add_argument("--races", type=int, help="of a cancel and a result (races)")
    parser.add_argument("--soak-seconds", type=float, help="of load (soak)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeats a drill's choices")  # noqa: S311 - not for secrets
    parser.add_argument("--ci", action="store_true", help="as few as continuous integration does")
    parser.add_argument("--keep", type=Path, help="leave databases and logs in this directory")
    asked = parser.parse_args()
    counts = CI if asked.ci else FULL
    given = {name: value for name in GIVEN if (value := getattr(asked, name)) is not None}
    counts = replace(counts, **given)
    directory = asked.keep or Path(tempfile.mkdtemp(prefix="a2a-drill-"))
    directory.mkdir(parents=True, exist_ok=True)
    say(f"{asked.name} drill, seed {asked.seed}, databases and logs in {directory}")

    async def drill() -> Report:
        return await DRILLS[asked.name](directory.resolve(), counts, asked.seed)

    try:
        report = asyncio.run(drill())
    except Missing as missing:
        say(str(missing))
        return 2
    say(report.text)
    say(report.line)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
