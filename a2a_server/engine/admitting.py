"""Where a send waits whose task needs something of its worker, or shares its conversation with others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

import uuid_utils

from a2a_server.engine.limits import Limits
from a2a_server.errors import InvalidParams
from a2a_server.lifecycle.admission import Admission, context_record
from a2a_server.lifecycle.requirements import CLASS_RECORD, class_key, class_of, required
from a2a_server.model.objects import OPTIONS_URI, Requires, Scope
from a2a_server.model.options import Requirements
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.requests import SendRequest
from a2a_server.model.rows import NO_KEY, Key, RecordKey, RecordRow
from a2a_server.model.runs import SkillSpec, Together
from a2a_server.policy import SECOND, context_gate, gates_of, queue_of, resource_gate
from a2a_server.ports import TaskStore

_ALONE: Final = {Together.SERIAL, Together.REPLACE}
_ONE: Final = {Together.REJECT, Together.REPLACE}
_REQUIRES: Final = f'metadata["{OPTIONS_URI}"].requires'
_PATH: Final = f"{_REQUIRES}.resources"


class Admitted(NamedTuple):
    """What a submission is given beside what every one has. context: where the request names none, a fresh one."""

    queue: str
    gates: tuple[str, ...]
    context: str
    admission: Admission | None


def is_plain(request: SendRequest, skill: SkillSpec) -> bool:
    """Whether a send asks for nothing of the kind; most do."""
    return request.options.requires is None and skill.context is Together.PARALLEL


def check_resources(requires: Requires | Requirements | None, known: Mapping[str, int]) -> None:
    """Refuse a resource that is not there, or more of it than there is. Raises InvalidParams."""
    for name, amount in (requires.resources if requires is not None else {}).items():
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise InvalidParams(f'there is no resource "{name}"; the resources are: {there}', path=f"{_PATH}.{name}")
        if amount > known[name]:
            raise InvalidParams(
                f"of {name} there are {known[name]} in all, so {amount} are never free; ask for less",
                path=f"{_PATH}.{name}",
            )


class Admitting:
    """Finds the place of such sends to one agent."""

    def __init__(self, store: TaskStore, agent: str, limits: Limits) -> None:
        self._store = store
        self._agent = agent
        self._limits = limits

    async def admitted(self, scope: Scope, request: SendRequest, skill: SkillSpec, *, child: bool = False) -> Admitted:
        """The place of a send, as the store is now.

        Raises InvalidParams: a resource that is missing, or too small; the owner's tasks need too many things.

        child: it is spawned by a task of its context. Parts of a task take no turn of their own in its context, whoever
        makes them: they would be refused for it, cancel it, or wait for it.
        """
        requires = required(request.options.requires)
        plain = queue_of(self._agent, skill.id)
        queue = class_of(plain, requires)
        context = request.context_id or str(uuid_utils.uuid7())
        is_part = child or (skill.context is not Together.PARALLEL and await self._is_part(scope, request))
        together = Together.PARALLEL if is_part else skill.context
        gates = gates_of(owner=scope.owner, agent=self._agent, skill=skill.id, queue=plain)
        if requires is not None:
            gates += self._resources(requires)
        if together in _ALONE:
            gates += (context_gate(scope.tenant, scope.owner, context),)
        record, rival = None, NO_KEY
        if together in _ONE:
            record = context_record(scope.tenant, scope.owner, context)
            rival = await self._newest(record) if request.context_id else NO_KEY
        if queue == plain and record is None:
            return Admitted(queue, gates, context, None)
        needs = requires if queue != plain else None
        if needs is not None:
            await self._check_room(scope, queue)
        grace = round(self._limits.cancel_grace_seconds * SECOND)
        return Admitted(queue, gates, context, Admission(queue, needs, together, record, rival, grace, scope))

    async def renewed(self, admission: Admission) -> Admission:
        """The same, as the store is now."""
        return admission if admission.record is None else replace(admission, rival=await self._newest(admission.record))

    async def _is_part(self, scope: Scope, request: SendRequest) -> bool:
        """Whether it names a parent of its own context; one that is not there yet comes in the same batch."""
        named = request.options.parent_task_id
        if not (named and request.context_id):
            return False
        parent = await self._store.find(scope, self._agent, named)
        return parent is None or parent.context == request.context_id

    def _resources(self, requires: Requires) -> tuple[str, ...]:
        check_resources(requires, self._limits.resources)
        return tuple(f"{resource_gate(name)}*{amount}" for name, amount in requires.resources.items())

    async def _check_room(self, scope: Scope, queue: str) -> None:
        """Sends at the same moment may each find the last room; that is few too many, and never more again."""
        if (await self._store.rows(RowQuery(Table.RECORD, class_key(queue, scope), limit=1))).rows:
            return
        most = self._limits.client_max_requirements
        page = await self._store.rows(RowQuery(Table.RECORD, (CLASS_RECORD, scope.tenant, scope.owner), limit=most))
        if len(page.rows) >= most:
            raise InvalidParams(
                f"your tasks need {most} different combinations of things already, and that is all there can be "
                "(client_max_requirements); ask for one of those, or let their tasks end or cancel them: a combination "
                "without tasks is forgotten an hour after its last one was sent",
                path=_REQUIRES,
            )

    async def _newest(self, record: RecordKey) -> Key:
        page = await self._store.rows(RowQuery(Table.RECORD, record, limit=1))
        return next((Key(row.body) for row in page.rows if isinstance(row, RecordRow)), NO_KEY)
