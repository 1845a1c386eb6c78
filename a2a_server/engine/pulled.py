"""A run that is somewhere else: what an agent that pulled its task says of it, on its way into turns.

The agent tells over HTTP, a request at a time, and each request is one turn: its outputs are committed together or not
at all. What the run wrote before is read back from the store when this process does not have it at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from a2a_server.codec import decode_spec, encode
from a2a_server.engine.attempt import RunningAttempt
from a2a_server.engine.engine import Engine
from a2a_server.engine.gathering import NOBODY, contents, family_of, gathered, note_of
from a2a_server.engine.taskview import view_of
from a2a_server.errors import InvalidParams, LeaseLost
from a2a_server.lifecycle.endings import End, EndKind
from a2a_server.lifecycle.pulling import PulledReport
from a2a_server.lifecycle.runs import Report
from a2a_server.model.objects import File
from a2a_server.model.queries import Snapshot
from a2a_server.model.rows import TaskRow
from a2a_server.model.runs import CHECKS, Chunk, Completed, Output, Shelf
from a2a_server.policy import RetryPolicy


class PulledAttempt(RunningAttempt):
    """The run that holds the task of `snapshot` under its fence. Concurrency: one call at a time.

    told: whether outputs were committed ahead of an end that was not.
    """

    __slots__ = ("_own", "_reports_files", "told")

    def __init__(self, snapshot: Snapshot, engine: Engine) -> None:
        row, backends = snapshot.task, engine.backends
        super().__init__(
            row,
            view_of(row, (NOBODY,), decode_spec(row.spec)),
            writer=engine.writer,
            store=backends.store,
            artifacts=backends.artifacts,
            limits=engine.limits,
            retries=retries_of(engine, row),
            on_lost=_noted,
            awaited=_always,
            spawning=family_of(backends.store, backends.artifacts, engine.limits),
        )
        self._notes = row.last_n  # ids of notes go on behind those that this run had before
        self._own: dict[str, bool] = {take.name: take.closed for take in snapshot.artifacts if take.take == row.fence}
        self._reports_files: tuple[File, ...] = ()
        self.told = False
        self.restore(snapshot)

    def check(self, outputs: Sequence[Output]) -> None:
        """Raises InvalidParams: one of them continues an artifact that the run has closed."""
        closed = {name for name, is_closed in self._own.items() if is_closed}
        for output in outputs:
            if isinstance(output, Chunk):
                if output.name in closed:
                    raise InvalidParams(
                        f'The artifact "{output.name}" is closed (last); give what follows another name.', path="name"
                    )
                if output.last:
                    closed.add(output.name)

    async def say(self, outputs: Sequence[Output], files: tuple[File, ...], end: End | None = None) -> TaskRow:
        """The task behind the turn that wrote the outputs, and the end of the run where it is given.

        files: objects that they refer to. Raises LeaseLost, Conflict, Fail and Retry as `finish`, StoreUnavailable,
        DataRejected and Overloaded.
        """
        self._reports_files, self.told = files, False
        if end is not None and end.kind is EndKind.COMPLETED:
            end = await self._completed(outputs, end)
        for output in outputs:
            if isinstance(output, Chunk):
                went_on = output.name in self._own  # in an earlier request of the same run
                self._own[output.name] = output.last
                output = replace(output, resume=output.resume or went_on)  # noqa: PLW2901 - as it is meant
            self.emit(output)
        try:
            if outputs and (end is None or any(map(self._takes.unfinished, self._closing(end)))):
                await self.flush()
                self.told = True
            return self.row if end is None else await self.finish(end)
        except LeaseLost:
            raise self.lost or LeaseLost() from None

    async def _completed(self, outputs: Sequence[Output], end: End) -> End:
        """How the task ends that its agent completes, or goes on, with the checks that the agent made."""
        wishes = self.task.wishes
        if wishes is not None and wishes.complete_when:
            own = self.wrote or any(isinstance(output, Chunk) for output in outputs)
            note = note_of(Completed(partial=end.partial), own=own)
            end = replace(await gathered(self, wishes.complete_when, note, left=True), checks=end.checks)
        if end.checks:
            self._backlog.count += 1
            body = encode({"run": self.run, "checks": end.checks})
            self._states.append(self._shelves.row(CHECKS, CHECKS, body, Shelf.TASK))
        return end

    def _report(self, end: End | None) -> Report:
        said = contents(super()._report(end))
        files, self._reports_files = self._reports_files, ()
        return PulledReport(**said, files=files)


def retries_of(engine: Engine, row: TaskRow) -> RetryPolicy:
    """The back-off of the task's skill."""
    return engine.limits.retries_of(next((skill for skill in engine.runner.skills if skill.id == row.skill), None))


def _always(row: TaskRow) -> bool:  # noqa: ARG001 - somebody waits for the answer
    return True


def _noted(error: Exception) -> None:
    """`say` raises it."""
