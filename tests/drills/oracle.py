"""What must become of tasks, by the few rules that clients are told. Pure: no clock, no store, no engine.

Theory of operation. The oracle is told what is done (a task is sent, a handler returns, a queue is paused) and shown,
between two doings, where every task stands. It knows no turns and no workers: it knows what a task waits for, and so in
which phases it may be. Where two things race, it allows both outcomes and goes on with the one that it is shown. Which
of the tasks that may run do run, it does not foretell; it judges it: nothing that may run is left while there is room,
no gate lets more through than it has room for, and no lower lane goes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from a2a_server.model.objects import Lane, Phase, State


class Stage(StrEnum):
    """What a task waits for: upstreams, its time, a worker, an answer, its parts, or nothing any more."""

    BEHIND = "behind"
    LATER = "later"
    CLAIMABLE = "claimable"
    ASKING = "asking"
    JOINING = "joining"
    ENDED = "ended"


PHASES: Mapping[Stage, frozenset[Phase]] = {
    Stage.BEHIND: frozenset({Phase.WAITING}),
    Stage.LATER: frozenset({Phase.SCHEDULED}),
    Stage.CLAIMABLE: frozenset({Phase.READY, Phase.HELD, Phase.LEASED}),
    Stage.ASKING: frozenset({Phase.PAUSED}),
    Stage.JOINING: frozenset({Phase.WAITING}),
    Stage.ENDED: frozenset({Phase.FINAL}),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task was seen."""

    phase: Phase
    state: State


@dataclass(slots=True)
class Known:
    """A task. may: how it may end, once it must. due_at: when it starts, by the oracle's clock. on_failure: as in the
    task option of that name.
    """

    id: str
    skill: str
    lane: Lane = Lane.NORMAL
    upstreams: tuple[str, ...] = ()
    on_failure: str = "fail"
    parent: str = ""
    stage: Stage = Stage.CLAIMABLE
    state: State = State.SUBMITTED
    due_at: int = 0
    running: bool = False
    may: frozenset[State] = frozenset()
    joined: tuple[str, ...] = ()
    answers: int = 0
    retries: int = 0
    joins: int = 0
    canceled: bool = False

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.stage is Stage.ENDED

    @property
    def settled(self) -> bool:
        """Whether nothing is about to end it."""
        return not self.may and not self.over


