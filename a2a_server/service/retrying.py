"""Tasks that have ended, tried again as new ones; and when those start that wait for their time.

A terminal task never changes. Trying it again makes a new task of what it was made of: its first message, with the
stored files that this refers to, its skill, its options and its parameters. It has no deadline and no parent, because
those were of the old one's time; what it waits for is found by `regrouping`. A fork keeps what the old task remembered
before a step.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

from a2a_server.agent import choose
from a2a_server.codec import decode, decode_spec, unpack_message
from a2a_server.context.remembering import STEP
from a2a_server.engine.engine import Engine, new_key
from a2a_server.engine.paging import state_pages
from a2a_server.errors import ClientError, Conflict, InvalidParams, TaskNotFound, UnsupportedOperation
from a2a_server.lifecycle.dead_letters import DEAD, Dead
from a2a_server.lifecycle.forking import Fork, forked
from a2a_server.lifecycle.keeping import MARK, TOUCHED, Keep, Note, stored_files
from a2a_server.lifecycle.making import Make, Recall, Said
from a2a_server.lifecycle.requeueing import Requeue
from a2a_server.lifecycle.states import TERMINAL
from a2a_server.lifecycle.submission import Submitted
from a2a_server.model.objects import Message, Method, Phase, Requires, Scope, State, Task, TaskSpec, Text, Wishes
from a2a_server.model.options import CompleteWhen, Requirements, TaskOptions
from a2a_server.model.queries import RowQuery, Search, SearchCursor, Table
from a2a_server.model.requests import SendRequest
from a2a_server.model.rows import Key, MessageRow, StateRow, TaskName, TaskRow
from a2a_server.model.runs import ASKED, CHECKPOINT
from a2a_server.policy import SECOND
from a2a_server.service.files import Files
from a2a_server.service.given import check_parameters
from a2a_server.service.ordering import Ordering
from a2a_server.service.regrouping import Regrouping, Ties
from a2a_server.service.sending import ADMISSION_TRIES, Sending, crowded
from a2a_server.service.views import accepted_task
from a2a_server.values import value_class
from a2a_server.wire.fields import shown

PAGE_MESSAGES: Final = 200
MOST_STATES: Final = 10_000
"""Values that a fork takes with it."""
MOST_AT_ONCE: Final = 1000
"""Dead letters that are tried again in one call."""
NAMED: Final = 20
"""Steps that an error names."""
NO_KEYS: Final[Mapping[str, Key]] = MappingProxyType({})
_FIRST: Final = Key(b"\xff" * 16)
"""Stands before the newest task."""
_FAILED: Final = frozenset({(State.FAILED, Phase.FINAL)})


@value_class(frozen=True, slots=True)
class Again:
    """How a task is tried again.

    key: with one key comes one task, however often it is asked for; '' = a new one each time. from_step: the remembered
    step that is done again first, '' = everything is. text: instead of the text of its first message; parameters:
    instead of those of these names. method: what asks for it.
    """

    key: str = ""
    from_step: str = ""
    text: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    method: Method = Method.RETRY


@value_class(frozen=True, slots=True)
class DeadLetter:
    """A task that failed without anybody saying that it must, and why. failed_at: microseconds."""

    task_id: str
    skill: str
    reason: Dead
    failed_at: int


@value_class(frozen=True, slots=True)
class DeadLetters:
    """Some dead letters, newest first for each reason; after: where they go on, None = nothing follows."""

    letters: Sequence[DeadLetter]
    after: SearchCursor | None


@value_class(frozen=True, slots=True)
class Retried:
    """What came of a dead letter: the id of the new task, or why there is none."""

    task_id: str
    new_id: str = ""
    why_not: ClientError | None = None


class Retrying:
    """Tries tasks of one engine again. Concurrency: any number of callers.

    base_url: where clients reach this server.
    """

    def __init__(self, engine: Engine, base_url: Callable[[], str] = str) -> None:
        self._engine = engine
        self._store = engine.backends.store
        self._sending = Sending(engine, base_url)
        self._files = Files(self._store)
        self._regrouping = Regrouping(engine)
        self._ordering = Ordering(engine)

    async def retry(self, scope: Scope, task_id: str, again: Again | None = None) -> Task:
        """A new task, made of what the ended one was made of.

        Raises TaskNotFound; UnsupportedOperation: the task has not ended, or a file of its message is gone;
        InvalidParams: it has no such step, or the new input is wrong.
        """
        return accepted_task((await self._retried(scope, task_id, again or Again())).row, None)

    async def requeue(self, scope: Scope, task_id: str, delay_seconds: float | None = None) -> Task:
        """The task, which now starts so long from now; it has to wait for its time already (a retry, a delay).

        None: the wait grows with each requeue of the task (`lifecycle.requeueing.WAITS`).

        Raises TaskNotFound, UnsupportedOperation, InvalidParams.
        """
        if delay_seconds is not None and not 0 <= delay_seconds <= 366 * 86_400:
            raise InvalidParams("delaySeconds must be between 0 and 31622400.", path="delaySeconds")
        name = TaskName(scope.tenant, scope.owner, self._engine.agent, task_id)
        delay = None if delay_seconds is None else round(delay_seconds * SECOND)
        row: TaskRow = await self._engine.submit(Requeue(name, delay))
        self._engine.duties.sweeper.expect(0)
        return accepted_task(row, None)

    async def dead_letters(
        self, scope: Scope, reason: Dead | None = None, *, after: SearchCursor | None = None, limit: int = 50
    ) -> DeadLetters:
        """The owner's dead letters that were not tried again, of one reason or of all."""
        letters: list[DeadLetter] = []
        reasons = list(Dead) if reason is None else [reason]
        start = reasons.index(Dead(str(after.order).removeprefix(DEAD))) if after is not None else 0
        for place, one in enumerate(reasons[start:], start):
            query = Search(
                scope.tenant,
                scope.owner,
                self._engine.agent,
                tag=DEAD + one.value,
                stands=_FAILED,
                after=after,
                limit=limit - len(letters),
            )
            found = await self._store.search(query)
            letters += [DeadLetter(row.id, row.skill, one, row.status_at) for row in found.rows]
            if found.after is not None:
                return DeadLetters(letters, found.after)
            if len(letters) == limit and place + 1 < len(reasons):
                return DeadLetters(letters, SearchCursor(DEAD + reasons[place + 1].value, _FIRST))
            after = None
        return DeadLetters(letters, None)

    async def retry_dead_letters(
        self, scope: Scope, reason: Dead | None = None, limit: int = MOST_AT_ONCE
    ) -> Sequence[Retried]:
        """Try so many dead letters again. Idempotent: each comes to one new task, whoever asks and however often.

        Each comes after those of them that it waited for: so it finds their retries, and waits for these.
        """
        letters: list[DeadLetter] = []
        after: SearchCursor | None = None
        while len(letters) < limit:
            page = await self.dead_letters(scope, reason, after=after, limit=min(100, limit - len(letters)))
            letters += page.letters
            after = page.after
            if after is None:
                break
        return await self.retry_letters(scope, [letter.task_id for letter in letters])

    async def retry_letters(self, scope: Scope, ids: Sequence[str]) -> Sequence[Retried]:
        """Try these dead letters again, as `retry_dead_letters` does; what came of each, in the order of the ids."""
        outcomes: dict[str, Retried] = {}
        for task_id in chain.from_iterable(await self.layers(scope, list(dict.fromkeys(ids)))):
            try:
                made = await self._retried(scope, task_id, Again(key="dead", method=Method.DEAD_LETTERS))
                outcomes[task_id] = Retried(task_id, made.row.id)
            except ClientError as error:
                outcomes[task_id] = Retried(task_id, why_not=error)
        return [outcomes[task_id] for task_id in dict.fromkeys(ids)]

    async def layers(self, scope: Scope, ids: Sequence[str]) -> list[list[str]]:
        """In which order tasks are tried again; see `Ordering.layers`."""
        return await self._ordering.layers(scope, ids)

    async def making(
        self, scope: Scope, task_id: str, again: Again, keys: Mapping[str, Key] = NO_KEYS
    ) -> Callable[[], Awaitable[Make]]:
        """What prepares the making of the new task, anew whenever others of its conversation come in between.

        keys: of the new tasks, this one and others, by the ids of the old ones that are tried again in the same turn.
        Raises as `retry`.
        """
        return await self._making(scope, await self._ended(scope, task_id), again, keys)

    async def _making(
        self, scope: Scope, row: TaskRow, again: Again, keys: Mapping[str, Key] = NO_KEYS
    ) -> Callable[[], Awaitable[Make]]:
        messages = await self._messages(row)
        fork = await self._fork(row, messages, again.from_step) if again.from_step else Fork((), ())
        first = _edited(unpack_message(decode(messages[0].body)), again.text)
        said = tuple(_said(one) for one in fork.messages)
        await self._touch(scope, first, *(unpack_message(decode(one.body)) for one in fork.messages))
        spec = decode_spec(row.spec)
        ties = await self._regrouping.ties(scope, row, spec.wishes or Wishes(), keys)
        request = SendRequest(
            row.generation,
            replace(first, id=messages[0].id, context_id="", task_id="", reference_task_ids=()),
            context_id=row.context,
            blocking=False,
            options=_options(row, spec, again.parameters, ties),
            metadata=spec.metadata,
            method=again.method,
        )
        wishes = replace(
            spec.wishes or Wishes(), retry_of=row.id, forked_from=again.from_step, depends_on=(), parent="", batch=""
        )

        if again.parameters:
            heard = (unpack_message(decode(one.body)) for one in fork.messages)
            skill = choose(self._engine.runner.skills, row.skill)
            check_parameters(skill, request.options.parameters, first, *heard)

        async def make() -> Make:
            prepared = await self._sending.prepared(scope, keys.get(row.id) or new_key(), request, wishes=wishes)
            return Make(
                prepared.submit,
                _name(row, again),
                said=said,
                states=fork.states,
                again=row.key,
                parts=ties.parts,
                notes=ties.notes,
            )

        return make

    async def _retried(self, scope: Scope, task_id: str, again: Again) -> Submitted:
        row = await self._ended(scope, task_id)
        if again.key:  # what came of it before is the answer, whatever became of the task's parts and files since
            known: Submitted | None = await self._engine.submit(Recall(scope, row.agent, _name(row, again)))
            if known is not None:
                return known
        make = await self._making(scope, row, again)
        for _ in range(ADMISSION_TRIES):
            with suppress(Conflict):
                submitted: Submitted = await self._engine.submit(await make())
                return submitted
        raise crowded()

    async def _ended(self, scope: Scope, task_id: str) -> TaskRow:
        row = await self._store.find(scope, self._engine.agent, task_id)
        if row is None:
            raise TaskNotFound
        if row.state not in TERMINAL:
            raise UnsupportedOperation("The task has not ended; cancel it, or requeue it, before it is tried again.")
        return row

    async def _messages(self, row: TaskRow) -> list[MessageRow]:
        found: list[MessageRow] = []
        after = None
        while True:
            page = await self._store.rows(RowQuery(Table.MESSAGE, (row.key,), after, PAGE_MESSAGES))
            found += [one for one in page.rows if isinstance(one, MessageRow)]
            if not page.more:
                break
            after = found[-1][:2]
        if not found:
            raise TaskNotFound  # it was erased at this moment
        return found

    async def _fork(self, row: TaskRow, messages: Sequence[MessageRow], step: str) -> Fork:
        states: list[StateRow] = []
        for space in (STEP, ASKED, CHECKPOINT):
            async for page in state_pages(self._store.rows, bytes(row.key), space):
                states += page
                if len(states) > MOST_STATES:
                    raise UnsupportedOperation(f"The task remembers more than a fork takes with it ({MOST_STATES}).")
        fork = forked(states, messages, steps=STEP, step=step)
        if fork is None:
            names = [one.name.removesuffix(":1") for one in states if one.space == STEP and "\n" not in one.name]
            there = ", ".join(sorted(names)[:NAMED]) + (", …" if len(names) > NAMED else "")
            raise InvalidParams(
                f"fromStep: the task remembers no step {shown(step)}; "
                + (f"it remembers: {there}." if names else "it remembers none; try it again from the beginning."),
                path="fromStep",
            )
        return fork

    async def _touch(self, scope: Scope, *messages: Message) -> None:
        """Keep the collector from the files that the new task is about to refer to."""
        names = [file.stored for message in messages for file in stored_files(message.parts)]
        if not names:
            return
        await self._engine.submit(Keep(tuple(Note(name, MARK, TOUCHED, {}) for name in names)))
        for name in names:
            if await self._files.usable(scope, name) is None:
                raise UnsupportedOperation(
                    "A file of the task's message is not stored any more; send it as a new task."
                )


