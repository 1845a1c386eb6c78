"""`card get` and `card validate`: agent cards of servers, and card files before they are served."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import httpx2
from cyclopts import Parameter

from a2a_server.cli import output
from a2a_server.cli.failures import CommandError, Exit, UnauthorizedError, UsageError
from a2a_server.cli.rpc import Connection, Json, is_local
from a2a_server.cli.target import Target
from a2a_server.errors import ConfigurationError

CARD_PATHS = (".well-known/agent-card.json", ".well-known/agent.json")
MOST_BYTES = 1 << 20
BINDINGS = frozenset({"JSONRPC", "GRPC", "HTTP+JSON"})
_VERSION = re.compile(r"\d{1,3}\.\d{1,3}(\.\d{1,3})?")


def get(*, target: Target | None = None) -> int:
    """Show the agent card that a server gives to everybody; with -o json exactly as it is served.

    Args:
        target: Which server.
    """
    target = target or Target()

    async def work() -> int:
        async with target.connection() as connection:
            text, document = await fetched(connection)
        output.emit(text if target.json else f"{json.dumps(document, ensure_ascii=False, indent=2)}\n")
        return Exit.OK

    return target.run(work)


def validate(card: Annotated[str, Parameter(name="FILE|URL")] = "", /, *, target: Target | None = None) -> int:
    """Check an agent card: a file, or what a server serves. Ends with 1 where something is wrong with it.

    A server must serve its card at both well-known paths, and name interfaces that can be reached.

    Args:
        card: A file such as agent_card.json, or the address of a server; without it, --url.
        target: Which server.
    """
    target = target or Target()
    if card and "://" not in card:
        return _verdict(target, complaints_of(document_of(Path(card))))
    target = replace(target, url=card or target.url)

    async def work() -> int:
        async with target.connection() as connection:
            complaints = await complaints_of_server(connection)
        return _verdict(target, complaints)

    return target.run(work)


def _verdict(target: Target, complaints: list[str]) -> int:
    if target.json:
        output.emit_json({"ok": not complaints, "complaints": complaints})
    else:
        output.emit("".join(f"{complaint}\n" for complaint in complaints) or "OK\n")
    return Exit.ERROR if complaints else Exit.OK


def document_of(path: Path) -> object:
    """The JSON of a card file. Raises UsageError where there is none, ConfigurationError where it is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a card file, or a server with http:// or https://") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error


def complaints_of(document: object) -> list[str]:
    """What is wrong with a card that this server shall serve."""
    from a2a_server.model.card import read_card

    try:
        read_card(document)
    except ConfigurationError as error:
        return [str(error).removeprefix("agent card: ")]
    return []


async def complaints_of_server(connection: Connection) -> list[str]:
    """What is wrong with the card that a server serves. Raises what `Connection` raises, where nothing answers."""
    document, complaints = None, []
    for path in CARD_PATHS:
        try:
            _, found = await _fetch(connection, path)
        except UnauthorizedError:
            raise
        except CommandError as error:
            complaints.append(str(error))
            continue
        if document is not None and found != document:
            complaints.append(f"/{path} is not the card of /{CARD_PATHS[0]}")
        document = found if document is None else document
    if document is None:
        return complaints
    return [*complaints, *_of_its_members(document), *_of_its_interfaces(document, connection)]


async def fetched(connection: Connection) -> tuple[str, Json]:
    """The card as text and as JSON, from the newer well-known path, else from the older one."""
    try:
        return await _fetch(connection, CARD_PATHS[0])
    except _NotThereError:
        return await _fetch(connection, CARD_PATHS[1])


class _NotThereError(CommandError):
    """The server has nothing at the path."""


async def _fetch(connection: Connection, path: str) -> tuple[str, Json]:
    # Without a version, so that the card is the one that clients of every generation read.
    address = connection.below(path)
    async with connection.download(address, {"Accept": "application/json", "A2A-Version": ""}) as response:
        if response.status_code in {401, 403}:
            raise UnauthorizedError(f"{address}: not allowed (HTTP {response.status_code})")
        if response.status_code != httpx2.codes.OK:
            raise _NotThereError(f"/{path} is not served (HTTP {response.status_code})")
        body = b""
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > MOST_BYTES:
                raise CommandError(f"/{path} is larger than {MOST_BYTES} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise CommandError(f"/{path} is no JSON object, so it is no agent card")
    return body.decode("utf-8", "replace"), document


def _of_its_members(document: Json) -> list[str]:
    """Of the card itself; what only this project's server has not yet is no fault of another's."""
    shown = {name: value for name, value in document.items() if name != "supportsAuthenticatedExtendedCard"}
    capabilities = shown.get("capabilities")
    if isinstance(capabilities, dict):
        shown["capabilities"] = {
            name: value
            for name, value in capabilities.items()
            if name not in ("pushNotifications", "extendedAgentCard", "extensions")
        }
    return [*complaints_of(shown), *([] if shown.get("skills") else ["skills: there is none"])]


def _of_its_interfaces(document: Json, connection: Connection) -> list[str]:
    interfaces = document.get("supportedInterfaces")
    if not isinstance(interfaces, list):
        older = str(document.get("url") or "")
        return _of_address("url", older, connection) if older else ["supportedInterfaces: there is none, and no url"]
    complaints = [] if interfaces else ["supportedInterfaces: there is none"]
    for position, one in enumerate(interfaces):
        where = f"supportedInterfaces[{position}]"
        if not isinstance(one, dict):
            continue
        binding, version = one.get("protocolBinding"), str(one.get("protocolVersion", ""))
        if binding not in BINDINGS:
            complaints.append(f"{where}.protocolBinding is none of {', '.join(sorted(BINDINGS))}")
        if not _VERSION.fullmatch(version):
            complaints.append(f"{where}.protocolVersion must look like 1.0")
        if binding != "GRPC":
            complaints += _of_address(f"{where}.url", str(one.get("url", "")), connection)
    return complaints


def _of_address(where: str, url: str, connection: Connection) -> list[str]:
    try:
        address = httpx2.URL(url)
    except httpx2.InvalidURL:
        address = httpx2.URL("")
    if address.scheme not in {"http", "https"} or not address.host:
        return [f"{where} must be a whole address with http:// or https://"]
    if is_local(address.host) and not is_local(httpx2.URL(connection.url).host):
        return [f"{where} names the server's own machine, where other clients do not reach it; set public_url"]
    return []
