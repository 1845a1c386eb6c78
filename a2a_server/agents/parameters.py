"""A skill's arguments where the first message is not enough: what is missing the task asks for, and answers fill it.

Only what a message lacks is asked for. A value that breaks its rule in the first message rejects the task, since it is
the sender's mistake; in an answer it is asked for again. Source: design.md section 2.
"""

from __future__ import annotations

from typing import NamedTuple

from a2a_server.agent import Binding, Unbound
from a2a_server.codec import encode
from a2a_server.context.asking import heard_of
from a2a_server.errors import Reject
from a2a_server.model.objects import Data, JsonObject, Message, Role, Text
from a2a_server.model.runs import ASKED, Pause, Want
from a2a_server.running import Attempt


class Filled(NamedTuple):
    """Arguments, and how many of the user's messages it took to fill them."""

    arguments: dict[str, object]
    messages: int


async def filled(binding: Binding, attempt: Attempt, context: object, lacking: Unbound) -> Filled:
    """The arguments of a skill's function. lacking: what the first message left open.

    Raises:
        Paused: something is missing, and is asked for now.
        Reject: a value of the first message breaks its rule.
        LeaseLost: the run lost its task.
    """
    if lacking.wrong:
        raise Reject(lacking.text) from lacking
    heard = heard_of(attempt.task)
    for count in range(1, len(heard) + 1):
        name = f"parameters:{count}"
        if count == len(heard) or await attempt.recall(ASKED, name) is None:
            attempt.pause(Pause(Want.INPUT, _question(lacking, binding), name, encode(count)))
        try:
            return Filled(binding.bind(attempt.task, context, heard[: count + 1]), count + 1)
        except Unbound as still:
            lacking = still
    raise AssertionError("the last message that is lacking is answered by a question")


def _question(lacking: Unbound, binding: Binding) -> Message:
    told: JsonObject = {
        "missing": list(lacking.missing),
        "wrong": list(lacking.wrong),
        "schema": binding.schema or {},
    }
    return Message(Role.AGENT, (Text(lacking.text), Data(told)))
