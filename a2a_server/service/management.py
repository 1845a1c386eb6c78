"""Tasks as operators make, change, end and delete them. Knows no HTTP; every call has a scope.

Reading is `reading`, many at once `bulk`. A task is made by the same code as one that a message makes (`sending`), so
the same is valid, and a repeat is found in the same way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, NoReturn

from a2a_server.codec import decode, unpack_message
from a2a_server.engine.children import walked
from a2a_server.engine.engine import Engine, new_id, new_key
from a2a_server.errors import (
    Changed,
    Conflict,
    InvalidParams,
    Overloaded,
    TaskNotCancelable,
    TaskNotFound,
)
from a2a_server.lifecycle.cancellation import Cancel
from a2a_server.lifecycle.dependencies import Extras
from a2a_server.lifecycle.editing import Edit, Wanted, standing
from a2a_server.lifecycle.prioritising import Prioritise
from a2a_server.lifecycle.states import TERMINAL
from a2a_server.lifecycle.submission import Submit, Submitted
from a2a_server.model.management import NewTask
from a2a_server.model.objects import OPTIONS_URI, Generation, Json, JsonObject, Lane, Message, Method, Role, Scope, Text
from a2a_server.model.options import OnDependencyFailure, TaskOptions, microseconds
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.requests import SendRequest
from a2a_server.model.rows import MessageRow, TaskRow
from a2a_server.model.runs import SkillSpec
from a2a_server.model.times import timestamp
from a2a_server.policy import SECOND
from a2a_server.service.deleting import Deleting
from a2a_server.service.dependencies import Dependencies
from a2a_server.service.given import check_parameters
from a2a_server.service.operations import Operations
from a2a_server.service.rehearsing import rehearsed
from a2a_server.service.retrying import Again, Retrying
from a2a_server.service.sending import Sending
from a2a_server.values import value_class
from a2a_server.wire import fields, v10

_HERE: Final = "task"


@value_class(frozen=True, slots=True)
class Made:
    """A task, and whether it was there already."""

    row: TaskRow
    repeat: bool = False


class Management:
    """What operators can do with the tasks of one engine. Concurrency: any number of callers.

    base_url: where clients reach this server.
    """

    def __init__(self, engine: Engine, base_url: Callable[[], str]) -> None:
        self._engine = engine
        self._store = engine.backends.store
        self.sending = Sending(engine, base_url)
        self._operations = Operations(engine, base_url)
        self._retrying = Retrying(engine, base_url)
        self._dependencies = Dependencies(engine)
        self._deleting = Deleting(engine)
        self._grace = round(engine.limits.cancel_grace_seconds * SECOND)

    async def create(self, scope: Scope, new: NewTask) -> Made:
        """The new task, or the one that is there already under its key or message.

        Raises InvalidParams, Overloaded, StoreUnavailable.
        """
        try:
            submitted, _ = await self.sending.submitted(
                scope, new_key(), request_of(new), extras=Extras(path=_HERE), checked=True
            )
        except InvalidParams as error:
            reworded(error, {f"{_HERE}.": ""})
        return Made(submitted.row, submitted.repeat)

    async def rehearse(self, scope: Scope, new: NewTask) -> TaskRow:
        """The task as `create` would make it now; nothing is stored. Raises as `create`."""
        try:
            prepared = await self.sending.prepared(
                scope, new_key(), request_of(new), extras=Extras(path=_HERE), checked=True
            )
            try:
                return (await self._rehearsed(scope, prepared.submit)).row
            finally:
                await self.sending.dropped(prepared)
        except InvalidParams as error:
            reworded(error, {f"{_HERE}.": ""})

    async def find(self, scope: Scope, task_id: str) -> TaskRow:
        """The task. Raises TaskNotFound."""
        row = await self._store.find(scope, self._engine.agent, task_id)
        if row is None:
            raise TaskNotFound
        return row

    async def changeable(self, scope: Scope, task_id: str) -> tuple[JsonObject, int]:
        """What may be changed of a task, as a change spells it, and the revision that has it. Raises TaskNotFound."""
        row = await self.find(scope, task_id)
        now = standing(row)
        shown: JsonObject = {
            "title": now.title,
            "description": now.description,
            "kind": now.kind,
            "tags": list(now.tags),
            "priority": now.lane.name.lower(),
            "deadline": timestamp(now.deadline_at) if now.deadline_at else None,
            "timeoutSeconds": now.timeout_seconds,
            "maxAttempts": now.max_attempts,
            "runAt": timestamp(now.starts_at) if now.starts_at else None,
            "context": now.context,
            "metadata": now.metadata,
            "parameters": dict(now.parameters),
        }
        return {name: value for name, value in shown.items() if value is not None}, row.rev

    async def change(
        self,
        scope: Scope,
        task_id: str,
        change: Mapping[str, Any],
        *,
        spared: Collection[str],
        revisions: frozenset[int] | None = None,
        rev: int | None = None,
        dry_run: bool = False,
    ) -> TaskRow:
        """The task as it is after a change.

        Args:
            scope: the caller.
            task_id: what they call it.
            change: every field of a `TaskChange` by its name.
            spared: camelCase names of members that stay as they are where they may not be changed any more.
            revisions: one of which the task must be at, None = any.
            rev: the revision that the change was made from; None = none.
            dry_run: it is not changed; the task as it would be, at the revision that it has.

        Raises:
            TaskNotFound: there is no such task, or it is not the caller's.
            Changed: it is at none of the revisions.
            Conflict: it is no longer at `rev`; begin anew.
            UnsupportedOperation: too late for one of the changes.
            InvalidParams: a value is wrong.
        """
        row = await self.find(scope, task_id)
        if change["parameters"] != standing(row).parameters:
            await self._check_parameters(row, change["parameters"])
        wanted = self._wanted(row, change)
        patience = round(self._engine.limits.pause_seconds * SECOND)
        edit = Edit(row, wanted, frozenset(spared), rev, revisions, patience)
        if dry_run:
            return await rehearsed(self._store, edit)
        await self._engine.submit(edit)
        return await self.find(scope, task_id)

    async def cancel(self, scope: Scope, task_id: str) -> TaskRow:
        """The task, canceled, or asked to stop. Raises TaskNotFound, TaskNotCancelable."""
        row = await self.find(scope, task_id)
        await self._engine.submit(Cancel(row.name, self._grace, row.key))
        return await self.find(scope, task_id)

    async def retry(self, scope: Scope, task_id: str, again: Again) -> TaskRow:
        """A new task, made of the ended one. Raises TaskNotFound, UnsupportedOperation, InvalidParams."""
        return await self.find(scope, (await self._retrying.retry(scope, task_id, again)).id)

    async def layers(self, scope: Scope, ids: Sequence[str]) -> list[list[str]]:
        """In which order tasks are tried again, so that each finds the retries of those that it waited for."""
        return await self._retrying.layers(scope, ids)

    async def requeue(self, scope: Scope, task_id: str, delay_seconds: float | None) -> TaskRow:
        """The task, which now starts so long from now. Raises TaskNotFound, UnsupportedOperation, InvalidParams."""
        return await self.find(scope, (await self._retrying.requeue(scope, task_id, delay_seconds)).id)

    async def reprioritise(self, scope: Scope, task_id: str, lane: Lane) -> TaskRow:
        """The task in another lane. Raises TaskNotFound, UnsupportedOperation."""
        await self._engine.submit(Prioritise(await self.find(scope, task_id), lane))
        return await self.find(scope, task_id)

    async def answer(self, scope: Scope, task_id: str, message: Message) -> TaskRow:
        """The task, told what it asked for. Raises TaskNotFound, UnsupportedOperation, InvalidParams, Overloaded."""
        said = replace(message, task_id=task_id)
        await self._operations.send(scope, SendRequest(Generation.V10, said, task_id, blocking=False))
        return await self.find(scope, task_id)

    async def depend(
        self, scope: Scope, task_id: str, upstreams: Collection[str], on_failure: OnDependencyFailure
    ) -> TaskRow:
        """The task, which waits for these too; each is tied by itself, so an error leaves those before it.

        Raises TaskNotFound, UnsupportedOperation, InvalidParams, Overloaded.
        """
        for place, upstream in enumerate(upstreams):
            await self._dependencies.add(scope, task_id, upstream, on_failure, path=f"dependsOn[{place}]")
        return await self.find(scope, task_id)

    async def delete(self, scope: Scope, task_id: str, revisions: frozenset[int] | None = None) -> None:
        """The ended task is gone, with its rows and with the objects that nothing else refers to.

        Raises TaskNotFound, UnsupportedOperation, Changed, StoreUnavailable.
        """
        row = await self.find(scope, task_id)
        _check_revision(row, revisions)
        await self._deleting.delete(row)

    async def cancel_and_delete(
        self, scope: Scope, task_id: str, revisions: frozenset[int] | None = None
    ) -> TaskRow | None:
        """The task is gone (None), or has yet to stop. Raises TaskNotFound, Changed, StoreUnavailable."""
        row = await self.find(scope, task_id)
        _check_revision(row, revisions)
        if row.state not in TERMINAL:
            with suppress(TaskNotCancelable):  # it ended at this moment
                row = await self.cancel(scope, task_id)
                if row.state not in TERMINAL:
                    return row
        await self.delete(scope, task_id)
        return None

    async def rehearse_deletion(
        self, scope: Scope, task_id: str, revisions: frozenset[int] | None = None, *, cancel: bool = False
    ) -> TaskRow:
        """The task, which `delete` would delete now, or (cancel) `cancel_and_delete`; nothing happens to it.

        Raises as they do.
        """
        row = await self.find(scope, task_id)
        _check_revision(row, revisions)
        if not cancel or row.state in TERMINAL:
            await self._deleting.check(row)
            return row
        try:
            canceled = await rehearsed(self._store, Cancel(row.name, self._grace, row.key))
        except TaskNotCancelable:  # it ended at this moment
            canceled = await self.find(scope, task_id)
        if canceled.state in TERMINAL:
            await self._deleting.check(canceled)
        return row

    async def _rehearsed(self, scope: Scope, submit: Submit) -> Submitted:
        extras = submit.extras
        if extras is None or not (extras.parent and extras.depends_on):
            return await self._rehearsal(submit)
        parent = await self._store.find(scope, self._engine.agent, extras.parent)
        if parent is None:
            return await self._rehearsal(submit)
        try:
            return await walked(self._store, submit, extras.depends_on, parent=parent.key, post=self._rehearsal)
        except Conflict:
            raise Overloaded("Too many tasks are tied to each other at the moment; try again.") from None

    def _rehearsal(self, submit: Submit) -> Awaitable[Submitted]:
        return rehearsed(self._store, submit)

    def _skill(self, row: TaskRow) -> SkillSpec | None:
        return next((one for one in self._engine.runner.skills if one.id == row.skill), None)

    async def _check_parameters(self, row: TaskRow, parameters: Mapping[str, Json]) -> None:
        skill = self._skill(row)
        page = await self._store.rows(RowQuery(Table.MESSAGE, (row.key,), limit=1))
        first = [unpack_message(decode(one.body)) for one in page.rows if isinstance(one, MessageRow)]
        if skill is not None:
            check_parameters(skill, parameters, *first)

    def _wanted(self, row: TaskRow, change: Mapping[str, Any]) -> Wanted:
        limits = self._engine.limits
        skill = self._skill(row)
        timeout, attempts = (None, None) if skill is None else (skill.timeout_seconds, skill.max_attempts)
        return Wanted(
            change["title"],
            change["description"],
            change["kind"],
            tuple(dict.fromkeys(change["tags"])),
            self._engine.submissions.lane_of(row.owner, change["priority"], skill),
            microseconds(change["deadline"]) if change["deadline"] else 0,
            change["timeout_seconds"] or timeout or limits.timeout_seconds,
            change["max_attempts"] or attempts or limits.max_attempts,
            microseconds(change["run_at"]) if change["run_at"] else 0,
            change["context"],
            change["metadata"] or None,
            change["parameters"],
        )


def _check_revision(row: TaskRow, revisions: frozenset[int] | None) -> None:
    if revisions is not None and row.rev not in revisions:
        raise Changed(f"The task is at revision {row.rev}; read it again.")


def request_of(new: NewTask) -> SendRequest:
    """The send that makes the task; nobody waits for it. Raises InvalidParams."""
    message = message_of(new)
    return SendRequest(
        Generation.V10,
        message,
        context_id=new.context_id or message.context_id,
        blocking=False,
        options=options_of(new),
        metadata=new.metadata or None,
        method=Method.TASK,
    )


def message_of(new: NewTask) -> Message:
    """What a new task is told first. Raises InvalidParams."""
    fields.identifier({"contextId": new.context_id or None}, "contextId")
    if new.metadata is not None and OPTIONS_URI in new.metadata:
        raise InvalidParams("metadata must not hold task options; give them beside it.", path="metadata")
    if new.message is None:
        return Message(Role.USER, (Text(new.text or ""),), new_id())
    if new.text is not None:
        raise InvalidParams("text and message are one thing said twice; leave one of them out.", path="text")
    message = parsed_message(new.message)
    if message.task_id:
        raise InvalidParams(
            "message.taskId must be absent: this makes a new task; answers go to /tasks/{id}/messages.",
            path="message.taskId",
        )
    if message.context_id and new.context_id not in {"", message.context_id}:
        raise InvalidParams("contextId is not the message's own; leave one of them out.", path="contextId")
    return message


def parsed_message(given: JsonObject) -> Message:
    """A message as in A2A 1.0, that need not say its id and its role. Raises InvalidParams."""
    said = dict(given)
    if said.get("messageId") is None and said.get("message_id") is None:
        said["messageId"] = new_id()
    said.setdefault("role", "ROLE_USER")
    return v10.parse_send({"message": said}).message


def options_of(new: NewTask) -> TaskOptions:
    """The task options alone."""
    names = new.model_fields_set & TaskOptions.model_fields.keys()
    return TaskOptions.model_construct(_fields_set=set(names), **{name: getattr(new, name) for name in names})


def merged(document: JsonObject, patch: JsonObject) -> JsonObject:
    """The document after a JSON merge patch. Source: RFC 7396 section 2."""
    result = dict(document)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            before = result.get(name)
            result[name] = merged(before if isinstance(before, dict) else {}, value)
        else:
            result[name] = value
    return result


def reworded(error: InvalidParams, words: Mapping[str, str]) -> NoReturn:
    """Raise the error with other names for the fields at fault."""
    message, path = error.message, error.path
    for theirs, ours in words.items():
        message, path = message.replace(theirs, ours), path.replace(theirs, ours)
    path = words.get(f"{path}: ", path).removesuffix(": ")  # a text that begins with its path goes on so
    raise InvalidParams(message, path=path) from None
