"""ListTasks: filters, pages that hold while tasks come and change, totals, tokens. Source: A2A 1.0.1 section 3.1.4."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from a2a.types.a2a_pb2 import ListTasksRequest
from google.protobuf.json_format import MessageToDict, ParseDict  # type: ignore[import-untyped]  # its stubs are a package of their own

from a2a_server.codec import encode_spec, encode_status
from a2a_server.examples.workbench import agent
from a2a_server.model.objects import Phase, State, TaskSpec
from a2a_server.model.rows import TallyKey, TaskRow
from a2a_server.model.turns import Changes, Needs
from a2a_server.service import listing
from a2a_server.testing import Connection, connect
from tests.clients import sdk
from tests.clients.rpc import new_http
from tests.contracts.rows import task
from tests.server.behaviours import new_id

pytestmark = pytest.mark.backends

Json = dict[str, Any]
MOMENT = 1_779_962_400_000_000  # 2026-05-28T10:00:00Z
SECOND = 1_000_000


@pytest_asyncio.fixture
async def lists() -> AsyncIterator[Lists]:
    async with connect(agent) as server, new_http() as http:
        yield Lists(server, http)


class Lists:
    """A server of its own: what a list holds is all that the store holds."""

    def __init__(self, server: Connection, http: httpx2.AsyncClient) -> None:
        self.server = server
        self.http = http

    async def call(self, **params: object) -> Json:
        request = {"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": params}
        response = await self.http.post(self.server.url, json=request, headers={"A2A-Version": "1.0"})
        assert response.status_code == 200
        answer: Json = response.json()
        return answer

    async def page(self, **params: object) -> Json:
        page: Json = (await self.call(**params))["result"]
        assert page.keys() == {"tasks", "nextPageToken", "pageSize", "totalSize"}
        return page

    async def ids(self, **params: object) -> list[str]:
        """The ids of every page, read to the end."""
        found = await self.rest("", **params)
        assert (await self.page(**params))["totalSize"] == len(found)
        return found

    async def rest(self, token: str, **params: object) -> list[str]:
        """The ids of this page and of those behind it."""
        found: list[str] = []
        while True:
            page = await self.page(**params, pageToken=token)
            assert len(page["tasks"]) <= page["pageSize"] == params.get("pageSize", params.get("page_size", 50))
            found += [task["id"] for task in page["tasks"]]
            token = page["nextPageToken"]
            if not token:
                return found
            assert page["tasks"]

    async def refused(self, **params: object) -> str:
        """The field that an invalid-params error names."""
        error = (await self.call(**params))["error"]
        assert error["code"] == -32602
        [violation] = error["data"][1]["fieldViolations"]
        assert violation["description"] == error["message"]
        field: str = violation["field"]
        return field

    async def put(self, *rows: TaskRow) -> None:
        """Tasks as the engine would have written them."""
        tally: dict[tuple[str, TallyKey], int] = {}
        for row in rows:
            at = ("test", TallyKey(row.tenant, row.owner, row.agent, row.queue, row.state, row.phase))
            tally[at] = tally.get(at, 0) + (1 if row.visible else 0)
        store = self.server._system.engine.backends.store
        await store.turn(Needs(), lambda loaded: Changes(new_tasks=list(rows), tally=tally))

    def row(self, number: int, state: State = State.COMPLETED, **fields: Any) -> TaskRow:  # noqa: ANN401 - of a row
        row = task(
            number,
            agent=self.server._system.engine.agent,
            id=f"t{number}",
            skill="workbench",
            queue="elsewhere",
            gates=(),
            state=state,
            phase=Phase.FINAL,
            status_at=MOMENT + number * SECOND,
            created_at=MOMENT,
            max_attempts=1,
            status=encode_status(state),
            spec=encode_spec(TaskSpec()),
        )
        return row._replace(**fields)


async def test_an_empty_list(lists: Lists) -> None:
    assert await lists.page() == {"tasks": [], "nextPageToken": "", "pageSize": 50, "totalSize": 0}


async def test_real_tasks_newest_first_and_what_of_them_is_shown(lists: Lists) -> None:
    tasks = [await lists.server.send(f"echo {n}") for n in range(3)]
    page = await lists.page()
    assert [task["id"] for task in page["tasks"]] == [task["id"] for task in reversed(tasks)]
    assert page["totalSize"] == 3
    newest = dict(tasks[-1])
    artifacts, history = newest.pop("artifacts"), newest.pop("history")
    assert page["tasks"][0] == newest
    assert (await lists.page(includeArtifacts=True))["tasks"][0] == newest | {"artifacts": artifacts}
    assert (await lists.page(historyLength=9))["tasks"][0] == newest | {"history": history}
    assert (await lists.page(historyLength=0))["tasks"][0] == newest
    everything = await lists.page(historyLength=1, includeArtifacts=True, pageSize=1)
    assert everything["tasks"] == [newest | {"artifacts": artifacts, "history": history[-1:]}]
    assert (everything["pageSize"], everything["totalSize"]) == (1, 3)


async def test_every_filter_alone_and_together(lists: Lists) -> None:
    done, work = State.COMPLETED, State.WORKING
    await lists.put(
        lists.row(1, done, context="a"),
        lists.row(2, work, context="a"),
        lists.row(3, done, context="b"),
        lists.row(4, work, context="b"),
        lists.row(5, State.INPUT_REQUIRED, context="b"),
        lists.row(6, visible=False),
        lists.row(7, owner="other"),
        lists.row(8, tenant="other"),
        lists.row(9, agent="other"),
    )
    late = {"statusTimestampAfter": "2026-05-28T10:00:03Z"}
    for size in (1, 2, 3, 100):
        assert await lists.ids(pageSize=size) == ["t5", "t4", "t3", "t2", "t1"]
        assert await lists.ids(pageSize=size, contextId="a") == ["t2", "t1"]
        assert await lists.ids(pageSize=size, contextId="") == ["t5", "t4", "t3", "t2", "t1"]
        assert await lists.ids(pageSize=size, contextId="nobody knows it") == []
        assert await lists.ids(pageSize=size, status="TASK_STATE_WORKING") == ["t4", "t2"]
        assert await lists.ids(pageSize=size, status="TASK_STATE_UNSPECIFIED") == ["t5", "t4", "t3", "t2", "t1"]
        assert await lists.ids(pageSize=size, status="TASK_STATE_FAILED") == []
        assert await lists.ids(pageSize=size, **late) == ["t5", "t4", "t3"]
        assert await lists.ids(pageSize=size, contextId="a", status="TASK_STATE_COMPLETED") == ["t1"]
        assert await lists.ids(pageSize=size, contextId="b", **late) == ["t5", "t4", "t3"]
        assert await lists.ids(pageSize=size, status="TASK_STATE_COMPLETED", **late) == ["t3"]
        assert await lists.ids(pageSize=size, contextId="b", status="TASK_STATE_WORKING", **late) == ["t4"]
        assert await lists.ids(pageSize=size, contextId="a", status="TASK_STATE_WORKING", **late) == []
    assert await lists.ids(context_id="a", page_size=50) == ["t2", "t1"]


async def test_the_moment_is_inclusive_and_exact(lists: Lists) -> None:
    await lists.put(lists.row(1, status_at=MOMENT + 1_500), lists.row(2, status_at=MOMENT + 2_000))
    for moment, found in (
        ("2026-05-28T10:00:00.001Z", ["t2", "t1"]),  # what the first one shows of its status, cut to milliseconds
        ("2026-05-28T10:00:00.0015Z", ["t2", "t1"]),
        ("2026-05-28T10:00:00.001500001Z", ["t2"]),
        ("2026-05-28T12:00:00.002+02:00", ["t2"]),
        ("2026-05-28T10:00:00.002000001Z", []),
        ("0001-01-01T00:00:00Z", ["t2", "t1"]),
        ("9999-12-31T23:59:59.999999999Z", []),
    ):
        assert await lists.ids(statusTimestampAfter=moment) == found
    [_, shown] = (await lists.page())["tasks"]
    assert await lists.ids(statusTimestampAfter=shown["status"]["timestamp"]) == ["t2", "t1"]


async def test_ties_stay_in_one_order(lists: Lists) -> None:
    await lists.put(*(lists.row(n, State(1 + n % 8), status_at=MOMENT) for n in range(1, 42)))
    expected = [f"t{n}" for n in range(41, 0, -1)]
    for size in (1, 7, 40, 41, 100):
        assert await lists.ids(pageSize=size) == expected
        assert await lists.ids(pageSize=size, contextId="context") == expected


async def test_pages_hold_while_tasks_come_and_change(lists: Lists) -> None:
    await lists.put(*(lists.row(n) for n in range(1, 13)))
    first = await lists.page(pageSize=4)
    assert [task["id"] for task in first["tasks"]] == ["t12", "t11", "t10", "t9"]
    store = lists.server._system.engine.backends.store
    moved = lists.row(2, rev=2, status_at=MOMENT + 99 * SECOND)
    await store.turn(Needs(tasks={moved.key}), lambda loaded: Changes(tasks=[moved]))
    await lists.put(*(lists.row(n) for n in range(20, 30)))
    added = await lists.server.send("echo x")
    rest = await lists.rest(first["nextPageToken"], pageSize=4)
    assert rest == ["t8", "t7", "t6", "t5", "t4", "t3", "t1"]  # nothing twice, and only what changed is elsewhere
    again = await lists.ids(pageSize=4)
    assert again[:2] == [added["id"], "t2"]
    assert len(again) == len(set(again)) == 23


async def test_a_page_of_another_size_goes_on_where_the_last_one_ended(lists: Lists) -> None:
    await lists.put(*(lists.row(n) for n in range(1, 8)))
    token = (await lists.page(pageSize=2))["nextPageToken"]
    page = await lists.page(pageSize=3, pageToken=token, includeArtifacts=True, historyLength=2)
    assert [task["id"] for task in page["tasks"]] == ["t5", "t4", "t3"]
    assert (await lists.page(pageSize=2, pageToken=page["nextPageToken"]))["nextPageToken"] == ""


async def test_totals(lists: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
    await lists.put(*(lists.row(n, State.WORKING if n % 3 else State.FAILED) for n in range(1, 31)))
    late = "2026-05-28T10:00:21Z"
    monkeypatch.setattr(listing, "MOST_COUNTED", 25)
    for params, total in (
        ({}, 30),
        ({"status": "TASK_STATE_FAILED"}, 10),
        ({"contextId": "context"}, 25),
        ({"contextId": "context", "status": "TASK_STATE_FAILED"}, 10),
        ({"statusTimestampAfter": late}, 10),
        ({"statusTimestampAfter": late, "status": "TASK_STATE_WORKING"}, 6),
    ):
        page = await lists.page(**params, pageSize=2)
        assert page["totalSize"] == total
        assert (await lists.page(**params, pageSize=2, pageToken=page["nextPageToken"]))["totalSize"] == total


async def test_totals_follow_the_tasks(lists: Lists) -> None:
    ids = [(await lists.server.send("sleep 60", blocking=False))["id"] for _ in range(3)]
    await lists.server.cancel(ids[1])

    async def totals(*states: str) -> list[int]:
        return [(await lists.page(status=f"TASK_STATE_{state}"))["totalSize"] for state in states]

    assert (await lists.page())["totalSize"] == 3
    assert await totals("CANCELED", "COMPLETED") == [1, 0]
    assert await lists.ids(status="TASK_STATE_CANCELED") == [ids[1]]


async def test_tokens_are_of_one_list(lists: Lists) -> None:
    await lists.put(*(lists.row(n) for n in range(1, 5)), *(lists.row(n, owner="other") for n in range(5, 9)))
    filters: list[Json] = [
        {},
        {"contextId": "context"},
        {"status": "TASK_STATE_COMPLETED"},
        {"statusTimestampAfter": "2026-05-28T10:00:00Z"},
        {"statusTimestampAfter": "2026-05-28T10:00:00.000001Z"},
        {"contextId": "context", "status": "TASK_STATE_COMPLETED"},
    ]
    tokens = [(await lists.page(**given, pageSize=2))["nextPageToken"] for given in filters]
    assert all(tokens)
    assert len(set(tokens)) == len(filters)
    for mine, given in enumerate(filters):
        for other, token in enumerate(tokens):
            if other == mine:
                assert len((await lists.page(**given, pageToken=token))["tasks"]) == 2
            else:
                assert await lists.refused(**given, pageToken=token) == "pageToken"
    assert await lists.refused(pageToken=tokens[0][:-1]) == "pageToken"
    assert await lists.refused(pageToken="x") == "pageToken"
    async with connect(agent) as elsewhere, new_http() as http:
        assert await Lists(elsewhere, http).ids() == []
    page = await lists.page(status="TASK_STATE_UNSPECIFIED", contextId="", pageToken=tokens[0])
    assert len(page["tasks"]) == 2  # the same list, said in other words


async def test_a_page_of_large_tasks_is_shorter(lists: Lists) -> None:
    ids = [(await lists.server.send(f"blob {3 << 20}"))["id"] for _ in range(4)]
    ids += [(await lists.server.send(metadata={"large": "x" * (3 << 20)}, text="echo x"))["id"] for _ in range(4)]
    assert [task["id"] for task in (await lists.page(pageSize=9))["tasks"]] == ids[:-3:-1]
    assert await lists.ids(pageSize=9) == ids[::-1]
    assert await lists.ids(pageSize=9, includeArtifacts=True) == ids[::-1]


async def test_a_list_is_read_while_it_grows(lists: Lists) -> None:
    """Tasks that do not change are seen exactly once, however many come meanwhile."""
    quiet = [f"t{n}" for n in range(40, 0, -1)]
    await lists.put(*(lists.row(n) for n in range(1, 41)))

    async def grow() -> None:
        for n in range(20):
            await lists.server.send(f"echo {n}", message_id=new_id())

    growing = asyncio.create_task(grow())
    while not growing.done():
        found = await lists.rest("", pageSize=9)
        assert [id for id in found if id in quiet] == quiet
    await growing


async def test_the_reference_client(lists: Lists) -> None:
    await lists.put(*(lists.row(n, State.FAILED if n % 2 else State.COMPLETED) for n in range(1, 8)))
    async with sdk.connect(lists.server.url) as (_, client):

        async def listed(**params: object) -> Json:
            answer = await client.list_tasks(ParseDict(params, ListTasksRequest()))
            shown: Json = MessageToDict(answer, always_print_fields_with_no_presence=True)
            return shown

        page = await listed(status="TASK_STATE_FAILED", pageSize=3)
        assert [task["id"] for task in page["tasks"]] == ["t7", "t5", "t3"]
        assert (page["pageSize"], page["totalSize"]) == (3, 4)
        rest = await listed(status="TASK_STATE_FAILED", pageSize=3, pageToken=page["nextPageToken"])
        assert [task["id"] for task in rest["tasks"]] == ["t1"]
        assert rest["nextPageToken"] == ""
        after = await listed(statusTimestampAfter="2026-05-28T10:00:06Z", contextId="context", historyLength=1)
        assert [task["id"] for task in after["tasks"]] == ["t7", "t6"]
        done = await lists.server.send("echo hi")
        [shown] = (await listed(pageSize=1, includeArtifacts=True, historyLength=1))["tasks"]
        assert shown["id"] == done["id"]
        assert shown["artifacts"][0]["parts"][0]["text"] == "hi"
        assert [message["messageId"] for message in shown["history"]] == [done["history"][0]["messageId"]]


async def test_older_generations_have_no_list(lists: Lists) -> None:
    for version in ("0.1", "0.3"):
        answer = await lists.server.rpc("ListTasks", {}, headers={"A2A-Version": version})
        assert answer["error"]["code"] == -32009
    assert (await lists.server.rpc("tasks/list", {}))["error"]["code"] == -32601
