"""What a fork keeps of the task that it is made from: all that was remembered, asked and answered before a step.

Values are in the order in which they were remembered: by the run that did it, and inside a run as it did it. A question
ends its run, so it is the run's last. What runs inside a step is remembered before the step itself, and goes with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from a2a_server.codec import decode
from a2a_server.model.rows import MessageRow, StateRow
from a2a_server.model.runs import ASKED
from a2a_server.values import value_class

USER = 1
"""The role of a user in rows of messages."""
INSIDE = "\n"
"""Between a step's key and the keys of what runs inside it (context.places)."""


@value_class(frozen=True, slots=True)
class Fork:
    """What is kept: values, and of the history what comes behind its first message."""

    states: tuple[StateRow, ...]
    messages: tuple[MessageRow, ...]


def forked(states: Sequence[StateRow], messages: Sequence[MessageRow], *, steps: str, step: str) -> Fork | None:
    """What is kept by a fork that begins anew at `step`; None = that step was never remembered.

    Args:
        states: all that the task remembers.
        messages: its history, oldest first.
        steps: the space that holds its steps.
        step: a step's key, or its name for the first use of it.
    """
    keys = {row.name for row in states if row.space == steps}
    key = next((name for name in (step, f"{step}:1") if name in keys), None)
    if key is None:
        return None
    ordered = sorted(states, key=_order)
    first = next(place for place, row in enumerate(ordered) if row.space == steps and row.name == key)
    kept = tuple(row for row in ordered[:first] if not row.name.startswith(key + INSIDE))
    answers = [decode(row.body)["n"] for row in kept if row.space == ASKED]
    return Fork(kept, _heard(messages, max(answers, default=0)))


def _order(row: StateRow) -> tuple[int, bool, int, str]:
    return row.fence, row.space == ASKED, row.seq, row.name


def _heard(messages: Sequence[MessageRow], answers: int) -> tuple[MessageRow, ...]:
    """The history behind its first message, up to so many answers of the user."""
    end = 1
    for place, row in enumerate(messages[1:], 2):
        if not answers:
            break
        if row.role == USER:
            answers -= 1
            end = place
    return tuple(messages[1:end])
