"""The agent card at both of its addresses, and what keeps it cacheable."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import httpx2
import pytest

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
    # If-None-Match wins over If-Modified-Since. Source: RFC 9110 section 13.2.2.
    assert (await http.get(server.url + path, headers={**since, "If-None-Match": '"other"'})).status_code == 200


async def test_cache_time_and_public_address_are_settings() -> None:
    async with (
        connect(agent, card_cache_seconds=5, public_url="https://agents.example.org/bench") as server,
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


async def test_clients_of_both_generations_read_it(server: Connection, http: httpx2.AsyncClient) -> None:
    old = await v01.A2ACardResolver(server.url, http=http).get_agent_card()
    assert (old.name, old.url.rstrip("/"), old.capabilities.streaming) == ("Workbench", server.url, True)
    async with sdk.connect(server.url) as (card, _):
        assert (card.name, card.skills[0].id) == ("Workbench", "workbench")
        assert card.supported_interfaces[0].protocol_version == "1.0"


async def test_other_paths_and_methods_have_nothing(server: Connection, http: httpx2.AsyncClient) -> None:
    assert (await http.get(f"{server.url}/.well-known/other.json")).status_code == 404
    assert (await http.post(server.url + PATHS[0])).status_code == 405
    assert (await http.get(f"{server.url}/")).status_code == 405
