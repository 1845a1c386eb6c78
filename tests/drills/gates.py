"""Limits of every kind on several processes: no gate lets too much through, and no work is left lying.

Theory of operation. Random tasks of several clients, under limits of skills, clients, resources and contexts, are
submitted to PostgreSQL and run by four worker processes with few slots each. The database's witness sees every
change of a task's place; it is played through twice: at no moment may more be leased through a gate than it has room
for, by amounts (`laws`), and for no two polls may a worker with a free slot claim nothing and leave a task that it
could have claimed (`idleness`). Then ten parents at a limit of ten each join a part of the same skill.

Weakness: a poll that finds nothing leaves no trace in the database, so two polls are the longest time that they may
take, and as much again as a busy machine may hold a process up: `HELD_UP_SECONDS`, and for how long this one was.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from a2a_server.lifecycle.submission import Submitted
from a2a_server.model.gates import gate_of
from a2a_server.model.objects import Lane, Message, Role, Scope, State, Text
from a2a_server.model.options import Requirements, TaskOptions
from a2a_server.service.batching import TOGETHER, Batching, Item
from a2a_server.service.sending import Sending
from tests.drills.agent import NESTED_ROOM, ROOM
from tests.drills.cluster import Cluster, Plan, running
from tests.drills.counts import Counts
from tests.drills.dumped import dumped
from tests.drills.heldup import held_up
from tests.drills.idleness import Idleness, check_idle, deaths
from tests.drills.kin import check_kin
from tests.drills.laws import Step, check_gates, check_steps
from tests.drills.ledger import Violation
from tests.drills.office import Office, office
from tests.drills.report import Report, say
from tests.drills.verdict import all_ended
from tests.drills.witness import Witness
from tests.patience import PATIENCE

WORKERS, SLOTS = 4, 6
POLL_SECONDS = 0.3
HELD_UP_SECONDS = 5.0
OWNERS = tuple(f"owner-{number}" for number in range(5))
CLIENT, CLIENT_SKILL, AGENT = 5, 3, 16
RESOURCES = {"gpu": 3, "disk": 5}
SETTINGS = {
    "LEASE_SECONDS": "8",
    "SLOTS": str(SLOTS),
    "POLL_SECONDS": str(POLL_SECONDS),
    "CLIENT_MAX_CONCURRENCY": str(CLIENT),
    "CLIENT_SKILL_MAX_CONCURRENCY": str(CLIENT_SKILL),
    "AGENT_MAX_CONCURRENCY": str(AGENT),
    "RESOURCES": ",".join(f"{name}={amount}" for name, amount in RESOURCES.items()),
}
CONTEXTS = 20
_ROOMS = {"client": CLIENT, "client+skill": CLIENT_SKILL, "agent": AGENT, "context": 1}
_SKILLS = {"skill:narrow": ROOM, "skill:nested": NESTED_ROOM}
_END_SECONDS_A_TASK = 0.06


async def gates(directory: Path, counts: Counts, seed: int) -> Report:
    """So many tasks. Raises ServerFailure, and what `tests.services.own` raises."""
    begun = time.monotonic()
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    plan = Plan("store", working=(), workers=WORKERS, settings=SETTINGS)
    async with running(directory, plan) as cluster:
        witness = Witness(cluster.database.url)
        await witness.watch()
        settings = cluster.settings.model_copy(update={"workers": 0})
        async with office(settings, rng, f"{seed}", directory / "office.log") as desk:
            async with held_up() as held:
                await _submit(desk, rng, counts.gated)
                said = time.monotonic()
                found = await all_ended(witness, PATIENCE + counts.gated * _END_SECONDS_A_TASK)
                say(f"{counts.gated} tasks ended after {time.monotonic() - said:.1f} s")
                found += await _parents(desk, witness)
            dump = await dumped(desk.system.engine.backends.store)
        found += check_kin(dump.rows, {})
        verdict = await _judged(witness, cluster, HELD_UP_SECONDS + held.seconds)
    figures: dict[str, object] = {"seed": seed, "tasks": counts.gated, **verdict[1]}
    figures["seconds"] = round(time.monotonic() - begun, 1)
    return Report("gates", figures, found + verdict[0])


async def _submit(desk: Office, rng: random.Random, number: int) -> None:
    numbers = count()
    batching = Batching(desk.system.engine, Sending(desk.system.engine, str))
    left = number
    while left:
        size = min(left, TOGETHER, rng.randint(1, TOGETHER))
        items = [_item(rng, next(numbers)) for _ in range(size)]
        await batching.submit(Scope(owner=rng.choice(OWNERS)), items, atomic=False)
        left -= size


def _item(rng: random.Random, number: int) -> Item:
    skill = rng.choices(("workbench", "narrow", "serial"), weights=(7, 1, 2))[0]
    line = rng.choices(("echo x", f"sleep {rng.uniform(0, 0.02):.3f}", "flaky 1"), weights=(6, 4, 0.2))[0]
    needs = {name: rng.randint(1, most) for name, most in RESOURCES.items() if rng.random() < 0.15}
    options = TaskOptions(
        skill=skill,
        priority=rng.choice(list(Lane)),
        requires=Requirements(resources=needs) if needs else None,
    )
    context = f"talk-{rng.randrange(CONTEXTS)}" if skill == "serial" else ""
    return Item(Message(Role.USER, (Text(line),), id=f"g{number}"), options=options, context_id=context)


async def _parents(desk: Office, witness: Witness) -> list[Violation]:
    engine, scope = desk.system.engine, Scope(owner="parent")
    items = [
        Item(Message(Role.USER, (Text("parent"),), id=f"p{number}"), options=TaskOptions(skill="nested"))
        for number in range(NESTED_ROOM)
    ]
    made = (await Batching(engine, Sending(engine, str)).submit(scope, items)).outcomes
    found = await all_ended(witness, PATIENCE)
    for one in made:
        row = await engine.backends.store.find(scope, "", one.row.id) if isinstance(one, Submitted) else None
        if row is None or row.state is not State.COMPLETED:
            found.append(Violation("unfinished", row.id if row else "", "a parent of ten at a limit of ten"))
    return found


async def _judged(witness: Witness, cluster: Cluster, held: float) -> tuple[list[Violation], dict[str, object]]:
    steps = await witness.steps()
    capacities = rooms(steps)
    bound = round((2 * 1.2 * POLL_SECONDS + held) * 1e6)
    found = check_steps(steps, capacities) + check_gates(await witness.gates())
    longest = Idleness(SLOTS, capacities, deaths(steps, await witness.living())).play(steps)
    found += check_idle(longest, bound)
    workers = {step.worker for step in steps if step.worker}
    if len(workers) < WORKERS:
        found.append(Violation("load", "", f"{len(workers)} workers of {WORKERS} ran tasks"))
    found += [Violation("died", "", node.name) for node in cluster.nodes if not node.process.running]
    figures: dict[str, object] = {
        "changes": len(steps),
        "gates": len(capacities),
        "held": sum(step.phase.name == "HELD" for step in steps),
        "left_lying_longest_seconds": round(longest.time / 1e6, 3),
    }
    return found, figures


def rooms(steps: Sequence[Step]) -> dict[str, int]:
    """How much each limited gate that a task names lets through."""
    found = dict(_SKILLS)
    for key in {gate_of(name)[0] for step in steps for name in step.gates}:
        kind, _, name = key.partition(":")
        if kind in _ROOMS:
            found[key] = _ROOMS[kind]
        elif kind == "resource":
            found[key] = RESOURCES[name]
    return found
