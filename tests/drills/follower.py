"""A client that follows a task to its end over any number of connections, as P5 says it may.

Each time the connection breaks it goes on behind the last number it saw: by `Last-Event-ID` and `afterEvent` in turn,
now and then by repeating the streaming send itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from typing import Protocol

import httpx2

from tests.clients.rpc import BadAnswer
from tests.clients.v01 import A2AClientError
from tests.drills.ledger import Ledger, Order, Seen, Stream
from tests.drills.wires import LOST, After, Refused, Wire

_CONNECTIONS = 1_000


class Line(Protocol):
    """The way to the server: counts what is in flight and knows when the server is there."""

    def request(self) -> AbstractContextManager[None]: ...
    async def up(self) -> None: ...


@dataclass(slots=True)
class Follower:
    """Follows one task. order: what to send to get it (None = subscribe to `stream.task`).

    answered: the questions that were answered before; it stops where the task asks another one (None = goes on). An
    answer is not sent again by itself where its generation might take it for the answer to the next question.
    """

    wire: Wire
    ledger: Ledger
    line: Line
    stream: Stream
    order: Order | None = None
    answered: frozenset[str] | None = None
    _stopped: bool = False

    async def run(self) -> bool:
        """Whether the end was seen, or the question to stop at; faults are in the ledger.

        False: refused, or the connections were used up, or nothing is known of an answer that must not be repeated.
        """
        self.stream.generation = self.wire.generation
        self.ledger.streams.append(self.stream)
        for _ in range(_CONNECTIONS):
            try:
                with self.line.request():
                    async with aclosing(self._connect()) as items:
                        await self._read(items)
            except httpx2.ReadTimeout:
                self.ledger.problem("silent", self.stream.task, f"nothing came after event {self.stream.last_n}")
            except LOST:
                pass
            except Refused as refused:
                if not self._expected(refused):
                    self.ledger.problem("refused", self.stream.task, f"after {self.stream.last_n}: {refused}")
                return self.stream.ended
            except (BadAnswer, A2AClientError) as error:
                self.ledger.problem("bad-answer", self.stream.task, str(error))
                return False
            if self.stream.ended or self._stopped:
                return True
            self.stream.cut()
            await self.line.up()
            if not self._repeats and self.stream.last_n is None:
                return False
        self.ledger.problem("unfinished", self.stream.task, f"no end was seen over {_CONNECTIONS} connections")
        return False

    def _connect(self) -> AsyncGenerator[Seen]:
        stream, turn = self.stream, len(self.stream.resumed_after)
        if stream.last_n is None:
            if self.order is not None:
                return self.wire.stream(self.order)
            return self.wire.subscribe(stream.task, After(0, by_header=True) if stream.whole else None)
        after = After(stream.last_n, by_header=turn % 2 == 1)
        if self.order is not None and self._repeats and turn % 3 == 0:
            self.ledger.repeated += 1
            return self.wire.stream(self.order, after)
        return self.wire.subscribe(stream.task, after)

    async def _read(self, items: AsyncGenerator[Seen]) -> None:
        async for seen in items:
            if self.stream.task not in {"", seen.task}:
                self.ledger.problem("another-task", seen.task, f"on the stream of {self.stream.task}")
            if self.order is not None:
                self.ledger.acknowledge(self.order, seen.task, seen.state)
            if self.stream.take(seen):
                self.ledger.told(seen.task, seen.state)
                if seen.asks and self.answered is not None and seen.text not in self.answered:
                    self._stopped = True
                    return
            await asyncio.sleep(0)

    @property
    def _repeats(self) -> bool:
        return self.order is None or not self.order.task or self.wire.repeats_answers

    def _expected(self, refused: Refused) -> bool:
        """A new subscription to a task that has ended is refused in 1.0."""
        return refused.code == -32004 and self.order is None and self.stream.last_n is None
