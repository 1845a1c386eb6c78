"""What may happen in a history of the model: Hypothesis chooses among these steps, and what each is done to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from a2a_server.model.objects import Lane, State
from tests.drills.bench import DELAY, Bench, Broken, History
from tests.drills.oracle import Stage
from tests.drills.puppets import NARROW, WIDE, Do, Word

_SKILLS = (WIDE, NARROW)
_LANES = tuple(Lane)
_ON_FAILURE = ("fail", "cancel", "run")
MOST_LIVE = 14


def step(**drawn: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """A rule that is told, and that does nothing any more once something broke: Hypothesis only chooses."""

    def made(function: Callable[..., None]) -> Any:  # noqa: ANN401 - Hypothesis's own rule
        @wraps(function)
        def told(self: Any, **given: Any) -> None:  # noqa: ANN401 - the machine, and what was drawn
            history: History = self.history
            if not history.bench.found:
                words = ", ".join(f"{name}={value}" for name, value in given.items())
                history.story.append(f"{function.__name__}({words})")
                history.bench.attempt(lambda: function(self, **given), history)

        ruled: Any = rule  # its overloads know no mapping
        return ruled(**drawn)(told)

    return made


PICK = st.integers(0, 1 << 16)
SKILL = st.sampled_from(_SKILLS)
LANE = st.sampled_from(_LANES)
HOW = st.sampled_from(_ON_FAILURE)
SHAPES = st.sampled_from(
    (((), (0,), (0,), (1, 2)), ((), (0,), (1,)), ((1, 2), (), ()), ((), (), (0, 1)), ((2,), (0,), ()))
)


class Steps(RuleBasedStateMachine):
    """The steps of a history. A step that nobody is ready for sends a task, or ends one. bench: set by a subclass."""

    bench: ClassVar[Bench]

    def __init__(self) -> None:
        super().__init__()
        self.history = History(self.bench)
        self.oracle = self.history.oracle

    def do(self, name: str, work: Awaitable[None]) -> None:
        self.bench.steps[name] += 1
        self.bench.run(work)

    def one(self, found: Sequence[str], pick: int) -> str:
        return found[pick % len(found)] if found else ""

    @step(skill=SKILL, lane=LANE)
    def send(self, skill: str, lane: Lane) -> None:
        self.new(skill, lane)

    @step(skill=SKILL, lane=LANE, pick=PICK, other=PICK, how=HOW, late=st.booleans())
    def send_behind(self, skill: str, lane: Lane, pick: int, other: int, how: str, *, late: bool) -> None:
        ids = list(self.oracle.tasks)
        if not ids or len(self.oracle.live()) >= MOST_LIVE:
            self.new(skill, lane)
            return
        recent = ids[-8:]
        after = tuple(dict.fromkeys((self.one(recent, pick), self.one(ids, other))))[: 1 + pick % 2]
        self.do("send behind", self.history.send(skill, lane, DELAY if late else 0, after, how))

    @step(skill=SKILL, lane=LANE)
    def send_later(self, skill: str, lane: Lane) -> None:
        if len(self.oracle.live()) >= MOST_LIVE:
            self.new(skill, lane)
            return
        self.do("send later", self.history.send(skill, lane, DELAY))

    @step(shape=SHAPES, skill=SKILL, how=HOW)
    def send_batch(self, shape: Sequence[Sequence[int]], skill: str, how: str) -> None:
        if len(self.oracle.live()) + len(shape) > MOST_LIVE:
            self.new(skill, Lane.NORMAL)
            return
        self.do("batch", self.history.batch(shape, skill, how))

    @step(pick=PICK)
    def send_again(self, pick: int) -> None:
        if task := self.one(list(self.history.requests), pick):
            self.do("send again", self.history.repeat(task))
        else:
            self.new(WIDE, Lane.NORMAL)

    @step(pick=PICK)
    def complete(self, pick: int) -> None:
        self.end(pick, Do.COMPLETE, State.COMPLETED)

    @step(pick=PICK)
    def complete_another(self, pick: int) -> None:
        self.end(pick, Do.COMPLETE, State.COMPLETED)

    @step(pick=PICK, do=st.sampled_from(((Do.FAIL, State.FAILED), (Do.REJECT, State.REJECTED))))
    def fail(self, pick: int, do: tuple[Do, State]) -> None:
        self.end(pick, *do)

    @step(pick=PICK)
    def retry(self, pick: int) -> None:
        if task := self.one(self.oracle.running(), pick):
            self.bench.steps["retry"] += 1
            self.oracle.retry(task, DELAY)
            self.bench.puppets.tell(task, Word(Do.RETRY, wait=DELAY))
        else:
            self.new(WIDE, Lane.HIGH)

    @step(pick=PICK)
    def ask(self, pick: int) -> None:
        self.question(pick)

    @step(pick=PICK)
    def answer(self, pick: int) -> None:
        if task := self.one(self.oracle.at(Stage.ASKING), pick):
            self.do("answer", self.history.answer(task))
        else:
            self.question(pick)

    @step(pick=PICK, skill=SKILL, lane=LANE, how=HOW, chained=st.booleans())
    def spawn(self, pick: int, skill: str, lane: Lane, how: str, *, chained: bool) -> None:
        self.part(pick, skill, lane, how, chained=chained)

    @step(pick=PICK)
    def join(self, pick: int) -> None:
        parents = {one.parent for one in self.oracle.tasks.values()}
        if task := self.one([one for one in self.oracle.running() if one in parents], pick):
            self.unite(task)
        else:
            self.part(pick, WIDE, Lane.NORMAL, "fail", chained=False)

    @step(pick=PICK, skill=SKILL, number=st.integers(1, 3), how=HOW, chained=st.booleans())
    def divide(self, pick: int, skill: str, number: int, how: str, *, chained: bool) -> None:
        parent = self.one(self.oracle.running(), pick)
        if not parent or len(self.oracle.live()) + number > MOST_LIVE:
            self.new(skill, Lane.HIGH)
            return
        for _ in range(number):
            self.give_part(parent, pick, skill, Lane.NORMAL, how, chained=chained)
        self.unite(parent)

    @step(pick=PICK)
    def cancel(self, pick: int) -> None:
        if task := self.one(self.oracle.live(), pick):
            self.do("cancel", self.cancel_one(task))

    @step(pick=PICK)
    def cancel_in_vain(self, pick: int) -> None:
        ended = [one.id for one in self.oracle.tasks.values() if one.over]
        if task := self.one(ended, pick):
            self.do("cancel in vain", self.refused(task))
        elif task := self.one(self.oracle.running(), pick):
            self.do("cancel a stubborn one", self.outlived(task))

    @step(pick=PICK, first=st.booleans())
    def race(self, pick: int, *, first: bool) -> None:
        if task := self.one(self.oracle.running(), pick):
            self.do("race", self.history.race(task, first=first))

    @step(pick=PICK)
    def outlive(self, pick: int) -> None:
        if task := self.one(self.oracle.running(), pick):
            self.do("cancel a stubborn one", self.outlived(task))

    @step(skill=SKILL)
    def pause_or_resume(self, skill: str) -> None:
        if skill in self.oracle.paused:
            self.do("resume", self.history.resume(skill))
        else:
            self.do("pause", self.history.pause(skill))

    @step(skill=SKILL, lane=LANE)
    def pass_by(self, skill: str, lane: Lane) -> None:
        if not self.oracle.at(Stage.LATER):
            self.new(skill, lane)
            return
        self.do("pass by", self.bench.pass_by(DELAY))
        self.oracle.pass_by(DELAY)

    @invariant()
    def settled(self) -> None:
        self.bench.steps["all"] += 1
        self.bench.attempt(self.history.settle, self.history)

    def new(self, skill: str, lane: Lane) -> None:
        if len(self.oracle.live()) < MOST_LIVE:
            self.do("send", self.history.send(skill, lane))
        elif running := self.oracle.running():
            self.tell(running[0], Do.COMPLETE, State.COMPLETED)
        else:
            self.do("cancel", self.cancel_one(self.one(self.oracle.live(), 0)))

    def question(self, pick: int) -> None:
        if task := self.one(self.oracle.running(), pick):
            self.bench.steps["ask"] += 1
            self.oracle.ask(task)
            self.bench.puppets.tell(task, Word(Do.ASK))
        else:
            self.new(NARROW, Lane.LOW)

    def part(self, pick: int, skill: str, lane: Lane, how: str, *, chained: bool) -> None:
        parent = self.one(self.oracle.running(), pick)
        if not parent or len(self.oracle.live()) >= MOST_LIVE:
            self.new(skill, lane)
        else:
            self.give_part(parent, pick, skill, lane, how, chained=chained)

    def give_part(self, parent: str, pick: int, skill: str, lane: Lane, how: str, *, chained: bool) -> None:
        siblings = [one.id for one in self.oracle.tasks.values() if one.parent == parent]
        after = (self.one(siblings, pick),) if chained and siblings else ()
        self.do("spawn", self.history.spawn(parent, skill, lane, after, how))

    def unite(self, parent: str) -> None:
        self.bench.steps["join"] += 1
        self.oracle.join(parent)
        self.bench.puppets.tell(parent, Word(Do.JOIN))

    def end(self, pick: int, do: Do, state: State) -> None:
        if task := self.one(self.oracle.running(), pick):
            self.tell(task, do, state)
        else:
            self.new(WIDE, _LANES[pick % len(_LANES)])

    def tell(self, task: str, do: Do, state: State) -> None:
        self.bench.steps[do.value] += 1
        self.oracle.end(task, state)
        self.bench.puppets.tell(task, Word(do))

    async def cancel_one(self, task: str) -> None:
        self.oracle.cancel(task)
        if await self.history.cancel(task) is None:
            raise Broken(f"{task} had not ended, and its cancel was refused")

    async def refused(self, task: str) -> None:
        if await self.history.cancel(task) is not None:
            raise Broken(f"{task} had ended, and its cancel was accepted")

    async def outlived(self, task: str) -> None:
        await self.bench.puppets.listens(task)  # it was leased, and its handler may be about to begin
        self.bench.puppets.stubborn.add(task)
        self.oracle.end(task, State.COMPLETED)
        self.oracle.tasks[task].canceled = True
        if await self.history.cancel(task) is not None:
            raise Broken(f"{task} returned a result first, and its cancel won")

    def teardown(self) -> None:
        self.bench.attempt(self.history.finish, self.history)
