"""Agents and their skills: what registering says and refuses, cards, and which skill runs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from a2a_server import Agent, File, SyncTask, TaskContext
from a2a_server.agent import choose
from a2a_server.errors import ConfigurationError, InvalidParams
from a2a_server.model.objects import Lane
from a2a_server.model.runs import SkillSpec


class Order(BaseModel):
    item: str


def refusal(function: object, **options: Any) -> str:  # noqa: ANN401 - any option, the wrong ones too
    with pytest.raises(ConfigurationError) as caught:
        Agent("A").skill(**options)(function)  # type: ignore[arg-type]  # the wrong ones too
    return str(caught.value)


# what a skill says about itself


def test_a_bare_skill_takes_everything_from_its_function() -> None:
    agent = Agent("Echo", "Echoes.", "2.0")

    @agent.skill
    async def say_back(text: str) -> str:
        """Say it
        back.

        More about it.
        """
        return text

    (spec,) = agent.specs
    assert (spec.id, spec.name, spec.description) == ("say_back", "say back", "Say it back.")
    assert (spec.default, spec.threaded, spec.priority) == (True, False, None)
    assert agent.skills[0].function is say_back.function
    card = agent.card
    assert (card.name, card.description, card.version) == ("Echo", "Echoes.", "2.0")
    assert [(skill.id, skill.description, skill.tags) for skill in card.skills] == [("say_back", "Say it back.", [])]


def test_options_win_over_the_function() -> None:
    agent = Agent("A")

    @agent.skill(
        id="sum-up",
        name="Sum up",
        description="Sums.",
        tags=["text"],
        examples=["this"],
        input_modes=["text/plain"],
        output_modes=("text/markdown",),
        timeout_seconds=60,
        max_attempts=2,
        max_concurrency=3,
        priority="high",
        retry_on=KeyError,
        backoff_seconds=(2, 60),
    )
    def summarise(text: str) -> str:
        return text

    (spec,) = agent.specs
    assert spec == SkillSpec(
        id="sum-up",
        name="Sum up",
        description="Sums.",
        tags=("text",),
        examples=("this",),
        input_modes=("text/plain",),
        output_modes=("text/markdown",),
        default=True,
        threaded=True,
        timeout_seconds=60,
        max_attempts=2,
        max_concurrency=3,
        priority=2,
        retry_on=(KeyError,),
        backoff_seconds=(2.0, 60.0),
        schema=spec.schema,
    )
    assert agent.card.skills[0].output_modes == ["text/markdown"]


class Caller:
    """Call me."""

    async def __call__(self, text: str) -> str:
        return text


async def coroutine(text: str) -> str:
    return text


async def async_generator(text: str) -> AsyncIterator[str]:
    yield text


def generator(text: str) -> Iterator[str]:
    yield text


def plain(text: str, suffix: str) -> str:
    return text + suffix


@pytest.mark.parametrize(
    ("function", "id_", "threaded", "streams"),
    [
        (coroutine, "coroutine", False, False),
        (async_generator, "async_generator", False, True),
        (generator, "generator", True, True),
        (plain, "plain", True, False),
        (Caller(), "Caller", False, False),
        (partial(plain, suffix="!"), "plain", True, False),
    ],
    ids=["coroutine", "async generator", "generator", "function", "object", "partial"],
)
def test_every_kind_of_callable(function: Callable[..., Any], id_: str, threaded: bool, streams: bool) -> None:
    agent = Agent("A")
    assert agent.skill(function).function is function
    (skill,) = agent.skills
    assert (skill.spec.id, skill.spec.threaded, skill.streams) == (id_, threaded, streams)


@pytest.mark.parametrize(("given", "lane"), [(Lane.CRITICAL, 1), (4, 4), ("medium", 3), ("BACKLOG", 5)])
def test_priorities(given: Lane | int | str, lane: int) -> None:
    agent = Agent("A")
    agent.skill(priority=given)(coroutine)
    assert agent.specs[0].priority == lane


def test_exactly_one_skill_is_the_default() -> None:
    agent = Agent("A")
    agent.skill(coroutine)
    agent.skill(default=True)(generator)
    agent.skill(plain)
    assert [spec.default for spec in agent.specs] == [False, True, False]


# errors at registration


async def untyped(text) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    pass


async def unknown_type(order: Missing) -> None:  # type: ignore[name-defined]  # noqa: F821
    pass


async def stars(*texts: str) -> None:
    pass


async def double_stars(**texts: str) -> None:
    pass


async def positional(text: str, /) -> None:
    pass


async def not_json(connection: Callable[[], int]) -> None:
    pass


async def odd_class(caller: Caller) -> None:
    pass


async def many_files(files: tuple[File, ...]) -> None:
    pass


async def field_default(count: int = Field(3, ge=1)) -> None:
    pass


async def field_inside(count: Annotated[int, Field(default=3)]) -> None:
    pass


async def wrong_context(task: SyncTask) -> None:
    pass


def wrong_sync_context(task: TaskContext) -> None:
    pass


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (untyped, 'skill untyped(): parameter "text" has no type; write one, for example text: str'),
        (unknown_type, "skill unknown_type(): the type 'Missing' is unknown when the skill is registered"),
        (stars, 'skill stars(): parameter "texts" is *args; name the parameters'),
        (double_stars, 'skill double_stars(): parameter "texts" is **kwargs; name the parameters'),
        (positional, 'skill positional(): parameter "text" is positional-only; take the /'),
        (not_json, "skill not_json(): a parameter's type has no JSON form"),
        (odd_class, 'skill odd_class(): parameter "caller" has a type that cannot be read from JSON; take str'),
        (many_files, 'parameter "files" cannot take files so; annotate it as File, File | None or list[File]'),
        (field_default, 'parameter "count" has Field(…) as its default; write count: Annotated['),
        (field_inside, 'parameter "count" has its default inside Field(…); write it behind the parameter'),
        (
            wrong_context,
            'parameter "task" is a SyncTask, but the skill is an async function; annotate it as TaskContext',
        ),
        (wrong_sync_context, "is a TaskContext, but the skill is a plain function; annotate it as SyncTask"),
        (5, "5 is no skill; decorate a function"),
        (Order, "is no skill; decorate a function"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_functions_that_cannot_be_skills(function: object, said: str) -> None:
    assert said in refusal(function)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout_seconds": 0}, "skill coroutine(): option timeout_seconds must be above 0"),
        ({"tags": "text"}, "option tags must be a list"),
        ({"tags": ["a", 1]}, "option tags[1] must be a valid string"),
        ({"max_attempts": 0}, "option max_attempts must be at least 1"),
        ({"retry_on": (int,)}, "option retry_on must be an exception class, or a tuple of them"),
        ({"retry_on": "x"}, "coroutine(): option retry_on must be an exception class, or a tuple of them"),
        ({"rate": "10"}, "option rate must be such as 10/s, 600/min, 1000/h or 5000/day, or (starts, seconds)"),
        ({"breaker": "x"}, "option breaker must be a number of failures, 0 to 1000, or (failures, seconds)"),
        ({"timeout": 3}, "option timeout is not known; did you mean timeout_seconds?"),
        ({"foo": 1}, "option foo is not known; known are: id, name, "),
        ({"priority": "urgent"}, "option priority must be critical, high, normal, low, backlog, or 1 to 5"),
        ({"id": "a\nb"}, "option id must be printable text"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_options_that_break_a_rule(options: dict[str, Any], said: str) -> None:
    assert said in refusal(coroutine, **options)


def test_ids_are_unique() -> None:
    agent = Agent("A")
    agent.skill(coroutine)
    with pytest.raises(ConfigurationError, match='skill "coroutine" is registered twice; give one of them another id'):
        agent.skill(coroutine)


def test_only_one_skill_is_marked_default() -> None:
    agent = Agent("A")
    agent.skill(default=True)(coroutine)
    with pytest.raises(ConfigurationError, match='skills "coroutine" and "plain" are both marked default=True'):
        agent.skill(default=True)(plain)


def test_an_agent_needs_a_name_and_a_skill() -> None:
    with pytest.raises(ConfigurationError, match="agent card: name: "):
        Agent("")
    with pytest.raises(ConfigurationError, match=r'agent "A" has no skill; decorate a function with @agent\.skill'):
        Agent("A").check()


# the card file


@pytest.fixture
def card_file(tmp_path: Path) -> Path:
    path = tmp_path / "agent_card.json"
    path.write_text(
        json.dumps(
            {
                "name": "Written",
                "description": "By hand.",
                "version": "3.0",
                "provider": {"organization": "ACME"},
                "skills": [
                    {
                        "id": "coroutine",
                        "name": "Say",
                        "description": "Says.",
                        "tags": ["t"],
                        "inputModes": ["text/plain"],
                    }
                ],
            }
        )
    )
    return path


def test_the_card_file_wins_and_functions_add(card_file: Path) -> None:
    agent = Agent.from_card(card_file)
    agent.skill(name="Other", tags=["other"], examples=["an example"])(coroutine)
    agent.skill(plain)
    assert (agent.name, agent.description, agent.version) == ("Written", "By hand.", "3.0")
    card = agent.card
    assert card.provider is not None
    assert card.provider.organization == "ACME"
    first, second = card.skills
    assert (first.name, first.description, first.tags, first.examples) == ("Say", "Says.", ["t"], ["an example"])
    assert first.input_modes == ["text/plain"]
    assert second.id == "plain"
    assert agent.specs[0].name == "Say"


def test_a_skill_of_the_card_needs_a_function(card_file: Path) -> None:
    agent = Agent.from_card(card_file)
    agent.skill(id="coroutines")(coroutine)
    expected = (
        r'skill "coroutine" has no function \(is it "coroutines"\?\); write one with @agent.skill\(id="coroutine"\)'
    )
    with pytest.raises(ConfigurationError, match=expected):
        agent.check()
    with pytest.raises(ConfigurationError, match=expected):
        _ = agent.card


def test_card_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    with pytest.raises(ConfigurationError, match=r"card\.json: cannot be read: No such file"):
        Agent.from_card(path)
    path.write_text("{")
    with pytest.raises(ConfigurationError, match=r"card\.json: is not JSON: .*line 1"):
        Agent.from_card(path)
    path.write_text('{"nane": "x"}')
    with pytest.raises(
        ConfigurationError, match=r'card\.json: agent card: .*unknown member "nane"; did you mean "name"'
    ):
        Agent.from_card(path)


# choosing


def skills(*ids: str, default: str = "") -> list[SkillSpec]:
    return [SkillSpec(id_, id_, default=id_ == default) for id_ in ids]


def test_which_skill_runs() -> None:
    assert choose(skills("only")).id == "only"
    assert choose(skills("a", "b", default="b")).id == "b"
    assert choose(skills("a", "b")).id == "a"
    assert choose(skills("a", "b", default="b"), "a").id == "a"


def test_an_unknown_skill_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidParams) as caught:
        choose(skills("a", "b"), "c")
    assert caught.value.message == 'this agent has no skill "c"; its skills are: a, b'
    assert caught.value.path == 'metadata["urn:a2a-task-server:task-options:v1"].skill'
