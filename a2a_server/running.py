"""Between the engine and agents: what runs a task, and what its run may ask of the engine.

`StoreUnavailable` comes out of none of these: a run waits for its store. Everything else is named at its method.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NoReturn, Protocol

from a2a_server.model.objects import File, Message, State
from a2a_server.model.options import TaskOptions
from a2a_server.model.runs import (
    ChildResult,
    Completed,
    Happening,
    Join,
    Output,
    Pause,
    Shelf,
    SkillSpec,
    Stopping,
    TakeView,
    TaskView,
)


class Attempt(Protocol):
    """One run of a task as its handler reaches the engine. Thread-safe except where a method is `async`."""

    @property
    def task(self) -> TaskView:
        """The task."""
        ...

    @property
    def run(self) -> int:
        """Which run this is: the fence, 1 for the first."""
        ...

    @property
    def number(self) -> int:
        """Which attempt this is, 1 for the first; only failures and crashes count."""
        ...

    @property
    def stopping(self) -> Stopping | None:
        """Why the run should end, None while it may go on."""
        ...

    def emit(self, output: Output) -> None:
        """Queue an output for the next turn. Raises LeaseLost once the run lost its task."""
        ...

    async def room(self) -> None:
        """Wait until few enough outputs are uncommitted (256 events, 256 KiB). Raises LeaseLost."""
        ...

    async def flush(self) -> int:
        """Wait until all that was emitted is committed; returns the last event's number. Raises LeaseLost."""
        ...

    def taken(self, name: str) -> TakeView:
        """What earlier runs committed of the artifact `name`."""
        ...

    @property
    def written(self) -> int:
        """About how many bytes this run has put into artifacts so far."""
        ...

    async def recall(self, space: str, name: str, shelf: Shelf = Shelf.TASK) -> bytes | None:
        """A value that was remembered; None = none.

        A store that does not answer is waited for; raises LeaseLost once the run has lost its task meanwhile.
        """
        ...

    async def remember(self, space: str, name: str, value: bytes | None, shelf: Shelf = Shelf.TASK) -> None:
        """Keep a value, replacing the one before (None = forget it); durable on return. Raises LeaseLost."""
        ...

    async def names(self, space: str, prefix: str = "", shelf: Shelf = Shelf.TASK) -> Sequence[str]:
        """The names in `space` that begin with `prefix`, in order, 10,000 at most. Waits and raises as `recall`."""
        ...

    def read(self, file: File) -> AsyncIterator[bytes]:
        """A file's bytes, piece by piece: inline ones, or from the artifact store.

        Raises Fail at the first step for a file that is only an address elsewhere, and when the object is gone.
        """
        ...

    async def spawn(self, step: str, message: Message, options: TaskOptions) -> str:
        """The id of a task of the same owner and context that is a part of this one; made once for each `step`.

        Called again with the same step, in this run or a later one, it gives the same task, whatever else is said.
        Durable on return. Raises Fail for options that cannot be met, LeaseLost.
        """
        ...

    async def states(self, children: Sequence[str]) -> Sequence[State]:
        """How children stand, by their ids; one that is not stored any more counts as canceled."""
        ...

    async def results(self, children: Sequence[str]) -> Sequence[ChildResult]:
        """What became of children, by their ids. Waits and raises as `recall`."""
        ...

    def pause(self, pause: Pause | Join) -> NoReturn:
        """End the run with a question, or to wait for children; always raises Paused. Thread-safe.

        Raises LeaseLost once the task is lost.
        """
        ...


class AgentRunner(Protocol):
    """An agent that can run its skills, in whatever framework it is written."""

    @property
    def skills(self) -> Sequence[SkillSpec]:
        """Its skills, in the order of registration; exactly one is marked default."""
        ...

    @property
    def listens_for(self) -> frozenset[State]:
        """States that the agent wants to hear of, once they are committed (`tell`)."""
        ...

    async def open(self) -> None:
        """Get ready to run, once in a process and before anything else. What it raises ends the server's start."""
        ...

    async def run(self, attempt: Attempt) -> Completed:
        """Run `attempt.task.skill`.

        Raises Reject, Fail, Retry, Paused, CancelledError or anything else (engine.outcomes).
        """
        ...

    async def roll_back(self, attempt: Attempt, reason: str) -> None:
        """Undo what the runs of the task did; it is about to end as failed or canceled. May be called twice."""
        ...

    async def tell(self, happening: Happening) -> None:
        """The task reached a state of `listens_for`. Raising has it called again later. May be called twice."""
        ...

    async def close(self) -> None:
        """Give everything back; called once after `open`, when no run is left."""
        ...
