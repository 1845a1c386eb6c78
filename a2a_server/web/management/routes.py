"""The whole table of routes: the rows of every resource, one line a resource."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from a2a_server.engine.engine import Engine
from a2a_server.service.auditing import Auditing
from a2a_server.service.batching import Batching
from a2a_server.service.bulk import BulkWork
from a2a_server.service.explaining import Explaining
from a2a_server.service.feedback import Feedback
from a2a_server.service.following import Following
from a2a_server.service.limiting import Limiting
from a2a_server.service.maintaining import Maintaining
from a2a_server.service.management import Management
from a2a_server.service.pulling import Pulling
from a2a_server.service.reading import Reading
from a2a_server.service.results import Results
from a2a_server.service.retrying import Retrying
from a2a_server.service.schedules import Schedules
from a2a_server.service.searching import Searching
from a2a_server.service.sizing import Sizing
from a2a_server.service.template_making import TemplateMaking
from a2a_server.service.templates import Templates
from a2a_server.service.together import Together
from a2a_server.service.workers import Workers
from a2a_server.web.management.batches import BatchPages
from a2a_server.web.management.details import DetailPages
from a2a_server.web.management.events import EventPages
from a2a_server.web.management.explain import ExplainPages
from a2a_server.web.management.limits import LimitPages
from a2a_server.web.management.names import ApiPages
from a2a_server.web.management.operating import OperatingPages
from a2a_server.web.management.pulling import PullingPages
from a2a_server.web.management.schedules import SchedulePages
from a2a_server.web.management.table import Route
from a2a_server.web.management.tasks import TaskPages
from a2a_server.web.management.templates import TemplatePages
from a2a_server.web.management.workers import WorkerPages


def all_routes(
    engine: Engine,
    base_url: Callable[[], str],
    *,
    agent: str,
    heartbeat_seconds: float,
    write_stall_seconds: float,
    settings: Mapping[str, tuple[object, str]] | None = None,
    sizing: Sizing | None = None,
) -> Sequence[Route]:
    """Every row.

    Args:
        engine: whose tasks are managed.
        base_url: where clients reach this server, without a slash at its end.
        agent: the name that the agent's card says.
        heartbeat_seconds: how often a silent stream sends a comment.
        write_stall_seconds: after how long a stream is cut whose client takes nothing.
        settings: what is set, and what it means, by name; without secrets.
        sizing: how long tasks take, None = that is not estimated.
    """
    management, reading = Management(engine, base_url), Reading(engine)
    names = frozenset({engine.agent, agent})
    searching = Searching(engine.backends.store, engine.agent, names)
    batching = Batching(engine, management.sending)
    bulk = BulkWork(management, searching, Together(engine, Retrying(engine, base_url)))
    results = Results(engine, searching)
    feedback, auditing = Feedback(engine), Auditing(engine)
    tasks = TaskPages(management, reading, searching, feedback, agent, auditing=auditing, sizing=sizing)
    events = EventPages(
        Following(engine, names), heartbeat_seconds=heartbeat_seconds, write_stall_seconds=write_stall_seconds
    )
    return (
        *ApiPages(agent).routes(),
        *tasks.routes(),
        *DetailPages(reading, searching, base_url, agent).routes(),
        *ExplainPages(Explaining(engine, sizing)).routes(),
        *events.routes(),
        *PullingPages(Pulling(engine, base_url), base_url).routes(),
        *WorkerPages(Workers(engine)).routes(),
        *LimitPages(Limiting(engine)).routes(),
        *SchedulePages(Schedules(engine, base_url), base_url).routes(),
        *TemplatePages(Templates(engine), TemplateMaking(engine)).routes(),
        *OperatingPages(Retrying(engine, base_url), Maintaining(engine), settings or {}).routes(),
        *BatchPages(batching, bulk, results, base_url).routes(),
    )
