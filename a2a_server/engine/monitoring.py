"""Watches the thresholds that the settings name, and keeps what exceeds them as alerts.

Every process looks; a record says when one of them did last, so that once in an interval is enough however many there
are. What is looked at are counts, and bounded searches by index: the cost grows with the owners and limits that there
are, not with the tasks. Alerts are records of their own database where the settings name one, else of the tasks'.

Formulas (`thresholds`): task_duration = now - the claim of the run that holds the task. dependency_wait = now - the
task's last status, while it waits for others. failure_rate = failed ÷ all tasks that ended since the last look.
resource_usage = used ÷ capacity of a limit of
tasks at once (the turn of a conversation is none), and leased tasks ÷ slots of an agent's living workers.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Final

from a2a_server.codec import decode, encode
from a2a_server.engine.thresholds import (
    ALERT,
    EXAMPLES,
    Alert,
    Judged,
    Seen,
    Threshold,
    alert_of,
    exceeded,
    failure_rates,
    judged,
    key_of,
    record_of,
)
from a2a_server.errors import ClientError, EngineError
from a2a_server.lifecycle.states import PHASES_OF, TERMINAL
from a2a_server.model.objects import Phase, State
from a2a_server.model.queries import RowQuery, Search, Table, TallyQuery
from a2a_server.model.rows import GateRow, JournalKind, JournalRow, RecordKey, RecordRow, TaskRow, WorkerRow
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.policy import SECOND, bounds_use
from a2a_server.ports import TaskStore
from a2a_server.telemetry.observer import SILENT, Observer

LOOKED: Final = RecordKey("monitor", "", "", "looked")
"""Says when somebody looked last, and what had ended by then."""
SCOPES: Final = 1000
"""Owners whose tasks are looked at, those with most first."""
READ: Final = 1000
"""Rows of a table, or entries of a journal, that are read at most."""
CANDIDATES: Final = 200
"""Tasks of one owner that are looked at one by one."""
OWN: Final = "(this agent)"
"""The subject that stands for the agent without a name: the server's first."""

_log = logging.getLogger("a2a_server.engine.monitoring")

_Scope = tuple[str, str, str]
_Ended = dict[str, tuple[int, int]]


