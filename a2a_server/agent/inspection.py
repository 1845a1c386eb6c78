"""A function's signature and type hints, read once at registration and turned into a `Binding`.

Every error here is a ConfigurationError that names the function, the parameter and the way out: it is seen by whoever
writes the agent, before anything is served.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, PydanticUserError, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.fields import FieldInfo

from a2a_server.agent.binding import Binding, Parameter, Source
from a2a_server.agent.schema import Entry, schema_of
from a2a_server.errors import ConfigurationError
from a2a_server.model.objects import File, Message

_UNBINDABLE = {
    inspect.Parameter.VAR_POSITIONAL: "is *args; name the parameters, they are filled by name",
    inspect.Parameter.VAR_KEYWORD: "is **kwargs; name the parameters, or take the whole data part as a pydantic model",
    inspect.Parameter.POSITIONAL_ONLY: "is positional-only; take the / out of the signature, names fill it",
}


class ContextParameter:
    """Marks the classes whose instances a skill gets by annotating a parameter: what a run can say and ask.

    threaded: made for skills that run in a thread.
    """

    threaded: ClassVar[bool] = False


def name_of(function: Callable[..., Any]) -> str:
    """The function's own name; that of its class for a callable object."""
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__name__", type(function).__name__)
    return str(name)


def description_of(function: Callable[..., Any]) -> str:
    """The first paragraph of the function's docstring on one line; '' where there is none."""
    while isinstance(function, partial):
        function = function.func
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())


def streams(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a generator."""
    code = _code(function)
    return inspect.isasyncgenfunction(code) or inspect.isgeneratorfunction(code)


def threaded(function: Callable[..., Any]) -> bool:
    """Whether it blocks whoever calls it: everything that is not async."""
    code = _code(function)
    return not (inspect.isasyncgenfunction(code) or inspect.iscoroutinefunction(code))


def gives_message(function: Callable[..., Any]) -> bool:
    """Whether its return type has a `Message` in it."""
    try:
        returned = get_type_hints(_code(function)).get("return")
    except (NameError, TypeError, SyntaxError):  # a type that only type checkers can see says nothing here
        return False
    return _holds(returned, Message)


def _holds(annotation: object, wanted: type) -> bool:
    return annotation is wanted or any(_holds(inner, wanted) for inner in get_args(annotation))


def inspected(function: Any) -> Binding:  # noqa: ANN401 - whatever a decorator was put on
    """How the function's parameters are filled.

    Raises:
        ConfigurationError: a parameter that cannot be filled from a message.
    """
    if not callable(function) or inspect.isclass(function):
        raise ConfigurationError(f"{function!r} is no skill; decorate a function with @agent.skill")
    label = f"skill {name_of(function)}()"
    hints = _hints(function, label)
    reader = _Reader(label, threaded=threaded(function))
    parameters = tuple(reader.read(one, hints) for one in _signature(function, label).parameters.values())
    try:
        return Binding(parameters, schema_of(reader.entries))
    except PydanticInvalidForJsonSchema as error:
        rule = str(error).partition("\n")[0]
        raise ConfigurationError(f"{label}: a parameter's type has no JSON form ({rule}); take one that has") from error


class _Reader:
    def __init__(self, label: str, *, threaded: bool) -> None:
        self.entries: list[Entry] = []
        self._label = label
        self._threaded = threaded

    def read(self, parameter: inspect.Parameter, hints: dict[str, Any]) -> Parameter:
        label = f'{self._label}: parameter "{parameter.name}"'
        if parameter.kind in _UNBINDABLE:
            raise ConfigurationError(f"{label} {_UNBINDABLE[parameter.kind]}")
        if parameter.name not in hints:
            raise ConfigurationError(f"{label} has no type; write one, for example {parameter.name}: str")
        if isinstance(parameter.default, FieldInfo):
            raise ConfigurationError(
                f"{label} has Field(…) as its default; write {parameter.name}: Annotated[<type>, Field(…)] = <default>"
            )
        required = parameter.default is inspect.Parameter.empty
        annotation = hints[parameter.name]
        bare = _bare(annotation)
        if isinstance(bare, type) and issubclass(bare, ContextParameter):
            return self._context(parameter.name, bare, label)
        if bare is Message:
            return Parameter(parameter.name, Source.MESSAGE, required=True)
        if bare is File:
            return Parameter(parameter.name, Source.FILE, required)
        if File in map(_bare, get_args(bare)):
            if get_origin(bare) is not list:
                raise ConfigurationError(
                    f"{label} cannot take files so; annotate it as File, File | None or list[File]"
                )
            return Parameter(parameter.name, Source.FILES, required)
        return self._data(parameter, annotation, bare, label)

    def _context(self, name: str, bare: type[ContextParameter], label: str) -> Parameter:
        if bare.threaded is not self._threaded:
            right, kind = ("SyncTask", "a plain function") if self._threaded else ("TaskContext", "an async function")
            raise ConfigurationError(f"{label} is a {bare.__name__}, but the skill is {kind}; annotate it as {right}")
        return Parameter(name, Source.CONTEXT, required=True)

    def _data(self, parameter: inspect.Parameter, annotation: Any, bare: object, label: str) -> Parameter:  # noqa: ANN401 - a type form
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        except (PydanticUserError, NameError, TypeError, RecursionError) as error:
            raise ConfigurationError(
                f"{label} has a type that cannot be read from JSON; take str, int, float, bool, list, dict, Literal, "
                "an Enum, a dataclass or a pydantic model"
            ) from error
        default = parameter.default
        if default is inspect.Parameter.empty and adapter.get_default_value() is not None:
            raise ConfigurationError(f"{label} has its default inside Field(…); write it behind the parameter, with =")
        required = default is inspect.Parameter.empty
        whole = isinstance(bare, type) and issubclass(bare, BaseModel)
        self.entries.append(Entry(parameter.name, adapter, whole, required, default))
        takes_text = bare is str and required
        return Parameter(parameter.name, Source.WHOLE if whole else Source.NAME, required, takes_text, adapter)


def _bare(annotation: object) -> object:
    while True:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            annotation = arguments[0]
        elif origin in (Union, types.UnionType) and len(arguments) == 2 and type(None) in arguments:  # noqa: PLR2004 - X | None
            annotation = arguments[0] if arguments[1] is type(None) else arguments[1]
        else:
            return annotation


def _code(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, partial):
        function = function.func
    return function if inspect.isroutine(function) else function.__call__  # type: ignore[operator]


def _hints(function: Callable[..., Any], label: str) -> dict[str, Any]:
    try:
        return get_type_hints(_code(function), include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"{label}: the type {error.name!r} is unknown when the skill is registered; define or import it above the "
            "function, at the top of the module and not under `if TYPE_CHECKING`"
        ) from error
    except (TypeError, SyntaxError) as error:
        raise ConfigurationError(f"{label}: its type hints cannot be read; write types, not values") from error


def _signature(function: Callable[..., Any], label: str) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{label} has no signature to read; wrap it in a function of your own") from error
