"""Tasks that agents pulled and completed: they wait for their children, and end by them and by their checks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from a2a_server import Agent
from a2a_server.engine.settling import Settler
from a2a_server.model.objects import Phase, State
from a2a_server.model.rows import TaskRow
from tests.server.managing import Managed, managed, seen
from tests.server.pullers import Puller, asked, chunk, puller, row_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.backends]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office() -> AsyncIterator[Managed]:
    agent = Agent("Parts")
    agent.pulled_skill("whole", description="Has parts.", max_concurrency=1)
    agent.pulled_skill("part", description="Is one.")

    @agent.skill
    async def here(text: str) -> str:
        return text

    async with managed(agent) as server:
        yield server


async def begun(office: Managed, criterion: object, *words: str) -> tuple[Puller, dict[str, Any], list[dict[str, Any]]]:
    """A task that an agent runs, and its children, which the agent has claimed too."""
    worker = await puller(office, "whole")
    helper = await puller(office, "part")
    task = await asked(office, "whole", skill="whole", completeWhen=criterion)
    claimed = await worker.one()
    assert (claimed["id"], claimed["completeWhen"]) == (task["id"], criterion)
    children = []
    for word in words:
        made = await asked(office, word, skill="part", parentTaskId=task["id"])
        child = await helper.one()
        assert child["id"] == made["id"]
        children.append(child | {"by": helper})
    return worker, claimed, children


async def done(child: dict[str, Any], verb: str = "complete", **body: Any) -> None:  # noqa: ANN401 - any member
    helper: Puller = child["by"]
    await helper.end(child, verb, **body)


async def final(office: Managed, task: dict[str, Any]) -> dict[str, Any]:
    return await seen(lambda: office.get(f"/tasks/{task['id']}"), lambda found: found["phase"] == "final")


async def data_of(office: Managed, task: dict[str, Any], name: str) -> Any:  # noqa: ANN401 - JSON
    found = await office.server.get(task["id"])
    [parts] = [one["parts"] for one in found["artifacts"] if one["name"] == name]
    return parts[0].get("data", parts[0].get("text"))


async def test_it_waits_for_its_children_and_gathers_their_results(office: Managed) -> None:
    worker, task, children = await begun(office, "all", "one", "two")
    await done(children[0], result={"n": 1})
    told = await worker.end(task, "complete", partial="half of it")
    assert (told["state"], told["phase"]) == ("working", "waiting")
    shown = await office.get(f"/tasks/{task['id']}")
    assert (shown["unmet"], shown["status"], shown["completeWhen"]) == (1, "decomposed", "all")
    assert "worker" not in shown
    explained = await office.get(f"/tasks/{task['id']}/explain")
    assert explained["reasons"][0]["text"] == "It waits for its children: 1 of 2 have ended."
    await office.refused(409, "POST", worker.path(task, "complete"), {"fence": task["fence"]})
    assert await worker.claim() == [], "nobody is given it again"
    await done(children[1], result="two")
    ended = await final(office, task)
    assert (ended["state"], ended["partial"], ended.get("unmet")) == ("completed", "half of it", None)
    assert await data_of(office, task, "results") == [
        {"taskId": children[0]["id"], "state": "completed", "result": {"n": 1}},
        {"taskId": children[1]["id"], "state": "completed", "result": "two"},
    ]


async def test_a_result_of_its_own_stays(office: Managed) -> None:
    worker, task, [child] = await begun(office, "any", "one")
    await worker.say(task, chunk("draft", "words"))
    await worker.end(task, "complete", result="mine")
    await done(child)
    assert (await final(office, task))["state"] == "completed"
    found = await office.server.get(task["id"])
    assert [one["name"] for one in found["artifacts"]] == ["draft", "result"]


@pytest.mark.parametrize(("criterion", "verbs", "state"), [
    ("all", ["fail", "complete"], "failed"),
    ("any", ["fail", "complete"], "completed"),
    ("2", ["complete", "fail"], "failed"),
    ("any", [], "failed"),
    ("all", [], "completed"),
])  # fmt: skip
@pytest.mark.parametrize("first", [True, False], ids=["ends first", "completes first"])
async def test_it_ends_by_the_criterion(
    office: Managed, criterion: str, verbs: list[str], state: str, first: bool
) -> None:
    worker, task, children = await begun(office, criterion, *map(str, range(len(verbs))))
    if not first:
        await worker.end(task, "complete")
    for child, verb in zip(children, verbs, strict=True):
        await done(child, verb, **({"text": "no"} if verb == "fail" else {}))
    if first:
        await worker.end(task, "complete")
    ended = await final(office, task)
    assert ended["state"] == state
    if state == "failed":
        assert f"needed {criterion} of its subtasks" in ended["error"]["text"]


async def test_its_checks_decide_too(office: Managed) -> None:
    both = {"children": "all", "checks": ["format"]}
    good, bad = {"name": "format", "passed": True}, {"name": "format", "passed": False, "message": "no capital"}
    worker, task, [child] = await begun(office, both, "one")
    await worker.end(task, "complete", checks=[good, {"name": "other", "passed": False}])
    await done(child)
    ended = await final(office, task)
    assert (ended["state"], ended["completeWhen"]) == ("completed", both)
    assert ended["checks"] == [
        {"name": "format", "passed": True, "required": False},
        {"name": "other", "passed": False, "required": False},
    ]
    worker, task, [child] = await begun(office, both, "one")
    told = await worker.end(task, "complete", checks=[bad])
    assert told["phase"] == "final", "what cannot complete waits for nobody"
    failed = await final(office, task)
    assert '"format" did not pass (no capital)' in failed["error"]["text"]
    assert failed["checks"][0]["message"] == "no capital"
    await done(child)


async def test_checks_without_children(office: Managed) -> None:
    worker = await puller(office, "whole")
    for said, state in (([], "failed"), ([{"name": "format", "passed": True}], "completed")):
        task = await asked(office, "x", skill="whole", completeWhen={"checks": ["format"]})
        await worker.end(await worker.one(), "complete", checks=said)
        ended = await final(office, task)
        assert ended["state"] == state
    worker = await puller(office, "here")
    plain = await asked(office, "x", skill="whole")
    worker = await puller(office, "whole")
    await worker.end(await worker.one(), "complete", checks=[{"name": "a", "passed": False, "message": "b"}])
    assert (await final(office, plain))["checks"] == [{"name": "a", "passed": False, "required": False, "message": "b"}]


async def test_a_child_that_is_sent_while_it_waits_counts(office: Managed) -> None:
    worker, task, [child] = await begun(office, "all", "one")
    await worker.end(task, "complete")
    late = await asked(office, "late", skill="here", parentTaskId=task["id"], delaySeconds=3600)
    await done(child)
    await seen(lambda: row_of(office, task["id"]), lambda row: row.unmet == 1)
    assert (await row_of(office, task["id"])).phase is Phase.WAITING
    await office.post(f"/tasks/{late['id']}/requeue", {"delaySeconds": 0})
    assert (await final(office, task))["state"] == "completed"


async def test_it_is_canceled_while_it_waits(office: Managed) -> None:
    worker, task, [child] = await begun(office, "all", "one")
    await worker.end(task, "complete")
    await office.post(f"/tasks/{task['id']}/cancel")
    assert (await final(office, task))["state"] == "canceled"
    life = await office.post(
        f"/workers/{child['by'].id}/heartbeat", {"tasks": [{"id": child["id"], "fence": child["fence"]}]}
    )
    await seen(lambda: row_of(office, child["id"]), lambda row: bool(row.cancel_at))
    assert life["tasks"][0]["id"] == child["id"]
    await done(child, "fail", text="stopped")


async def test_a_process_that_dies_before_it_ended_the_task_leaves_it_to_the_next(
    office: Managed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The edge that decided stays unsettled until the task has ended: the next look finds it."""
    worker, task, [child] = await begun(office, "any", "one")
    await worker.end(task, "complete")
    settler: Settler = office.system.engine.duties.settler
    ends, looked = settler._end, list[Any]()

    async def dies(key: Any) -> None:  # noqa: ANN401 - a key
        looked.append(key)
        raise RuntimeError

    monkeypatch.setattr(settler, "_end", dies)
    await done(child)
    await seen(_const(looked), bool)
    assert (await row_of(office, task["id"])).phase is Phase.WAITING
    monkeypatch.setattr(settler, "_end", ends)
    assert (await final(office, task))["state"] == "completed"


def _const(value: list[Any]) -> Any:  # noqa: ANN401 - a reader
    async def read() -> list[Any]:
        return value

    return read


async def test_two_processes_end_it_once(office: Managed) -> None:
    worker, task, [child] = await begun(office, "all", "one")
    await worker.end(task, "complete")
    settler: Settler = office.system.engine.duties.settler
    row: TaskRow = await row_of(office, task["id"])
    await settler._end(row.key)  # not decided: nothing happens
    assert (await row_of(office, task["id"])).rev == row.rev
    await done(child)
    await final(office, task)
    ended = await row_of(office, task["id"])
    await settler._end(row.key)
    assert await row_of(office, task["id"]) == ended
    assert ended.state is State.COMPLETED
