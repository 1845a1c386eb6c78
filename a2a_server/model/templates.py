"""Templates of tasks: a name for a type of task, with what is taken where a send says nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from a2a_server.model.options import NO_OPTIONS, TaskOptions
from a2a_server.model.rows import RecordKey

TEMPLATE: Final = "template"
"""The kind of their records."""


@dataclass(frozen=True, slots=True)
class Template:
    """What a task is made of where its send says nothing: task options, and a text for a message without one."""

    options: TaskOptions = NO_OPTIONS
    text: str = ""
    description: str = ""


def template_key(tenant: str, owner: str, name: str) -> RecordKey:
    """The primary key of a template's record."""
    return RecordKey(TEMPLATE, tenant, owner, name)