def _name(row: TaskRow, again: Again) -> str:
    return f"retry:{row.key.hex()}:{again.key}" if again.key else ""


def _said(row: MessageRow) -> Said:
    return Said(row.role, row.id, row.body, stored_files(unpack_message(decode(row.body)).parts))


def _edited(message: Message, text: str | None) -> Message:
    if text is None:
        return message
    others = [part for part in message.parts if not isinstance(part, Text)]
    return replace(message, parts=(Text(text), *others))


def _options(row: TaskRow, spec: TaskSpec, parameters: dict[str, Any], ties: Ties) -> TaskOptions:
    """The options that would make such a task."""
    wishes = spec.wishes or Wishes()
    given: dict[str, Any] = {
        "skill": row.skill,
        "title": spec.title,
        "priority": row.lane,
        "timeout_seconds": spec.timeout_seconds,
        "max_attempts": row.max_attempts,
        "parameters": {**spec.parameters, **parameters},
        "description": wishes.description,
        "kind": wishes.kind,
        "tags": wishes.tags,
        "context": wishes.context,
        "requires": None if wishes.requires is None else _requirements(wishes.requires),
        "complete_when": _criterion(wishes),
        "depends_on": ties.depends_on,
        "on_dependency_failure": ties.on_failure if ties.depends_on else None,
    }
    return TaskOptions.model_construct(
        **{name: value for name, value in given.items() if value not in ("", (), {}, None)}
    )


def _criterion(wishes: Wishes) -> CompleteWhen | None:
    if not (wishes.complete_when or wishes.checks):
        return None
    return CompleteWhen.model_construct(children=wishes.complete_when, checks=wishes.checks)


def _requirements(requires: Requires) -> Requirements:
    names = Requirements.model_fields
    return Requirements.model_construct(**{name: getattr(requires, name) for name in names})
