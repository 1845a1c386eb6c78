"""The agent card on the wire: the 1.0 form, and what older clients read beside it.

One document serves everybody: 1.0 parsers ignore members they do not know, older ones ignore `supportedInterfaces`.
Only a closed 1.0 schema refuses the merged card; who asks with `A2A-Version: 1.0` gets the pure one. A signature is
made over the pure card.

Source: A2A 1.0.1 sections 4.4 and 8; A2A 0.3.0 section 5.5; A2A v0.1.0 a2a.json, AgentCard.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any, cast

from a2a_server.model.card import (
    AgentCard,
    AgentExtension,
    AgentInterface,
)
from a2a_server.model.objects import OPTIONS_URI, Json, JsonObject
from a2a_server.wire.versions import VERSIONS

OPTIONS_SCHEMA_PATH = "/.well-known/task-options.json"
"""Where the JSON Schema of the task options is served, under the server's address."""

_JSONRPC = "JSONRPC"
_MAJOR_MINOR = re.compile(r"[0-9]+\.[0-9]+")
_LEGACY_TYPES = MappingProxyType(
    {
        "apiKeySecurityScheme": "apiKey",
        "httpAuthSecurityScheme": "http",
        "oauth2SecurityScheme": "oauth2",
        "openIdConnectSecurityScheme": "openIdConnect",
        "mtlsSecurityScheme": "mutualTLS",
    }
)


def render(card: AgentCard, *, pure: bool) -> JsonObject:
    """The card as JSON, without members that are not set.

    Args:
        card: with its interfaces filled in (`with_interfaces`).
        pure: the 1.0 form alone. Otherwise v0.1 and 0.3 clients can read it too, if an interface over JSON-RPC of a
            version below 1.0 is declared; without one there is nothing to tell them.
    """
    shown = cast("JsonObject", card.model_dump(mode="json", by_alias=True, exclude_none=True))
    if not pure:
        _add_legacy(card, shown)
    return shown


def with_interfaces(card: AgentCard, url: str) -> AgentCard:
    """The card with what the server itself adds: where it listens, unless the card says so, and the task options.

    Every version is declared, the best first: clients of 1.0 that can only speak 0.3 find that entry, and what the 0.3
    view says comes from it. v0.1 clients themselves read only `url`.

    Args:
        card: as the agent or its file says it.
        url: the server's public address, http or https.
    """
    declared = card.capabilities.extensions or []
    if all(extension.uri != OPTIONS_URI for extension in declared):
        options = AgentExtension(
            uri=OPTIONS_URI,
            description="Task options in the metadata of a send: skill, priority, delays, time limits, attempts.",
            required=False,
            params={"schema": url.rstrip("/") + OPTIONS_SCHEMA_PATH},
        )
        declared = [*declared, options]
    interfaces = card.supported_interfaces or [
        AgentInterface(url=url, protocol_binding=_JSONRPC, protocol_version=version) for version in VERSIONS
    ]
    capabilities = card.capabilities.model_copy(update={"extensions": declared})
    return card.model_copy(update={"supported_interfaces": interfaces, "capabilities": capabilities})


def _add_legacy(card: AgentCard, shown: JsonObject) -> None:
    older = [interface for interface in card.supported_interfaces if _is_older(interface.protocol_version)]
    main = next((interface for interface in older if interface.protocol_binding == _JSONRPC), None)
    if main is None:
        return
    shown["url"] = main.url
    shown["preferredTransport"] = main.protocol_binding
    shown["protocolVersion"] = _release(main.protocol_version or "0.3")
    ways = dict.fromkeys((interface.url, interface.protocol_binding) for interface in older)
    shown["additionalInterfaces"] = [{"url": url, "transport": binding} for url, binding in ways]
    cast("JsonObject", shown["capabilities"])["stateTransitionHistory"] = False
    if card.capabilities.extended_agent_card:
        shown["supportsAuthenticatedExtendedCard"] = True
    if card.security_requirements is not None:
        shown["security"] = _legacy_security(card.security_requirements)
    for skill, told in zip(card.skills, cast("list[JsonObject]", shown["skills"]), strict=True):
        if skill.security_requirements is not None:
            told["security"] = _legacy_security(skill.security_requirements)
    _add_legacy_schemes(shown)


def _is_older(version: str) -> bool:
    return not version or version.partition(".")[0] == "0"


def _release(version: str) -> str:
    # 0.3 names releases, such as 0.3.0; 1.0 leaves the patch out.
    return f"{version}.0" if _MAJOR_MINOR.fullmatch(version) else version


def _legacy_security(requirements: list[dict[str, Any]]) -> list[Json]:
    return [
        {name: scopes.get("list", []) for name, scopes in requirement.get("schemes", {}).items()}
        for requirement in requirements
    ]


def _add_legacy_schemes(shown: JsonObject) -> None:
    schemes = cast("dict[str, JsonObject]", shown.get("securitySchemes", {}))
    words: list[Json] = []
    for scheme in schemes.values():
        for modern, legacy in _LEGACY_TYPES.items():
            inner = scheme.get(modern)
            if not isinstance(inner, dict):
                continue
            scheme["type"] = legacy
            scheme.update({"in" if name == "location" else name: value for name, value in inner.items()})
            words.append(inner.get("scheme", legacy))
            break
    if words:
        shown["authentication"] = {"schemes": words}
