"""The agent card at both of its addresses, and what keeps it cacheable."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import pytest
from a2a.client.base_client import BaseClient
from a2a.compat.v0_3.jsonrpc_transport import CompatJsonRpcTransport

from a2a_server.examples.workbench import agent
from a2a_server.testing import Connection, connect
from tests.clients import sdk, v01
from tests.clients.rpc import new_http

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATHS = ["/.well-known/agent-card.json", "/.well-known/agent.json"]
OPTIONS_URI = "urn:a2a-task-server:task-options:v1"


@pytest.mark.parametrize("path", PATHS)
async def test_card_says_where_every_generation_finds_the_agent(
    server: Connection, http: httpx2.AsyncClient, path: str
) -> None:
    response = await http.get(server.url + path)
    card = response.json()
    assert response.headers["content-type"] == "application/json"
    assert (card["name"], card["version"]) == ("Workbench", "1.0.0")
    assert card["url"].rstrip("/") == server.url
    interface = card["supportedInterfaces"][0]
    assert (interface["protocolBinding"], interface["protocolVersion"]) == ("JSONRPC", "1.0")
    assert interface["url"].rstrip("/") == server.url
    assert [one["protocolVersion"] for one in card["supportedInterfaces"]] == ["1.0", "0.3", "0.1"]
    assert (card["protocolVersion"], card["preferredTransport"]) == ("0.3.0", "JSONRPC")
    assert [(one["url"].rstrip("/"), one["transport"]) for one in card["additionalInterfaces"]] == [
        (server.url, "JSONRPC")
    ]
    assert card["capabilities"]["streaming"] is True
    assert card["capabilities"]["pushNotifications"] is False
    assert [skill["id"] for skill in card["skills"]] == ["workbench"]


async def test_pure_form_for_who_speaks_1_0(server: Connection, http: httpx2.AsyncClient) -> None:
    merged = await http.get(server.url + PATHS[0])
    pure = await http.get(server.url + PATHS[0], headers={"A2A-Version": "1.0"})
    older = {"url", "preferredTransport", "protocolVersion", "additionalInterfaces"}
    assert older <= merged.json().keys()
    assert not older & pure.json().keys()
    assert pure.headers["etag"] != merged.headers["etag"]
    assert "a2a-version" in pure.headers["vary"].lower()


@pytest.mark.parametrize("path", PATHS)
async def test_card_can_be_cached(server: Connection, http: httpx2.AsyncClient, path: str) -> None:
    first = await http.get(server.url + path)
    assert "max-age=60" in first.headers["cache-control"]
    assert parsedate_to_datetime(first.headers["last-modified"]).tzinfo is not None
    etag = first.headers["etag"]
    for named in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        known = await http.get(server.url + path, headers={"If-None-Match": named})
        assert (known.status_code, known.content) == (304, b"")
        assert known.headers["etag"] == etag
        assert "max-age=60" in known.headers["cache-control"]
    assert (await http.get(server.url + path, headers={"If-None-Match": '"other"'})).status_code == 200
    since = {"If-Modified-Since": first.headers["last-modified"]}
    assert (await http.get(server.url + path, headers=since)).status_code == 304
    later = {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
    assert (await http.get(server.url + path, headers=later)).status_code == 304
    for earlier in ("Thu, 01 Jan 2015 00:00:00 GMT", "yesterday", "Fri, 01 Jan 2100 00:00:00 -0000"):
        answer = await http.get(server.url + path, headers={"If-Modified-Since": earlier})
        assert answer.status_code == 200
    # If-None-Match wins over If-Modified-Since. Source: RFC 9110 section 13.2.2.
    assert (await http.get(server.url + path, headers={**since, "If-None-Match": '"other"'})).status_code == 200


async def test_cache_time_and_public_address_are_settings() -> None:
    async with (
        connect(
            agent, card_cache_seconds=5, public_url="https://agents.example.org/bench", allowed_hosts="*"
        ) as server,
        new_http() as http,
    ):
        response = await http.get(server.url + PATHS[0], headers={"Host": "evil.example.org"})
        assert "max-age=5" in response.headers["cache-control"]
        assert response.json()["url"].rstrip("/") == "https://agents.example.org/bench"
        assert "evil" not in response.text


async def test_task_options_have_a_schema(server: Connection, http: httpx2.AsyncClient) -> None:
    card = (await http.get(server.url + PATHS[0])).json()
    [options] = [extension for extension in card["capabilities"]["extensions"] if extension["uri"] == OPTIONS_URI]
    assert not options.get("required")
    assert options["params"]["schema"].startswith(server.url)
    schema = await http.get(options["params"]["schema"])
    assert schema.headers["content-type"].startswith("application/schema+json")
    properties = schema.json()["properties"]
    assert {"skill", "title", "priority", "delaySeconds", "maxAttempts", "returnImmediately"} <= properties.keys()
    assert schema.json()["additionalProperties"] is False
    assert schema.headers["cache-control"] == "public, max-age=60"
    known = await http.get(options["params"]["schema"], headers={"If-None-Match": schema.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")


async def test_clients_of_every_generation_read_it(server: Connection, http: httpx2.AsyncClient) -> None:
    old = await v01.A2ACardResolver(server.url, http=http).get_agent_card()
    assert (old.name, old.url.rstrip("/"), old.capabilities.streaming) == ("Workbench", server.url, True)
    async with sdk.connect(server.url) as (card, _):
        assert (card.name, card.skills[0].id) == ("Workbench", "workbench")
        assert card.supported_interfaces[0].protocol_version == "1.0"
    async with sdk.connect(server.url, version="0.3") as (card, client):
        assert [one.protocol_version for one in card.supported_interfaces] == ["0.3", "0.1"]
        assert isinstance(client, BaseClient)
        assert isinstance(client._transport, CompatJsonRpcTransport)


@pytest.mark.parametrize("header", ["A2A-Extensions", "X-A2A-Extensions"])
async def test_activated_task_options_are_echoed(server: Connection, http: httpx2.AsyncClient, header: str) -> None:
    """Rule: "response SHOULD echo the activated ones in the same header; ignore unknown ones"."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "nobody knows it"}}
    for named, echoed in ((f"urn:other, {OPTIONS_URI}", OPTIONS_URI), ("urn:other", None), ("", None)):
        answer = await http.post(server.url, json=body, headers={header: named})
        assert answer.headers.get(header) == echoed
    send = {"message": {"role": "ROLE_USER", "messageId": "echoed extension", "parts": [{"text": "echo x"}]}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": send}
    answer = await http.post(server.url, json=body, headers={header: OPTIONS_URI})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers[header] == OPTIONS_URI


async def test_a_browser_is_told_where_to_go_on(server: Connection, http: httpx2.AsyncClient) -> None:
    answer = await http.get(f"{server.url}/", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert "Workbench" in answer.text
    assert f"{server.url}/.well-known/agent-card.json" in answer.text
    head = await http.head(f"{server.url}/")
    assert (head.status_code, head.content) == (200, b"")


async def test_other_paths_and_methods_have_nothing(server: Connection, http: httpx2.AsyncClient) -> None:
    assert (await http.get(f"{server.url}/.well-known/other.json")).status_code == 404
    assert (await http.post(server.url + PATHS[0])).status_code == 405
    answer = await http.put(f"{server.url}/")
    assert (answer.status_code, {"GET", "POST"} <= set(answer.headers["allow"].split(", "))) == (405, True)


@pytest.mark.parametrize("said", [{"headers": {"A2A-Version": "1.0"}}, {"params": {"A2A-Version": "1.0"}}])
async def test_the_pure_card_is_for_who_says_10(server: Connection, http: httpx2.AsyncClient, said: Any) -> None:  # noqa: ANN401 - arguments of a client
    assert "url" not in (await http.get(f"{server.url}/.well-known/agent-card.json", **said)).json()
    other = await http.get(f"{server.url}/.well-known/agent-card.json", headers={"A2A-Version": "1.1"})
    assert "url" in other.json()


async def test_a_stream_says_nothing_of_the_connection(server: Connection, http: httpx2.AsyncClient) -> None:
    send = {"message": {"role": "ROLE_USER", "messageId": "connection", "parts": [{"text": "echo x"}]}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": send}
    answer = await http.post(server.url, json=body, headers={"Connection": "close"})
    assert answer.headers.get_list("connection") == ["close"]
