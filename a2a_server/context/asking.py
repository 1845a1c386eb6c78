"""Questions to whoever sent the task, found again by the run that the answer starts.

Theory of operation: a question ends its run. What was asked is remembered with how many user messages there were, in
the turn that asks; so the next run, which begins the handler anew, finds for the k-th question of a name the message
that came next. The handler has to ask the same things in the same order every time, as it did when it was interrupted.
Of several that are asked side by side the first goes out alone; the others follow, each in a run of its own.

Source: core.md section 8.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, Self

from a2a_server.agent.values import clean, data_of, text_of
from a2a_server.codec import canonical, decode, encode, pack_part
from a2a_server.context.places import Places
from a2a_server.errors import Fail
from a2a_server.model.objects import Data, File, JsonObject, Message, Part, Role, Text
from a2a_server.model.runs import ASKED, Pause, TaskView, Want
from a2a_server.running import Attempt

QUESTION_NAME = 200
"""Longest name of a question, in characters."""


class Answer(str):
    """What was answered: equal to its text. `message` is the whole answer, `data` and `files` its other parts."""

    __slots__ = ("message",)
    message: Message

    def __new__(cls, message: Message) -> Self:
        """The answer that a message is."""
        answer = super().__new__(cls, message.text)
        answer.message = message
        return answer

    @property
    def data(self) -> JsonObject:
        """Its data parts, merged."""
        return data_of(self.message)

    @property
    def files(self) -> tuple[File, ...]:
        """Its file parts."""
        return tuple(part for part in self.message.parts if isinstance(part, File))


class Questions:
    """What one run asks. Concurrency: belongs to its run."""

    __slots__ = ("_attempt", "_places", "_turn")

    def __init__(self, attempt: Attempt, places: Places) -> None:
        self._attempt = attempt
        self._places = places
        self._turn = asyncio.Lock()

    async def ask(self, want: Want, question: Message, name: str) -> Answer:
        """The answer, if there is one; else the run ends with the question.

        Raises:
            Paused: the question is asked now.
            Fail: another question than before was asked under this name, or the name is too long.
            LeaseLost: the run lost its task.
        """
        if len(name) > QUESTION_NAME or not (not name or name.isprintable()):
            raise Fail(f"The handler named a question wrongly: a name is at most {QUESTION_NAME} printable characters.")
        key = self._places.next(ASKED, f"{want.value}:{name}")
        digest = hashlib.sha256(canonical([pack_part(part) for part in question.parts])).hexdigest()
        heard = heard_of(self._attempt.task)
        async with self._turn:
            note = await self._attempt.recall(ASKED, key)
            asked: dict[str, Any] = {"h": digest, "n": len(heard)} if note is None else decode(note)
            if asked["h"] != digest:
                raise Fail("The handler asked another question than before; it must ask the same ones in every run.")
            if asked["n"] >= len(heard):
                self._attempt.pause(Pause(want, question, key, encode(asked)))
        return Answer(heard[asked["n"]])


def heard_of(task: TaskView) -> list[Message]:
    """What the user said so far, oldest first."""
    return [message for message in task.history if message.role is Role.USER]


def question_of(question: str | Message | Sequence[Part], without: str = "asked without a question") -> Message:
    """The message that asks. without: what the handler did wrongly if there is nothing in it.

    Raises:
        Fail: it has no parts, or one that cannot be sent.
    """
    match question:
        case str():
            parts: tuple[Part, ...] = (Text(text_of(question)),)
        case Message():
            parts = tuple(clean(part) for part in question.parts)
        case _:
            parts = tuple(clean(part) for part in question)
    if not parts or parts == (Text(""),):
        raise Fail(f"The handler {without}.")
    return Message(Role.AGENT, parts)


def sign_in(url: str, scope: str) -> Message:
    """The message that asks for authentication: words for people, an address and a scope for programs."""
    words = f"Authentication is needed: {url}" if url else "Authentication is needed."
    data: JsonObject = {"url": text_of(url), **({"scope": text_of(scope)} if scope else {})}
    return Message(Role.AGENT, (Text(text_of(words)), Data(data)))
