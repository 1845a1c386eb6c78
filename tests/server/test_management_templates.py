"""Templates over the management API: made, read, replaced, patched, used, deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self
from uuid import uuid4

import pytest
import pytest_asyncio
from pydantic import BaseModel, model_validator

from a2a_server import Agent
from tests.server.managing import Managed, fields_of, managed

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Order(BaseModel):
    """A whole data part, that only makes sense when all of it is there."""

    amount: int = 0
    colour: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not (self.amount and self.colour):
            raise ValueError("must say how many of which colour")
        return self


def agent() -> Agent:
    agent = Agent("Office")

    @agent.skill
    async def tell(text: str, times: int = 1) -> str:
        return text * times

    @agent.skill
    async def order(wanted: Order) -> str:
        return wanted.colour * wanted.amount

    return agent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office() -> AsyncIterator[Managed]:
    configured = {"standard": {"text": "hello ", "description": "The usual.", "options": {"priority": "low"}}}
    async with managed(agent(), templates=configured, resources={"gpu": 2}) as server:
        yield server


def name() -> str:
    return f"t-{uuid4().hex}"


async def made(office: Managed, **body: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
    return await office.post("/templates", {"name": name(), "text": "hi ", **body})


async def test_a_template_is_made_read_and_used(office: Managed) -> None:
    body = {"name": name(), "text": "hi ", "options": {"parameters": {"times": 3}, "title": "Greeting"}}
    response = await office.ask("POST", "/templates", body)
    assert response.status_code == 201
    assert response.headers["location"] == f"/api/v1/templates/{body['name']}"
    shown = response.json()
    assert shown == await office.get(f"/templates/{body['name']}")
    assert (shown["source"], shown["options"]) == ("own", body["options"])
    task = await office.server.send("", options={"template": body["name"]})
    assert task["artifacts"][0]["parts"] == [{"text": "hi hi hi "}]


async def test_tasks_that_a_template_names_are_there(office: Managed) -> None:
    for options, field in (
        ({"dependsOn": ["nobody"]}, "options.dependsOn[0]"),
        ({"parentTaskId": "x"}, "options.parentTaskId"),
    ):
        body = {"name": name(), "options": options}
        assert fields_of(await office.refused(400, "POST", "/templates", body)) == [field]
        await office.refused(400, "PUT", f"/templates/{body['name']}", {"options": options})
        await office.refused(404, "GET", f"/templates/{body['name']}")
    task = await office.server.send("x")
    assert (await made(office, options={"dependsOn": [task["id"]]}))["options"] == {"dependsOn": [task["id"]]}
    body = {"name": name(), "options": {"parentTaskId": task["id"]}}
    assert "has ended" in (await office.refused(400, "POST", "/templates", body))["message"]


async def test_what_a_template_leaves_open_the_send_may_say(office: Managed) -> None:
    options = {"skill": "order", "parameters": {"colour": "red"}, "requires": {"resources": {"gpu": 2}}}
    assert (await made(office, options=options))["options"] == options
    body = {"name": name(), "options": {**options, "parameters": {"amount": "few"}}}
    assert fields_of(await office.refused(400, "POST", "/templates", body)) == ["options.parameters.amount"]
    task: dict[str, Any] = {"skill": "order", "parameters": {"colour": "red"}}
    assert fields_of(await office.refused(400, "POST", "/tasks", {**task, "text": "x"})) == ["parameters"]
    await office.post("/tasks", {**task, "message": {"parts": [{"data": {"amount": 2}}]}})


async def test_a_name_is_given_once(office: Managed) -> None:
    shown = await made(office)
    body = {"name": shown["name"], "text": "hi "}
    assert await office.post("/templates", body) == shown
    await office.refused(409, "POST", "/templates", {**body, "text": "other"})
    assert await office.get(f"/templates/{shown['name']}") == shown


async def test_those_of_the_configuration_are_read_shadowed_and_kept(office: Managed) -> None:
    shown = await office.get("/templates/standard")
    assert (shown["source"], shown["revision"], shown["options"]) == ("configuration", 0, {"priority": "low"})
    error = await office.refused(409, "DELETE", "/templates/standard")
    assert "configuration" in error["message"]
    mine = await office.done("PATCH", "/templates/standard", {"description": "Mine."})
    assert (mine["source"], mine["text"], mine["description"]) == ("own", "hello ", "Mine.")
    assert (await office.ask("DELETE", "/templates/standard")).status_code == 204
    assert await office.get("/templates/standard") == shown


async def test_put_makes_and_replaces_and_patch_changes(office: Managed) -> None:
    path = f"/templates/{name()}"
    first = await office.done("PUT", path, {"text": "a", "options": {"title": "x", "tags": ["one"]}})
    patched = await office.done("PATCH", path, {"options": {"title": None, "priority": "high"}})
    assert (patched["text"], patched["options"]) == ("a", {"tags": ["one"], "priority": "high"})
    replaced = await office.done("PUT", path, {"text": "b"})
    assert (replaced["text"], "options" in replaced) == ("b", False)
    assert replaced["revision"] > patched["revision"] > first["revision"]


async def test_who_names_a_revision_changes_that_or_nothing(office: Managed) -> None:
    shown = await made(office)
    path, tag = f"/templates/{shown['name']}", f'"{shown["revision"]}"'
    assert (await office.ask("GET", path, headers={"If-None-Match": tag})).status_code == 304
    changed = await office.done("PUT", path, {"text": "x"}, headers={"If-Match": tag})
    for method, body in (("PATCH", {"text": "y"}), ("PUT", {"text": "y"}), ("DELETE", None)):
        await office.refused(412, method, path, body, headers={"If-Match": tag})
    assert await office.get(path) == changed
    await office.refused(412, "PUT", f"/templates/{name()}", {"text": "y"}, headers={"If-Match": '"1"'})


async def test_a_list_comes_in_pages(office: Managed) -> None:
    names = {(await made(office))["name"] for _ in range(3)} | {"standard"}
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await office.get("/templates", limit=2, **cursor)
        found += [one["name"] for one in page["templates"]]
        if "next" not in page:
            break
        cursor = {"cursor": page["next"]}
    assert found == sorted(set(found))
    assert names <= set(found)


async def test_what_is_not_there(office: Managed) -> None:
    await office.refused(404, "GET", "/templates/nobody")
    await office.refused(404, "DELETE", "/templates/nobody")
    await office.refused(404, "PATCH", "/templates/nobody", {"text": "x"})


BAD: list[tuple[dict[str, Any], str]] = [
    ({"options": {"colour": "red"}}, "options.colour"),
    ({"options": {"priority": "urgent"}}, "options.priority"),
    ({"options": {"maxAttempts": 0}}, "options.maxAttempts"),
    ({"options": {"template": "standard"}}, "options.template"),
    ({"options": {"uniqueKey": "x"}}, "options.uniqueKey"),
    ({"options": {"deadline": "2099-01-01T00:00:00Z"}}, "options.deadline"),
    ({"options": {"skill": "nobody"}}, "options.skill"),
    ({"options": {"requires": {"resources": {"tpu": 1}}}}, "options.requires.resources.tpu"),
    ({"options": {"requires": {"resources": {"gpu": 3}}}}, "options.requires.resources.gpu"),
    ({"options": {"skill": "tell", "parameters": {"times": "many"}}}, "options.parameters.times"),
    ({"options": []}, "options"),
    ({"text": 1}, "text"),
    ({"text": "x" * 100_001}, "text"),
    ({"description": None}, "description"),
    ({"colour": "red"}, "colour"),
]


@pytest.mark.parametrize(("body", "field"), BAD)
async def test_bad_input_is_refused_and_changes_nothing(office: Managed, body: dict[str, Any], field: str) -> None:
    fresh, there = name(), await made(office)
    for method, path, given in (
        ("POST", "/templates", {**body, "name": fresh}),
        ("PUT", f"/templates/{fresh}", body),
        ("PUT", f"/templates/{there['name']}", body),
    ):
        error = await office.refused(400, method, path, given)
        assert fields_of(error)[0] == field, error
    await office.refused(404, "GET", f"/templates/{fresh}")
    assert await office.get(f"/templates/{there['name']}") == there


@pytest.mark.parametrize("given", ["", "a/b", "a b", "ü", "-x", "x" * 129, 5, None])
async def test_a_bad_name_is_refused(office: Managed, given: object) -> None:
    error = await office.refused(400, "POST", "/templates", {"name": given})
    assert fields_of(error)[0] == "name"


async def test_a_bad_name_in_a_path_is_refused(office: Managed) -> None:
    assert fields_of(await office.refused(400, "PUT", "/templates/a%2Fb", {"text": "x"}))[0] == "name"


@pytest.mark.parametrize(
    ("patch", "field"),
    [({"options": {"priority": 9}}, "options.priority"), ({"name": "x"}, "name"), ({"text": []}, "text")],
)
async def test_a_bad_patch_changes_nothing(office: Managed, patch: dict[str, Any], field: str) -> None:
    there = await made(office)
    error = await office.refused(400, "PATCH", f"/templates/{there['name']}", patch)
    assert fields_of(error)[0] == field, error
    assert await office.get(f"/templates/{there['name']}") == there