class Monitor:
    """Looks once in an interval, until it is canceled. Concurrency: belongs to the event loop.

    store: where tasks are. ledger: where alerts are kept; it may be the same. thresholds: seconds, and parts of 1.
    """

    def __init__(
        self,
        store: TaskStore,
        ledger: TaskStore,
        thresholds: Mapping[Threshold, float],
        *,
        interval_seconds: float,
        clock: Callable[[], int],
        random: Random,
        observer: Observer = SILENT,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._thresholds = thresholds
        self._interval = interval_seconds
        self._clock = clock
        self._random = random
        self._observer = observer

    async def run(self) -> None:
        """Look for ever; what cannot be looked at now is at the next look."""
        wait = self._random.random()
        while True:
            await asyncio.sleep(self._interval * wait)
            wait = self._random.uniform(0.8, 1.2)
            try:
                await self.look()
            except (EngineError, ClientError) as error:
                _log.warning(
                    "The thresholds could not be looked at (%s); they are at the next look.", type(error).__name__
                )
            except Exception:  # noqa: BLE001 - a bug in one look must not end the others; it is logged each time
                _log.exception("The thresholds could not be looked at.")

    async def look(self) -> Sequence[Alert] | None:
        """Evaluate every threshold; the alerts that are active now. None = another process did so a moment ago."""
        now = self._clock()
        last = await self._last()
        looked_at, ended_before = _read(last)
        if last is not None and now < looked_at + round(0.7 * self._interval * SECOND):
            return None
        ended = await self._ended()
        seen = [
            *await self._long_runs(now),
            *await self._long_waits(now),
            *self._exceeded(Threshold.RESOURCE_USAGE, await self._usage()),
            *(self._exceeded(Threshold.FAILURE_RATE, failure_rates(ended_before, ended)) if last is not None else ()),
        ]
        known = {alert.id: alert for alert in await alerts_of(self._ledger)}
        outcome = judged(known, seen, self._thresholds, now)
        if not await self._kept(last, outcome, encode([now, ended])):
            return None
        self._told(outcome)
        return [alert for alert in outcome.changed if alert.active]

    def _exceeded(self, threshold: Threshold, values: Mapping[str, float]) -> list[Seen]:
        return exceeded(threshold, values, self._thresholds[threshold])

    async def _last(self) -> RecordRow | None:
        page = await self._ledger.rows(RowQuery(Table.RECORD, tuple(LOOKED), limit=1))
        return next((row for row in page.rows if isinstance(row, RecordRow)), None)

    async def _kept(self, last: RecordRow | None, outcome: Judged, looked: bytes) -> bool:
        """Whether the outcome was committed; not where somebody else looked meanwhile."""
        rev = 0 if last is None else last.rev
        first = True

        def decide(loaded: Loaded) -> Changes:
            nonlocal first
            row = loaded.records.get(LOOKED)
            first = (0 if row is None else row.rev) == rev
            if not first:
                return Changes()
            changes = Changes(records=[RecordRow(*LOOKED, rev + 1, 0, looked)])
            for alert in outcome.changed:
                before = loaded.records.get(key_of(alert.id))
                changes.records.append(record_of(alert, 1 if before is None else before.rev + 1))
            for alert in outcome.forgotten:
                if (before := loaded.records.get(key_of(alert.id))) is not None:
                    changes.gone_records.append((before.key, before.rev))
            return changes

        needs = Needs()
        needs.records |= {LOOKED, *(key_of(alert.id) for alert in (*outcome.changed, *outcome.forgotten))}
        await self._ledger.turn(needs, decide)
        return first

    def _told(self, outcome: Judged) -> None:
        for alert in outcome.raised:
            _log.warning("Alert: %s", alert.text, extra={"alert": alert.id})
            self._observer.alerted(alert.threshold, raised=True)
        for alert in outcome.cleared:
            _log.info("Alert over: %s", alert.text, extra={"alert": alert.id})
            self._observer.alerted(alert.threshold, raised=False)

    async def _ended(self) -> _Ended:
        ended, failed = Counter[str](), Counter[str]()
        for state in TERMINAL:
            for place, count in (await self._store.totals(TallyQuery(state=state))).items():
                ended[place.agent or OWN] += count
                failed[place.agent or OWN] += count if state is State.FAILED else 0
        return {agent: (count, failed[agent]) for agent, count in ended.items()}

    async def _usage(self) -> dict[str, float]:
        usage = {}
        async for gate in self._gates():
            if gate.capacity and bounds_use(gate.key):
                usage[gate.key] = gate.used / gate.capacity
        slots = await self._slots()
        leased = Counter[str]()
        for place, count in (await self._store.totals(TallyQuery(phase=Phase.LEASED))).items():
            leased[place.agent] += count
        return usage | {f"slots of {agent or OWN}": leased[agent] / count for agent, count in slots.items() if count}

    async def _gates(self) -> AsyncIterator[GateRow]:
        """Every limit: each conversation may have one too, so one page does not show what stands behind them."""
        after: tuple[str] | None = None
        while True:
            page = await self._store.rows(RowQuery(Table.GATE, after=after, limit=READ))
            for gate in page.rows:
                if isinstance(gate, GateRow):
                    after = (gate.key,)
                    yield gate
            if not page.more:
                return

    async def _slots(self) -> Counter[str]:
        """Slots of living workers, by agent."""
        slots, now = Counter[str](), self._clock()
        page = await self._store.rows(RowQuery(Table.WORKER, limit=READ))
        for row in page.rows:
            if isinstance(row, WorkerRow) and row.body and not row.dead and row.seen_at + row.ttl >= now:
                about = decode(row.body)
                slots[str(about.get("serves", ""))] += int(about.get("slots", 0)) + int(about.get("threads", 0))
        return slots

    async def _long_runs(self, now: int) -> list[Seen]:
        since = now - round(self._thresholds[Threshold.TASK_DURATION] * SECOND)
        return await self._long(Threshold.TASK_DURATION, Phase.LEASED, now, self._claimed_at, created_to=since + 1)

    async def _long_waits(self, now: int) -> list[Seen]:
        since = now - round(self._thresholds[Threshold.DEPENDENCY_WAIT] * SECOND)
        return await self._long(Threshold.DEPENDENCY_WAIT, Phase.WAITING, now, _stood_at, status_to=since + 1)

    async def _long(
        self,
        threshold: Threshold,
        phase: Phase,
        now: int,
        began: Callable[[TaskRow], Awaitable[int]],
        *,
        created_to: int | None = None,
        status_to: int | None = None,
    ) -> list[Seen]:
        """Agents with tasks that have been in the phase for too long, since `began`."""
        stands = frozenset((state, phase) for state, phases in PHASES_OF.items() if phase in phases)
        worst, counts, tasks = Counter[str](), Counter[str](), dict[str, list[str]]()
        limit = self._thresholds[threshold]
        for tenant, owner, agent in await self._scopes(phase):
            search = Search(
                tenant, owner, agent, stands=stands, created_to=created_to, status_to=status_to, limit=CANDIDATES
            )
            for row in (await self._store.search(search)).rows:
                seconds = (now - await began(row)) / SECOND
                if seconds > limit:
                    subject = agent or OWN
                    worst[subject] = max(worst[subject], round(seconds))
                    counts[subject] += 1
                    tasks.setdefault(subject, []).append(row.id)
        return [
            Seen(threshold, subject, value, counts[subject], tuple(tasks[subject][:EXAMPLES]))
            for subject, value in worst.items()
        ]

    async def _scopes(self, phase: Phase) -> list[_Scope]:
        counts = Counter[_Scope]()
        for place, count in (await self._store.totals(TallyQuery(phase=phase))).items():
            counts[place.tenant, place.owner, place.agent] += count
        return [scope for scope, _ in counts.most_common(SCOPES)]

    async def _claimed_at(self, row: TaskRow) -> int:
        """When the run that holds the task began: the first claim is an event, later ones are in the journal."""
        page = await self._store.rows(RowQuery(Table.JOURNAL, (row.key,), limit=READ))
        claims = [one.at for one in page.rows if isinstance(one, JournalRow) and one.kind is JournalKind.LEASED]
        if claims:
            return claims[-1]
        events = await self._store.events(row.key, 1, 1, 1)
        return events[0].at if events else row.created_at


async def alerts_of(ledger: TaskStore) -> list[Alert]:
    """Every alert that is kept, the newest first."""
    page = await ledger.rows(RowQuery(Table.RECORD, (ALERT,), limit=READ))
    alerts = [alert_of(row) for row in page.rows if isinstance(row, RecordRow)]
    return sorted(alerts, key=lambda alert: (alert.since, alert.id), reverse=True)


async def _stood_at(row: TaskRow) -> int:
    return row.status_at


def _read(last: RecordRow | None) -> tuple[int, _Ended]:
    if last is None:
        return 0, {}
    at, ended = decode(last.body)
    return at, {agent: (counts[0], counts[1]) for agent, counts in ended.items()}
