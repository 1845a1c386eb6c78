"""The tasks that a run spawned: made once whatever happens to it, found again by later runs, read when they ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from a2a_server.agent import choose
from a2a_server.codec import decode, decode_status, encode, pack_message
from a2a_server.engine.contents import shown
from a2a_server.engine.graph import edges_to, refuse_circle, revision
from a2a_server.engine.paging import state_pages
from a2a_server.engine.submitting import Said, Submissions
from a2a_server.engine.writer import Writer
from a2a_server.errors import ClientError, Conflict, Fail, StoreUnavailable
from a2a_server.lifecycle.dependencies import Extras
from a2a_server.lifecycle.labels import id_of, key_of, spawn_key
from a2a_server.lifecycle.submission import Submit, Submitted
from a2a_server.model.objects import Artifact, Data, Generation, Json, Message, Method, Scope, State, Text, Wishes
from a2a_server.model.options import TaskOptions
from a2a_server.model.requests import SendRequest
from a2a_server.model.rows import EdgeKind, EdgeRow, Key, SentKey, StateRow, TaskRow
from a2a_server.model.runs import ChildResult, SkillSpec
from a2a_server.ports import ArtifactStore, TaskStore

T = TypeVar("T")

SPAWNED: Final = "spawn"
"""The space of a task's state that holds the keys of its children by the steps that spawned them."""
STEPS: Final = 1000
"""Steps that are read at once."""
WALKS: Final = 5
"""How often a walk is begun anew because the graph was changed meanwhile."""


