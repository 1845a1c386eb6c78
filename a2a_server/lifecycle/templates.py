"""Templates of tasks: how one and a send become one, and their records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from a2a_server.codec import decode, encode
from a2a_server.errors import InvalidParams
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import Message, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.rows import RecordKey, RecordRow
from a2a_server.model.templates import Template
from a2a_server.model.turns import Needs
from a2a_server.values import value_class


def merged(template: Template, options: TaskOptions, message: Message) -> tuple[TaskOptions, Message]:
    """What a send asks for that names the template. What the send gives wins, each parameter by itself.

    The template's text stands before the parts of a message that has no text of its own.
    """
    theirs = template.options
    taken: dict[str, Any] = {name: getattr(theirs, name) for name in theirs.model_fields_set - options.model_fields_set}
    if "parameters" in theirs.model_fields_set & options.model_fields_set:
        taken["parameters"] = {**theirs.parameters, **options.parameters}
    if taken:
        options = options.model_copy(update=taken)
    if template.text and not message.text.strip():
        others = [part for part in message.parts if not isinstance(part, Text)]
        message = replace(message, parts=(Text(template.text), *others))
    return options, message


def packed(template: Template) -> bytes:
    """The body of its record."""
    options = template.options.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return encode({"o": options, "t": template.text, "d": template.description})


def unpacked(row: RecordRow) -> Template:
    """The template that a record keeps."""
    body = decode(row.body)
    return Template(TaskOptions.model_validate(body["o"]), body["t"], body["d"])


@value_class(frozen=True, slots=True)
class PutTemplate:
    """Make or change a template. rev: only if its record still has this one, 0 = whichever, and where there is none."""

    key: RecordKey
    template: Template
    rev: int = 0
    urgent: bool = False

    @property
    def weight(self) -> int:
        """Its body."""
        return len(packed(self.template)) + 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The record."""
        needs.records.add(self.key)

    def decide(self, turn: Turn) -> RecordRow:
        """The record. Raises InvalidParams: it has another rev."""
        row, body = turn.links.record(self.key), packed(self.template)
        if row is not None and row.body == body:  # also by this very change, whose turn was in doubt
            return row
        if self.rev and (row is None or row.rev != self.rev):
            now = "it was deleted" if row is None else f"its rev is {row.rev}"
            raise InvalidParams(f"The template was changed meanwhile ({now}); read it again.", path="rev")
        return turn.links.keep(RecordRow(*self.key, 0, 0, body))
