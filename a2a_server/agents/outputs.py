"""What a skill yields and returns, as outputs of its attempt. Shared by every runner whose agents are Python code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from a2a_server.agent import Partial
from a2a_server.agent.values import artifact_name, clean, metadata_of, part_of, progress_of, text_of
from a2a_server.errors import Fail
from a2a_server.model.objects import Artifact, Data, File, Message, Part, Progress, Role, Text
from a2a_server.model.runs import Chunk, Completed
from a2a_server.running import Attempt

TEXT = "text"
"""The artifact that the text pieces of a generator make."""
DATA = "data"
"""The first artifact that a generator's data makes; the next ones are data-2, data-3, …"""
FILE = "file"
"""The first artifact that a generator's bytes make; the next ones are file-2, file-3, …"""
RESULT = "result"
"""The artifact that a returned value makes."""
PLAINLY: Final = Completed()
"""How most runs end."""


class Outputs:
    """Emits what one run gives and knows how it ended."""

    __slots__ = ("_attempt", "_count", "completed")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._count: dict[str, int] | None = None
        self.completed = PLAINLY

    def yielded(self, item: object) -> None:
        """Emit one item of a generator: exactly one output, none for None.

        Text continues the artifact `text`, which the end of the task closes; everything else is whole.

        Raises:
            Fail: an item that cannot be sent; the text names its type.
            LeaseLost: the run lost its task.
        """
        match item:
            case str():
                self._attempt.emit(Chunk(TEXT, (Text(text_of(item)),)))
            case Text():
                self._attempt.emit(Chunk(TEXT, (clean(item),)))
            case None | Progress() | Artifact() | Message() | Partial():
                self._common(item, yielded=True)
            case bytes() | bytearray() | memoryview() | File():
                self._whole(self._numbered(FILE), part_of(item))
            case list() | tuple() if _holds_outputs(item):
                raise Fail("The skill yielded a list of artifacts or parts; yield them one by one.")
            case _:
                self._whole(self._numbered(DATA), part_of(item))

    def returned(self, result: object) -> None:
        """Emit a skill's result; None is none.

        Raises:
            Fail: a result that cannot be sent; the text names its type.
            LeaseLost: the run lost its task.
        """
        match result:
            case str():
                self._attempt.emit(Chunk(RESULT, (Text(text_of(result)),), last=True))
            case None | Artifact() | Message() | Partial():
                self._common(result, yielded=False)
            case Progress():
                raise Fail("The skill returned a Progress, which is no result; yield it, or call task.progress().")
            case list() | tuple() if _holds_outputs(result):
                self._several(result)
            case _:
                self._whole(RESULT, part_of(result))

    def _common(self, item: Progress | Artifact | Message | Partial | None, *, yielded: bool) -> None:
        match item:
            case Progress():
                self._attempt.emit(progress_of(item))
            case Artifact():
                self._artifact(item)
            case Message():
                self.completed = replace(self.completed, message=self._said(item))
            case Partial():
                (self.yielded if yielded else self.returned)(item.result)
                self.completed = replace(self.completed, partial=item.why)

    def _said(self, message: Message) -> Message:
        if not message.parts:
            raise Fail("The skill gave a message without parts.")
        task = self._attempt.task
        return replace(
            message,
            role=Role.AGENT,
            parts=_parts(message.parts),
            id=text_of(message.id) or f"{task.id}-{self._attempt.run}",
            context_id=task.context_id,
            task_id=task.id,
            metadata=metadata_of(message.metadata),
        )

    def _several(self, items: Sequence[object]) -> None:
        artifacts = [one for one in items if isinstance(one, Artifact)]
        parts = [one for one in items if isinstance(one, Text | Data | File)]
        if len(artifacts) == len(items):
            for artifact in artifacts:
                self._artifact(artifact)
        elif len(parts) == len(items):
            self._whole(RESULT, *_parts(parts))
        else:
            raise Fail("The skill returned a list that mixes artifacts or parts with other things.")

    def _artifact(self, artifact: Artifact) -> None:
        if not artifact.parts:
            raise Fail("The skill gave an artifact without parts.")
        self._attempt.emit(
            Chunk(
                artifact_name(artifact.name),
                _parts(artifact.parts),
                last=True,
                description=text_of(artifact.description),
                metadata=metadata_of(artifact.metadata),
            )
        )

    def _whole(self, name: str, *parts: Part) -> None:
        self._attempt.emit(Chunk(name, parts, last=True))

    def _numbered(self, name: str) -> str:
        if self._count is None:
            self._count = {}
        count = self._count[name] = self._count.get(name, 0) + 1
        return name if count == 1 else f"{name}-{count}"


def _holds_outputs(items: Sequence[object]) -> bool:
    return any(isinstance(one, Artifact | Text | Data | File) for one in items)


def _parts(parts: Sequence[Part]) -> tuple[Part, ...]:
    return tuple(clean(part) for part in parts)
