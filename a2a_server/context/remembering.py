"""What a skill remembers: the results of its steps, checkpoints, and the memory of a conversation or an owner.

Source: core.md section 8.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, ParamSpec, TypeVar

from a2a_server.agent.values import json_value
from a2a_server.codec import decode, encode
from a2a_server.context.places import Places
from a2a_server.errors import Fail
from a2a_server.model.objects import Json
from a2a_server.model.runs import Shelf
from a2a_server.running import Attempt
from a2a_server.values import value_class

P = ParamSpec("P")
J = TypeVar("J", bound="str | int | float | bool | list[Any] | dict[str, Any] | None")
"""What comes back from JSON as it was, for type checkers; a list of models does not, which the first run shows."""

STEP: Final = "step"
MEMORY: Final = "memory"
VALUE_BYTES: Final = 256 * 1024
"""The largest value that is remembered, as JSON."""
NAME_LENGTH: Final = 200
"""Longest name of a value, in characters."""


@value_class(frozen=True, slots=True)
class Step:
    """A step under its key; `kept` is its result as it is remembered, None = not yet."""

    name: str
    key: str
    kept: bytes | None = None

    @property
    def value(self) -> Json:
        """The remembered result."""
        return None if self.kept is None else unpacked(self.kept)


class Steps:
    """The steps of one run. Concurrency: belongs to its run."""

    __slots__ = ("_attempt", "_places")

    def __init__(self, attempt: Attempt, places: Places) -> None:
        self._attempt = attempt
        self._places = places

    async def begin(self, name: str) -> Step:
        """The next step of this name.

        Raises:
            Fail: the name cannot be remembered.
            LeaseLost: the run lost its task.
        """
        key = self._places.next(STEP, checked(name))
        return Step(name, key, await self._attempt.recall(STEP, key))

    @contextmanager
    def inside(self, step: Step) -> Iterator[None]:
        """While it lasts, what is asked and stepped belongs to this step."""
        with self._places.inside(step.key):
            yield

    async def end(self, step: Step, result: object) -> Step:
        """The step with its result, which is remembered when this returns.

        Raises:
            Fail: the result cannot be remembered.
            LeaseLost: the run lost its task.
        """
        kept = packed(f'step "{step.name}"', result)
        await self._attempt.remember(STEP, step.key, kept)
        return replace(step, kept=kept)


class Memory:
    """Values that the tasks of one conversation share, or with `owner` all tasks of who sent them.

    Every value is JSON of up to 256 KiB. The last one written wins; what a run writes counts when the call returns.
    """

    def __init__(self, attempt: Attempt, shelf: Shelf = Shelf.CONTEXT) -> None:
        self._attempt = attempt
        self._shelf = shelf

    @property
    def owner(self) -> Memory:
        """The memory of the owner, over all conversations."""
        return Memory(self._attempt, Shelf.OWNER)

    async def get(self, name: str, default: Json = None) -> Json:
        """The value, or `default` where there is none."""
        kept = await self._attempt.recall(MEMORY, checked(name), self._shelf)
        return default if kept is None else unpacked(kept)

    async def set(self, name: str, value: object) -> None:
        """Keep a value.

        Raises:
            Fail: the name or the value cannot be remembered.
            LeaseLost: the run lost its task.
        """
        await self._attempt.remember(MEMORY, checked(name), packed(f'memory "{name}"', value), self._shelf)

    async def delete(self, name: str) -> None:
        """Forget a value; one that is not there is fine. Raises LeaseLost."""
        await self._attempt.remember(MEMORY, checked(name), None, self._shelf)

    async def names(self, prefix: str = "") -> Sequence[str]:
        """The names that begin with `prefix`, in order."""
        return await self._attempt.names(MEMORY, prefix, self._shelf)


def callable_of(name: object, function: object) -> Callable[..., Any]:
    """The function of a step itself.

    Raises:
        TypeError: it is none.
    """
    if callable(function):
        return function
    if inspect.iscoroutine(function):
        function.close()
    kind = type(function).__name__
    raise TypeError(f'step "{name}" got a {kind}; give it the function and its arguments: step("{name}", read, url)')


def packed(what: str, value: object) -> bytes:
    """The value as it is stored.

    Raises:
        Fail: it is no JSON, or too large; the text names `what`.
    """
    try:
        body = encode(json_value(value))
    except Fail as error:
        kind = type(value).__name__
        raise Fail(f"The value of {what} is of type {kind}, which cannot be written as JSON.") from error
    if len(body) > VALUE_BYTES:
        raise Fail(f"The value of {what} is larger than {VALUE_BYTES} bytes; keep it in an artifact or a file.")
    return body


def unpacked(body: bytes) -> Json:
    """The value that was packed."""
    value: Json = decode(body)
    return value


def checked(name: object) -> str:
    """The name itself.

    Raises:
        Fail: it is not 1 to 200 printable characters.
    """
    if isinstance(name, str) and 1 <= len(name) <= NAME_LENGTH and name.isprintable():
        return name
    raise Fail(f"The handler named a value wrongly: a name is 1 to {NAME_LENGTH} printable characters.")
