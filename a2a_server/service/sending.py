"""From a client's message to its submission: the turn that accepts it, or finds that it had been accepted before."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from a2a_server.agent import choose
from a2a_server.codec import canonical, decode, encode, encode_spec, pack_message, unpack_message
from a2a_server.engine.engine import Engine, new_id
from a2a_server.errors import ClientError, StoreUnavailable
from a2a_server.lifecycle.keeping import stored_files
from a2a_server.lifecycle.submission import Submit, Submitted
from a2a_server.model.objects import OPTIONS_URI, Generation, JsonObject, Lane, Message, Scope, TaskSpec
from a2a_server.model.options import TaskOptions, microseconds
from a2a_server.model.requests import SendRequest
from a2a_server.model.rows import NO_KEY, Key
from a2a_server.model.runs import SkillSpec
from a2a_server.policy import SECOND, gates_of, queue_of
from a2a_server.service.files import Inbound, brings_files

_LANES: Final = {int(lane): lane for lane in Lane}


@dataclass(frozen=True, slots=True)
class _Said:
    """A message as it is stored, its stored form, and the digest of the request that brought it."""

    message: Message
    body: bytes
    digest: bytes

    @property
    def for_handler(self) -> Message:
        """The message for a handler, which may do with it what it likes: answers show what was sent."""
        return self.message if self.message.fixed else unpack_message(decode(self.body))


class Sending:
    """Submits messages to one engine. base_url: where clients reach this server."""

    def __init__(self, engine: Engine, base_url: Callable[[], str]) -> None:
        self._engine = engine
        self._inbound = Inbound(engine, base_url)
        self._window = round(engine.limits.idempotency_seconds * SECOND)
        self._grace = round(engine.limits.cancel_grace_seconds * SECOND)

    async def submitted(self, scope: Scope, key: Key, request: SendRequest) -> tuple[Submitted, Message]:
        """What became of the message, and the message as it is stored. A new task gets the key `key`.

        Raises TaskNotFound, UnsupportedOperation, InvalidParams, Overloaded.
        """
        message, packed = _identified(request.message)
        skill = choose(self._engine.runner.skills, request.options.skill)
        digest = _digest(request, packed)
        if not brings_files(message):
            return await self._posted(scope, key, request, _Said(message, encode(packed), digest), skill), message
        request = await self._inbound.taken(scope, key, replace(request, message=message))
        said = _Said(request.message, encode(pack_message(request.message)), digest)
        try:
            submitted = await self._posted(scope, key, request, said, skill)
        except ClientError:
            await self._inbound.dropped(key, request)
            raise
        if submitted.repeat:
            await self._inbound.dropped(key, request)
        return submitted, request.message

    def _posted(
        self, scope: Scope, key: Key, request: SendRequest, said: _Said, skill: SkillSpec
    ) -> asyncio.Future[Submitted]:
        """The outcome of the submission to come; in a slot of this process where one is free. Raises Overloaded."""
        worker, options = self._engine.worker, request.options
        reserved = NO_KEY
        if not (options.delay_seconds or options.run_at) and worker.reserve(skill.id):
            reserved = worker.id

        def settle(outcome: Submitted | BaseException) -> None:
            if isinstance(outcome, Submitted) and outcome.leased:
                worker.begin(outcome.row, said.for_handler)
            elif reserved:
                worker.release(skill.id, doubt=reserved if isinstance(outcome, StoreUnavailable) else NO_KEY)

        try:
            return self._engine.writer.post(self._submission(scope, key, request, said, skill, worker=reserved), settle)
        except BaseException:
            if reserved:
                worker.release(skill.id)
            raise

    def _submission(
        self, scope: Scope, key: Key, request: SendRequest, said: _Said, skill: SkillSpec, *, worker: Key
    ) -> Submit:
        engine, options, message = self._engine, request.options, said.message
        agent, limits, listens_for = engine.agent, engine.limits, engine.runner.listens_for
        queue, gates = _place(scope.owner, agent, skill.id)
        return Submit(
            key=key,
            scope=scope,
            agent=agent,
            generation=request.generation,
            task_id=request.task_id,
            context=request.context_id,
            fresh_context="" if request.context_id else new_id(),
            message_id=message.id,
            digest=said.digest,
            body=said.body,
            files=stored_files(message.parts),
            references=message.reference_task_ids,
            tells=tuple(sorted(listens_for)) if listens_for else (),
            visible=not skill.direct or request.generation is Generation.V01,
            asked=_asked(options),
            spec=_spec(request, skill, limits.timeout_seconds),
            skill=skill.id,
            queue=queue,
            lane=options.priority or _LANES[skill.priority],
            gates=gates,
            max_attempts=options.max_attempts or skill.max_attempts or limits.max_attempts,
            window=self._window,
            delay=round(options.delay_seconds * SECOND) if options.delay_seconds else 0,
            starts_at=microseconds(options.run_at) if options.run_at else 0,
            deadline_at=microseconds(options.deadline) if options.deadline else 0,
            worker=worker,
            grace=self._grace,
        )


@lru_cache(maxsize=1024)
def _place(owner: str, agent: str, skill: str) -> tuple[str, tuple[str, ...]]:
    """Where a task waits: its queue and its gates."""
    queue = queue_of(agent, skill)
    return queue, gates_of(owner=owner, agent=agent, skill=skill, queue=queue)


def _spec(request: SendRequest, skill: SkillSpec, timeout_seconds: float) -> bytes:
    options = request.options
    timeout = options.timeout_seconds or skill.timeout_seconds or timeout_seconds
    if not (options.title or options.parameters or request.metadata is not None):
        return _bare_spec(timeout, rolls_back=skill.rolls_back)
    spec = TaskSpec(timeout, options.title, options.parameters, request.metadata, rolls_back=skill.rolls_back)
    return encode_spec(spec)


@lru_cache(maxsize=256, typed=True)
def _bare_spec(timeout_seconds: float, *, rolls_back: bool) -> bytes:
    return encode_spec(TaskSpec(timeout_seconds, rolls_back=rolls_back))


def _asked(options: TaskOptions) -> str:
    """The path of the first option that is for new tasks only, '' = none is given."""
    if not options.model_fields_set:
        return ""
    given = options.model_dump(exclude_defaults=True, exclude={"return_immediately"}, by_alias=True)
    return next((f'metadata["{OPTIONS_URI}"].{name}' for name in given), "")


def _identified(message: Message) -> tuple[Message, JsonObject]:
    """The message, with an id, and its compact form.

    Later generations show ids that v0.1 messages do not have; theirs is the hash of their content.
    """
    packed = pack_message(message)
    if message.id:
        return message, packed
    digest = hashlib.sha256(canonical(packed)).hexdigest()
    return replace(message, id=digest), {**packed, "i": digest}


def _digest(request: SendRequest, packed: JsonObject) -> bytes:
    options = request.options  # how long the sender waits is not part of what it says
    asked = (
        options.model_dump(mode="json", exclude={"return_immediately"}, exclude_defaults=True)
        if options.model_fields_set
        else {}
    )
    context = request.context_id
    if request.task_id:  # it decides the context, whether that is said or not; core.md 3 for v0.1: the message alone
        packed, context = {name: value for name, value in packed.items() if name != "c"}, ""
    return hashlib.sha256(canonical([packed, asked, request.metadata, context, request.task_id])).digest()
