"""From what was asked for to the submission of a task: the one place that knows which row a request becomes.

Sends of clients, batches, spawned tasks, schedules and retries all go through `Submissions.make`. What only few tasks
are given has two ways in: `wishes` are stored and shown as they are; `extras` have effects in the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

import uuid_utils

from a2a_server.codec import decode, encode_spec, unpack_message
from a2a_server.engine.admitting import Admitted, Admitting
from a2a_server.engine.limits import Limits
from a2a_server.lifecycle.dependencies import Extras
from a2a_server.lifecycle.gates import Standing
from a2a_server.lifecycle.keeping import stored_files
from a2a_server.lifecycle.labels import labels_of, unique_key
from a2a_server.lifecycle.requirements import required
from a2a_server.lifecycle.submission import Submit
from a2a_server.model.objects import OPTIONS_URI, Generation, Lane, Message, Method, Scope, State, TaskSpec, Wishes
from a2a_server.model.options import OnDependencyFailure, TaskOptions, microseconds
from a2a_server.model.requests import SendRequest
from a2a_server.model.rows import NO_KEY, EdgeKind, Key, SentKey
from a2a_server.model.runs import SkillSpec
from a2a_server.policy import SECOND, gates_of, queue_of
from a2a_server.values import value_class

_LANES: Final = {int(lane): lane for lane in Lane}
ON_FAILURE: Final = {
    OnDependencyFailure.FAIL: EdgeKind.FAIL,
    OnDependencyFailure.CANCEL: EdgeKind.CANCEL,
    OnDependencyFailure.RUN: EdgeKind.RUN,
}


@value_class(frozen=True, slots=True)
class Said:
    """A message as it is stored, its stored form, and the digest of the request that brought it."""

    message: Message
    body: bytes
    digest: bytes

    @property
    def for_handler(self) -> Message:
        """The message for a handler, which may do with it what it likes: answers show what was sent."""
        return self.message if self.message.fixed else unpack_message(decode(self.body))


class Submissions:
    """Makes submissions for one agent. listens_for: states that the agent itself wants to hear of.

    admitting: finds the place of those that need something of their worker, or share a context. standing: limits for
    everybody.
    """

    def __init__(
        self,
        agent: str,
        listens_for: frozenset[State],
        limits: Limits,
        admitting: Admitting,
        standing: Standing | None,
    ) -> None:
        self.admitting = admitting
        self._standing = standing
        self._agent = agent
        self._tells = tuple(sorted(listens_for))
        self._limits = limits
        self._window = round(limits.idempotency_seconds * SECOND)
        self._grace = round(limits.cancel_grace_seconds * SECOND)
        self._lanes = {owner: Lane[name.upper()] for owner, name in limits.client_priorities.items()}

    def make(
        self,
        scope: Scope,
        key: Key,
        request: SendRequest,
        said: Said,
        skill: SkillSpec,
        *,
        worker: Key = NO_KEY,
        wishes: Wishes | None = None,
        extras: Extras | None = None,
        admitted: Admitted | None = None,
    ) -> Submit:
        """The submission of a message.

        key: of the task, should there be a new one. worker: whose reserved slot may run it at once. wishes, extras:
        what comes from elsewhere than the options (`batch`, `schedule`, `retry_of`, states, a key of its own …); what
        the options say is added.
        """
        options, message, limits = request.options, said.message, self._limits
        if admitted is None:
            queue, gates = _place(scope.owner, self._agent, skill.id)
            fresh, admission = "" if request.context_id else str(uuid_utils.uuid7()), None
        else:
            queue, gates, fresh, admission = admitted
        if options.model_fields_set or wishes is not None or extras is not None:
            wishes = _wishes(options, wishes or Wishes())
            extras = self._extras(scope, options, wishes, extras or Extras())
        return Submit(
            key=key,
            scope=scope,
            agent=self._agent,
            generation=request.generation,
            task_id=request.task_id,
            context=request.context_id,
            fresh_context=fresh,
            message_id=message.id,
            digest=said.digest,
            body=said.body,
            files=stored_files(message.parts),
            references=message.reference_task_ids,
            tells=self._tells,
            visible=not skill.direct or request.generation is Generation.V01 or extras is not None,
            asked=_asked(options),
            spec=_spec(request, skill, limits.timeout_seconds, wishes, scope.through),
            skill=skill.id,
            queue=queue,
            lane=self.lane_of(scope.owner, options.priority, skill),
            gates=gates,
            max_attempts=options.max_attempts or skill.max_attempts or limits.max_attempts,
            window=self._window,
            delay=round(options.delay_seconds * SECOND) if options.delay_seconds else 0,
            starts_at=microseconds(options.run_at) if options.run_at else 0,
            deadline_at=microseconds(options.deadline) if options.deadline else 0,
            worker=worker,
            grace=self._grace,
            extras=extras,
            admission=admission,
            standing=self._standing,
        )

    def lane_of(self, owner: str, said: Lane | None, skill: SkillSpec | None) -> Lane:
        """The lane of a new task: what its sender or its template says, else its skill, its owner's, normal."""
        own = said or (skill and skill.priority)
        return _LANES[own] if own else self._lanes.get(owner, Lane.NORMAL)

    def _extras(self, scope: Scope, options: TaskOptions, wishes: Wishes | None, given: Extras) -> Extras | None:
        labels = (*given.labels, *labels_of(options.title, wishes))
        sent = given.sent
        if options.unique_key:
            sent = sent or SentKey(scope.tenant, scope.owner, self._agent, "", unique_key(options.unique_key))
        extras = replace(
            given,
            depends_on=options.depends_on or given.depends_on,
            on_failure=ON_FAILURE[options.on_dependency_failure] if options.depends_on else given.on_failure,
            parent=options.parent_task_id or given.parent,
            labels=tuple(dict.fromkeys(labels)),
            sent=sent,
        )
        return None if extras == _NO_EXTRAS else extras


