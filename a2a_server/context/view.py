"""What every skill can read of its run, async or plain."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from a2a_server.agent import ContextParameter
from a2a_server.agent.values import data_of, text_of
from a2a_server.codec import canonical
from a2a_server.context.asking import Questions
from a2a_server.context.family import Family
from a2a_server.context.places import Places
from a2a_server.context.remembering import Steps, unpacked
from a2a_server.errors import Fail
from a2a_server.model.objects import File, Json, JsonObject, Message
from a2a_server.model.runs import LogLine, Stopping
from a2a_server.running import Attempt

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
READ_BYTES: Final = 64 * 1024 * 1024
"""The most of a file that is read into memory unless a skill says otherwise."""


class View(ContextParameter):
    """What both kinds of skill can read."""

    def __init__(
        self,
        attempt: Attempt,
        resources: object = None,
        places: Places | None = None,
        checkpoints: Mapping[str, bytes] | None = None,
    ) -> None:
        places = places or Places()
        kept = attempt.task.checkpoints if checkpoints is None else checkpoints
        self._attempt = attempt
        self._resources = resources
        self._questions = Questions(attempt, places)
        self._steps = Steps(attempt, places)
        self._family = Family(attempt, places)
        self._checkpoints = {name: unpacked(body) for name, body in kept.items()}

    @property
    def id(self) -> str:
        """The task's id, as clients know it."""
        return self._attempt.task.id

    @property
    def context_id(self) -> str:
        """The conversation that the task belongs to."""
        return self._attempt.task.context_id

    @property
    def owner(self) -> str:
        """Who sent the task; `local` without authentication."""
        return self._attempt.task.owner

    @property
    def tenant(self) -> str:
        """The tenant, '' = none."""
        return self._attempt.task.tenant

    @property
    def attempt(self) -> int:
        """Which attempt this is, 1 for the first; a failure or a crash makes the next."""
        return self._attempt.number

    @property
    def deadline(self) -> float | None:
        """When the task has to have ended, seconds since the epoch; None = it has no deadline."""
        return self._attempt.task.deadline

    @property
    def tools(self) -> tuple[str, ...]:
        """The tools that the task requires, in no order; () = none were named."""
        return self._attempt.task.tools

    @property
    def message(self) -> Message:
        """The message that began the task; the same in every run, so that a handler asks the same questions again."""
        return self._attempt.task.message

    @property
    def history(self) -> tuple[Message, ...]:
        """All messages of the task so far, the oldest first: the user's, and the questions that were answered."""
        return self._attempt.task.history

    @property
    def text(self) -> str:
        """The message's text parts, joined by line breaks."""
        return self._attempt.task.message.text

    @property
    def data(self) -> JsonObject:
        """The message's data parts, merged."""
        return data_of(self._attempt.task.message)

    @property
    def files(self) -> tuple[File, ...]:
        """The message's file parts."""
        return tuple(part for part in self._attempt.task.message.parts if isinstance(part, File))

    @property
    def metadata(self) -> JsonObject:
        """The client's own metadata of the task."""
        return self._attempt.task.metadata or {}

    @property
    def parameters(self) -> dict[str, Json]:
        """The parameters given beside the message, in the task options."""
        return self._attempt.task.parameters

    @property
    def title(self) -> str:
        """The task's title, '' = none."""
        return self._attempt.task.title

    @property
    def description(self) -> str:
        """What the task is about, as its sender described it, '' = not at all."""
        wishes = self._attempt.task.wishes
        return "" if wishes is None else wishes.description

    @property
    def tags(self) -> tuple[str, ...]:
        """The labels that its sender gave it."""
        wishes = self._attempt.task.wishes
        return () if wishes is None else wishes.tags

    @property
    def given(self) -> JsonObject:
        """Free JSON for the agent: the task option `context`, {} = none. `context_id` is the conversation's."""
        wishes = self._attempt.task.wishes
        return (wishes.context if wishes is not None else None) or {}

    @property
    def parent_id(self) -> str:
        """The id of the task that this one is a part of, '' = none."""
        wishes = self._attempt.task.wishes
        return "" if wishes is None else wishes.parent

    @property
    def stopping(self) -> Stopping | None:
        """Why the run should end now; None while it may go on. Plain skills look at it between their steps."""
        return self._attempt.stopping

    @property
    def checkpoints(self) -> Mapping[str, Json]:
        """What this and earlier runs kept by `checkpoint`, by name."""
        return self._checkpoints

    @property
    def resources(self) -> Any:  # noqa: ANN401 - whatever the agent's lifespan gives
        """What the agent's `@agent.lifespan` yielded, the same for all runs of a process; None without one."""
        return self._resources

    def idempotency_key(self, name: str = "") -> str:
        """A key for calls that must not be made twice: the same in every run of this task, another for each `name`."""
        task = self._attempt.task
        return hashlib.sha256(canonical([task.tenant, task.owner, task.id, name])).hexdigest()


def line(level: str, text: str) -> LogLine:
    """A line for the journal.

    Raises:
        ValueError: the level is not one of `LOG_LEVELS`.
        Fail: the text cannot be written.
    """
    if level not in LOG_LEVELS:
        raise ValueError(f"log: level must be one of {', '.join(LOG_LEVELS)}, not {level!r}")
    return LogLine(level, text_of(text))


def too_long(file: File, limit_bytes: int) -> Fail:
    """How a run ends that wanted more of a file in memory than it may."""
    name = file.filename or "without a name"
    return Fail(f"The file {name} is larger than the {limit_bytes} bytes that this skill reads at once.")
