"""Templates of tasks: a name for a type of task, with what is taken where a send says nothing."""

from __future__ import annotations

from typing import Final

from a2a_server.model.options import NO_OPTIONS, TaskOptions
from a2a_server.model.rows import RecordKey, kind_of
from a2a_server.values import value_class

TEMPLATE: Final = "template"
"""The kind of their records, of an agent without a name (`template_kind`)."""


@value_class(frozen=True, slots=True)
class Template:
    """What a task is made of where its send says nothing: task options, and a text for a message without one."""

    options: TaskOptions = NO_OPTIONS
    text: str = ""
    description: str = ""


def template_kind(agent: str) -> str:
    """The kind of an agent's templates."""
    return kind_of(TEMPLATE, agent)


def template_key(tenant: str, owner: str, agent: str, name: str) -> RecordKey:
    """The primary key of a template's record."""
    return RecordKey(template_kind(agent), tenant, owner, name)
