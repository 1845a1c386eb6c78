"""The whole engine against a small oracle: Hypothesis does whatever clients and handlers may do, step after step.

Theory of operation. One system runs for all histories, in this process, on SQLite or PostgreSQL; every history has an
owner of its own. A step does one thing (`Steps`), or two that race. Then the engine is looked at until every task is
where the oracle says it must be (`oracle`), which doorbells bring about at once; what is not right after
`PATIENCE` never will be. Time passes by the store's clock, which is moved on. At the end of a history
everything that waits is let go, every task has to end, and each log is read: one end, no gap, as many runs and attempts
as there were reasons for.

The seed decides every choice; only what became of a race may change on which task a later choice falls. Weakness: one
process, so what two schedulers or writers do to each other is for the drills of several processes.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from hypothesis import HealthCheck, Phase as Stage_, seed as seeded, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.drills.bench import Bench
from tests.drills.counts import Counts
from tests.drills.ledger import Violation
from tests.drills.office import said_in
from tests.drills.report import Report, say
from tests.drills.steps import Steps
from tests.services import own

STEPS = 50
"""Of one history."""


def walk(bench: Bench, steps: int, seed: int) -> None:
    """At least so many steps, in histories of `STEPS`, or until something breaks."""
    for number in count():
        left = steps - bench.steps["all"]
        if left <= 0 or bench.found:
            return
        chosen = settings(
            max_examples=max(1, left // STEPS),
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=[Stage_.generate],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        steps_of = seeded(seed + number)(type("Steps", (Steps,), {"bench": bench}))
        run_state_machine_as_test(steps_of, settings=chosen)


def judged(store: str, directory: Path, steps: int, seed: int) -> tuple[Counter[str], list[Violation]]:
    """What was done on this store, and what broke."""
    bench = Bench(store, directory)
    bench.start()
    try:
        walk(bench, steps, seed)
    finally:
        bench.stop()
    return bench.steps, bench.found


async def model(directory: Path, counts: Counts, seed: int) -> Report:
    """So many steps, one in five of them on PostgreSQL. Raises what `tests.services.own` raises."""
    begun = time.monotonic()
    figures: dict[str, object] = {"seed": seed}
    on_postgresql = counts.model_steps // 5
    files = directory / "model"
    files.mkdir()
    violations = await _on("sqlite", f"sqlite:///{files}/tasks.db", files, counts.model_steps - on_postgresql, figures)
    if not violations:
        service = own("postgresql")
        database = await asyncio.to_thread(service.__enter__)
        try:  # a power cut is not what is tested here
            url = urlunsplit(urlsplit(database.url)._replace(query="synchronous_commit=off"))
            violations = await _on("postgresql", url, files, on_postgresql, figures)
        finally:
            await asyncio.to_thread(service.__exit__, None, None, None)
    figures["seconds"] = round(time.monotonic() - begun, 1)
    return Report("model", figures, violations)


async def _on(name: str, url: str, files: Path, number: int, figures: dict[str, object]) -> list[Violation]:
    begun, cpu = time.monotonic(), time.process_time()
    with said_in(files / "model.log"):
        steps, found = await asyncio.to_thread(judged, url, files, number, int(str(figures["seed"])))
    figures[name] = {**dict(steps.most_common()), "cpu_seconds": round(time.process_time() - cpu, 1)}
    say(f"{steps['all']} steps on {name} in {time.monotonic() - begun:.1f} s: {len(found)} violations")
    return found
