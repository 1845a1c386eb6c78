"""`/workers/{id}/…`: agents that pull their work over HTTP. What they say becomes what runs of ours say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from a2a_server.agent.values import progress_of
from a2a_server.errors import Fail, InvalidParams
from a2a_server.lifecycle.requirements import Offer
from a2a_server.model.objects import Data, Lane, Part, Progress, Text
from a2a_server.model.options import criterion_shown
from a2a_server.model.rows import TaskRow
from a2a_server.model.runs import LONGEST_CHECK_NAME, MOST_CHECKS, Checked, Chunk, LogLine
from a2a_server.model.times import timestamp
from a2a_server.service.pulled_files import Said
from a2a_server.service.pullers import Registration
from a2a_server.service.pulling import MOST_AT_ONCE, MOST_HELD, Pulled, Pulling, RunName
from a2a_server.service.showing import Shown
from a2a_server.web.management.below import PREFIX
from a2a_server.web.management.table import Body, Call, NoQuery, Reply, Route
from a2a_server.web.management.words import ArtifactName, LaneWord, Name, Words
from a2a_server.wire.v10 import parse_part, render_message

RESULT = "result"
"""The artifact that the result makes, as that of a handler that returns it."""
MOST_EVENTS = 256
TEXT_CHARACTERS = 100_000
CHECK_CHARACTERS = 4000
LONGEST_LEASE_SECONDS = 3600.0
LONGEST_WAIT_SECONDS = 30.0

_Fence = Annotated[int, Field(ge=1, le=2**31 - 1, description="As the claim gave it with the task.")]
_TaskId = Annotated[str, Field(min_length=1, max_length=256)]


class NewPuller(Body):
    """An agent that registers."""

    skills: tuple[_TaskId, ...] = Field(min_length=1, max_length=100, description="Skills whose tasks it takes.")
    name: Name = Field("", description="For people: a host, a process.")
    lanes: tuple[LaneWord, ...] = Field((), max_length=5, description="Priorities that it takes; none = all.")
    tags: Words = Field((), max_length=32, description="Words that tasks may require.")
    tools: Words = Field((), max_length=32, description="Tools that tasks may require.")
    agents: Words = Field((), max_length=32, description="Agents that tasks may require.")
    lease_seconds: float = Field(
        0.0,
        ge=0,
        le=LONGEST_LEASE_SECONDS,
        description="Silent for longer, it loses its tasks; 0 = as workers of the server, below 1 counts as 1.",
    )


class PullerShown(Shown):
    """A registered agent."""

    id: str = Field(description="What its other requests name.")
    lease_seconds: float = Field(description="Silent for longer, it loses its tasks.")
    beat_seconds: float = Field(description="How often it should say something, at least.")


class NewClaim(Body):
    """What it can take on."""

    limit: int = Field(1, ge=1, le=MOST_AT_ONCE, description="Tasks at most.")
    wait_seconds: float = Field(0.0, ge=0, le=LONGEST_WAIT_SECONDS, description="How long to wait for the first.")
    claim_id: Name = Field("", description="Its own name for this claim; the same again gives the same tasks again.")


class PulledTask(Shown):
    """A task that the agent runs now."""

    id: str
    context_id: str
    skill: str
    fence: int = Field(description="What every later request for it names.")
    attempt: int
    max_attempts: int
    priority: str
    title: str | None = None
    message: dict[str, Any] = Field(description="What began the task: a message of A2A 1.0.")
    history: list[dict[str, Any]] | None = Field(None, description="All messages, where there are more than the first.")
    parameters: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    complete_when: str | dict[str, Any] | None = Field(None, description="What must be so for it to complete.")
    timeout_seconds: float = Field(description="The longest time of this run.")
    deadline: str | None = None


class Claims(Shown):
    """What was claimed."""

    tasks: list[PulledTask]


class HeldTask(Body):
    """A task that the agent says it runs."""

    id: _TaskId
    fence: _Fence


class Beat(Body):
    """A sign of life."""

    tasks: tuple[HeldTask, ...] = Field((), max_length=MOST_HELD, description="What it runs.")


class StandingShown(Shown):
    """How a task stands."""

    id: str
    fence: int
    held: bool = Field(description="False: it is others' by now; drop it.")
    cancel_requested: bool = Field(description="Stop, and fail it; what is not ended soon is ended without.")


class Life(Shown):
    """The answer to a sign of life."""

    draining: bool = Field(description="Claim nothing more, end what runs, and leave.")
    tasks: list[StandingShown]


class ProgressSaid(Body):
    """How far the run is."""

    fraction: float | None = Field(None, ge=0, le=1)
    done: float | None = Field(None, ge=0, le=2**53 - 1)
    total: float | None = Field(None, ge=0, le=2**53 - 1)
    note: str = Field("", max_length=TEXT_CHARACTERS)


class ArtifactSaid(Body):
    """A chunk of an artifact; the first of a run replaces what an earlier run left."""

    name: ArtifactName
    parts: tuple[Any, ...] = Field((), max_length=1000, description="Parts of A2A 1.0; none with last = no more come.")
    last: bool = Field(False, description="Whether no chunk follows.")  # noqa: FBT003 - a default
    resume: bool = Field(False, description="Go on with what an earlier run left open.")  # noqa: FBT003 - a default
    description: str = Field("", max_length=TEXT_CHARACTERS)
    media_type: Name = ""
    metadata: dict[str, Any] | None = None


class LogSaid(Body):
    """A line for the task's journal."""

    level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    text: str = Field(max_length=TEXT_CHARACTERS)


