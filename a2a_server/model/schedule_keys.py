"""Where the records of schedules are: every process looks for due ones, and most have none."""

from __future__ import annotations

from typing import Final

from a2a_server.model.rows import RecordKey, kind_of

SCHEDULE: Final = "schedule"
"""The kind of their records, of an agent without a name (`schedule_kind`)."""


def schedule_kind(agent: str) -> str:
    """The kind of an agent's schedules."""
    return kind_of(SCHEDULE, agent)


def schedule_key(tenant: str, owner: str, agent: str, schedule_id: str) -> RecordKey:
    """The primary key of a schedule's record."""
    return RecordKey(schedule_kind(agent), tenant, owner, schedule_id)
