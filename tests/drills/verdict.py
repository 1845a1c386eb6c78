"""The verdict on a cluster that has come to rest: what clients were told, what the store holds, what the witness saw.

All that is known of a task at fault is kept in `violations.txt` beside the logs of the processes.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from a2a_server.engine.reaching import reached
from a2a_server.model.objects import Phase
from a2a_server.policy import POISON_CRASHES, skill_gate
from a2a_server.wiring.backends import store_of
from tests.clients.rpc import BadAnswer, new_http
from tests.clients.v01 import A2AClientError
from tests.drills.agent import ROOM
from tests.drills.checker import check
from tests.drills.cluster import Cluster
from tests.drills.dumped import Dump, dumped
from tests.drills.either import ClusterLoad
from tests.drills.follower import Follower
from tests.drills.laws import Step, check_gates, check_journal, check_notes, check_steps
from tests.drills.ledger import TERMINAL, Kill, Ledger, Stream, View, Violation
from tests.drills.load import NARROW
from tests.drills.report import say
from tests.drills.wires import LOST, Refused, Wire, wires
from tests.drills.witness import Witness
from tests.patience import PATIENCE

_READERS = 8
_REPLAYS = 60
_SHOWN_TASKS = 10


async def all_ended(witness: Witness, seconds: float) -> list[Violation]:
    """The tasks that have not ended after so many seconds; returns as soon as there are none."""
    deadline = time.monotonic() + seconds
    while left := await witness.unfinished():
        if time.monotonic() > deadline:
            return [Violation("unfinished", task, f"{phase} when nothing was wrong any more") for task, phase in left]
        await asyncio.sleep(0.1)
    return []


@dataclass(slots=True)
class Verdict:
    """On what happened in one cluster. found: broken promises. sums: how much of everything there was.

    story: what happened besides, in words, for `violations.txt`. watched: whether the witness saw every change.
    """

    cluster: Cluster
    witness: Witness
    ledger: Ledger
    load: ClusterLoad
    seed: int
    story: Sequence[str] = ()
    watched: bool = True
    found: list[Violation] = field(default_factory=list)
    sums: Counter[str] = field(default_factory=Counter)
    dump: Dump = field(default_factory=Dump)
    _steps: dict[str, list[Step]] = field(default_factory=dict)

    async def reach(self) -> None:
        """Look at everything. Raises ConfigurationError when the store is away."""
        cluster, ledger = self.cluster, self.ledger
        self.found += _alive(cluster)
        async with new_http(PATIENCE) as http:
            shown = [{wire.generation: wire for wire in wires(url, http)} for url in cluster.urls]
            views = await self._views(shown)
            await self._replays(shown, views)
        store = store_of(cluster.settings)
        await reached(store.open, seconds=PATIENCE, random=random.Random())  # noqa: S311 - spreads retries
        try:
            self.dump = dump = await dumped(store)
        finally:
            await store.close()
        ledger.kills += _crashes(dump)
        self.found += check(ledger, views, dump.rows)
        if self.watched:
            await self._hear()
        if cluster.notes.exists():
            self.found += check_notes(cluster.notes.read_text(encoding="utf-8").splitlines())
        self.found += dump.check_tally()
        self.sums.update(self._sums())

    async def _hear(self) -> None:
        steps = await self.witness.steps()
        ordered = sorted(steps, key=lambda step: (step.task, step.seq))
        self._steps = {task: list(group) for task, group in groupby(ordered, key=lambda step: step.task)}
        self.found += check_steps(steps, {skill_gate(NARROW): ROOM})
        self.found += check_gates(await self.witness.gates())
        for task in self.dump.rows.tasks:
            self.found += check_journal(task, self._steps.get(task, []), self.dump.journal.get(task, []))

    def keep(self, directory: Path) -> None:
        """Write down everything that is known of the tasks at fault, and say some of it."""
        lines = [f"seed {self.seed}, {self.cluster.oddities}", "", *self.story, ""]
        lines += [f"{violation.rule} {violation.task} {violation.text}" for violation in self.found]
        said = len(lines)
        for number, task in enumerate(dict.fromkeys(violation.task for violation in self.found if violation.task)):
            lines += ["", f"== {task}", *self._known(task)]
            said = len(lines) if number < _SHOWN_TASKS else said
        (directory / "violations.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        say("\n".join([*lines[:said], f"everything is in {directory}"]))

    async def _views(self, servers: Sequence[Mapping[str, Wire]]) -> dict[str, View]:
        """Each acknowledged task as its own generation shows it; every server must show the same."""
        views: dict[str, View] = {}
        waiting = list(self.ledger.tasks.values())

        async def reader() -> None:
            while waiting:
                entry = waiting.pop()
                for server in servers:
                    try:
                        view = await server[entry.order.generation].get(entry.id)
                    except Refused as refused:
                        self.ledger.problem("lost", entry.id, str(refused))
                    except (BadAnswer, A2AClientError, *LOST) as error:
                        self.ledger.problem("bad-answer", entry.id, f"get: {error}")
                    else:
                        if views.setdefault(entry.id, view) != view:
                            text = f"one server shows {views[entry.id]}, another {view}"
                            self.ledger.problem("differs", entry.id, text)

        await asyncio.gather(*(reader() for _ in range(_READERS)))
        return views

    async def _replays(self, servers: Sequence[Mapping[str, Wire]], views: Mapping[str, View]) -> None:
        """The whole log of some ended tasks once more, from a server drawn for each."""
        rng = random.Random(f"{self.seed}/replays")  # noqa: S311 - repeatable, not secret
        ended = sorted(task for task, view in views.items() if view.state in TERMINAL)
        waiting = [self.ledger.tasks[task] for task in rng.sample(ended, min(len(ended), _REPLAYS))]

        async def reader() -> None:
            while waiting:
                entry = waiting.pop()
                wire = rng.choice(servers)[entry.order.generation]
                await Follower(wire, self.ledger, self.load, Stream(entry.id, whole=True)).run()

        await asyncio.gather(*(reader() for _ in range(_READERS)))

    def _sums(self) -> dict[str, int]:
        ledger, rows = self.ledger, self.dump.rows
        return {
            "tasks": len(ledger.tasks),
            "answers": sum(len(entry.replies) for entry in ledger.tasks.values()),
            "streams": len(ledger.streams),
            "resumptions": sum(len(stream.resumed_after) for stream in ledger.streams),
            "events_seen": sum(len(stream.items) for stream in ledger.streams),
            "events_stored": sum(map(len, rows.events.values())),
            "repeated_requests": ledger.repeated,
            "leases": sum(len({step.fence for step in steps if step.fence}) for steps in self._steps.values()),
            "held": sum(step.phase is Phase.HELD for steps in self._steps.values() for step in steps),
            "followers": sum(edge.kind in {"fail", "cancel", "run"} for edge in rows.edges),
            "parts": sum(bool(row.parent) for row in rows.tasks.values()),
            "ticks": sum(rows.ticks.values()),
            "crashes": sum(row.crashes for row in rows.tasks.values()),
            "poisoned": sum(row.crashes >= POISON_CRASHES for row in rows.tasks.values()),
        }

    def _known(self, task: str) -> list[str]:
        entry = self.ledger.tasks.get(task)
        lines = [f"asked {entry.order if entry else 'by nobody who heard of it'}"]
        lines.append(f"row {self.dump.rows.tasks.get(task)}")
        if entry is not None:
            lines += [f"replied {reply}" for reply in entry.replies]
        lines += [f"event {event}" for event in self.dump.rows.events.get(task, [])]
        lines += [f"journal {told}" for told in self.dump.journal.get(task, [])]
        lines += [f"change {step._replace(gates=())}" for step in self._steps.get(task, [])]
        for stream in self.ledger.streams:
            if stream.task == task:
                shown = json.dumps([(seen.n, seen.kind, seen.state) for seen in stream.items])
                lines.append(f"stream {stream.generation}, resumed after {stream.resumed_after}: {shown}")
        return lines


def _alive(cluster: Cluster) -> list[Violation]:
    dead = [node for node in cluster.nodes if not node.process.running]
    return [
        Violation("died", "", f"{node.name} is gone; its last words:\n{node.process.last_words()}") for node in dead
    ]


def _crashes(dump: Dump) -> list[Kill]:
    """The deaths of workers as the checker of one server counts them: kill n met the tasks with n crashes or more.

    Which faults a task met cannot be told from outside: a worker loses its lease for many reasons.
    """
    most = max((row.crashes for row in dump.rows.tasks.values()), default=0)
    return [
        Kill(number, 0, frozenset(row.id for row in dump.rows.tasks.values() if row.crashes >= number))
        for number in range(1, most + 1)
    ]
