"""What is read of one task: `/api/v1/tasks/{id}/…`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field

from a2a_server.model.management import Plain, TaskFilter
from a2a_server.model.objects import State, artifact_id
from a2a_server.model.rows import EdgeKind, TaskRow
from a2a_server.service.reading import MOST_TASKS, Reading
from a2a_server.service.searching import Searching, word_of
from a2a_server.service.showing import STATES, Beside, Shown, task_shown
from a2a_server.service.showing_details import (
    ArtifactShown,
    EventShown,
    JournalShown,
    ValueShown,
    artifact_shown,
    event_shown,
    journal_shown,
    value_shown,
)
from a2a_server.web.management.table import Call, NoQuery, Query, Reply, Route
from a2a_server.web.management.tasks import TaskPage
from a2a_server.wire import v10


class NumberQuery(Query):
    """Where a list by numbers goes on."""

    after: int = Field(0, ge=0, le=2**53, description="Behind this number.")
    limit: int = Field(100, ge=1, le=1000, description="Most of the page.")


class NameQuery(Query):
    """Where a list by names goes on."""

    after: Plain | None = Field(None, description="Behind this name.")
    limit: int = Field(100, ge=1, le=1000, description="Most of the page.")


class ChildrenQuery(Query):
    """Where a list of tasks goes on."""

    limit: int = Field(50, ge=1, le=200, description="Most tasks of the page.")
    cursor: str = Field("", max_length=1024, description="The next of the page before.")


class GraphQuery(Query):
    """How much of a graph."""

    limit: int = Field(1000, ge=1, le=MOST_TASKS, description="Most tasks.")


class EventPage(Shown):
    """Events in order."""

    events: list[EventShown]
    next: int | None = Field(None, description="The after of the next page; absent = this was the last.")


class JournalPage(Shown):
    """Entries in order."""

    entries: list[JournalShown]
    next: int | None = Field(None, description="The after of the next page; absent = this was the last.")


class ValuePage(Shown):
    """Remembered values by name."""

    values: list[ValueShown]
    next: str | None = Field(None, description="The after of the next page; absent = this was the last.")


class MessageShown(Shown):
    """A message of the history; seq: the event that said it."""

    seq: int
    message: dict[str, Any] = Field(description="As in A2A 1.0.")


class MessagePage(Shown):
    """Messages, oldest first."""

    messages: list[MessageShown]
    next: int | None = Field(None, description="The after of the next page; absent = this was the last.")


class ArtifactPage(Shown):
    """Results."""

    artifacts: list[ArtifactShown]


class ResultShown(Shown):
    """What came out of a task."""

    state: str
    message: dict[str, Any] | None = Field(None, description="What was said with its status, as in A2A 1.0.")
    artifacts: list[dict[str, Any]] = Field(description="With their content, as in A2A 1.0.")


class NodeShown(Shown):
    """A task of a graph."""

    id: str
    title: str | None = None
    skill: str
    state: str
    phase: str
    status: str


class EdgeShown(Shown):
    """A tie: `to` waits for `from`, or (kind child) is a part of it."""

    upstream: str = Field(serialization_alias="from")
    downstream: str = Field(serialization_alias="to")
    kind: str = Field(description="fail, cancel, run (what follows if it does not complete) or child.")
    ended: str | None = Field(None, description="The state in which the first one ended.")


class GraphShown(Shown):
    """Tasks that are tied to each other."""

    tasks: list[NodeShown]
    edges: list[EdgeShown]
    complete: bool = Field(description="Whether these are all.")


class DetailPages:
    """Serves what is read of one task. base_url: where clients reach this server; agent: as its card calls it."""

    def __init__(self, reading: Reading, searching: Searching, base_url: Callable[[], str], agent: str) -> None:
        self._reading = reading
        self._searching = searching
        self._base_url = base_url
        self._agent = agent

    def routes(self) -> tuple[Route, ...]:
        """Its rows of the table."""
        one = "/tasks/{id}"
        return (
            Route(
                "GET",
                one + "/events",
                "listEvents",
                "Its events.",
                self.events,
                "tasks",
                query=NumberQuery,
                result=EventPage,
            ),
            Route(
                "GET",
                one + "/journal",
                "listJournal",
                "Its audit trail.",
                self.journal,
                "tasks",
                query=NumberQuery,
                result=JournalPage,
            ),
            Route(
                "GET",
                one + "/checkpoints",
                "listCheckpoints",
                "Its checkpoints.",
                self.checkpoints,
                "tasks",
                query=NameQuery,
                result=ValuePage,
            ),
            Route(
                "GET",
                one + "/steps",
                "listSteps",
                "Its remembered steps.",
                self.steps,
                "tasks",
                query=NameQuery,
                result=ValuePage,
            ),
            Route(
                "GET",
                one + "/messages",
                "listMessages",
                "Its messages.",
                self.messages,
                "tasks",
                query=NumberQuery,
                result=MessagePage,
            ),
            Route(
                "GET",
                one + "/artifacts",
                "listArtifacts",
                "Its results, without content.",
                self.artifacts,
                "tasks",
                result=ArtifactPage,
            ),
            Route(
                "GET", one + "/result", "getResult", "What came out of it.", self.result, "tasks", result=ResultShown
            ),
            Route(
                "GET",
                one + "/children",
                "listChildren",
                "Its parts, newest first.",
                self.children,
                "tasks",
                query=ChildrenQuery,
                result=TaskPage,
            ),
            Route(
                "GET",
                one + "/graph",
                "getGraph",
                "All that it is tied to.",
                self.graph,
                "tasks",
                query=GraphQuery,
                result=GraphShown,
            ),
        )

    async def events(self, call: Call[NumberQuery, None]) -> Reply:
        """GET /tasks/{id}/events."""
        rows, more = await self._reading.events(call.scope, call.path["id"], call.query.after, call.query.limit)
        shown = [event_shown(row, self._base_url()) for row in rows]
        return Reply(EventPage(events=shown, next=rows[-1].n if more else None))

    async def journal(self, call: Call[NumberQuery, None]) -> Reply:
        """GET /tasks/{id}/journal."""
        rows, more = await self._reading.journal(call.scope, call.path["id"], call.query.after, call.query.limit)
        return Reply(JournalPage(entries=[journal_shown(row) for row in rows], next=rows[-1].n if more else None))

    async def checkpoints(self, call: Call[NameQuery, None]) -> Reply:
        """GET /tasks/{id}/checkpoints."""
        after = call.query.after or ""
        rows, more = await self._reading.checkpoints(call.scope, call.path["id"], after, call.query.limit)
        return Reply(ValuePage(values=[value_shown(row) for row in rows], next=rows[-1].name if more else None))

    async def steps(self, call: Call[NameQuery, None]) -> Reply:
        """GET /tasks/{id}/steps."""
        after = call.query.after or ""
        rows, more = await self._reading.steps(call.scope, call.path["id"], after, call.query.limit)
        return Reply(ValuePage(values=[value_shown(row) for row in rows], next=rows[-1].name if more else None))

    async def messages(self, call: Call[NumberQuery, None]) -> Reply:
        """GET /tasks/{id}/messages."""
        found, more = await self._reading.messages(call.scope, call.path["id"], call.query.after, call.query.limit)
        base_url = self._base_url()
        shown = [MessageShown(seq=seq, message=v10.render_message(message, base_url)) for seq, message in found]
        return Reply(MessagePage(messages=shown, next=found[-1][0] if more else None))

    async def artifacts(self, call: Call[NoQuery, None]) -> Reply:
        """GET /tasks/{id}/artifacts."""
        rows = await self._reading.artifacts(call.scope, call.path["id"])
        base_url = self._base_url()
        return Reply(ArtifactPage(artifacts=[artifact_shown(row, artifact_id(row.id), base_url) for row in rows]))

    async def result(self, call: Call[NoQuery, None]) -> Reply:
        """GET /tasks/{id}/result."""
        task = await self._reading.result(call.scope, call.path["id"])
        shown: Any = v10.render_task(task, self._base_url())
        said = shown["status"].get("message")
        return Reply(ResultShown(state=STATES[task.status.state], message=said, artifacts=shown.get("artifacts", [])))

    async def children(self, call: Call[ChildrenQuery, None]) -> Reply:
        """GET /tasks/{id}/children."""
        row = await self._reading.find(call.scope, call.path["id"])
        wanted = TaskFilter(parentTaskId=row.id)
        page = await self._searching.page(call.scope, wanted, limit=call.query.limit, cursor=call.query.cursor)
        begun = await self._reading.starts.of(page.rows)
        shown = [task_shown(one, self._agent, Beside(begun[one.key])) for one in page.rows]
        return Reply(TaskPage(tasks=shown, next=page.next))

    async def graph(self, call: Call[GraphQuery, None]) -> Reply:
        """GET /tasks/{id}/graph."""
        graph = await self._reading.graph(call.scope, call.path["id"], call.query.limit)
        tasks = graph.tasks
        edges = [
            EdgeShown(
                upstream=tasks[edge.upstream].id,
                downstream=tasks[edge.downstream].id,
                kind=EdgeKind(edge.on_failure).name.lower(),
                ended=STATES[State(abs(edge.done))] if edge.done else None,
            )
            for edge in graph.edges
        ]
        return Reply(
            GraphShown(tasks=[_node(tasks[key]) for key in sorted(tasks)], edges=edges, complete=graph.complete)
        )


def _node(row: TaskRow) -> NodeShown:
    shown = task_shown(row)
    return NodeShown(
        id=row.id, title=shown.title, skill=row.skill, state=shown.state, phase=shown.phase, status=word_of(row)
    )
