"""The reference SDK's own client (a2a-sdk, JSON-RPC, 1.0 or 0.3), made as its users make it, every wait bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
from a2a.types.a2a_pb2 import AgentCard, Message, Part, Role, SendMessageConfiguration, SendMessageRequest

from tests.patience import PATIENCE


@asynccontextmanager
async def connect(
    url: str, *, version: str = "1.0", streaming: bool = True, polling: bool = False
) -> AsyncIterator[tuple[AgentCard, Client]]:
    """The card at `url` and a client made from it. `polling`: sends return at once (`returnImmediately`).

    version: what it speaks. It takes the best interface that the card names, so for 0.3 it sees no better one.
    """
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        card = await A2ACardResolver(http, url).get_agent_card()
        if version != "1.0":
            older = [one for one in card.supported_interfaces if one.protocol_version != "1.0"]
            del card.supported_interfaces[:]
            card.supported_interfaces.extend(older)
        factory = ClientFactory(ClientConfig(streaming=streaming, polling=polling, httpx_client=http))
        yield card, factory.create(card)


def send_request(
    text: str,
    message_id: str,
    *,
    task_id: str = "",
    context_id: str = "",
    history_length: int | None = None,
    return_immediately: bool = False,
) -> SendMessageRequest:
    """A send of one text part."""
    message = Message(
        message_id=message_id, role=Role.ROLE_USER, parts=[Part(text=text)], task_id=task_id, context_id=context_id
    )
    configuration = SendMessageConfiguration(return_immediately=return_immediately)
    if history_length is not None:
        configuration.history_length = history_length
    return SendMessageRequest(message=message, configuration=configuration)
