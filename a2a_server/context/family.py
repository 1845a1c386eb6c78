"""Parts of a task that its handler gives to tasks of their own, and the wait for them.

Theory of operation: a spawn is made once for its place in the handler (`Places`), whatever happens to the run; later
runs find it. A join ends its run, as a question does, and the next run, which begins the handler anew, finds what it
joined ended. The handler has to spawn and join the same things in the same order every time. Which children a join of
`any` or of a number gave back is remembered, so that it gives the same ones in every later run.

Source: core.md section 8.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from a2a_server.codec import canonical, decode, encode
from a2a_server.context.asking import question_of
from a2a_server.context.places import Places
from a2a_server.context.remembering import checked
from a2a_server.errors import Fail
from a2a_server.lifecycle.states import TERMINAL
from a2a_server.model.objects import Json, Message, Part, Role
from a2a_server.model.options import TaskOptions
from a2a_server.model.runs import JOINED, ChildResult, Join
from a2a_server.running import Attempt
from a2a_server.wording import plain_rule

MOST_CHILDREN: Final = 10_000
"""Tasks that one join may wait for."""

_NEVER: Final[Mapping[str, str]] = {
    "parentTaskId": "is this task, and no other",
    "uniqueKey": "says nothing, a child is made once for its place in the handler",
    "template": "is for sends from outside",
    "returnImmediately": "says nothing, nobody waits for the answer",
}
Until: TypeAlias = "Literal['all', 'any'] | int"
"""How many of the joined tasks must have ended."""


@dataclass(frozen=True, slots=True)
class TaskHandle:
    """A task that this one spawned; `id` is what clients call it."""

    id: str


class Family:
    """What one run spawns and joins. Concurrency: belongs to its run."""

    __slots__ = ("_attempt", "_places")

    def __init__(self, attempt: Attempt, places: Places) -> None:
        self._attempt = attempt
        self._places = places

    async def spawn(
        self,
        message: str | Message | Sequence[Part],
        name: str,
        upstreams: Sequence[TaskHandle],
        options: dict[str, Any],
    ) -> TaskHandle:
        """The task that is spawned here, in this run or in an earlier one.

        Raises:
            Fail: an option breaks its rule, or the message cannot be sent.
            LeaseLost: the run lost its task.
        """
        step = self._places.next("spawn", checked(name) if name else "")
        said = question_of(message, "spawned a task without a message")
        said = Message(Role.USER, said.parts, id=f"spawned-{step}", metadata=said.metadata)
        given = {to_camel(word): value for word, value in options.items() if value is not None}
        given["dependsOn"] = tuple(handle.id for handle in upstreams)
        if never := next((word for word in _NEVER if given.get(word)), ""):
            raise Fail(f"The handler spawned a task wrongly: {never} {_NEVER[never]}; leave it out.")
        try:
            chosen = TaskOptions.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise Fail(f"The handler spawned a task wrongly: {field} {plain_rule(first['msg'])}.") from error
        return TaskHandle(await self._attempt.spawn(step, said, chosen))

    async def join(self, handles: Sequence[TaskHandle], until: Until, name: str) -> list[ChildResult]:
        """What became of the tasks, if enough of them have ended; else the run ends and waits for them.

        Raises:
            Paused: they have not.
            Fail: other tasks than before were joined under this name, more than there are must end, or one of them is
                no part of this task.
            LeaseLost: the run lost its task.
        """
        ids = [handle.id for handle in handles]
        need = len(ids) if until == "all" else 1 if until == "any" else until
        if not ids and until == "all":
            return []
        if not (1 <= need <= len(ids) <= MOST_CHILDREN):
            raise Fail(f"The handler joined wrongly: {until} of {len(ids)} tasks; give 1 to {MOST_CHILDREN} of them.")
        key = self._places.next(JOINED, checked(name) if name else "")
        digest = hashlib.sha256(canonical([ids, need])).hexdigest()
        kept = await self._attempt.recall(JOINED, key)
        found: Mapping[str, Any] = {} if kept is None else decode(kept)
        if found and found["h"] != digest:
            raise Fail("The handler joined other tasks than before; it must join the same ones in every run.")
        if "e" in found:
            return list(await self._attempt.results(found["e"]))
        states = await self._attempt.states(ids)
        ended = [child for child, state in zip(ids, states, strict=True) if state in TERMINAL]
        if len(ended) < need:
            self._attempt.pause(Join(tuple(ids), need, key, encode({"h": digest})))
        if len(ids) > need:
            await self._attempt.remember(JOINED, key, encode({"h": digest, "e": ended}))
        return list(await self._attempt.results(ended))


def spawn_options(
    skill: str, parameters: Mapping[str, Json] | None, priority: str | int | None, tags: Sequence[str], title: str
) -> dict[str, Any]:
    """The task options that the arguments of `spawn` are."""
    return {
        "skill": skill or None,
        "parameters": dict(parameters) if parameters else None,
        "priority": priority,
        "tags": tuple(tags) or None,
        "title": title or None,
    }
