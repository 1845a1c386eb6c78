"""The card: 1.0 form, what older clients read, and card files. protocol.md section 9."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from a2a.client.card_resolver import parse_agent_card
from a2a.compat.v0_3 import types as types_03

from a2a_server.model.card import AgentCapabilities, AgentCard, AgentInterface, AgentProvider, AgentSkill
from a2a_server.model.objects import OPTIONS_URI
from a2a_server.wire import cards

URL = "http://127.0.0.1:8000/"
SCHEMES: dict[str, Any] = {
    "bearer": {"httpAuthSecurityScheme": {"scheme": "Bearer", "bearerFormat": "JWT"}},
    "key": {"apiKeySecurityScheme": {"location": "header", "name": "X-Key"}},
    "open": {"openIdConnectSecurityScheme": {"openIdConnectUrl": "https://id/x"}},
    "tls": {"mtlsSecurityScheme": {}},
}
NEEDS: list[dict[str, Any]] = [{"schemes": {"bearer": {"list": ["read"]}}}]
SKILL = AgentSkill(id="echo", name="Echo", description="Say it back.", tags=["text"], security_requirements=NEEDS)


def full_card() -> AgentCard:
    card = AgentCard(
        name="Echo",
        description="Says it back.",
        version="1.2.3",
        provider=AgentProvider(organization="Us", url="https://us"),
        documentation_url="https://us/docs",
        icon_url="https://us/icon.png",
        capabilities=AgentCapabilities(extended_agent_card=True),
        security_schemes=copy.deepcopy(SCHEMES),
        security_requirements=NEEDS,
        skills=[SKILL],
    )
    return cards.with_interfaces(card, URL)


def test_the_server_says_where_it_listens_and_declares_the_task_options() -> None:
    shown = cards.render(cards.with_interfaces(AgentCard(name="Echo"), URL), pure=True)
    assert shown["supportedInterfaces"] == [
        {"url": URL, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
        {"url": URL, "protocolBinding": "JSONRPC", "protocolVersion": "0.3"},
        {"url": URL, "protocolBinding": "JSONRPC", "protocolVersion": "0.1"},
    ]
    assert isinstance(shown["capabilities"], dict)
    extensions = shown["capabilities"]["extensions"]
    assert isinstance(extensions, list)
    extension = extensions[0]
    assert isinstance(extension, dict)
    assert extension["uri"] == OPTIONS_URI
    assert extension["required"] is False
    assert extension["params"] == {"schema": "http://127.0.0.1:8000/.well-known/task-options.json"}


def test_interfaces_that_the_card_names_are_kept_and_nothing_is_added_twice() -> None:
    own = AgentInterface(url="https://public/", protocol_version="1.0")
    card = AgentCard(name="Echo", supported_interfaces=[own])
    once = cards.with_interfaces(card, URL)
    assert once.supported_interfaces == [own]
    assert cards.with_interfaces(once, URL) == once
    assert card.capabilities.extensions is None
    assert "url" not in cards.render(once, pure=False)


def test_the_pure_card_has_members_of_1_0_alone_and_none_that_is_not_set() -> None:
    """Rule: "a validator with the closed 1.0 schema refuses the extra members"."""
    assert set(cards.render(cards.with_interfaces(AgentCard(name="Echo"), URL), pure=True)) == {
        "name",
        "description",
        "version",
        "supportedInterfaces",
        "capabilities",
        "defaultInputModes",
        "defaultOutputModes",
        "skills",
    }
    assert AgentCard.model_validate(cards.render(full_card(), pure=True)) == full_card()


def test_older_clients_find_their_members() -> None:
    """Rule: "the first gives `url`, `preferredTransport`, `protocolVersion`, the others `additionalInterfaces`"."""
    shown = cards.render(full_card(), pure=False)
    assert shown["url"] == URL
    assert shown["preferredTransport"] == "JSONRPC"
    assert shown["protocolVersion"] == "0.3.0"
    assert shown["additionalInterfaces"] == [{"url": URL, "transport": "JSONRPC"}]
    assert shown["supportsAuthenticatedExtendedCard"] is True
    assert shown["security"] == [{"bearer": ["read"]}]
    assert shown["authentication"] == {"schemes": ["Bearer", "apiKey", "openIdConnect", "mutualTLS"]}
    capabilities = shown["capabilities"]
    assert isinstance(capabilities, dict)
    assert capabilities["stateTransitionHistory"] is False
    assert shown["securitySchemes"] == {
        "bearer": {**SCHEMES["bearer"], "type": "http", "scheme": "Bearer", "bearerFormat": "JWT"},
        "key": {**SCHEMES["key"], "type": "apiKey", "in": "header", "name": "X-Key"},
        "open": {**SCHEMES["open"], "type": "openIdConnect", "openIdConnectUrl": "https://id/x"},
        "tls": {**SCHEMES["tls"], "type": "mutualTLS"},
    }


@pytest.mark.parametrize(
    ("declared", "shown"), [("", "0.3.0"), ("0.3", "0.3.0"), ("0.2.5", "0.2.5"), ("0.3-rc", "0.3-rc")]
)
def test_what_older_clients_read_comes_from_the_interfaces_that_the_card_names(declared: str, shown: str) -> None:
    ways = [
        AgentInterface(url="https://new/", protocol_version="1.0"),
        AgentInterface(url="https://old/v1", protocol_binding="HTTP+JSON", protocol_version="0.3"),
        AgentInterface(url="https://old/", protocol_version=declared),
    ]
    card = cards.render(AgentCard(name="Echo", supported_interfaces=ways), pure=False)
    assert (card["url"], card["preferredTransport"], card["protocolVersion"]) == ("https://old/", "JSONRPC", shown)
    assert card["additionalInterfaces"] == [
        {"url": "https://old/v1", "transport": "HTTP+JSON"},
        {"url": "https://old/", "transport": "JSONRPC"},
    ]


def test_the_card_itself_is_untouched_by_rendering() -> None:
    card = full_card()
    cards.render(card, pure=False)
    assert card == full_card()


@pytest.mark.parametrize("pure", [True, False])
def test_the_sdk_reads_both_forms_alike(pure: bool) -> None:
    read = parse_agent_card(cards.render(full_card(), pure=pure))
    assert read.name == "Echo"
    assert [(one.url, one.protocol_binding, one.protocol_version) for one in read.supported_interfaces] == [
        (URL, "JSONRPC", "1.0"),
        (URL, "JSONRPC", "0.3"),
        (URL, "JSONRPC", "0.1"),
    ]
    assert read.capabilities.streaming
    assert read.capabilities.extended_agent_card
    assert read.capabilities.extensions[0].uri == OPTIONS_URI
    assert read.security_requirements[0].schemes["bearer"].list == ["read"]
    assert read.skills[0].id == "echo"
    assert read.security_schemes["bearer"].WhichOneof("scheme") == "http_auth_security_scheme"


def test_the_0_3_types_of_the_sdk_read_the_merged_card() -> None:
    read = types_03.AgentCard.model_validate(cards.render(full_card(), pure=False))
    assert read.url == URL
    assert (read.preferred_transport, read.protocol_version) == ("JSONRPC", "0.3.0")
    assert read.security == [{"bearer": ["read"]}]
