"""Loading of a turn, inside its transaction: rows are locked first and read then, so they stay as they were read.

A transaction sees the moment of its first read. A lock is a write: it fails at once, and the turn begins anew, when the
row has been changed since that moment or another turn has it now. So nobody waits for anybody inside a transaction,
there is no deadlock and no order to keep, and what is locked after it was read is as safe as what was locked before.
Nothing can be skipped either: of two that claim the same tasks one begins anew and finds the next ones.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

from a2a_server.model.gates import gate_of
from a2a_server.model.objects import Phase
from a2a_server.model.rows import (
    ArtifactRow,
    EdgeRow,
    FairKey,
    Interest,
    Key,
    PushRow,
    RecordKey,
    RecordRow,
    SentRow,
    TaskName,
    TaskRow,
)
from a2a_server.model.turns import ClaimNeed, Loaded, Needs
from a2a_server.stores.mongodb_rows import SHAPES, Document, encoded
from a2a_server.stores.mongodb_view import BY_KEY, BY_RANK, View, among, of_tasks

_READY = int(Phase.READY)
_LAST_LANE = 5


async def load(view: View, needs: Needs) -> Loaded:
    """What the transaction sees of `needs`, without the time. Raises the driver's errors."""
    loaded = Loaded(now=0)
    await _load_tasks(view, loaded, needs)
    await _load_gates(view, loaded, needs.gates | _gates_of(loaded.tasks.values()))
    if needs.held > 0 and loaded.gates:
        await _load_held(view, loaded, needs.held)
    if needs.recount:
        await _count_leased(view, loaded, needs.recount)
    for queue in sorted(needs.queues):
        await _load_heads(view, loaded, queue)
    if needs.fair:
        ids = [encoded((*key[:2], int(key[2]), *key[3:])) for key in needs.fair]
        found: list[tuple[FairKey, int]] = await view.rows("fair", {"_id": among(ids)})
        loaded.fair = dict(found)
    if needs.workers:
        workers = await view.rows("worker", {"_id": among(needs.workers)})
        loaded.workers = {row.id: row for row in workers}
    if needs.takes:
        await _load_takes(view, loaded, needs.takes)
    if needs.waits:
        await _load_waits(view, loaded, needs.waits)
    if needs.records:
        await _load_records(view, loaded, needs.records)
    if told := [row.key for row in loaded.tasks.values() if row.pushes & Interest.TOLD]:
        await _load_pushes(view, loaded, told)
    return loaded


async def _load_tasks(view: View, loaded: Loaded, needs: Needs) -> None:
    keys = needs.tasks | needs.takes
    if needs.names:
        loaded.names = await _named(view, needs.names)
        keys.update(loaded.names.values())
    sent: list[SentRow] = []
    if needs.sent:
        sent = await view.rows("sent", {"_id": among([encoded(key) for key in needs.sent])})
        keys.update(row.task for row in sent)
    best = [await _best_ready(view, claim) for claim in needs.claims]
    keys.update(*best, *(claim.hinted for claim in needs.claims))
    if keys and await view.lock("task", keys):
        rows: list[TaskRow] = await view.rows("task", {"_id": among(keys)})
        loaded.tasks = {row.key: row for row in rows}
    loaded.sent = {row.key: row for row in sent if row.task in loaded.tasks}
    loaded.claims = [_candidates(loaded, *pair) for pair in zip(needs.claims, best, strict=True)]


async def _named(view: View, names: Collection[TaskName]) -> dict[TaskName, Key]:
    scopes = defaultdict[tuple[str, str, str], list[str]](list)
    for name in names:
        scopes[name[:3]].append(name.id)
    wanted: list[Document] = [
        {"tenant": tenant, "owner": owner, "agent": agent, "id": among(ids)}
        for (tenant, owner, agent), ids in scopes.items()
    ]
    where = wanted[0] if len(wanted) == 1 else {"$or": wanted}
    found = await view.fields("task", where, TaskName._fields)
    return {TaskName(*(each[field] for field in TaskName._fields)): each["_id"] for each in found}


async def _best_ready(view: View, claim: ClaimNeed) -> list[Key]:
    if claim.limit <= 0 or not claim.queues:
        return []
    where: Document = {
        "phase": _READY,
        "queue": among(set(claim.queues)),
        "crashes": {"$lte": claim.max_crashes},
        "format": {"$lte": claim.max_format},
    }
    if claim.lanes:
        where["lane"] = among({int(lane) for lane in claim.lanes})
    return [each["_id"] for each in await view.fields("task", where, ("_id",), BY_RANK, claim.limit)]


def _candidates(loaded: Loaded, claim: ClaimNeed, best: list[Key]) -> tuple[Key, ...]:
    keys = {key for key in best if key in loaded.tasks}
    for key in claim.hinted:
        row = loaded.tasks.get(key)
        if row and row.phase is Phase.READY and row.queue in claim.queues and _allowed(row, claim):
            keys.add(key)
    rows = [loaded.tasks[key] for key in keys]
    return tuple(key for _, _, key in sorted((row.lane, row.rank, row.key) for row in rows))