@dataclass(slots=True)
class Oracle:
    """All tasks of one history. slots: of the worker. rooms: how many of a skill may run at once; others: any number.

    now: seconds since its beginning.
    """

    slots: int
    rooms: Mapping[str, int]
    max_attempts: int
    tasks: dict[str, Known] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    now: int = 0

    def send(self, task: Known, delay: int = 0) -> None:
        """The task was accepted. Its upstreams are known.

        One that cannot run any more is made as one that has ended: who joins it at once has nothing to wait for.
        """
        self.tasks[task.id] = task
        task.due_at = self.now + delay if delay else 0
        if (state := self._stillborn(task)) is not None:
            self._ended(task, state)
        elif not all(self.tasks[one].over for one in task.upstreams):
            task.stage = Stage.BEHIND
        else:
            self._start(task)

    def end(self, task_id: str, *states: State) -> None:
        """The task is about to end, as one of these."""
        self.tasks[task_id].may |= set(states)

    def retry(self, task_id: str, delay: int) -> None:
        """Its run fails transiently and is to begin again so many seconds later."""
        task = self.tasks[task_id]
        task.retries += 1
        if task.retries >= self.max_attempts:
            task.may |= {State.FAILED}
        else:
            self._leave(task, Stage.LATER)
            task.due_at = self.now + delay

    def ask(self, task_id: str) -> None:
        """Its run ends with a question."""
        self._leave(self.tasks[task_id], Stage.ASKING)

    def answer(self, task_id: str) -> None:
        """The question was answered."""
        task = self.tasks[task_id]
        task.answers += 1
        task.stage = Stage.CLAIMABLE

    def join(self, task_id: str) -> None:
        """Its run waits for all its parts, if any goes on."""
        task = self.tasks[task_id]
        task.joined = tuple(one.id for one in self.tasks.values() if one.parent == task_id)
        if not all(self.tasks[one].over for one in task.joined):
            task.joins += 1
            self._leave(task, Stage.JOINING)

    def cancel(self, task_id: str) -> None:
        """It was asked to end; a handler that runs obeys."""
        task = self.tasks[task_id]
        task.canceled = True
        task.may |= {State.CANCELED}

    def pass_by(self, seconds: int) -> None:
        """So much later."""
        self.now += seconds
        for task in self.tasks.values():
            if task.stage is Stage.LATER and task.due_at <= self.now:
                task.stage = Stage.CLAIMABLE

    def look(self, seen: Mapping[str, Place]) -> list[str]:
        """What is not as it must be, given where each task is that had not ended; nothing = all is.

        What is not may still become so: the caller looks again for a while. Ends that may be are taken for granted.
        """
        for task in list(self.tasks.values()):
            place = seen.get(task.id)
            if place is not None and place.phase is Phase.FINAL and place.state in task.may:
                self._ended(task, place.state)
        wrong = [text for task in self.tasks.values() for text in self._misplaced(task, seen.get(task.id))]
        if wrong:
            return wrong
        for task in self.tasks.values():
            if not task.over:
                task.running = seen[task.id].phase is Phase.LEASED
                task.state = seen[task.id].state
        return list(self._crowds()) + list(self._idle())

    def order(self, before: Iterable[str], started: Sequence[str]) -> list[str]:
        """What went before its turn among those that started since `before` were left claimable.

        A task that is behind a closed queue, or whose skill is full, is nobody's better.
        """
        left = [self.tasks[one] for one in before]
        left = [one for one in left if one.stage is Stage.CLAIMABLE and one.settled and not one.running]
        wrong = []
        for task in map(self.tasks.__getitem__, started):
            for other in left:
                comparable = other.skill == task.skill or other.skill not in self.rooms
                if comparable and other.skill not in self.paused and other.lane < task.lane:
                    wrong.append(f"{_said(task)} began and left {_said(other)}")
        return wrong

    def claimable(self) -> list[str]:
        """Tasks of open queues that may run and do not."""
        ready = [one for one in self.tasks.values() if one.stage is Stage.CLAIMABLE and one.settled]
        return [one.id for one in ready if not one.running and one.skill not in self.paused]

    def running(self) -> list[str]:
        """Tasks that run."""
        return [one.id for one in self.tasks.values() if one.settled and one.running]

    def at(self, stage: Stage) -> list[str]:
        """Tasks at this stage that nothing is about to end."""
        return [one.id for one in self.tasks.values() if one.stage is stage and one.settled]

    def live(self) -> list[str]:
        """Tasks that have not ended."""
        return [one.id for one in self.tasks.values() if not one.over]

    def _stillborn(self, task: Known) -> State | None:
        if task.parent and self.tasks[task.parent].state is State.CANCELED:
            return State.CANCELED
        ends = [one for one in map(self.tasks.__getitem__, task.upstreams) if one.over]
        lost = task.on_failure != "run" and any(one.state is not State.COMPLETED for one in ends)
        return _broken(task) if lost else None

    def _start(self, task: Known) -> None:
        task.stage = Stage.LATER if task.due_at > self.now else Stage.CLAIMABLE

    def _leave(self, task: Known, stage: Stage) -> None:
        task.stage, task.running = stage, False

    def _break(self, task: Known) -> None:
        task.stage = Stage.BEHIND
        task.may |= {_broken(task)}

    def _ended(self, task: Known, state: State) -> None:
        task.stage, task.state, task.running, task.may = Stage.ENDED, state, False, frozenset()
        for other in self.tasks.values():
            if other.over:
                continue
            if task.id in other.upstreams and other.stage is Stage.BEHIND:
                self._upstream_ended(other, state)
            if other.parent == task.id and state is State.CANCELED:
                other.may |= {State.CANCELED}
                other.canceled = True
            if other.stage is Stage.JOINING and all(self.tasks[one].over for one in other.joined):
                other.stage = Stage.CLAIMABLE

    def _upstream_ended(self, task: Known, state: State) -> None:
        if state is not State.COMPLETED and task.on_failure != "run":
            self._break(task)
        elif all(self.tasks[one].over for one in task.upstreams) and not task.may:
            self._start(task)

    def _misplaced(self, task: Known, place: Place | None) -> Iterator[str]:
        if task.over:
            return
        if place is None:
            yield f"{task.id} is not there"
        elif task.may:
            names = "/".join(sorted(state.name for state in task.may))
            yield f"{task.id} must end as {names}, is {place.phase.name} {place.state.name}"
        elif place.phase not in PHASES[task.stage]:
            yield f"{task.id} is {task.stage}, so not {place.phase.name} {place.state.name}"
        elif place.state is not self._state(task, place):
            yield f"{task.id} in phase {place.phase.name} shows {place.state.name}"

    def _state(self, task: Known, place: Place) -> State:
        if task.stage is Stage.ASKING:
            return State.INPUT_REQUIRED
        begun = place.phase is Phase.LEASED or task.state is not State.SUBMITTED
        return State.WORKING if begun else State.SUBMITTED

    def _crowds(self) -> Iterator[str]:
        running = self.running()
        if len(running) > self.slots:
            yield f"{len(running)} run in {self.slots} slots"
        for skill, room in self.rooms.items():
            inside = [one for one in running if self.tasks[one].skill == skill]
            if len(inside) > room:
                yield f"{len(inside)} of {skill} run, there is room for {room}"

    def _idle(self) -> Iterator[str]:
        running = self.running()
        if len(running) >= self.slots:
            return
        for one in self.claimable():
            skill = self.tasks[one].skill
            inside = sum(self.tasks[other].skill == skill for other in running)
            if inside < self.rooms.get(skill, self.slots):
                yield f"{one} may run, {self.slots - len(running)} slots are free, and nobody runs it"


def _broken(task: Known) -> State:
    return State.CANCELED if task.on_failure == "cancel" else State.FAILED


def _said(task: Known) -> str:
    return f"{task.id} ({task.skill}, {task.lane.name.lower()})"
