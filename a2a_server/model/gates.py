"""How tasks name gates: those of named resources with an amount."""

from __future__ import annotations

from typing import Final

_SHARED: Final = "resource:"


def gate_of(name: str) -> tuple[str, int]:
    """A gate as a task names it: its key, and how often the task counts there.

    Only gates of named resources are counted by amounts, as `resource:gpu*2`; a star in any other name is its own.
    """
    if not name.startswith(_SHARED):
        return name, 1
    key, star, amount = name.rpartition("*")
    return (key, int(amount)) if star else (name, 1)
