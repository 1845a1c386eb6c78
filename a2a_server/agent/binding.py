"""How a skill's parameters are filled from a task: by name from its data, the rest from text, files and context.

Theory of operation: a function is inspected once, when it is registered (`agent.inspection`), and every parameter gets
a source and, where values are checked, a pydantic adapter of its own. `Binding.bind` then only looks things up; it is
pure, and says what is missing (`Unbound`) so that a runner can ask for it. What a client sends beyond the parameters is
ignored: clients may be newer than the agent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from a2a_server.agent.schema import example
from a2a_server.agent.values import data_of
from a2a_server.model.objects import Data, File, Json, JsonObject, Message, Text
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


class Unbound(Exception):
    """Parameters could not be filled. text: what to do, with an example. missing: names of those that are not there.

    wrong: names of those whose values break their rule.
    """

    def __init__(self, text: str, missing: tuple[str, ...], wrong: tuple[str, ...] = ()) -> None:
        self.text = text
        self.missing = missing
        self.wrong = wrong
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Binding:
    """All parameters of a skill; `schema` is the JSON Schema of those that data fills."""

    parameters: tuple[Parameter, ...] = ()
    schema: JsonObject | None = None

    def bind(
        self,
        task: TaskView,
        context: object,
        heard: Sequence[Message] = (),
        given: Mapping[str, object] = MappingProxyType({}),
    ) -> dict[str, object]:
        """The keyword arguments for one call; parameters left at their default are not among them.

        Data parts win over `task.parameters`; of several data parts the later one wins.

        Args:
            task: what was asked.
            context: what parameters annotated as `TaskContext` or `SyncTask` get.
            heard: the message that began the task (the default), and answers to what was missing then, in their order.
            given: arguments that come from elsewhere, as they are.

        Raises:
            Unbound: something required is missing or a value breaks its rule.
        """
        call = _Call(self, task, context, heard or (task.message,))
        for parameter in self.parameters:
            if parameter.name in given:
                call.arguments[parameter.name] = given[parameter.name]
            else:
                call.fill(parameter)
        if call.complaints or call.missing:
            complaints = [f'Parameter "{name}" is missing{how}.' for name, how in call.missing.items()]
            wrong = tuple(dict.fromkeys(call.faulty))
            whole = bool(wrong) and len(heard) <= 1  # then the task is rejected, and all of it has to be sent again
            told = [*complaints, *call.complaints][:_COMPLAINTS]
            text = " ".join([*told, self._way_out([*wrong, *call.missing], whole=whole)])
            raise Unbound(text[:_TEXT_LIMIT].rstrip(), tuple(call.missing), wrong)
        return call.arguments

    def _way_out(self, names: list[str], *, whole: bool) -> str:
        sample = example(self.schema or {}, names)
        asked = {re.split(r"[.\[]", name)[0] for name in names}
        if isinstance(sample, dict) and not whole:
            sample = {name: value for name, value in sample.items() if name in asked}
        if not sample:
            return ""
        takes_text = any(one.takes_text and (whole or one.name in asked) for one in self.parameters)
        alone = not whole and len(asked) == 1 and any(one.name in asked for one in self.parameters)
        form = "text, or a data part" if takes_text or alone else "a data part"
        return f"Send {form}, for example {orjson.dumps(sample).decode()}"


class _Call:
    """missing: parameters that are not there, with what else to say of each."""

    def __init__(self, binding: Binding, task: TaskView, context: object, heard: Sequence[Message]) -> None:
        self.arguments: dict[str, object] = {}
        self.missing: dict[str, str] = {}
        self.complaints: list[str] = []
        self.faulty: list[str] = []
        self._binding = binding
        self._message = heard[0]
        self._context = context
        self._given: JsonObject = dict(task.parameters)
        self._values: list[Json] = []
        self._files: list[File] = []
        self._texts: dict[str, str] = {}
        for message in heard:
            self._hear(message, first=message is heard[0])

    def _hear(self, message: Message, *, first: bool) -> None:
        self._given |= data_of(message)
        self._values += [part.data for part in message.parts if isinstance(part, Data) and not _is_object(part)]
        self._files += [part for part in message.parts if isinstance(part, File)]
        if not any(isinstance(part, Text) for part in message.parts):
            return
        named = [one for one in self._binding.parameters if one.source is Source.NAME]
        empty = [one for one in named if one.required and one.name not in self._given and one.name not in self._texts]
        wanted = next((one for one in empty if one.takes_text), None)
        if wanted is not None:
            self._texts[wanted.name] = message.text
            return
        asked = [] if first else [*empty, *(one for one in named if self._is_wrong(one))]
        if len(asked) == 1:  # the answer to the only thing that was asked
            self._given[asked[0].name] = _read(message.text, asked[0])

    def _is_wrong(self, parameter: Parameter) -> bool:
        return parameter.name in self._given and not _takes(parameter, self._given[parameter.name])

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
                self.missing[parameter.name] = ": attach a file"
        elif parameter.source is Source.FILE:
            self.arguments[parameter.name] = self._files.pop(0)
        else:
            self.arguments[parameter.name], self._files = self._files, []

    def _named(self, parameter: Parameter) -> None:
        if parameter.name in self._texts:
            self._check(parameter, self._texts[parameter.name], (parameter.name,))
        elif parameter.name in self._given:
            self._check(parameter, self._given[parameter.name], (parameter.name,))
        elif parameter.required:
            self.missing[parameter.name] = ""

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
            for one in details:
                name = _shown((*place, *one["loc"]) if place or one["loc"] else (parameter.name,))
                if one["type"] == "missing":
                    self.missing[name] = ""
                else:
                    self.complaints.append(f'Parameter "{name}": {one["msg"].rstrip(".")}.')
                    self.faulty.append(str((*place, *one["loc"], parameter.name)[0]))


def _shown(steps: Sequence[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def _is_object(part: Data) -> bool:
    return isinstance(part.data, dict)


def _takes(parameter: Parameter, value: Json) -> bool:
    try:
        if parameter.adapter is not None:
            parameter.adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def _read(text: str, parameter: Parameter) -> Json:
    """What a person wrote for a value: the JSON that it is, where the parameter takes that, else the text itself."""
    try:
        value: Json = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if _takes(parameter, value) else text