class Family:
    """The children of a task, as they are read; a run of ours also makes some (`Children`). check: as of `Shelves`."""

    def __init__(
        self,
        row: TaskRow,
        store: TaskStore,
        artifacts: ArtifactStore,
        *,
        retry_seconds: float,
        check: Callable[[], None],
    ) -> None:
        self._row = row
        self._store = store
        self._artifacts = artifacts
        self._retry_seconds = retry_seconds
        self._check = check

    async def spawn(self, step: str, message: Message, options: TaskOptions) -> str:  # noqa: ARG002 - for `Children`
        """Raises Fail: no run of ours has the task."""
        raise Fail("An agent that pulls its work spawns no tasks.")

    async def states(self, children: Sequence[str]) -> Sequence[State]:
        """How these tasks stand; one that is not there any more counts as ended: CANCELED."""
        keys = [key_of(child) for child in children]
        heads = await self._patiently(lambda: self._store.heads(keys))
        return [heads[key].state if key in heads else State.CANCELED for key in keys]

    async def joins(self) -> Sequence[EdgeRow]:
        """The edges by which the task follows its children, oldest child first."""
        return await self._patiently(self._joins)

    async def _joins(self) -> Sequence[EdgeRow]:
        return [edge async for edge in edges_to(self._store, self._row.key) if edge.on_failure == EdgeKind.JOIN]

    async def results(self, children: Sequence[str]) -> Sequence[ChildResult]:
        """What became of these tasks, one after the other."""
        return [await self._result(key_of(child)) for child in children]

    async def _result(self, key: Key) -> ChildResult:
        snapshot = await self._patiently(lambda: self._store.snapshot(key, 0))
        if snapshot is None:
            return ChildResult(id_of(key), State.CANCELED, "The task is not stored any more.")
        artifacts = await self._patiently(lambda: shown(snapshot, self._artifacts))
        status, _ = decode_status(snapshot.task.status, snapshot.task.status_at)
        said = status.message.text if status.message is not None else ""
        return ChildResult(
            snapshot.task.id, snapshot.task.state, text_of(artifacts) or said, data_of(artifacts), artifacts
        )

    async def _patiently(self, step: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await step()
            except (StoreUnavailable, Conflict):
                self._check()
                await asyncio.sleep(self._retry_seconds)


class Children(Family):
    """The children of the run that holds `row`."""

    def __init__(
        self,
        row: TaskRow,
        store: TaskStore,
        writer: Writer,
        *,
        artifacts: ArtifactStore,
        submissions: Submissions,
        skills: Sequence[SkillSpec],
        retry_seconds: float,
        check: Callable[[], None],
        new_key: Callable[[], Key],
    ) -> None:
        super().__init__(row, store, artifacts, retry_seconds=retry_seconds, check=check)
        self._writer = writer
        self._submissions = submissions
        self._skills = skills
        self._new_key = new_key
        self._known: dict[str, str] | None = {} if row.fence == 1 else None
        self._reading = asyncio.Lock()
        self._mine: set[str] = set()

    async def spawn(self, step: str, message: Message, options: TaskOptions) -> str:
        """The id of the task that this step spawns, in this run or in an earlier one. Raises Fail, LeaseLost."""
        known = await self._spawned()
        if (task_id := known.get(step)) is None:
            try:
                task_id = known[step] = (await self._sent(step, message, options)).row.id
            except ClientError as error:
                raise Fail(f"The handler spawned a task wrongly: {error.message}") from error
        self._mine.add(task_id)
        return task_id

    async def states(self, children: Sequence[str]) -> Sequence[State]:
        """As of any task. Raises Fail for one that no run of this one spawned: its end would wake nobody."""
        mine = set((await self._spawned()).values())
        if foreign := next((child for child in children if child not in mine), None):
            raise Fail(f"The handler joined the task {foreign}, which it did not spawn; join what spawn gave.")
        return await super().states(children)

    async def _spawned(self) -> dict[str, str]:
        async with self._reading:
            if self._known is None:
                self._known = await self._patiently(self._read)
        return self._known

    async def _read(self) -> dict[str, str]:
        found: dict[str, str] = {}
        async for page in state_pages(self._store.rows, self._row.key, SPAWNED, STEPS):
            found |= {row.name: id_of(Key(bytes.fromhex(decode(row.body)))) for row in page}
        return found

    async def _sent(self, step: str, message: Message, options: TaskOptions) -> Submitted:
        row, key = self._row, self._new_key()
        scope = Scope(row.tenant, row.owner)
        request = SendRequest(row.generation, message, "", row.context, options=options, method=Method.SPAWN)
        if request.generation is Generation.V01:
            request = replace(request, generation=Generation.V10)
        sent = SentKey(row.tenant, row.owner, row.agent, "", spawn_key(row.key, step))
        note = StateRow(row.key, SPAWNED, step, 0, row.fence, encode(key.hex()))
        extras = Extras(parent=row.id, run=row.fence, states=(note,), sent=sent, path="spawn")
        skill = choose(self._skills, options.skill or row.skill)
        said = Said(message, encode(pack_message(message)), b"")
        admitted = None
        if options.requires is not None:
            admitted = await self._submissions.admitting.admitted(scope, request, skill, child=True)
        wishes = Wishes(parent=row.id)
        submit = self._submissions.make(
            scope, key, request, said, skill, wishes=wishes, extras=extras, admitted=admitted
        )
        submit = replace(submit, window=0, visible=True)
        foreign = [task_id for task_id in options.depends_on if task_id not in self._mine]
        return await (self._walked(submit, foreign) if foreign else self._patiently(lambda: self._post(submit)))

    async def _post(self, submit: Submit) -> Submitted:
        self._check()
        return await self._writer.submit(submit)

    async def _walked(self, submit: Submit, upstreams: Sequence[str]) -> Submitted:
        return await self._patiently(
            lambda: walked(self._store, submit, upstreams, parent=self._row.key, post=self._post)
        )


async def walked(
    store: TaskStore,
    submit: Submit,
    upstreams: Sequence[str],
    *,
    parent: Key,
    post: Callable[[Submit], Awaitable[Submitted]],
) -> Submitted:
    """What came of a new task that has both a parent and dependencies, which together may close a circle.

    Children of the same parent cannot: that one of them waits for the parent would be a circle already. So `upstreams`
    need only be the others. Raises InvalidParams where there is a circle; Conflict; what `post` raises.
    """
    extras = submit.extras or Extras()
    for _ in range(WALKS):
        graph = await revision(store, submit.scope)
        starts: dict[Key, str] = {}
        for task_id in upstreams:
            row = await store.find(submit.scope, submit.agent, task_id)
            if row is not None:
                starts[row.key] = f"{extras.path}.dependsOn[{extras.depends_on.index(task_id)}]"
        await refuse_circle(store, starts, parent)
        try:
            return await post(replace(submit, extras=replace(extras, graph=graph)))
        except Conflict:
            continue
    raise Conflict("graph")


def text_of(artifacts: Sequence[Artifact]) -> str:
    """The text parts of the artifacts, joined by line breaks."""
    return "\n".join(part.text for artifact in artifacts for part in artifact.parts if isinstance(part, Text))


def data_of(artifacts: Sequence[Artifact]) -> Json:
    """The value of the only data part; of several the list of them; None where there is none."""
    found = [part.data for artifact in artifacts for part in artifact.parts if isinstance(part, Data)]
    return found if len(found) > 1 else next(iter(found), None)
