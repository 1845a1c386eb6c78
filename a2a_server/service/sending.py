"""From a client's message to its submission: the turn that accepts it, or finds that it had been accepted before."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from a2a_server.agent import choose
from a2a_server.codec import canonical, encode, pack_message
from a2a_server.engine.admitting import Admitted, is_plain
from a2a_server.engine.children import walked
from a2a_server.engine.engine import Engine
from a2a_server.engine.submitting import Said
from a2a_server.errors import ClientError, Conflict, Overloaded, StoreUnavailable
from a2a_server.lifecycle.dependencies import Extras
from a2a_server.lifecycle.submission import Submit, Submitted
from a2a_server.model.objects import JsonObject, Message, Scope, Wishes
from a2a_server.model.options import TaskOptions
from a2a_server.model.requests import SendRequest
from a2a_server.model.rows import NO_KEY, Key
from a2a_server.model.runs import SkillSpec
from a2a_server.policy import CLASS
from a2a_server.service.files import Inbound, brings_files
from a2a_server.service.given import check_parameters
from a2a_server.service.templates import Templates
from a2a_server.values import value_class

ADMISSION_TRIES: Final = 20
"""How often a send is posted anew because another one of its context came in between."""


@value_class(frozen=True, slots=True)
class _Asked:
    """Whose send it is, of which skill, what comes with it beside its options, and where it waits (None = as most)."""

    scope: Scope
    key: Key
    skill: SkillSpec
    wishes: Wishes | None = None
    extras: Extras | None = None
    admitted: Admitted | None = None


@value_class(frozen=True, slots=True)
class Prepared:
    """A submission, and the request that it was made of, with its files taken in."""

    submit: Submit
    request: SendRequest


class Sending:
    """Submits messages to one engine. base_url: where clients reach this server."""

    def __init__(self, engine: Engine, base_url: Callable[[], str]) -> None:
        self._engine = engine
        self._inbound = Inbound(engine, base_url)
        self._templates = Templates(engine)

    async def submitted(
        self,
        scope: Scope,
        key: Key,
        request: SendRequest,
        *,
        wishes: Wishes | None = None,
        extras: Extras | None = None,
        checked: bool = False,
    ) -> tuple[Submitted, Message]:
        """What became of the message, and the message as it is stored. A new task gets the key `key`.

        wishes, extras: what comes with it beside its options, as of `Submissions.make`. checked: parameters that the
        skill would reject its task for are refused here. Raises TaskNotFound, UnsupportedOperation, InvalidParams,
        Overloaded.
        """
        request, packed, digest, skill = await self._read(scope, request, request.options)
        if checked:
            check_parameters(skill, request.options.parameters, request.message)
        message = request.message
        asked = _Asked(scope, key, skill, wishes, extras)
        if not brings_files(message):
            return await self._sent(asked, request, Said(message, encode(packed), digest)), message
        request = await self._inbound.taken(scope, key, request)
        said = Said(request.message, encode(pack_message(request.message)), digest)
        try:
            submitted = await self._sent(asked, request, said)
        except ClientError:
            await self._inbound.dropped(key, request)
            raise
        if submitted.repeat:
            await self._inbound.dropped(key, request)
        return submitted, request.message

    async def prepared(
        self,
        scope: Scope,
        key: Key,
        request: SendRequest,
        *,
        wishes: Wishes | None = None,
        extras: Extras | None = None,
        options: TaskOptions | None = None,
        checked: bool = False,
    ) -> Prepared:
        """The submission of a message for a new task, for operations that submit many. Raises InvalidParams.

        options: by which it is recognised when it is sent again, where the request's own differ from call to call.
        checked: as of `submitted`.

        `dropped` has to be called where nothing comes of it.
        """
        request, packed, digest, skill = await self._read(scope, request, options or request.options)
        if checked:
            check_parameters(skill, request.options.parameters, request.message)
        if brings_files(request.message):
            request = await self._inbound.taken(scope, key, request)
            packed = pack_message(request.message)
        said = Said(request.message, encode(packed), digest)
        submissions = self._engine.submissions
        admitted = None if is_plain(request, skill) else await submissions.admitting.admitted(scope, request, skill)
        submit = submissions.make(scope, key, request, said, skill, wishes=wishes, extras=extras, admitted=admitted)
        return Prepared(submit, request)

    async def dropped(self, prepared: Prepared) -> None:
        """Delete what was stored for a submission that nothing came of."""
        if brings_files(prepared.request.message):
            await self._inbound.dropped(prepared.submit.key, prepared.request)

    async def _read(
        self, scope: Scope, request: SendRequest, recognised_by: TaskOptions
    ) -> tuple[SendRequest, JsonObject, bytes, SkillSpec]:
        """The request with an id and with what its template gives, its message packed, its digest, and its skill."""
        message, packed = _identified(request.message)
        digest = _digest(request, recognised_by, packed)
        if message is not request.message:
            request = replace(request, message=message)
        if request.options.template:
            request = await self._templates.applied(scope, request)
            packed = pack_message(request.message)
        return request, packed, digest, choose(self._engine.runner.skills, request.options.skill)

    async def _sent(self, asked: _Asked, request: SendRequest, said: Said) -> Submitted:
        """Others of the same conversation may come in between: then it is posted anew."""
        if is_plain(request, asked.skill):
            try:
                return await self._tied(asked, request, said)
            except Conflict:
                raise Overloaded("Too many tasks are tied to each other at the moment; try again.") from None
        admitting = self._engine.submissions.admitting
        for _ in range(ADMISSION_TRIES):
            admitted = await admitting.admitted(asked.scope, request, asked.skill)
            with suppress(Conflict):
                return await self._tied(replace(asked, admitted=admitted), request, said)
        raise crowded()

    async def _tied(self, asked: _Asked, request: SendRequest, said: Said) -> Submitted:
        options = request.options
        parent, upstreams = options.parent_task_id, options.depends_on
        if asked.extras is not None:
            parent, upstreams = parent or asked.extras.parent, upstreams or asked.extras.depends_on
        if not (parent and upstreams):
            return await self._posted(asked, request, said)
        store, agent = self._engine.backends.store, self._engine.agent
        row = await store.find(asked.scope, agent, parent)
        if row is None:
            return await self._posted(asked, request, said)
        made = self._make(asked, request, said)
        return await walked(store, made, upstreams, parent=row.key, post=self._engine.submit)

    def _make(self, asked: _Asked, request: SendRequest, said: Said, worker: Key = NO_KEY) -> Submit:
        return self._engine.submissions.make(
            asked.scope,
            asked.key,
            request,
            said,
            asked.skill,
            worker=worker,
            wishes=asked.wishes,
            extras=asked.extras,
            admitted=asked.admitted,
        )

    def _posted(self, asked: _Asked, request: SendRequest, said: Said) -> asyncio.Future[Submitted]:
        """The outcome of the submission to come; in a slot of this process where one is free. Raises Overloaded."""
        worker, options, skill = self._engine.worker, request.options, asked.skill
        reserved = NO_KEY
        classed = asked.admitted is not None and CLASS in asked.admitted.queue
        later = bool(options.delay_seconds or options.run_at or options.depends_on)
        lane_of = self._engine.submissions.lane_of
        if not (later or classed) and worker.reserve(skill.id, lane_of(asked.scope.owner, options.priority, skill)):
            reserved = worker.id

        def settle(outcome: Submitted | BaseException) -> None:
            if isinstance(outcome, Submitted) and outcome.leased:
                worker.begin(outcome.row, said.for_handler)
            elif reserved:
                worker.release(skill.id, doubt=reserved if isinstance(outcome, StoreUnavailable) else NO_KEY)

        try:
            return self._engine.writer.post(self._make(asked, request, said, reserved), settle)
        except BaseException:
            if reserved:
                worker.release(skill.id)
            raise


def crowded() -> Overloaded:
    """How a send is refused that others of its context always came before."""
    return Overloaded("Too many messages of this context at the same moment; try again.", retry_after_seconds=1)


def _identified(message: Message) -> tuple[Message, JsonObject]:
    """The message, with an id, and its compact form.

    Later generations show ids that v0.1 messages do not have; theirs is the hash of their content.
    """
    packed = pack_message(message)
    if message.id:
        return message, packed
    digest = hashlib.sha256(canonical(packed)).hexdigest()
    return replace(message, id=digest), {**packed, "i": digest}


def _digest(request: SendRequest, options: TaskOptions, packed: JsonObject) -> bytes:
    asked = (  # how long the sender waits is not part of what it says
        options.model_dump(mode="json", exclude={"return_immediately"}, exclude_defaults=True)
        if options.model_fields_set
        else {}
    )
    context = request.context_id
    if request.task_id:  # it decides the context, whether that is said or not; core.md 3 for v0.1: the message alone
        packed, context = {name: value for name, value in packed.items() if name != "c"}, ""
    return hashlib.sha256(canonical([packed, asked, request.metadata, context, request.task_id])).digest()
