"""The agent card in its 1.0 form, as users write it in `agent_card.json` and as agents fill it.

Source: A2A 1.0.1 section 4.4 and a2a.proto, AgentCard. What older generations read is derived in wire.cards.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from a2a_server.errors import ConfigurationError
from a2a_server.model.objects import OPTIONS_URI
from a2a_server.model.options import spelled
from a2a_server.wording import plain_rule


class _CardModel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", defer_build=True)


class AgentInterface(_CardModel):
    """One address where the agent answers, with binding and protocol version."""

    url: str
    protocol_binding: str = "JSONRPC"
    protocol_version: str = "1.0"
    tenant: str | None = None


class AgentProvider(_CardModel):
    """Who offers the agent."""

    organization: str
    url: str | None = None


class AgentExtension(_CardModel):
    """An extension that the agent understands."""

    uri: str
    description: str | None = None
    required: bool | None = None
    params: dict[str, Any] | None = None


class AgentCapabilities(_CardModel):
    """What the agent can do beyond send and get."""

    streaming: bool | None = True
    push_notifications: bool | None = False
    extensions: list[AgentExtension] | None = None
    extended_agent_card: bool | None = None


class AgentSkill(_CardModel):
    """One thing that the agent does."""

    id: str
    name: str
    description: str
    tags: list[str] = []
    examples: list[str] | None = None
    input_modes: list[str] | None = None
    output_modes: list[str] | None = None
    security_requirements: list[dict[str, Any]] | None = None


class AgentCard(_CardModel):
    """Everything clients learn before their first message.

    `supported_interfaces` may stay empty: the server fills in where it listens.
    """

    name: Annotated[str, Field(min_length=1)]
    description: str = ""
    version: str = "0.1.0"
    supported_interfaces: list[AgentInterface] = []
    provider: AgentProvider | None = None
    documentation_url: str | None = None
    icon_url: str | None = None
    capabilities: AgentCapabilities = Field(default_factory=AgentCapabilities)
    security_schemes: dict[str, Any] | None = None
    security_requirements: list[dict[str, Any]] | None = None
    default_input_modes: list[str] = Field(default_factory=lambda: ["text/plain", "application/json"])
    default_output_modes: list[str] = Field(default_factory=lambda: ["text/plain", "application/json"])
    skills: list[AgentSkill] = []
    signatures: list[dict[str, Any]] | None = None


_OLDER_MEMBERS = {
    (): frozenset(
        {
            "url",
            "protocolVersion",
            "preferredTransport",
            "additionalInterfaces",
            "authentication",
            "security",
            "supportsAuthenticatedExtendedCard",
        }
    ),
    ("capabilities",): frozenset({"stateTransitionHistory"}),
    ("skills",): frozenset({"security"}),
}

_MODELS: dict[tuple[str, ...], type[_CardModel]] = {
    (): AgentCard,
    ("provider",): AgentProvider,
    ("supportedInterfaces",): AgentInterface,
    ("capabilities",): AgentCapabilities,
    ("capabilities", "extensions"): AgentExtension,
    ("skills",): AgentSkill,
}


def read_card(data: object) -> AgentCard:
    """The card that `data`, a parsed `agent_card.json`, describes.

    Cards written for older generations are taken too: what only those generations have is dropped, because the server
    derives it from the 1.0 form. A member that is null counts as absent.

    Raises:
        ConfigurationError: no object, a member that no generation knows, or a value that breaks its field's rule; the
            text names every one of them. Or the card declares what this server does not have yet.
    """
    if not isinstance(data, dict):
        raise ConfigurationError(f"agent card: must be a JSON object, not {_kind(data)}")
    members = _current(data, ())
    for name in ("capabilities", "skills"):
        value = members.get(name)
        if isinstance(value, dict):
            members[name] = _current(value, (name,))
        elif isinstance(value, list):
            members[name] = [_current(item, (name,)) if isinstance(item, dict) else item for item in value]
    try:
        card = AgentCard.model_validate(members)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        raise ConfigurationError("agent card: " + "; ".join(_complaint(one) for one in details)) from error
    _refuse_what_is_missing(card.capabilities, older=bool(data.get("supportsAuthenticatedExtendedCard")))
    return card


def _refuse_what_is_missing(capabilities: AgentCapabilities, *, older: bool) -> None:
    declared = {
        "capabilities.pushNotifications": capabilities.push_notifications,
        "capabilities.extendedAgentCard": capabilities.extended_agent_card,
        "supportsAuthenticatedExtendedCard": older,
    }
    for member, given in declared.items():
        if given:
            raise ConfigurationError(f"agent card: {member}: this server does not have it yet; set it to false")
    for position, extension in enumerate(capabilities.extensions or ()):
        if extension.required and extension.uri != OPTIONS_URI:
            raise ConfigurationError(
                f"agent card: capabilities.extensions[{position}] requires {extension.uri}: "
                "this server does not have it yet; set required to false"
            )


def _current(data: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None and name not in _OLDER_MEMBERS[place]}


def _complaint(detail: ErrorDetails) -> str:
    *place, member = detail["loc"]
    where = spelled(detail["loc"])
    if detail["type"] != "extra_forbidden":
        return f"{where}: {plain_rule(detail['msg'])}"
    model = _MODELS[tuple(to_camel(step) for step in place if isinstance(step, str))]
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = get_close_matches(str(member), known, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(known)}"
    return f'unknown member "{where}"; {hint}'


def _kind(data: object) -> str:
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(data), "a number")
