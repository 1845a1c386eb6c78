"""How a skill's parameters are filled from a task: by name from its data, the rest from text, files and context.

Theory of operation: a function is inspected once, when it is registered (`agent.inspection`), and every parameter gets
a source and, where values are checked, a pydantic adapter of its own. `Binding.bind` then only looks things up; it is
pure. What a client sends beyond the parameters is ignored: clients may be newer than the agent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from a2a_server.agent.schema import example
from a2a_server.agent.values import data_of
from a2a_server.errors import Reject
from a2a_server.model.objects import Data, File, JsonObject, Text
from a2a_server.model.runs import TaskView

_COMPLAINTS = 5
_TEXT_LIMIT = 2000


class Source(Enum):
    """Where a parameter's value comes from."""

    NAME = auto()
    WHOLE = auto()
    FILE = auto()
    FILES = auto()
    MESSAGE = auto()
    CONTEXT = auto()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter as inspected.

    takes_text: a required `str`, which the message's text fills when nothing else does. adapter: checks the values of
    the sources NAME and WHOLE.
    """

    name: str
    source: Source
    required: bool
    takes_text: bool = False
    adapter: TypeAdapter[Any] | None = None


@dataclass(frozen=True, slots=True)
class Binding:
    """All parameters of a skill; `schema` is the JSON Schema of those that data fills."""

    parameters: tuple[Parameter, ...] = ()
    schema: JsonObject | None = None

    def bind(self, task: TaskView, context: object) -> dict[str, object]:
        """The keyword arguments for one call; parameters left at their default are not among them.

        Data parts win over `task.parameters`; of several data parts the later one wins.

        Args:
            task: what was asked.
            context: what parameters annotated as `TaskContext` or `SyncTask` get.

        Raises:
            Reject: something required is missing or a value breaks its rule; the text names parameter and rule, and
                shows an example.
        """
        call = _Call(self, task, context)
        for parameter in self.parameters:
            call.fill(parameter)
        if call.complaints:
            raise Reject(" ".join([*call.complaints[:_COMPLAINTS], self._way_out(call.faulty)])[:_TEXT_LIMIT].rstrip())
        return call.arguments

    def _way_out(self, faulty: list[str]) -> str:
        sample = example(self.schema or {}, faulty)
        if not sample:
            return ""
        form = "text, or a data part" if any(parameter.takes_text for parameter in self.parameters) else "a data part"
        return f"Send {form}, for example {orjson.dumps(sample).decode()}"


class _Call:
    def __init__(self, binding: Binding, task: TaskView, context: object) -> None:
        self.arguments: dict[str, object] = {}
        self.complaints: list[str] = []
        self.faulty: list[str] = []
        parts = task.message.parts
        self._message = task.message
        self._context = context
        self._given: JsonObject = {**task.parameters, **data_of(task.message)}
        self._values = [part.data for part in parts if isinstance(part, Data) and not isinstance(part.data, dict)]
        self._files = [part for part in parts if isinstance(part, File)]
        self._text_for = ""
        if any(isinstance(part, Text) for part in parts):
            empty = (one.name for one in binding.parameters if one.takes_text and one.name not in self._given)
            self._text_for = next(empty, "")

    def fill(self, parameter: Parameter) -> None:
        match parameter.source:
            case Source.CONTEXT:
                self.arguments[parameter.name] = self._context
            case Source.MESSAGE:
                self.arguments[parameter.name] = self._message
            case Source.FILE | Source.FILES:
                self._attach(parameter)
            case Source.NAME:
                self._named(parameter)
            case Source.WHOLE:
                self._whole(parameter)

    def _attach(self, parameter: Parameter) -> None:
        if not self._files:
            if parameter.required:
                self.complaints.append(f'Parameter "{parameter.name}" is missing: attach a file.')
        elif parameter.source is Source.FILE:
            self.arguments[parameter.name] = self._files.pop(0)
        else:
            self.arguments[parameter.name], self._files = self._files, []

    def _named(self, parameter: Parameter) -> None:
        if parameter.name == self._text_for:
            self._check(parameter, self._message.text, (parameter.name,))
        elif parameter.name in self._given:
            self._check(parameter, self._given[parameter.name], (parameter.name,))
        elif parameter.required:
            self.complaints.append(f'Parameter "{parameter.name}" is missing.')

    def _whole(self, parameter: Parameter) -> None:
        if self._given:
            self._check(parameter, self._given, ())
        elif self._values:
            self._check(parameter, self._values[0], ())
        elif parameter.required:
            self._check(parameter, {}, ())

    def _check(self, parameter: Parameter, value: object, place: tuple[str, ...]) -> None:
        assert parameter.adapter is not None  # noqa: S101 - inspection gives these two sources one
        try:
            self.arguments[parameter.name] = parameter.adapter.validate_python(value)
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False, include_input=False)
            self.faulty += [str((*place, *one["loc"])[0]) for one in details if place or one["loc"]]
            self.complaints += [_complaint(one, place or (parameter.name,), whole=not place) for one in details]


def _complaint(detail: ErrorDetails, place: tuple[str, ...], *, whole: bool) -> str:
    steps = detail["loc"] if whole and detail["loc"] else (*place, *detail["loc"])
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    if detail["type"] == "missing":
        return f'Parameter "{name}" is missing.'
    return f'Parameter "{name}": {detail["msg"].rstrip(".")}.'
