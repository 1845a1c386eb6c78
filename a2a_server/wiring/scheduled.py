"""The schedules of a process's agent: looked for from the start; what fires their ticks is read at the first one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from a2a_server.engine.engine import Engine
from a2a_server.engine.late import Late
from a2a_server.model.rows import RecordRow
from a2a_server.model.schedule_keys import schedule_kind

if TYPE_CHECKING:
    from a2a_server.engine.scheduling import Scheduler


def serve_schedules(engine: Engine) -> None:
    """From now on this process fires the ticks of the engine's agent, as long as the engine runs."""

    def read() -> Callable[[], Scheduler]:
        from a2a_server.service.schedules import Schedules

        return Schedules(engine).scheduler

    scheduler = Late(read)

    async def fire(rows: Sequence[RecordRow]) -> None:
        await (await scheduler.get()).fire(rows)

    async def mend(rows: Sequence[RecordRow]) -> None:
        await (await scheduler.get()).realign(rows)

    engine.duties.agenda.serve(schedule_kind(engine.agent), fire, mend)
