"""A client that talks with one task: it sends a line, answers what the task asks, and goes on until the task ends.

Three styles: `wait` blocks on every send, `stream` follows each by its own stream, `watch` sends without waiting and
subscribes (once for all where a subscription outlives questions, else again after every answer).

An answer whose acknowledgement was lost is sent again word for word; from 0.3 on its message id makes it the same, and
now and then it is sent once more while the next question is open. v0.1 has no such id, and a message to a task that
asks is an answer, so its client looks before it repeats anything: whether there is a task already, and whether its
question is still the open one. The text of a question is unique in its task. Source: core.md section 3.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from a2a_server.errors import TaskNotFound
from tests.drills.follower import Follower, Line
from tests.drills.ledger import Ledger, Order, Stream, View
from tests.drills.wires import Refused, Wire
from tests.patience import PATIENCE

WAIT, STREAM, WATCH = STYLES = ("wait", "stream", "watch")

_TRIES = 400
_LOOK_SECONDS = 0.05
_LOOKS = round(PATIENCE / _LOOK_SECONDS)
_THINKING_SECONDS = 0.4
_ONCE_MORE = 0.4


class Caller(Line, Protocol):
    """Repeats requests until they are answered."""

    async def send(self, wire: Wire, order: Order, *, wait: bool) -> View | None: ...
    async def call(self, ask: Callable[[], Awaitable[View]], name: str, what: str) -> View | None: ...


@dataclass(slots=True)
class Talker:
    """Talks with the task of one order."""

    wire: Wire
    ledger: Ledger
    caller: Caller
    rng: random.Random
    order: Order
    _answered: set[str] = field(default_factory=set)
    _last: Order | None = None

    async def run(self, style: str) -> None:
        """Until the task ends; faults are in the ledger."""
        view = await (self._said(self.order, style) if self.wire.repeats_answers else self._begun(style))
        watching = None
        if style == WATCH and view is not None and self.wire.keeps_following:
            watching = asyncio.create_task(Follower(self.wire, self.ledger, self.caller, Stream(view.id)).run())
        view = await self._settled(view, style)
        while view is not None and view.asks:
            await asyncio.sleep(self.rng.uniform(0, _THINKING_SECONDS))
            view = await self._answer(view, style)
        if watching is not None:
            await watching

    async def _answer(self, view: View, style: str) -> View | None:
        number = len(self._answered) + 1
        answer = replace(
            self.order, id=f"{self.order.id}-{number}", line=f"answer {number} to {self.order.id}", task=view.id
        )
        if self._last is not None and self.wire.repeats_answers and self.rng.random() < _ONCE_MORE:
            await self.caller.send(self.wire, self._last, wait=False)
        self._last = answer
        self.ledger.replied(answer, view.text)
        self._answered.add(view.text)
        if self.wire.repeats_answers:
            said = await self._said(answer, style)
        else:
            said = await self._said_once(answer, view, style)
        return await self._settled(said, style)

    async def _said(self, order: Order, style: str) -> View | None:
        """The order is acknowledged."""
        if style != STREAM:
            return await self.caller.send(self.wire, order, wait=style == WAIT)
        stream = Stream(order.task)
        answered = frozenset(self._answered)
        await Follower(self.wire, self.ledger, self.caller, stream, order, answered=answered).run()
        return await self._read(stream.task) if stream.task else None

    async def _begun(self, style: str) -> View | None:
        """The first message is acknowledged, where it would be an answer once the task has asked."""
        tries = 0

        async def ask() -> View:
            nonlocal tries
            tries += 1
            if tries > 1:
                try:
                    return await self.wire.get(self.order.id)
                except Refused as refused:
                    if refused.code != TaskNotFound.code:
                        raise
            return await self.wire.send(self.order, wait=style == WAIT)

        view = await self.caller.call(ask, self.order.id, f"begin {self.order.line!r}")
        if view is None:
            return None
        self.ledger.acknowledge(self.order, view.id, view.state)
        if style != STREAM or self._is_settled(view):
            return view
        await Follower(self.wire, self.ledger, self.caller, Stream(view.id), answered=frozenset()).run()
        return await self._read(view.id)

    async def _said_once(self, answer: Order, asked: View, style: str) -> View | None:
        """The same where an answer must not be sent again once the task has asked something else."""
        tries = 0

        async def ask() -> View:
            nonlocal tries
            tries += 1
            if tries > 1 and not _open(now := await self.wire.get(answer.task), asked):
                return now
            return await self.wire.send(answer, wait=style == WAIT)

        if style != STREAM:
            view = await self.caller.call(ask, answer.id, f"answer {answer.line!r}")
            if view is not None:
                self.ledger.acknowledge(answer, view.id, view.state)
            return view
        for _ in range(_TRIES):
            stream = Stream(answer.task)
            answered = frozenset(self._answered)
            await Follower(self.wire, self.ledger, self.caller, stream, answer, answered=answered).run()
            view = await self._read(answer.task)
            if view is None or not _open(view, asked):
                self.ledger.acknowledge(answer, answer.task)
                return view
        return None

    async def _settled(self, view: View | None, style: str) -> View | None:
        """The task when it has ended, or asks something that was not answered yet."""
        if view is not None and style == WATCH and not self.wire.keeps_following and not self._is_settled(view):
            answered = frozenset(self._answered)
            await Follower(self.wire, self.ledger, self.caller, Stream(view.id), answered=answered).run()
        for _ in range(_LOOKS):
            if view is None or self._is_settled(view):
                return view
            if view.asks:
                self.ledger.problem("asked-twice", view.id, f"{view.text!r} after it was answered")
                return None
            await asyncio.sleep(_LOOK_SECONDS)
            view = await self._read(view.id)
        self.ledger.problem("unfinished", self.order.id, "nothing came of what was said")
        return None

    def _is_settled(self, view: View) -> bool:
        return view.settled and not (view.asks and view.text in self._answered)

    async def _read(self, task: str) -> View | None:
        return await self.caller.call(lambda: self.wire.get(task), task, "get")


def _open(view: View, asked: View) -> bool:
    return view.asks and view.text == asked.text
