"""Copies of a task's row with some fields changed: decisions make several of each task, so they have to be cheap.

A named tuple's own `_replace` asks for each of its fields by name, which costs twice as much for a row of this width.
"""

from __future__ import annotations

from typing import Final, TypedDict, Unpack

from a2a_server.model.objects import Lane, Phase, State
from a2a_server.model.rows import Key, TaskRow

_POSITION: Final = {name: index for index, name in enumerate(TaskRow._fields)}


class Fields(TypedDict, total=False):
    """What decisions change of a task beside state and phase; the rest of its row stands from its creation."""

    visible: bool
    lane: Lane
    rank: int
    held_by: str
    last_n: int
    journal_n: int
    rev: int
    status_at: int
    due_at: int
    deadline_at: int
    cancel_at: int
    worker: Key
    fence: int
    attempt: int
    max_attempts: int
    crashes: int
    unmet: int
    parent: Key
    pushes: int
    status: bytes
    spec: bytes


class AllFields(Fields, total=False):
    """With what only `lifecycle.states` changes."""

    state: State
    phase: Phase


def changed(row: TaskRow, **fields: Unpack[AllFields]) -> TaskRow:
    """The row with these fields instead of its own."""
    values: list[object] = list(row)
    for name, value in fields.items():
        values[_POSITION[name]] = value
    return tuple.__new__(TaskRow, values)
