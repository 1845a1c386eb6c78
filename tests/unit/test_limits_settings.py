"""How limits are written: in the settings, and with a skill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from a2a_server import Agent
from a2a_server.engine.bounds import Bounds
from a2a_server.engine.limits import Limits
from a2a_server.errors import ConfigurationError
from a2a_server.lifecycle.requirements import Offer
from a2a_server.model.runs import SkillSpec, Together
from a2a_server.policy import SECOND, Rate, RetryPolicy, Trip
from a2a_server.settings import load
from a2a_server.wiring.system import limits_of


def spec(**options: Any) -> SkillSpec:  # noqa: ANN401 - any option of a skill
    agent = Agent("Echo")

    @agent.skill(**options)
    async def echo(text: str) -> str:
        return text

    return agent.specs[0]


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ("10/s", (10, 1.0)),
        ("600 / min", (600, 60.0)),
        ("5/h", (5, 3600.0)),
        ("1/day", (1, 86400.0)),
        ((3, 0.5), (3, 0.5)),
        (None, None),
    ],
)
def test_a_rate_in_words_or_numbers(given: object, rate: tuple[int, float] | None) -> None:
    assert spec(rate=given).rate == rate


@pytest.mark.parametrize("given", ["10", "10/fortnight", "-1/s", "0/s", "ten/s", "/s", (1, 0), (0, 1), "\u0661/s"])
def test_a_rate_that_is_none(given: object) -> None:
    with pytest.raises(ConfigurationError, match=r"skill echo\(\): option rate must be such as 10/s, "):
        spec(rate=given)


@pytest.mark.parametrize(("given", "breaker"), [(5, (5, None)), (0, (0, None)), ((2, 1.5), (2, 1.5)), (None, None)])
def test_a_breaker(given: object, breaker: object) -> None:
    assert spec(breaker=given).breaker == breaker


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"backoff_seconds": (60, 2)}, "option backoff_seconds must not have its first wait above its longest"),
        ({"backoff_seconds": (-1, 2)}, "backoff_seconds"),
        ({"backoff_seconds": (1, 31 * 86400)}, "backoff_seconds"),
        ({"backoff_seconds": 5}, "backoff_seconds"),
        ({"breaker": -1}, "breaker"),
        ({"breaker": (1, -1)}, "breaker"),
        ({"context": "one"}, "context"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigurationError, match=names):
        spec(**options)


def test_what_skills_and_settings_bound() -> None:
    limits = Limits(breaker_failures=4, breaker_seconds=2, agent_max_concurrency=7, resources={"gpu": 2})
    skills = [
        spec(id="a", rate="2/s", breaker=(3, 1.0), max_concurrency=5),
        spec(id="b", breaker=0, context="serial"),
        spec(id="c", breaker=9),
    ]
    bounds = Bounds("Echo", skills, limits)
    assert {gate: limit for gate, limit in bounds.limits.items() if limit is not None} == {
        "agent:Echo": 7,
        "skill:Echo/a": 5,
        "rate:Echo/a": Rate(2, SECOND),
        "breaker:Echo/a": Trip(3, SECOND),
        "breaker:Echo/c": Trip(9, 2 * SECOND),
        "resource:gpu": 2,
    }
    assert bounds.standing == {"context": 1}
    assert Bounds("Echo", [spec()], Limits()).standing is None
    clients = Bounds("Echo", [spec()], Limits(client_max_concurrency=3, client_skill_max_concurrency=2))
    assert clients.standing == {"client": 3, "client+skill": 2}
    assert spec(context="reject").context is Together.REJECT


def test_the_back_off_of_a_skill_wins_over_the_servers() -> None:
    limits = Limits(backoff_base_seconds=2, backoff_limit_seconds=20)
    assert limits.retries_of(spec(backoff_seconds=(0.5, 60))) == RetryPolicy(SECOND // 2, 60 * SECOND)
    assert limits.retries_of(spec()) == limits.retries_of(None) == RetryPolicy(2 * SECOND, 20 * SECOND)


def test_priorities_of_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().client_priorities == {}
    monkeypatch.setenv("A2A_SERVER_CLIENT_PRIORITIES", "local=High, nightly = medium")
    assert limits_of(load()).client_priorities == {"local": "high", "nightly": "normal"}
    monkeypatch.delenv("A2A_SERVER_CLIENT_PRIORITIES")
    config = tmp_path / "settings.yaml"
    config.write_text("client_priorities: {local: Backlog}\n")
    assert load(config).client_priorities == {"local": "backlog"}


def test_settings_of_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2A_SERVER_RESOURCES", "gpu=2, disk = 5")
    monkeypatch.setenv("A2A_SERVER_LANES", "High,critical")
    monkeypatch.setenv("A2A_SERVER_WORKER_TAGS", "eu,gpu")
    limits = limits_of(load(worker_cpu=4, queues="a,b"))
    assert (limits.resources, limits.lanes, limits.queues) == ({"gpu": 2, "disk": 5}, ("high", "critical"), ("a", "b"))
    bounds = Bounds("", [], limits)
    assert bounds.offer == Offer(("eu", "gpu"), cpu=4)
    assert bounds.about["offers"] == {"tags": ("eu", "gpu"), "cpu": 4}
    monkeypatch.delenv("A2A_SERVER_RESOURCES")
    config = tmp_path / "settings.yaml"
    config.write_text("resources: {gpu: 3}\nlanes: [low]\n")
    assert (load(config).resources, load(config, resources="x=1").resources) == ({"gpu": 3}, {"x": 1})


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"resources": "gpu"}, "gpu=2,licence=5"),
        ({"resources": "gpu=1,gpu=2"}, "each once"),
        ({"client_priorities": "local"}, "client_priorities .*must be names with lanes, each once: local=high"),
        ({"client_priorities": "local=high,local=low"}, "each once: local=high"),
        ({"client_priorities": "local=urgent"}, "client_priorities.local .*must be 'critical', 'high', 'normal'"),
        ({"client_priorities": {"local": 2}}, "client_priorities.local"),
        ({"client_priorities": ["local"]}, "client_priorities"),
        ({"resources": "gpu=0"}, "resources.gpu"),
        ({"resources": "gpu=many"}, "resources.gpu"),
        ({"resources": {"a b": 1}}, "resources"),
        ({"lanes": "urgent"}, "lanes"),
        ({"lanes": 3}, "lanes"),
        ({"worker_cpu": -1}, "worker_cpu"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        load(None, **given)
