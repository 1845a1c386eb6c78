"""Tasks whose work is to be undone, where only agents run their skill by now that pull their work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from a2a_server.lifecycle.cancellation import Cancel
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import Phase, Scope, State
from a2a_server.model.rows import Key
from a2a_server.model.turns import Needs
from a2a_server.running import Attempt
from a2a_server.service.pullers import Registration
from a2a_server.service.pulling import Pulling
from tests.server.scripted import Scripted, ask, serving


@dataclass(frozen=True)
class Ring:
    """An operation: the task's alarm has come."""

    key: Key
    urgent: bool = True
    weight: int = 1

    def needs(self, needs: Needs, shard: str) -> None:
        needs.tasks.add(self.key)

    def decide(self, turn: Turn) -> None:
        turn.put(turn.rows[self.key]._replace(due_at=turn.now))


async def asking(attempt: Attempt) -> str:
    return await ask(attempt, "Well?")


async def test_claims_leave_what_is_to_be_undone_and_it_ends_in_time(tmp_path: Path) -> None:
    async with serving(Scripted(asking, rolls_back=True), tmp_path) as served:
        task = await served.send()
    pulled = Scripted(asking, pulled=True)
    async with serving(pulled, tmp_path, poll_seconds=0.05) as served:
        row = await served.row(task.id)
        await served.engine.submit(Cancel(row.name, 0, row.key))
        owed = await served.row(task.id)
        behind = await served.start()
        pulling = Pulling(served.engine)
        agent = (await pulling.register(Scope(), Registration(("script",)))).key.hex()
        [taken] = await pulling.claim(Scope(), agent, 1)
        assert taken.row.id == behind
        assert await pulling.claim(Scope(), agent, 1) == ()
        assert await served.row(task.id) == owed, "who asks again and again puts its end off no further"
        await served.engine.submit(Ring(row.key))
        assert (await served.reached(task.id, Phase.FINAL)).state is State.CANCELED
    assert not [call for call, _ in pulled.calls if call in {"run", "roll_back"}]
