"""Templates of tasks, from the configuration and of an owner's own, as a send over the wire meets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from a2a_server import Agent
from a2a_server.codec import decode_spec
from a2a_server.errors import ConfigurationError, InvalidParams
from a2a_server.model.objects import OPTIONS_URI, Scope
from a2a_server.service.templates import Templates
from a2a_server.settings import load
from a2a_server.testing import Connection, Protocol, RpcError, connect
from a2a_server.wiring import System

ME = Scope()
CONFIGURED: dict[str, Any] = {
    "nightly": {
        "text": "the night",
        "options": {"skill": "report", "title": "Nightly", "priority": "low", "parameters": {"pages": 3}},
    },
    "empty": {},
}


def agent() -> Agent:
    agent = Agent("Reporter")

    @agent.skill(default=True)
    async def say(text: str) -> str:
        return text

    @agent.skill
    async def report(text: str, pages: int, colour: str = "black") -> str:
        return f"{pages} {colour} pages about {text}"

    return agent


def said(task: dict[str, Any]) -> str:
    return "".join(part["text"] for artifact in task["artifacts"] for part in artifact["parts"])


async def row_of(server: Connection, task: dict[str, Any]) -> Any:  # noqa: ANN401 - a row
    return await server._system.engine.backends.store.find(ME, "", task["id"])


@pytest.mark.parametrize("generation", ["1.0", "0.3", "0.1"])
async def test_a_send_names_a_template_and_what_it_gives_wins(generation: Protocol) -> None:
    async with connect(agent(), templates=CONFIGURED) as server:
        task = await server.send("", options={"template": "nightly", "returnImmediately": False}, generation=generation)
        assert said(task) == "3 black pages about the night"
        row = await row_of(server, task)
        assert (row.lane.name, decode_spec(row.spec).title) == ("LOW", "Nightly")
        options = {"template": "nightly", "returnImmediately": False, "priority": "high"}
        options |= {"parameters": {"colour": "red"}}
        task = await server.send("a day", options=options, generation=generation)
        assert said(task) == "3 red pages about a day"
        assert (await row_of(server, task)).lane.name == "HIGH"


async def test_an_unknown_template_is_refused_and_the_error_names_those_there_are() -> None:
    async with connect(agent(), templates=CONFIGURED) as server:
        with pytest.raises(RpcError, match=r"names no template; there are: empty, nightly\.") as refused:
            await server.send("x", options={"template": "daily"})
        assert refused.value.code == -32602
        assert OPTIONS_URI in refused.value.message
        templates = Templates(server._system.engine)
        for number in range(30):
            await templates.put(ME, f"own-{number:02}", {})
        with pytest.raises(RpcError, match=r"own-17, …\."):
            await server.send("x", options={"template": "daily"})
        assert await server._system.engine.backends.store.oldest(b"", 10) == []  # type: ignore[arg-type]  # no key
    async with connect(agent()) as server:
        with pytest.raises(RpcError, match="there is none"):
            await server.send("x", options={"template": "daily"})


async def test_an_owner_s_own_template_wins_and_can_be_changed_and_deleted() -> None:
    async with connect(agent(), templates=CONFIGURED) as server:
        templates = Templates(server._system.engine)
        first = await templates.put(ME, "nightly", {"skill": "report", "parameters": {"pages": 1}}, text="mine")
        assert said(await server.send("", options={"template": "nightly"})) == "1 black pages about mine"
        with pytest.raises(InvalidParams, match="changed meanwhile"):
            await templates.put(ME, "nightly", {}, rev=first.rev + 1)
        second = await templates.put(ME, "nightly", {"skill": "say"}, text="other", rev=first.rev)
        assert second.rev == first.rev + 1
        assert (await templates.put(ME, "nightly", {"skill": "say"}, text="other")).rev == second.rev
        assert said(await server.send("", options={"template": "nightly"})) == "other"
        assert [(one.name, one.rev) for one in await templates.known(ME)] == [("empty", 0), ("nightly", second.rev)]
        assert [one.rev for one in await templates.known(Scope(owner="other"))] == [0, 0]
        assert await templates.delete(ME, "nightly")
        assert not await templates.delete(ME, "nightly")
        assert said(await server.send("", options={"template": "nightly"})) == "3 black pages about the night"


async def test_a_repeat_is_one_though_the_template_has_changed() -> None:
    async with connect(agent()) as server:
        templates = Templates(server._system.engine)
        await templates.put(ME, "t", {"title": "one"}, text="first")
        task = await server.send("", options={"template": "t"}, message_id="m")
        await templates.put(ME, "t", {"title": "two"}, text="second")
        assert (await server.send("", options={"template": "t"}, message_id="m"))["id"] == task["id"]
        assert said(await server.send("", options={"template": "t"}, message_id="n")) == "second"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a b", {}, "name must be 1 to 128 letters"),
        ("t", {"template": "other"}, "options.template cannot be another template"),
        ("t", {"uniqueKey": "k"}, "options.uniqueKey would let it make one task"),
        ("t", {"deadline": "2030-01-01T00:00:00Z"}, "options.deadline is one moment"),
        ("t", {"titel": "x"}, r"options\.titel is not an option"),
        ("t", {"maxAttempts": 0}, r"options\.maxAttempts must"),
    ],
)
async def test_a_template_that_makes_no_sense_is_refused(name: str, options: dict[str, Any], words: str) -> None:
    async with connect(agent()) as server:
        templates = Templates(server._system.engine)
        with pytest.raises(InvalidParams, match=words):
            await templates.put(ME, name, options)
        assert await templates.known(ME) == []


def test_templates_of_a_settings_file(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(
        "templates:\n  nightly:\n    description: Every night\n    text: the night\n"
        "    options: {skill: report, priority: low, parameters: {pages: 3}}\n"
    )
    store = {"store": f"sqlite:///{tmp_path}/tasks.db", "artifacts": f"file://{tmp_path}/artifacts"}
    engine = System(agent(), load(config, **store)).engine
    assert engine.templates["nightly"].options.parameters == {"pages": 3}
    config.write_text("templates:\n  nightly:\n    options: {titel: x}\n")
    with pytest.raises(ConfigurationError, match=r"templates\.nightly\.options\.titel is not an option"):
        System(agent(), load(config, **store))
    config.write_text("templates:\n  nightly:\n    options: {skill: nosuch}\n")
    with pytest.raises(
        ConfigurationError, match=r'templates\.nightly\.options\.skill: this agent has no skill "nosuch"'
    ):
        System(agent(), load(config, **store))
    for wrong, words in (
        ("templates:\n  'a b': {}\n", r"templates\.a b \(in .*\): is a name that must be 1 to 128 letters, digits"),
        (
            "templates:\n  nightly: {words: x}\n",
            r"templates\.nightly\.words \(in .*\): is not known here; leave it out",
        ),
        ("templates: [nightly]\n", "templates"),
    ):
        config.write_text(wrong)
        with pytest.raises(ConfigurationError, match=words):
            load(config, **store)