class EventSaid(Body):
    """Exactly one of the three."""

    progress: ProgressSaid | None = None
    artifact: ArtifactSaid | None = None
    log: LogSaid | None = None


class Events(Body):
    """What the run says, in order; all of it is committed, or nothing."""

    fence: _Fence
    events: tuple[EventSaid, ...] = Field(min_length=1, max_length=MOST_EVENTS)


class CheckSaid(Body):
    """What a check of the agent's said of its result."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_CHECK_NAME, pattern=r"^[^\x00-\x1f\x7f]+$")]
    passed: bool
    message: str = Field("", max_length=CHECK_CHARACTERS, description="Why it did not pass.")


class Completion(Body):
    """How the run ended well."""

    fence: _Fence
    result: Any = Field(None, description="Text makes a text artifact `result`, any other JSON a data artifact.")
    artifacts: tuple[ArtifactSaid, ...] = Field((), max_length=MOST_EVENTS, description="Others, each whole.")
    partial: str = Field("", max_length=TEXT_CHARACTERS, description="Why the result is not whole.")
    checks: tuple[CheckSaid, ...] = Field((), max_length=MOST_CHECKS, description="What its own checks said of it.")


class Failure(Body):
    """How the run failed."""

    fence: _Fence
    text: str = Field(min_length=1, max_length=TEXT_CHARACTERS, description="What clients read.")
    retry: bool = Field(False, description="Try the task again, as often as it allows.")  # noqa: FBT003 - a default
    after_seconds: float | None = Field(None, ge=0, le=366 * 86_400, description="With retry: the wait before.")


class Release(Body):
    """The task goes back as it is."""

    fence: _Fence


class ReportShown(Shown):
    """The task behind the report."""

    id: str
    state: str
    phase: str
    last_event: int
    cancel_requested: bool


class PullingPages:
    """Serves them. base_url: as files in messages are addressed."""

    def __init__(self, pulling: Pulling, base_url: Any) -> None:  # noqa: ANN401 - a function of nothing
        self._pulling = pulling
        self._base_url = base_url

    def routes(self) -> tuple[Route, ...]:
        """Its rows of the table."""
        task = "/workers/{id}/tasks/{taskId}"
        return (
            Route(
                "POST", "/workers", "registerWorker", "Register an agent that pulls its work.", self.register,
                "pulling", body=NewPuller, result=PullerShown, status=201,
            ),
            Route(
                "DELETE", "/workers/{id}", "removeWorker", "The agent leaves; tasks that it holds go to others.",
                self.leave, "pulling", status=204, errors=(409,),
            ),
            Route(
                "POST", "/workers/{id}/heartbeat", "beatWorker", "Say that the agent lives.", self.beat, "pulling",
                body=Beat, body_optional=True, result=Life, errors=(409,),
            ),
            Route(
                "POST", "/workers/{id}/claim", "claimTasks", "Take tasks; waits for the first.", self.claim, "pulling",
                body=NewClaim, body_optional=True, result=Claims, errors=(409,),
            ),
            Route(
                "POST", f"{task}/events", "reportEvents", "Progress, chunks of artifacts, lines for the journal.",
                self.tell, "pulling", body=Events, result=ReportShown, errors=(409,),
            ),
            Route(
                "POST", f"{task}/complete", "completeTask", "End the task well.", self.complete, "pulling",
                body=Completion, result=ReportShown, errors=(409,),
            ),
            Route(
                "POST", f"{task}/fail", "failTask", "End the task as failed, or have it tried again.", self.fail,
                "pulling", body=Failure, result=ReportShown, errors=(409,),
            ),
            Route(
                "POST", f"{task}/release", "releaseTask", "Hand the task back as it is.", self.release, "pulling",
                body=Release, result=ReportShown, errors=(409,),
            ),
        )  # fmt: skip

    async def register(self, call: Call[NoQuery, NewPuller]) -> Reply:
        """A new worker."""
        body = call.body
        offer = Offer(tuple(body.tags), tuple(body.tools), tuple(body.agents))
        lanes = tuple(Lane[word.upper()] for word in body.lanes)
        lease = max(body.lease_seconds, 1.0) if body.lease_seconds else 0.0
        puller = await self._pulling.register(
            call.scope, Registration(tuple(dict.fromkeys(body.skills)), body.name, lanes, offer, lease)
        )
        shown = PullerShown(id=puller.key.hex(), lease_seconds=puller.lease_seconds, beat_seconds=puller.beat_seconds)
        return Reply(shown, headers={"Location": f"{PREFIX}/workers/{shown.id}"})

    async def leave(self, call: Call[NoQuery, None]) -> Reply:
        """Nothing."""
        await self._pulling.leave(call.scope, call.path["id"])
        return Reply()

    async def beat(self, call: Call[NoQuery, Beat]) -> Reply:
        """How it stands."""
        life = await self._pulling.live(call.scope, call.path["id"], [(one.id, one.fence) for one in call.body.tasks])
        tasks = [
            StandingShown(id=one.task_id, fence=one.fence, held=one.held, cancel_requested=one.cancel)
            for one in life.tasks
        ]
        return Reply(Life(draining=life.draining, tasks=tasks))

    async def claim(self, call: Call[NoQuery, NewClaim]) -> Reply:
        """Tasks."""
        body = call.body
        claimed = await self._pulling.claim(call.scope, call.path["id"], body.limit, body.wait_seconds, body.claim_id)
        return Reply(Claims(tasks=[_shown(one, self._base_url()) for one in claimed]))

    async def tell(self, call: Call[NoQuery, Events]) -> Reply:
        """The task."""
        said = [_said(f"events[{place}]", event) for place, event in enumerate(call.body.events)]
        return _told(await self._pulling.tell(call.scope, _run(call), said))

    async def complete(self, call: Call[NoQuery, Completion]) -> Reply:
        """The task."""
        body = call.body
        said = [
            _chunk(f"artifacts[{place}]", one.model_copy(update={"last": True}))
            for place, one in enumerate(body.artifacts)
        ]
        if body.result is not None:
            part = Text(body.result) if isinstance(body.result, str) else Data(body.result)
            said.append(Said("result", Chunk(RESULT, (part,), last=True)))
        checks = [_check(f"checks[{place}]", one, body.checks[:place]) for place, one in enumerate(body.checks)]
        return _told(await self._pulling.complete(call.scope, _run(call), said, body.partial, checks))

    async def fail(self, call: Call[NoQuery, Failure]) -> Reply:
        """The task."""
        body = call.body
        if body.after_seconds is not None and not body.retry:
            raise InvalidParams("afterSeconds goes with retry; leave it out.", path="afterSeconds")
        row = await self._pulling.fail(
            call.scope, _run(call), body.text, retry=body.retry, after_seconds=body.after_seconds
        )
        return _told(row)

    async def release(self, call: Call[NoQuery, Release]) -> Reply:
        """The task."""
        return _told(await self._pulling.release(call.scope, _run(call)))


def _run(call: Call[Any, Any]) -> RunName:
    return RunName(call.path["id"], call.path["taskId"], call.body.fence)


def _said(at: str, event: EventSaid) -> Said:
    given = [one for one in (event.progress, event.artifact, event.log) if one is not None]
    if len(given) != 1:
        raise InvalidParams(f"{at} must have exactly one of progress, artifact and log.", path=at)
    if event.artifact is not None:
        return _chunk(f"{at}.artifact", event.artifact)
    if event.log is not None:
        return Said(at, LogLine(event.log.level, event.log.text))
    said = event.progress or ProgressSaid()
    try:
        progress = progress_of(Progress(said.fraction, said.done, said.total, said.note))
    except (ValueError, Fail) as error:
        rule = str(error).removeprefix("progress: ")
        raise InvalidParams(f"{at}.progress: {rule}", path=f"{at}.progress") from None
    return Said(at, progress)


def _check(at: str, said: CheckSaid, before: Sequence[CheckSaid]) -> Checked:
    if any(other.name == said.name for other in before):
        raise InvalidParams(f"{at}.name is another check's name; name each check once.", path=f"{at}.name")
    return Checked(name=said.name, passed=said.passed, required=False, message=said.message)


def _chunk(at: str, said: ArtifactSaid) -> Said:
    if not (said.parts or said.last):
        raise InvalidParams(f'{at}.parts must hold at least one part, such as {{"text": "hello"}}.', path=f"{at}.parts")
    parts: tuple[Part, ...] = tuple(parse_part(part, f"{at}.parts[{place}]") for place, part in enumerate(said.parts))
    chunk = Chunk(
        said.name,
        parts,
        said.last,
        said.resume,
        description=said.description,
        media_type=said.media_type,
        metadata=said.metadata,
    )
    return Said(f"{at}.", chunk)


def _told(row: TaskRow) -> Reply:
    return Reply(
        ReportShown(
            id=row.id,
            state=row.state.name.lower().replace("_", "-"),
            phase=row.phase.name.lower(),
            last_event=row.last_n,
            cancel_requested=bool(row.cancel_at),
        )
    )


def _shown(one: Pulled, base_url: str) -> PulledTask:
    row, view, spec = one.row, one.view, one.spec
    wishes = spec.wishes
    return PulledTask(
        id=row.id,
        context_id=row.context,
        skill=row.skill,
        fence=row.fence,
        attempt=row.attempt + 1,
        max_attempts=row.max_attempts,
        priority=row.lane.name.lower(),
        title=view.title or None,
        message=render_message(view.message, base_url),
        history=[render_message(said, base_url) for said in view.history] if len(view.history) > 1 else None,
        parameters=dict(view.parameters) or None,
        context=wishes.context if wishes else None,
        metadata=view.metadata,
        complete_when=criterion_shown(wishes.complete_when, wishes.checks) if wishes else None,
        timeout_seconds=spec.timeout_seconds,
        deadline=timestamp(row.deadline_at) if row.deadline_at else None,
    )
