"""Agents that pull their work over HTTP: claimed once, reported under a fence, rescued when they die."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from operator import lt
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from a2a_server.model.objects import Phase, Scope, State
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import WorkerRow
from a2a_server.policy import SECOND
from a2a_server.service.pullers import Registration
from a2a_server.service.pulling import Pulling, RunName
from a2a_server.web.management.application import ManagementApi
from a2a_server.web.management.routes import all_routes
from a2a_server.web.management.table import Route
from tests.patience import PATIENCE
from tests.server.engines import running
from tests.server.managing import Managed, ended, fields_of, managed, seen
from tests.server.pullers import Puller, agent, asked, chunk, puller, row_of, texts

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office() -> AsyncIterator[Managed]:
    async with managed(agent()) as server:
        yield server


async def test_a_task_is_claimed_worked_on_and_completed(office: Managed) -> None:
    worker = await puller(office)
    task = await asked(office, "good morning", parameters={"to": "fr"}, title="Greeting")
    assert (await office.server.get(task["id"]))["status"]["state"] == "TASK_STATE_SUBMITTED"
    claimed = await worker.one()
    assert claimed["id"] == task["id"]
    assert claimed["message"]["parts"] == [{"text": "good morning"}]
    assert claimed["parameters"] == {"to": "fr"}
    assert (claimed["fence"], claimed["attempt"], claimed["maxAttempts"]) == (1, 1, 3)
    assert claimed["title"] == "Greeting"
    told = await worker.say(claimed, {"progress": {"done": 1, "total": 2, "note": "half"}}, chunk("draft", "bon"))
    assert told["state"] == "working"
    await worker.say(claimed, chunk("draft", "jour"), {"log": {"level": "info", "text": "nearly"}})
    ended = await worker.end(claimed, "complete", result={"lang": "fr"})
    assert (ended["state"], ended["phase"]) == ("completed", "final")
    found = await office.server.get(task["id"])
    assert texts(found)["draft"] == "bonjour"
    assert [part["data"] for one in found["artifacts"] if one["name"] == "result" for part in one["parts"]] == [
        {"lang": "fr"}
    ]


async def test_followers_see_each_report_once_and_in_order(office: Managed) -> None:
    worker = await puller(office)
    stream = office.server.stream("go", options={"skill": "translate"})
    await anext(stream)
    claimed = await worker.one()
    for word in ("one ", "two ", "three"):
        await worker.say(claimed, chunk("text", word))
    await worker.end(claimed, "complete")
    numbers: list[int] = []
    text = ""
    async for n, item in stream:
        numbers.append(n or 0)
        if update := item.get("artifactUpdate"):
            said = "".join(part.get("text", "") for part in update["artifact"]["parts"])
            text = text + said if update.get("append") else said
    assert numbers == sorted(set(numbers))
    assert text == "one two three"


async def test_another_process_goes_on_where_the_first_one_was(office: Managed) -> None:
    """What a process has at hand of a run is no more than what is stored."""
    worker = await puller(office)
    task = await asked(office)
    claimed = await worker.one()
    async with second_door(office) as other:
        elsewhere = Puller(other, worker.id)
        for number in range(6):
            await (elsewhere if number % 2 else worker).say(
                claimed, chunk("text", f"{number} "), {"progress": {"done": number, "total": 6}}
            )
        await elsewhere.end(claimed, "complete", artifacts=[{"name": "more", "parts": [{"text": "!"}]}])
    found = await office.server.get(task["id"])
    assert texts(found) == {"text": "0 1 2 3 4 5 ", "more": "!"}


@asynccontextmanager
async def second_door(office: Managed) -> AsyncIterator[Managed]:
    """The same engine behind other pages, which know nothing of what those of the first one have at hand."""
    routes = all_routes(
        office.system.engine, lambda: office.server.url, agent="Office", heartbeat_seconds=15, write_stall_seconds=30
    )

    async def given() -> Sequence[Route]:
        return routes

    door = httpx2.ASGITransport(ManagementApi(given, local=lambda: True))
    async with httpx2.AsyncClient(transport=door, trust_env=False) as http:
        yield Managed(office.server, http)


async def test_a_claim_waits_for_work_and_takes_what_comes(office: Managed) -> None:
    worker = await puller(office, "other")
    waiting = asyncio.get_running_loop().create_task(worker.claim(waitSeconds=30))
    await asyncio.sleep(0)
    task = await asked(office, skill="other")
    async with asyncio.timeout(PATIENCE):
        [claimed] = await waiting
    assert claimed["id"] == task["id"]
    await worker.end(claimed, "complete", result="done")


async def test_local_workers_leave_pulled_skills_alone(office: Managed) -> None:
    task = await asked(office, skill="other")
    here = await office.server.send("local", options={"skill": "here"})
    assert here["status"]["state"] == "TASK_STATE_COMPLETED"
    row = await row_of(office, task["id"])
    assert row.phase is Phase.READY
    worker = await puller(office, "other")
    await worker.end(await worker.one(), "complete")


async def test_no_two_claims_take_the_same_task(office: Managed) -> None:
    workers = [await puller(office, "other") for _ in range(4)]
    ids = {(await asked(office, str(number), skill="other"))["id"] for number in range(20)}
    taken = [task for found in await asyncio.gather(*(worker.claim(limit=6) for worker in workers)) for task in found]
    assert len(taken) == len({task["id"] for task in taken}) == 20
    assert {task["id"] for task in taken} == ids
    for worker in workers:
        life = await office.post(
            f"/workers/{worker.id}/heartbeat", {"tasks": [{"id": t["id"], "fence": t["fence"]} for t in taken]}
        )
        for one in life["tasks"]:
            if one["held"]:
                await worker.end(one, "complete")
    assert {(await office.server.get(one))["status"]["state"] for one in ids} == {"TASK_STATE_COMPLETED"}


async def test_a_named_claim_gives_the_same_tasks_again(office: Managed) -> None:
    worker = await puller(office, "other")
    await asked(office, skill="other")
    await asked(office, skill="other")
    first = await worker.claim(claimId="a")
    assert await worker.claim(claimId="a") == first
    second = await worker.claim(claimId="b")
    assert second[0]["id"] != first[0]["id"]
    await worker.end(second[0], "release")
    assert await worker.claim(claimId="b") != second  # it is held no more: claimed anew
    await worker.end(first[0], "complete")
    life = await office.post(f"/workers/{worker.id}/heartbeat", {"tasks": [{"id": second[0]["id"], "fence": 2}]})
    assert [one["held"] for one in life["tasks"]] == [True]
    await worker.end({"id": second[0]["id"], "fence": 2}, "complete")


@pytest.mark.embedded
async def test_what_a_client_that_is_gone_claimed_is_handed_back(tmp_path: Path) -> None:
    async with running(agent(), tmp_path) as server:
        pulling = Pulling(server.engine)
        worker = await pulling.register(Scope(), Registration(("other",)))
        task_id = await server.start(skill="other")
        server.store.holds = lambda needs: bool(needs.claims and worker.key in needs.workers)
        server.store.gate.clear()
        claiming = asyncio.get_running_loop().create_task(pulling.claim(Scope(), worker.key.hex(), 1))
        async with asyncio.timeout(PATIENCE):
            await server.store.held.wait()
        claiming.cancel()
        await asyncio.gather(claiming, return_exceptions=True)
        server.store.gate.set()
        await seen(lambda: server.row(task_id), lambda row: row.fence == 1 and row.phase is Phase.READY)
        [again] = await pulling.claim(Scope(), worker.key.hex(), 1)
        assert (again.row.fence, again.row.attempt) == (2, 0)


async def test_a_failure_ends_the_task_and_a_retry_does_not(office: Managed) -> None:
    worker = await puller(office)
    task = await asked(office)
    first = await worker.one()
    again = await worker.end(first, "fail", text="The model is away.", retry=True, afterSeconds=0)
    assert again["state"] == "working"
    second = await worker.one()
    assert (second["id"], second["fence"], second["attempt"]) == (task["id"], 2, 2)
    failed = await worker.end(second, "fail", text="No such language.")
    assert failed["state"] == "failed"
    found = await office.server.get(task["id"])
    assert found["status"]["message"]["parts"] == [{"text": "No such language."}]


async def test_releasing_counts_nothing(office: Managed) -> None:
    worker = await puller(office)
    await asked(office)
    released = await worker.end(await worker.one(), "release")
    assert released["phase"] == "ready"
    claimed = await worker.one()
    assert (claimed["fence"], claimed["attempt"]) == (2, 1)
    await worker.end(claimed, "complete")


async def test_a_stale_fence_is_refused_and_writes_nothing(office: Managed) -> None:
    worker, heir = await puller(office), await puller(office)
    task = await asked(office)
    stale = await worker.one()
    await worker.say(stale, chunk("text", "mine "))
    await worker.end(stale, "release")
    fresh = await heir.one()
    for verb, body in (
        ("events", {"events": [chunk("text", "late")]}),
        ("complete", {"result": "late"}),
        ("fail", {"text": "late"}),
        ("release", {}),
    ):
        error = await office.refused(409, "POST", worker.path(stale, verb), {"fence": stale["fence"], **body})
        assert "Drop it" in error["message"]
        await office.refused(409, "POST", worker.path(stale, verb), {"fence": fresh["fence"], **body})
    await heir.end(fresh, "complete", result="on time")
    await office.refused(409, "POST", heir.path(fresh, "complete"), {"fence": fresh["fence"]})
    assert texts(await office.server.get(task["id"]))["result"] == "on time"


async def test_the_fence_of_an_earlier_claim_of_the_same_worker_is_stale(office: Managed) -> None:
    worker = await puller(office)
    await asked(office)
    stale = await worker.one()
    await worker.end(stale, "release")
    fresh = await worker.one()
    assert (fresh["id"], fresh["fence"]) == (stale["id"], stale["fence"] + 1)
    await office.refused(409, "POST", worker.path(stale, "complete"), {"fence": stale["fence"], "result": "late"})
    await office.refused(409, "POST", worker.path(stale, "complete"), {"fence": fresh["fence"] + 1, "result": "early"})
    held = [{"id": fresh["id"], "fence": fence} for fence in (stale["fence"], fresh["fence"])]
    life = await office.post(f"/workers/{worker.id}/heartbeat", {"tasks": held})
    assert [one["held"] for one in life["tasks"]] == [False, True]
    await worker.end(fresh, "complete")


async def test_cancellation_reaches_the_agent(office: Managed) -> None:
    worker = await puller(office)
    task = await asked(office)
    claimed = await worker.one()
    canceling = asyncio.get_running_loop().create_task(office.server.cancel(task["id"]))
    async with asyncio.timeout(PATIENCE):
        while True:
            life = await office.post(
                f"/workers/{worker.id}/heartbeat", {"tasks": [{"id": task["id"], "fence": claimed["fence"]}]}
            )
            if life["tasks"][0]["cancelRequested"]:
                break
    assert (await worker.say(claimed, {"log": {"text": "stopping"}}))["cancelRequested"]
    ended = await worker.end(claimed, "fail", text="stopped")
    assert ended["state"] == "canceled"
    assert (await canceling)["status"]["state"] == "TASK_STATE_CANCELED"


async def test_an_agent_that_falls_silent_loses_its_tasks() -> None:
    async with managed(agent(), poll_seconds=0.1, lease_seconds=3600.0) as office:
        gone = await puller(office, leaseSeconds=600)
        task = await asked(office)
        claimed = await gone.one()
        await gone.say(claimed, chunk("text", "half"))
        store = office.system.engine.backends.store
        store._offset += 601 * SECOND  # type: ignore[attr-defined]  # the clock that tests set
        heir = await puller(office, leaseSeconds=600)
        again = await heir.one()
        assert (again["id"], again["fence"], again["attempt"]) == (task["id"], 2, 2)
        error = await office.refused(409, "POST", gone.path(claimed, "complete"), {"fence": 1})
        assert "register again" in error["message"]
        await office.refused(409, "POST", f"/workers/{gone.id}/claim", {})
        await heir.say(again, chunk("text", "whole"))
        await heir.end(again, "complete")
        assert texts(await office.server.get(task["id"])) == {"text": "whole"}


async def test_signs_of_life_go_on_while_a_claim_waits() -> None:
    async with managed(agent(), poll_seconds=0.1) as office:
        worker = await puller(office, leaseSeconds=600)
        store = office.system.engine.backends.store

        async def seen_at() -> int:
            page = await store.rows(RowQuery(Table.WORKER, (bytes.fromhex(worker.id),)))
            [row] = page.rows
            assert isinstance(row, WorkerRow)
            return row.seen_at

        waiting = asyncio.get_running_loop().create_task(worker.claim(waitSeconds=30))
        for _ in range(3):
            before = await seen_at()
            await seen(seen_at, partial(lt, before))
        await asked(office)
        [claimed] = await waiting
        await worker.end(claimed, "complete")


async def test_files_small_and_uploaded(office: Managed) -> None:
    worker = await puller(office)
    task = await asked(office)
    claimed = await worker.one()
    large = b"x" * 200_000
    upload = await office.http.post(
        office.server.url + "/artifacts", content=large, headers={"Content-Type": "image/png"}
    )
    small = {"raw": base64.b64encode(b"small").decode(), "filename": "a.bin"}
    await worker.end(
        claimed,
        "complete",
        artifacts=[
            {"name": "small", "parts": [small]},
            {"name": "large", "parts": [{"url": upload.json()["url"], "filename": "b.png"}]},
        ],
    )
    found = {one["name"]: one["parts"][0] for one in (await office.server.get(task["id"]))["artifacts"]}
    assert found["small"]["raw"] == small["raw"]
    assert (await office.http.get(found["large"]["url"])).content == large


async def test_text_of_many_reports_becomes_one_object(office: Managed) -> None:
    worker = await puller(office)
    task = await asked(office)
    claimed = await worker.one()
    piece = "0123456789" * 3000
    for _ in range(4):
        await worker.say(claimed, chunk("text", piece))
    await worker.end(claimed, "complete", result="end")
    assert texts(await office.server.get(task["id"])) == {"text": piece * 4, "result": "end"}


async def test_an_artifact_that_is_too_large_fails_the_task_with_the_reason_that_counts() -> None:
    async with managed(agent(), artifact_limit_bytes=100_000) as office:
        worker = await puller(office)
        for verb, body, text in (
            ("complete", {}, "An artifact is larger than the server keeps (artifact_limit_bytes)."),
            ("fail", {"text": "my own reason"}, "my own reason"),
        ):
            task = await asked(office)
            claimed = await worker.one()
            for _ in range(4):
                await worker.say(claimed, chunk("text", "x" * 30_000))
            assert (await worker.end(claimed, verb, **body))["state"] == "failed"
            found = await office.server.get(task["id"])
            assert found["status"]["message"]["parts"] == [{"text": text}]


@pytest.mark.embedded
async def test_a_task_that_might_have_been_a_direct_answer_is_a_task_once_it_is_claimed(tmp_path: Path) -> None:
    async with running(agent(), tmp_path, queues=("here",), direct_seconds=60.0) as server:
        pulling = Pulling(server.engine)
        worker = await pulling.register(Scope(), Registration(("answers",)))
        sending = asyncio.get_running_loop().create_task(server.send("x", skill="answers"))
        [found] = await pulling.claim(Scope(), worker.key.hex(), 1, PATIENCE)
        run = RunName(worker.key.hex(), found.row.id, found.row.fence)
        assert (await pulling.complete(Scope(), run, ())).state is State.COMPLETED
        task = await sending
        assert (task.id, task.status.state) == (found.row.id, State.COMPLETED)


async def test_workers_only_take_what_they_say(office: Managed) -> None:
    high = await puller(office, "other", lanes=["critical", "high"])
    fit = await puller(office, "other", tags=["eu"])
    low = await asked(office, skill="other", priority="low")
    eu = await asked(office, skill="other", requires={"tags": ["eu"]})
    assert await high.claim(limit=10) == []
    found = await fit.claim(limit=10, waitSeconds=30)
    assert {task["id"] for task in found} == {low["id"], eu["id"]}
    for task in found:
        await fit.end(task, "complete")


async def test_a_worker_that_leaves_is_known_no_more(office: Managed) -> None:
    worker = await puller(office)
    response = await office.ask("DELETE", f"/workers/{worker.id}")
    assert response.status_code == 204
    await office.refused(409, "POST", f"/workers/{worker.id}/heartbeat")


async def test_reports_at_the_same_moment_are_all_kept(office: Managed) -> None:
    worker = await puller(office)
    task = await asked(office)
    claimed = await worker.one()
    await asyncio.gather(*(worker.say(claimed, chunk(f"a{number}", str(number))) for number in range(12)))
    await worker.end(claimed, "complete")
    assert texts(await office.server.get(task["id"])) == {f"a{number}": str(number) for number in range(12)}


async def test_an_artifact_that_is_closed_stays_closed(office: Managed) -> None:
    worker = await puller(office)
    await asked(office)
    task = await worker.one()
    await worker.say(task, chunk("text", "all", last=True))
    async with second_door(office) as door:
        for other in (worker, Puller(door, worker.id)):
            body = {"fence": task["fence"], "events": [chunk("text", "more")]}
            assert fields_of(await other.office.refused(400, "POST", other.path(task, "events"), body)) == ["name"]
    await worker.end(task, "complete")


async def test_the_agent_of_the_documentation_works(office: Managed) -> None:
    """The whole program of docs/pulling.md, against this server."""
    page = (Path(__file__).parents[2] / "docs" / "pulling.md").read_text()
    [source] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(source.splitlines()) <= 45
    names: dict[str, Any] = {"__name__": "agent"}
    exec(compile(source, "pulling.md", "exec"), names)  # noqa: S102 - our own page
    task = await asked(office, "guten tag")
    working = asyncio.get_running_loop().create_task(names["main"](office.server.url, ["translate"]))
    try:
        assert await ended(office, task["id"]) == "TASK_STATE_COMPLETED"
        found = await office.server.get(task["id"])
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    assert texts(found)["result"] == "GUTEN TAG"