def _allowed(row: TaskRow, claim: ClaimNeed) -> bool:
    if claim.lanes and row.lane not in claim.lanes:
        return False
    return row.crashes <= claim.max_crashes and row.format <= claim.max_format


def _gates_of(rows: Iterable[TaskRow]) -> set[str]:
    names = set[str]().union(*{row.gates for row in rows})
    return {gate_of(name)[0] if "*" in name else name for name in names}


async def _load_gates(view: View, loaded: Loaded, names: Collection[str]) -> None:
    wanted = set(names).difference(loaded.gates)
    if wanted and await view.lock("gate", wanted):
        gates = await view.rows("gate", {"_id": among(wanted)})
        loaded.gates.update((row.key, row) for row in gates)


async def _load_held(view: View, loaded: Loaded, limit: int) -> None:
    """One round: gates that only a held task names are loaded, but not what they hold themselves."""
    new: dict[Key, TaskRow] = {}
    for gate in loaded.gates:
        rows: list[TaskRow] = await view.rows("task", _held_by(gate), BY_RANK, limit)
        if rows:
            loaded.held[gate] = tuple(row.key for row in rows)
            new.update((row.key, row) for row in rows if row.key not in loaded.tasks)
    if new:
        await view.lock("task", new)
        loaded.tasks.update(new)
        await _load_gates(view, loaded, _gates_of(new.values()))


def _held_by(gate: str) -> Document:
    return {"phase": int(Phase.HELD), "held_by": gate}


async def _count_leased(view: View, loaded: Loaded, gates: Collection[str]) -> None:
    names, used = Counter[str](), Counter[str]()
    for leased in await view.fields("task", {"phase": int(Phase.LEASED)}, ("gates",)):
        names.update(leased["gates"])
    for name, times in names.items():
        gate, amount = gate_of(name)
        used[gate] += amount * times
    loaded.leased = {gate: used[gate] for gate in gates}


async def _load_heads(view: View, loaded: Loaded, queue: str) -> None:
    """A step in the index for each lane that has a READY task, and one more."""
    lane = 0
    while lane < _LAST_LANE:
        where = {"phase": _READY, "queue": queue, "lane": {"$gt": lane}}
        found = await view.fields("task", where, ("lane", "rank"), BY_RANK, 1)
        if not found:
            return
        lane = found[0]["lane"]
        loaded.heads[queue, lane] = found[0]["rank"]


async def _load_takes(view: View, loaded: Loaded, keys: Collection[Key]) -> None:
    where = of_tasks(keys)
    opened: list[ArtifactRow] = await view.rows("artifact", {**where, "closed": False}, BY_KEY)
    if not opened:
        return
    closed = await view.fields("artifact", {**where, "closed": True}, SHAPES["artifact"].key)
    newest = defaultdict[tuple[Key, int], int](int)
    for task, id, take in [row[:3] for row in opened] + [(each["task"], each["id"], each["take"]) for each in closed]:
        newest[task, id] = max(newest[task, id], take)
    for row in opened:
        if row.take == newest[row.task, row.id]:
            loaded.takes[row.task] = (*loaded.takes.get(row.task, ()), row)


async def _load_waits(view: View, loaded: Loaded, keys: Collection[Key]) -> None:
    where: Document = {"downstream": among(keys)}
    kind = {name: f"${name}" for name in ("downstream", "on_failure", "done")}
    cursor = await view.db["edge"].aggregate(
        [{"$match": where}, {"$group": {"_id": kind, "count": {"$sum": 1}}}], session=view.session
    )
    async for each in cursor:
        downstream, on_failure, done = (each["_id"][name] for name in kind)
        loaded.waits.setdefault(downstream, {})[on_failure, done] = each["count"]
    if any(done > 0 for counts in loaded.waits.values() for _, done in counts):
        edges: list[EdgeRow] = await view.rows("edge", {**where, "done": {"$gt": 0}})
        arrived = defaultdict[Key, list[EdgeRow]](list)
        for edge in sorted(edges):
            arrived[edge.downstream].append(edge)
        loaded.arrived = {key: tuple(each) for key, each in arrived.items()}


async def _load_records(view: View, loaded: Loaded, keys: Collection[RecordKey]) -> None:
    ids = [encoded(key) for key in keys]
    if await view.lock("record", ids):
        records: list[RecordRow] = await view.rows("record", {"_id": among(ids)})
        loaded.records = {row.key: row for row in records}


async def _load_pushes(view: View, loaded: Loaded, keys: Collection[Key]) -> None:
    pushes: list[PushRow] = await view.rows("push", of_tasks(keys), BY_KEY)
    for push in pushes:
        loaded.pushes[push.task] = (*loaded.pushes.get(push.task, ()), push)
