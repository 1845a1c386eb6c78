"""One thing done to many tasks, to all of them or to none, in one turn of the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain
from typing import TypeAlias, TypeVar

from a2a_server.engine.engine import Engine, new_key
from a2a_server.errors import ClientError, Conflict, InvalidParams, Overloaded, TaskNotFound
from a2a_server.lifecycle.cancellation import Cancel
from a2a_server.lifecycle.labels import id_of
from a2a_server.lifecycle.prioritising import Prioritise
from a2a_server.lifecycle.requeueing import Requeue
from a2a_server.lifecycle.together import AllOrNone, Checkable
from a2a_server.model.management import Bulk, BulkAction
from a2a_server.model.objects import Lane, Method, Scope
from a2a_server.model.rows import Key, TaskRow
from a2a_server.policy import SECOND
from a2a_server.service.deleting import Deleting
from a2a_server.service.each import each
from a2a_server.service.retrying import Again, Retrying
from a2a_server.service.sending import ADMISSION_TRIES

OutcomeT = TypeVar("OutcomeT")
Prepare: TypeAlias = Callable[[], Awaitable[Checkable]]


class Together:
    """Does things to many tasks of one engine at once. Concurrency: any number of callers."""

    def __init__(self, engine: Engine, retrying: Retrying) -> None:
        self._engine = engine
        self._retrying = retrying
        self._deleting = Deleting(engine)
        self._grace = round(engine.limits.cancel_grace_seconds * SECOND)

    async def run(self, scope: Scope, bulk: Bulk, ids: Sequence[str]) -> Sequence[tuple[str, ClientError]]:
        """What speaks against it, by the ids of the tasks; if nothing does it is done, unless it is a dry run.

        Raises InvalidParams: they are too large together; Overloaded, StoreUnavailable.
        """
        if bulk.action is BulkAction.DELETE:
            refused = await self._deleting.delete_together(scope, ids, dry_run=bulk.dry_run)
        else:
            refused = await self._changed(scope, bulk, ids)
        return [(task_id, refused[task_id]) for task_id in ids if task_id in refused]

    async def _changed(self, scope: Scope, bulk: Bulk, ids: Sequence[str]) -> Mapping[str, ClientError]:
        again = bulk.action is BulkAction.RETRY  # whose tasks stand behind those that they wait for
        order = [*chain.from_iterable(await self._retrying.layers(scope, ids))] if again else ids
        keys = {task_id: new_key() for task_id in order} if again else {}
        found = await self._each(order, lambda task_id: self._preparing(scope, bulk, task_id, keys))
        missing = {task_id: one for task_id, one in found.items() if isinstance(one, ClientError)}
        ready = {task_id: one for task_id, one in found.items() if not isinstance(one, ClientError)}
        refused = missing | await self._done(
            ready, frozenset(map(id_of, keys.values())), rehearsed=bulk.dry_run or bool(missing)
        )
        if bulk.action is BulkAction.REQUEUE and not (refused or bulk.dry_run):
            self._engine.duties.sweeper.expect(0)
        return refused

    async def _done(
        self, ready: dict[str, Prepare], local: frozenset[str], *, rehearsed: bool
    ) -> dict[str, ClientError]:
        for _ in range(ADMISSION_TRIES):
            prepared = await self._each(list(ready), lambda task_id: ready[task_id]())
            refused = {task_id: one for task_id, one in prepared.items() if isinstance(one, ClientError)}
            able = {task_id: one for task_id, one in prepared.items() if not isinstance(one, ClientError)}
            together = AllOrNone(tuple(able.values()), rehearsed=rehearsed or bool(refused), local=local)
            if together.weight > (most := self._engine.limits.writer_bytes):
                raise InvalidParams(
                    f"These tasks are larger together than one turn takes ({most} bytes); name fewer, or leave out "
                    "atomic.",
                    path="atomic",
                )
            try:
                said: Sequence[ClientError | None] = await self._engine.submit(together)
            except Conflict:
                continue
            return refused | {task_id: one for task_id, one in zip(able, said, strict=True) if one is not None}
        raise Overloaded("Too many messages of these contexts at the same moment; try again.", retry_after_seconds=1)

    async def _each(
        self, ids: Sequence[str], act: Callable[[str], Awaitable[OutcomeT]]
    ) -> dict[str, OutcomeT | ClientError]:
        return dict(zip(ids, await each(ids, lambda task_id: _tried(act(task_id))), strict=True))

    async def _preparing(self, scope: Scope, bulk: Bulk, task_id: str, keys: Mapping[str, Key]) -> Prepare:
        if bulk.action is BulkAction.RETRY:
            return await self._retrying.making(scope, task_id, Again(method=Method.BULK), keys)
        row = await self._engine.backends.store.find(scope, self._engine.agent, task_id)
        if row is None or not row.visible:
            raise TaskNotFound
        operation = self._operation(bulk, row)

        async def prepared() -> Checkable:
            return operation

        return prepared

    def _operation(self, bulk: Bulk, row: TaskRow) -> Checkable:
        match bulk.action:
            case BulkAction.REPRIORITISE:
                return Prioritise(row, bulk.priority or Lane.NORMAL)
            case BulkAction.REQUEUE:
                return Requeue(row.name, None if bulk.delay_seconds is None else round(bulk.delay_seconds * SECOND))
            case _:
                return Cancel(row.name, self._grace, row.key)


async def _tried(work: Awaitable[OutcomeT]) -> OutcomeT | ClientError:
    try:
        return await work
    except ClientError as error:
        return error
