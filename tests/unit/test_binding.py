"""How parameters are filled, what a client that gets them wrong reads, and the schema that it could have read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel

from a2a_server import Agent, File, Message, TaskContext
from a2a_server.agent import Unbound
from a2a_server.model.objects import Data, Json, JsonObject
from a2a_server.model.runs import TaskView
from tests.unit.attempts import task_of

CONTEXT = object()
A, B = File("a.txt", raw=b"a"), File("b.txt", raw=b"b")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: int = 0


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")
    item: str
    count: Annotated[int, Field(ge=1)] = 1


class Numbers(RootModel[list[int]]):
    pass


def bind(function: Callable[..., Any], task: TaskView) -> dict[str, object]:
    agent = Agent("A")
    agent.skill(function)
    return agent.skills[0].binding.bind(task, CONTEXT)


def rejection(function: Callable[..., Any], task: TaskView) -> str:
    with pytest.raises(Unbound) as caught:
        bind(function, task)
    return caught.value.text


def schema(function: Callable[..., Any]) -> JsonObject:
    agent = Agent("A")
    agent.skill(function)
    return agent.specs[0].schema


async def echo(text: str) -> str:
    return text


# binding


def test_the_message_wins_over_the_options_and_the_later_part_over_the_earlier() -> None:
    async def skill(a: int, b: int, c: int) -> None: ...

    task = task_of(data={"a": 1, "b": 1}, parameters={"a": 0, "b": 0, "c": 0})
    message = Message(task.message.role, (*task.message.parts, Data({"b": 2})))
    late = TaskView("t", "c", "", "local", "", message, (message,), task.parameters)
    assert bind(skill, late) == {"a": 1, "b": 2, "c": 0}


def test_a_text_that_breaks_the_rule_of_the_only_parameter_is_worded_as_any_other() -> None:
    async def skill(task: TaskContext, word: Annotated[str, Field(max_length=3)]) -> None: ...

    assert bind(skill, task_of("abc")) == {"task": CONTEXT, "word": "abc"}
    assert 'Parameter "word": String should have at most 3 characters.' in rejection(skill, task_of("abcd"))
    assert bind(skill, task_of("abcd", parameters={"word": "xyz"})) == {"task": CONTEXT, "word": "xyz"}
    assert bind(skill, task_of("abcd", data={"word": "xyz"})) == {"task": CONTEXT, "word": "xyz"}
    assert bind(skill, task_of("abc", files=(A,))) == {"task": CONTEXT, "word": "abc"}


def test_a_skill_that_takes_its_run_alone_needs_nothing_of_the_message() -> None:
    async def skill(task: TaskContext) -> None: ...

    agent = Agent("A")
    agent.skill(skill)
    agent.skill(echo)
    assert [one.binding.takes_context for one in agent.skills] == [True, False]
    assert bind(skill, task_of("abc", data={"word": 1}, files=(A,))) == {"task": CONTEXT}


def test_text_fills_the_one_required_str_that_is_empty() -> None:
    async def skill(language: str, question: str, tone: str = "kind") -> None: ...

    assert bind(skill, task_of("why?", data={"language": "en"})) == {"language": "en", "question": "why?"}
    assert bind(skill, task_of("en", data={"question": "q"})) == {"language": "en", "question": "q"}
    assert bind(skill, task_of("unused", data={"language": "en", "question": "q"})) == {
        "language": "en",
        "question": "q",
    }


def test_empty_text_is_text() -> None:
    assert bind(echo, task_of("")) == {"text": ""}


def test_text_is_ignored_where_nothing_takes_it() -> None:
    async def skill(count: int = 1, tone: str = "kind") -> None: ...

    assert bind(skill, task_of("hello", data={"other": 1})) == {}


def test_files() -> None:
    async def skill(first: File, rest: list[File], more: File | None = None) -> None: ...

    assert bind(skill, task_of(files=(A, B, B))) == {"first": A, "rest": [B, B]}
    assert rejection(skill, task_of(files=(A,))) == 'Parameter "rest" is missing: attach a file.'
    assert 'Parameter "first" is missing: attach a file.' in rejection(skill, task_of("x"))


def test_context_and_message() -> None:
    async def skill(task: TaskContext, message: Message) -> None: ...

    task = task_of("x")
    assert bind(skill, task) == {"task": CONTEXT, "message": task.message}


@pytest.mark.parametrize(
    ("annotation", "given", "bound"),
    [
        (int, "5", 5),
        (float | None, None, None),
        (Literal["a", "b"], "b", "b"),
        (Colour, "red", Colour.RED),
        (Point, {"x": 1}, Point(1)),
        (list[int], [1, "2"], [1, 2]),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (Annotated[int, Field(ge=3)], 3, 3),
    ],
    ids=["int", "optional", "literal", "enum", "dataclass", "list", "dict", "annotated"],
)
def test_values_are_read_by_their_type(annotation: object, given: Json, bound: object) -> None:
    async def skill(value: object) -> None: ...

    skill.__annotations__["value"] = annotation
    assert bind(skill, task_of(data={"value": given})) == {"value": bound}


def test_a_model_takes_the_whole_data_part() -> None:
    async def skill(order: Order) -> None: ...

    assert bind(skill, task_of(data={"item": "tea", "count": 2})) == {"order": Order(item="tea", count=2)}
    assert rejection(skill, task_of(data={"item": "tea", "count": 0})) == (
        'Parameter "count": Input should be greater than or equal to 1. '
        'Send a data part, for example {"item":"…","count":1}'
    )
    assert rejection(skill, task_of("tea")).startswith('Parameter "item" is missing. Send a data part, for example')


def test_a_model_with_a_default_and_one_of_a_list() -> None:
    async def optional(order: Order | None = None) -> None: ...
    async def numbers(values: Numbers) -> None: ...

    assert bind(optional, task_of("x")) == {}
    assert bind(numbers, task_of(data=[1, 2])) == {"values": Numbers([1, 2])}


def test_text_beside_a_model_stays_out_of_it() -> None:
    async def skill(order: Order, note: str) -> None: ...

    assert bind(skill, task_of("soon", data={"item": "tea"})) == {"order": Order(item="tea"), "note": "soon"}


def test_rejections_name_parameter_rule_and_example() -> None:
    async def skill(count: int, mode: Literal["fast", "safe"], points: list[Point]) -> None: ...

    assert rejection(skill, task_of("go", data={"count": "x", "points": [{"x": 1}, {}]})) == (
        'Parameter "mode" is missing. Parameter "points[1].x" is missing. '
        'Parameter "count": Input should be a valid integer, unable to parse string as an integer. '
        'Send a data part, for example {"count":1,"mode":"fast","points":[{"x":1}]}'
    )
    assert rejection(echo, task_of()) == (
        'Parameter "text" is missing. Send text, or a data part, for example {"text":"…"}'
    )


def test_the_example_shows_what_was_wrong_even_where_it_is_optional() -> None:
    async def skill(steps: Annotated[int, Field(ge=1)] = 10, order: Order | None = None) -> None: ...

    expected = 'Send a data part, for example {"steps":10}'
    assert rejection(skill, task_of(data={"steps": "x", "item": "tea"})).endswith(expected)


def test_a_rejection_is_never_long() -> None:
    async def skill(values: dict[str, int]) -> None: ...

    data: Json = {"values": {f"{index:0500}": "x" for index in range(100)}}
    assert len(rejection(skill, task_of(data=data))) <= 2000


# schema


def test_the_schema_of_named_parameters() -> None:
    async def skill(
        task: TaskContext,
        text: str,
        source: File | None = None,
        count: Annotated[int, Field(ge=1, description="how many")] = 3,
        point: Point | None = None,
    ) -> None: ...

    got = schema(skill)
    assert got["required"] == ["text"]
    properties = got["properties"]
    assert isinstance(properties, dict)
    assert set(properties) == {"text", "count", "point"}
    assert properties["count"] == {"type": "integer", "minimum": 1, "description": "how many", "default": 3}
    assert isinstance(got["$defs"], dict)
    assert set(got["$defs"]) == {"Point"}


def test_the_schema_of_a_model_is_that_of_its_members() -> None:
    async def alone(order: Order) -> None: ...
    async def beside(order: Order, note: str = "") -> None: ...
    async def values(numbers: Numbers) -> None: ...
    async def nothing(task: TaskContext) -> None: ...

    got = schema(alone)
    assert got["required"] == ["item"]
    assert set(got["properties"]) == {"item", "count"}  # type: ignore[arg-type]  # a JSON object
    assert set(schema(beside)["properties"]) == {"item", "count", "note"}  # type: ignore[arg-type]  # a JSON object
    assert schema(values)["type"] == "array"
    assert schema(nothing) == {"type": "object", "properties": {}}
