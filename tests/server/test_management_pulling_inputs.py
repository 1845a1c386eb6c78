"""What agents that pull their work may say wrongly: refused, by the name of the field, with nothing written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.server.managing import Managed, fields_of, managed
from tests.server.pullers import agent, asked, chunk, puller, row_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office() -> AsyncIterator[Managed]:
    async with managed(agent()) as server:
        yield server


_FENCED = {"fence": 1}
BAD: list[tuple[str, dict[str, Any] | None, str]] = [
    ("/workers", {}, "skills"),
    ("/workers", {"skills": []}, "skills"),
    ("/workers", {"skills": ["nobody"]}, "skills[0]"),
    ("/workers", {"skills": ["translate", "undoes"]}, "skills[1]"),
    ("/workers", {"skills": ["translate"], "lanes": ["urgent"]}, "lanes[0]"),
    ("/workers", {"skills": ["translate"], "leaseSeconds": -1}, "leaseSeconds"),
    ("/workers", {"skills": ["translate"], "leaseSeconds": 1e9}, "leaseSeconds"),
    ("/workers", {"skills": ["translate"], "name": "a\u0000b"}, "name"),
    ("/workers", {"skills": ["translate"], "colour": "red"}, "colour"),
    ("{w}/claim", {"limit": 0}, "limit"),
    ("{w}/claim", {"limit": 201}, "limit"),
    ("{w}/claim", {"waitSeconds": 31}, "waitSeconds"),
    ("{w}/claim", {"claimId": "a\nb"}, "claimId"),
    ("{w}/heartbeat", {"tasks": [{"id": "x"}]}, "tasks[0].fence"),
    ("{t}/events", {"events": [chunk("a", "b")]}, "fence"),
    ("{t}/events", _FENCED, "events"),
    ("{t}/events", {**_FENCED, "events": []}, "events"),
    ("{t}/events", {**_FENCED, "events": [{}]}, "events[0]"),
    ("{t}/events", {**_FENCED, "events": [{**chunk("a", "b"), "log": {"text": "c"}}]}, "events[0]"),
    ("{t}/events", {**_FENCED, "events": [{"log": {"level": "loud", "text": "c"}}]}, "events[0].log.level"),
    ("{t}/events", {**_FENCED, "events": [{"progress": {"fraction": 2}}]}, "events[0].progress.fraction"),
    ("{t}/events", {**_FENCED, "events": [{"progress": {}}]}, "events[0].progress"),
    ("{t}/events", {**_FENCED, "events": [{"progress": {"done": 3, "total": 2}}]}, "events[0].progress"),
    ("{t}/events", {**_FENCED, "events": [{"artifact": {"name": "", "parts": []}}]}, "events[0].artifact.name"),
    *(
        ("{t}/events", {**_FENCED, "events": [chunk(name, "b")]}, "events[0].artifact.name")
        for name in ("photo\u202egpj.exe", "a\u2028b", "a\nb", "x" * 257)
    ),
    ("{t}/events", {**_FENCED, "events": [{"artifact": {"name": "a"}}]}, "events[0].artifact.parts"),
    ("{t}/events", {**_FENCED, "events": [{"artifact": {"name": "a", "parts": [{}]}}]}, "events[0].artifact.parts[0]"),
    (
        "{t}/events",
        {**_FENCED, "events": [{"artifact": {"name": "a", "parts": [{"raw": "A" * 200_000}]}}]},
        "events[0].artifact.parts[0].raw",
    ),
    (
        "{t}/complete",
        {**_FENCED, "artifacts": [{"name": "a", "parts": [{"url": "/artifacts/nothing/here"}]}]},
        "artifacts[0].parts[0].url",
    ),
    ("{t}/complete", {"fence": 0}, "fence"),
    ("{t}/complete", {"fence": 2**40}, "fence"),
    ("{t}/complete", {**_FENCED, "checks": [{"name": "a"}]}, "checks[0].passed"),
    ("{t}/complete", {**_FENCED, "checks": [{"name": "", "passed": True}]}, "checks[0].name"),
    ("{t}/complete", {**_FENCED, "checks": [{"name": "x" * 129, "passed": True}]}, "checks[0].name"),
    ("{t}/complete", {**_FENCED, "checks": [{"name": "a", "passed": "yes"}]}, "checks[0].passed"),
    ("{t}/complete", {**_FENCED, "checks": [{"name": "a", "passed": True, "required": True}]}, "checks[0].required"),
    ("{t}/complete", {**_FENCED, "checks": [{"name": "a", "passed": True}] * 2}, "checks[1].name"),
    ("{t}/complete", {**_FENCED, "checks": [{"name": "a", "passed": True}] * 101}, "checks"),
    ("{t}/fail", _FENCED, "text"),
    ("{t}/fail", {**_FENCED, "text": "x", "afterSeconds": 1}, "afterSeconds"),
    ("{t}/fail", {**_FENCED, "text": "x", "retry": True, "afterSeconds": -1}, "afterSeconds"),
    ("{t}/release", {"fence": "1"}, "fence"),
]


@pytest.mark.parametrize(("path", "body", "field"), BAD)
async def test_bad_input_is_refused_and_changes_nothing(
    office: Managed, path: str, body: dict[str, Any], field: str
) -> None:
    worker = await puller(office)
    await asked(office)
    task = await worker.one()
    before = await row_of(office, task["id"])
    at = path.format(w=f"/workers/{worker.id}", t=f"/workers/{worker.id}/tasks/{task['id']}")
    error = await office.refused(400, "POST", at, body)
    assert fields_of(error)[0] == field
    after = await row_of(office, task["id"])
    assert (after.last_n, after.journal_n, after.phase) == (before.last_n, before.journal_n, before.phase)
    await worker.end(task, "complete")


@pytest.mark.parametrize("worker", ["nothing", "00", "0" * 32, "F" * 32, "%20", "../x"])
async def test_a_worker_that_is_not_there(office: Managed, worker: str) -> None:
    await office.refused(404, "POST", f"/workers/{worker.replace('/', '%2F')}/claim", {})
