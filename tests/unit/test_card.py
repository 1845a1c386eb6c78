from __future__ import annotations

import json
from pathlib import Path

import pytest

from a2a_server.errors import ConfigurationError
from a2a_server.examples import demo
from a2a_server.model.card import AgentSkill, read_card
from a2a_server.model.objects import OPTIONS_URI

ROOT = Path(__file__).parents[2]


def refusal(data: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_card(data)
    return str(caught.value)


def test_the_smallest_card() -> None:
    card = read_card({"name": "Echo"})
    assert (card.name, card.version, card.skills, card.supported_interfaces) == ("Echo", "0.1.0", [], [])


def test_members_of_older_generations_are_dropped() -> None:
    card = read_card(
        {
            "name": "Old",
            "url": "http://localhost:10000/",
            "protocolVersion": "0.3.0",
            "preferredTransport": "JSONRPC",
            "additionalInterfaces": [{"url": "http://localhost:10000/", "transport": "JSONRPC"}],
            "authentication": {"schemes": ["none"]},
            "security": [{"bearer": []}],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "supportsAuthenticatedExtendedCard": False,
            "capabilities": {"streaming": True, "stateTransitionHistory": True},
            "skills": [{"id": "a", "name": "A", "description": "a", "security": [{"bearer": []}]}],
        }
    )
    assert card.capabilities.streaming is True
    assert card.skills == [AgentSkill(id="a", name="A", description="a")]
    assert card.security_schemes == {"bearer": {"type": "http", "scheme": "bearer"}}


def test_null_counts_as_absent() -> None:
    card = read_card({"name": "N", "skills": None, "provider": None, "capabilities": {"streaming": None}})
    assert card.skills == []
    assert card.capabilities.streaming is True


def test_an_unknown_member_is_named_with_the_nearest_known_one() -> None:
    assert refusal({"name": "N", "skils": []}) == 'agent card: unknown member "skils"; did you mean "skills"?'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"name": "N", "skills": [{"id": "a", "name": "A", "description": "", "tag": []}]}, '"skills[0].tag"; did you'),
        ({"name": "N", "capabilities": {"streams": True}}, '"capabilities.streams"; did you mean "streaming"?'),
        (
            {"name": "N", "capabilities": {"extensions": [{"uri": "u", "zz": 1}]}},
            '"capabilities.extensions[0].zz"; known',
        ),
        ({"name": "N", "supported_interfaces": [{"url": "u", "urls": 1}]}, 'did you mean "url"?'),
        ({"name": "N", "provider": {"organization": "o", "uri": "u"}}, '"provider.uri"; did you mean "url"?'),
    ],
    ids=["skill", "capabilities", "extension", "interface in snake case", "provider"],
)
def test_unknown_members_at_every_depth(data: object, said: str) -> None:
    assert said in refusal(data)


def test_a_broken_rule_names_its_field() -> None:
    assert refusal({}) == "agent card: name: is missing"
    assert "skills[0].description: is missing" in refusal({"name": "N", "skills": [{"id": "a", "name": "A"}]})
    assert refusal({"name": "N", "skills": ["a"]}).startswith("agent card: skills[0]: ")


@pytest.mark.parametrize(
    ("data", "member"),
    [
        ({"capabilities": {"pushNotifications": True}}, "capabilities.pushNotifications"),
        ({"capabilities": {"extendedAgentCard": True}}, "capabilities.extendedAgentCard"),
        ({"supportsAuthenticatedExtendedCard": True}, "supportsAuthenticatedExtendedCard"),
        ({"capabilities": {"extensions": [{"uri": "u:1"}, {"uri": "u:2", "required": True}]}}, "extensions[1]"),
    ],
    ids=["push", "extended card", "extended card of 0.3", "extension"],
)
def test_what_this_server_does_not_have_cannot_be_declared(data: dict[str, object], member: str) -> None:
    text = refusal({"name": "N", **data})
    assert member in text
    assert "this server does not have it yet" in text


def test_extensions_that_nobody_has_to_know_can_be_declared() -> None:
    known = [{"uri": OPTIONS_URI, "required": True}, {"uri": "u:1", "required": False}, {"uri": "u:2"}]
    capabilities = {"extensions": known, "pushNotifications": False, "extendedAgentCard": False}
    assert read_card({"name": "N", "capabilities": capabilities}).capabilities.extensions is not None


@pytest.mark.parametrize(
    ("data", "kind"),
    [([], "an array"), ("x", "a string"), (True, "a boolean"), (None, "null"), (1.5, "a number")],
    ids=["array", "string", "boolean", "null", "number"],
)
def test_a_card_is_an_object(data: object, kind: str) -> None:
    assert refusal(data) == f"agent card: must be a JSON object, not {kind}"


def test_the_template_is_the_card_of_the_demo_agent() -> None:
    card = read_card(json.loads((ROOT / "agent_card.json").read_bytes()))
    own = demo.agent.card
    assert (card.name, card.description, card.version) == (own.name, own.description, own.version)
    assert [skill.id for skill in card.skills] == [skill.id for skill in own.skills]
    assert [skill.tags for skill in card.skills] == [skill.tags for skill in own.skills]
    assert [skill.description for skill in card.skills] == [skill.description for skill in own.skills]
