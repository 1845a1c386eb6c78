"""How a skill's parameters are filled from a task: by name from its data, the rest from text, files and context.

Theory of operation: a function is inspected once, when it is registered (`agent.inspection`), and every parameter gets
a source and, where values are checked, a pydantic adapter of its own. `Binding.bind` then only looks things up; it is
pure, and says what is missing (`Unbound`) so that a runner can ask for it. What a client sends beyond the parameters is
ignored: clients may be newer than the agent. What most skills take, the text of one message and nothing else, is
looked for first; whatever does not fit there is read as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from a2a_server.agent.schema import example
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
    """All parameters of a skill; `schema` is the JSON Schema of those that data fills.

    takes_context: one of them gets the run's context.
    """

    parameters: tuple[Parameter, ...] = ()
    schema: JsonObject | None = None
    takes_context: bool = field(init=False, repr=False, compare=False)
    _around: tuple[Parameter, ...] = field(init=False, repr=False, compare=False)
    _said: tuple[Parameter, ...] = field(init=False, repr=False, compare=False)
    _text: Parameter | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Tell apart what stands around a call and what has to be read from what was said."""
        around = tuple(one for one in self.parameters if one.source in (Source.CONTEXT, Source.MESSAGE))
        said = tuple(one for one in self.parameters if one not in around)
        object.__setattr__(self, "takes_context", any(one.source is Source.CONTEXT for one in around))
        object.__setattr__(self, "_around", around)
        object.__setattr__(self, "_said", said)
        object.__setattr__(self, "_text", said[0] if len(said) == 1 and said[0].takes_text else None)

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
        message, said = heard[0] if heard else task.message, self._said
        arguments: dict[str, object] = {}
        for one in self._around:
            arguments[one.name] = context if one.source is Source.CONTEXT else message
        if given:
            arguments |= {one.name: given[one.name] for one in self.parameters if one.name in given}
            said = tuple(one for one in said if one.name not in given)
        if not said or (not given and len(heard) <= 1 and self._takes_text_of(message, task, arguments)):
            return arguments
        call = _Call(self, task, arguments, heard or (message,))
        for parameter in said:
            call.fill(parameter)
        if call.complaints or call.missing:
            complaints = [f'Parameter "{name}" is missing{how}.' for name, how in call.missing.items()]
            wrong = tuple(dict.fromkeys(call.faulty))
            whole = bool(wrong) and len(heard) <= 1  # then the task is rejected, and all of it has to be sent again
            told = [*complaints, *call.complaints][:_COMPLAINTS]
            text = " ".join([*told, self._way_out([*wrong, *call.missing], whole=whole)])
            raise Unbound(text[:_TEXT_LIMIT].rstrip(), tuple(call.missing), wrong)
        return arguments

    def faults(self, given: Mapping[str, Json]) -> dict[str, str]:
        """The places in arguments that are given by name whose values break a rule, each with pydantic's text of it.

        What is missing is none: a task asks for it when it runs.
        """
        found: dict[str, str] = {}
        for one in self._said:
            whole = one.source is Source.WHOLE and bool(given)
            if one.adapter is None or not (whole or (one.source is Source.NAME and one.name in given)):
                continue
            try:
                one.adapter.validate_python(dict(given) if whole else given[one.name])
            except ValidationError as error:
                for fault in error.errors(include_url=False, include_context=False, include_input=False):
                    if fault["type"] != "missing":
                        found.setdefault(_shown(fault["loc"] if whole else (one.name, *fault["loc"])), fault["msg"])
        return found

    def _takes_text_of(self, message: Message, task: TaskView, arguments: dict[str, object]) -> bool:
        """Whether the message is one text that fills the only parameter; then it does."""
        wanted, parts = self._text, message.parts
        if wanted is None or wanted.adapter is None or task.parameters or len(parts) != 1:
            return False
        if not isinstance(part := parts[0], Text):
            return False
        try:
            arguments[wanted.name] = wanted.adapter.validator.validate_python(part.text)
        except ValidationError:  # it is put into words where all parameters are read
            return False
        return True

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
    """Fills arguments from what was said. missing: parameters that are not there, with what else to say of each."""

    def __init__(
        self, binding: Binding, task: TaskView, arguments: dict[str, object], heard: Sequence[Message]
    ) -> None:
        self.missing: dict[str, str] = {}
        self.complaints: list[str] = []
        self.faulty: list[str] = []
        self._arguments = arguments
        self._binding = binding
        self._given: JsonObject = dict(task.parameters)
        self._values: list[Json] = []
        self._files: list[File] = []
        self._texts: dict[str, str] = {}
        for message in heard:
            self._hear(message, first=message is heard[0])

    def _hear(self, message: Message, *, first: bool) -> None:
        texts = False
        for part in message.parts:
            match part:
                case Text():
                    texts = True
                case File():
                    self._files.append(part)
                case Data(dict(members)):
                    self._given |= members
                case Data(value):
                    self._values.append(value)
        if not texts:
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
            self._arguments[parameter.name] = self._files.pop(0)
        else:
            self._arguments[parameter.name], self._files = self._files, []

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
            self._arguments[parameter.name] = parameter.adapter.validate_python(value)
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