_NO_EXTRAS: Final = Extras()
_NO_WISHES: Final = Wishes()


@lru_cache(maxsize=1024)
def _place(owner: str, agent: str, skill: str) -> tuple[str, tuple[str, ...]]:
    """Where a task waits: its queue and its gates."""
    queue = queue_of(agent, skill)
    return queue, gates_of(owner=owner, agent=agent, skill=skill, queue=queue)


def _wishes(options: TaskOptions, given: Wishes) -> Wishes | None:
    requires = required(options.requires)
    wishes = replace(
        given,
        description=options.description or given.description,
        kind=options.kind or given.kind,
        context=given.context if options.context is None else options.context,
        tags=_together(given.tags, options.tags),
        requires=requires or given.requires,
        depends_on=tuple(dict.fromkeys(options.depends_on)) or given.depends_on,
        parent=options.parent_task_id or given.parent,
        template=options.template or given.template,
    )
    if (criterion := options.complete_when) is not None:
        wishes = replace(wishes, complete_when=criterion.children, checks=tuple(dict.fromkeys(criterion.checks)))
    return None if wishes == _NO_WISHES else wishes


def _together(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _spec(request: SendRequest, skill: SkillSpec, timeout_seconds: float, wishes: Wishes | None, through: str) -> bytes:
    options = request.options
    timeout = options.timeout_seconds or skill.timeout_seconds or timeout_seconds
    if not (options.title or options.parameters or request.metadata is not None or wishes is not None):
        return _bare_spec(timeout, request.method, through, rolls_back=skill.rolls_back)
    spec = TaskSpec(
        timeout,
        options.title,
        options.parameters,
        request.metadata,
        rolls_back=skill.rolls_back,
        wishes=wishes,
        method=request.method,
        through=through,
    )
    return encode_spec(spec)


@lru_cache(maxsize=256, typed=True)
def _bare_spec(timeout_seconds: float, method: Method, through: str, *, rolls_back: bool) -> bytes:
    return encode_spec(TaskSpec(timeout_seconds, rolls_back=rolls_back, method=method, through=through))


def _asked(options: TaskOptions) -> str:
    """The path of the first option that is for new tasks only, '' = none is given."""
    if not options.model_fields_set:
        return ""
    given = options.model_dump(exclude_defaults=True, exclude={"return_immediately"}, by_alias=True)
    return next((f'metadata["{OPTIONS_URI}"].{name}' for name in given), "")
