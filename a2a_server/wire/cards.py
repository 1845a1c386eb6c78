"""The agent card on the wire: the 1.0 form, what older clients read beside it, and card files of any generation.

One document serves everybody: 1.0 parsers ignore members they do not know, older ones ignore `supportedInterfaces`.
Only a closed 1.0 schema refuses the merged card; who asks with `A2A-Version: 1.0` gets the pure one. A signature is
made over the pure card.

Source: A2A 1.0.1 sections 4.4 and 8; A2A 0.3.0 section 5.5; A2A v0.1.0 a2a.json, AgentCard.
"""

from __future__ import annotations

from collections.abc import Mapping, Set as AbstractSet
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from a2a_server.errors import ConfigurationError
from a2a_server.model.card import (
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentProvider,
    AgentSkill,
)
from a2a_server.model.objects import OPTIONS_URI, Json, JsonObject

OPTIONS_SCHEMA_PATH = "/.well-known/task-options.json"
"""Where the JSON Schema of the task options is served, under the server's address."""

_JSONRPC = "JSONRPC"
_LEGACY_TYPES = MappingProxyType(
    {
        "apiKeySecurityScheme": "apiKey",
        "httpAuthSecurityScheme": "http",
        "oauth2SecurityScheme": "oauth2",
        "openIdConnectSecurityScheme": "openIdConnect",
        "mtlsSecurityScheme": "mutualTLS",
    }
)
# What older generations have and 1.0 says elsewhere or not at all.
_DROPPED_FROM_CARD = frozenset(
    {
        "url",
        "protocolVersion",
        "preferredTransport",
        "additionalInterfaces",
        "authentication",
        "security",
        "supportsAuthenticatedExtendedCard",
    }
)
_DROPPED_FROM_CAPABILITIES = frozenset({"stateTransitionHistory"})
_DROPPED_FROM_SKILL = frozenset({"security"})
_MODELS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "supportedInterfaces": AgentInterface,
        "provider": AgentProvider,
        "capabilities": AgentCapabilities,
        "extensions": AgentExtension,
        "skills": AgentSkill,
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

    The legacy interface is declared as "0.1", which is what is served. Calling it "0.3" would send clients of a2a-sdk
    1.x that are bound to 0.3 into `message/send`, which no wire has yet; with "0.1" they say that they find no
    interface for them. v0.1 clients themselves read only `url`. The 0.3 wire will add its own entry here.

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
        AgentInterface(url=url, protocol_binding=_JSONRPC, protocol_version=version) for version in ("1.0", "0.1")
    ]
    capabilities = card.capabilities.model_copy(update={"extensions": declared})
    return card.model_copy(update={"supported_interfaces": interfaces, "capabilities": capabilities})


def read(data: object) -> AgentCard:
    """The card that a file says, in the form of any generation.

    Members that only older generations have are dropped: the server says itself where it listens and what it takes.
    An explicit null is the same as an absent member. Security schemes in the form of 0.3 become those of 1.0.

    Raises:
        ConfigurationError: a member is unknown (the nearest known one is named), missing or breaks its rule.
    """
    if not isinstance(data, dict):
        raise ConfigurationError("agent card: the file must hold one JSON object")
    said = _without(data, _DROPPED_FROM_CARD)
    if isinstance(said.get("capabilities"), dict):
        said["capabilities"] = _without(said["capabilities"], _DROPPED_FROM_CAPABILITIES)
    if isinstance(said.get("skills"), list):
        said["skills"] = [
            _without(skill, _DROPPED_FROM_SKILL) if isinstance(skill, dict) else skill for skill in said["skills"]
        ]
    if isinstance(said.get("securitySchemes"), dict):
        said["securitySchemes"] = {name: _modern(scheme) for name, scheme in said["securitySchemes"].items()}
    try:
        return AgentCard.model_validate(said)
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from None


def _without(members: dict[str, Any], dropped: AbstractSet[str]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name not in dropped and value is not None}


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    steps = first["loc"]
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
    if first["type"] == "missing":
        return f"agent card: {path} is missing"
    if first["type"] != "extra_forbidden":
        return f"agent card: {path} {first['msg'].replace('Input should', 'must').replace('String should', 'must')}"
    holders = [step for step in steps[:-1] if isinstance(step, str)]
    model = _MODELS.get(holders[-1], AgentCard) if holders else AgentCard
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = get_close_matches(str(steps[-1]), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"agent card: {path} is not a member of the card; {hint}"


def _add_legacy(card: AgentCard, shown: JsonObject) -> None:
    older = [interface for interface in card.supported_interfaces if _is_older(interface.protocol_version)]
    main = next((interface for interface in older if interface.protocol_binding == _JSONRPC), None)
    if main is None:
        return
    shown["url"] = main.url
    shown["preferredTransport"] = main.protocol_binding
    shown["protocolVersion"] = main.protocol_version or "0.3"
    shown["additionalInterfaces"] = [
        {"url": interface.url, "transport": interface.protocol_binding} for interface in older
    ]
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


def _modern(scheme: object) -> object:
    if not isinstance(scheme, dict):
        return scheme
    for modern, legacy in _LEGACY_TYPES.items():
        if scheme.get("type") == legacy and modern not in scheme:
            inner = {"location" if name == "in" else name: value for name, value in scheme.items() if name != "type"}
            return {modern: inner}
    return scheme
