"""Every knob of the server: typed, bounded, defaulted, described, with its unit in its name."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from a2a_server.settings.addresses import ARTIFACTS, NOTIFIERS, QUEUES, STORES, address, bindable, is_loopback, public
from a2a_server.settings.block import Block, counted, listed, ranked
from a2a_server.settings.task_manager import DAY, TaskManager
from a2a_server.settings.task_templates import TaskTemplate, TemplateName

PREFIX = "A2A_SERVER_"
NESTED = "__"
KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


Words: TypeAlias = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=128)], ...], BeforeValidator(listed), Field(max_length=64)
]


ResourceName: TypeAlias = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


LaneName: TypeAlias = Literal["critical", "high", "normal", "low", "backlog"]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _lanes(value: object) -> object:
    return tuple(map(_lower, value)) if isinstance(value := listed(value), list | tuple) else value


class Settings(Block):
    """How this server runs. Frozen. Made by `load`, which alone reads the environment and files."""

    host: Annotated[str, AfterValidator(bindable)] = Field(
        "127.0.0.1", description="Address to bind; other than loopback only with `insecure`."
    )
    port: int = Field(8000, ge=0, le=65_535, description="TCP port to bind; 0 = any free one.")
    public_url: Annotated[str, AfterValidator(public)] = Field(
        "", description="Where clients reach this server, as agent cards say it; empty = as bound."
    )
    allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        (), description="More names that clients may call this server by (the Host header); * = any."
    )
    insecure: bool = Field(
        False,  # noqa: FBT003 - a default
        description="Serve, without authentication, whoever reaches an address that is not loopback.",
    )
    store: Annotated[str, address(*STORES)] = Field(
        "sqlite:///a2a.db", min_length=1, description="Where tasks live; several processes share PostgreSQL or MongoDB."
    )
    queue: Annotated[str, address(*QUEUES)] = Field(
        "", description="How workers hear of work; empty = memory:// with SQLite, else store://."
    )
    notifier: Annotated[str, address(*NOTIFIERS)] = Field(
        "", description="How processes hear of each other's changes; empty = by the queue's broker, else by the store."
    )
    artifacts: Annotated[str, address(*ARTIFACTS)] = Field(
        "file:a2a-artifacts",
        min_length=1,
        description="Where large content lives; a directory is made if it is missing.",
    )
    create_missing: bool = Field(
        False,  # noqa: FBT003 - a default
        description="Make a bucket or a queue that is missing where they live (S3, SQS).",
    )
    workers: int = Field(
        1, ge=0, le=1, description="Workers in this process; 0 = none, worker processes run all tasks."
    )
    start_seconds: float = Field(
        30, ge=0, le=3600, description="How long a start waits for services that are not reachable yet."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)] = Field(
        "info", description="The least severe records that are logged."
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(_lower)] = Field(
        "text", description="Log lines for people or for programs; always one line a record."
    )

    slots: int = Field(1000, ge=1, le=100_000, description="Coroutine handlers that run at once in a worker.")
    threads: int = Field(32, ge=1, le=1024, description="Blocking handlers that run at once in a worker.")
    optimise_slots: bool = Field(
        False,  # noqa: FBT003 - a default
        description="Tune how many handlers run at once from measurements, up to `slots` and `threads`.",
    )
    measure_usage: bool = Field(
        False,  # noqa: FBT003 - a default
        description="Measure processor time and memory of every run, and write them into the task's journal.",
    )
    lanes: Annotated[tuple[LaneName, ...], BeforeValidator(_lanes)] = Field(
        (), description="Lanes that the worker takes tasks of: critical, high, normal, low, backlog; empty = all."
    )
    queues: Words = Field((), description="Queues that the worker takes tasks of, by skill; empty = all.")
    aging_seconds: float = Field(
        0,
        ge=0,
        le=365 * DAY,
        description="A task that waits so long for a worker moves up a lane, to high at most; 0 = none does.",
    )
    worker_tags: Words = Field((), description="Words that tasks may require of the worker.")
    worker_tools: Words = Field((), description="Tools that the worker offers to tasks that require them.")
    worker_agents: Words = Field((), description="Agents that the worker reaches, for tasks that require them.")
    worker_cpu: float = Field(
        0, ge=0, le=4096, description="Cores that tasks may require of the worker together; 0 = any number."
    )
    worker_memory_bytes: int = Field(
        0, ge=0, le=1 << 50, description="Memory that tasks may require of the worker together; 0 = any amount."
    )
    worker_storage_bytes: int = Field(
        0, ge=0, le=1 << 60, description="Storage that tasks may require of the worker together; 0 = any amount."
    )
    worker_reserve_seconds: float = Field(
        10,
        gt=0,
        le=365 * DAY,
        description="After so long the worker keeps room for a task that smaller ones left none for.",
    )
    resources: Annotated[dict[ResourceName, Annotated[int, Field(ge=1, le=1_000_000)]], BeforeValidator(counted)] = (
        Field(
            default_factory=dict,
            max_length=64,
            description="Resources that all workers share, with amounts; the same in every process: gpu=2,licence=5.",
        )
    )
    client_max_concurrency: int = Field(
        0, ge=0, le=1_000_000, description="Tasks of one client that run at once, in all processes; 0 = any number."
    )
    client_max_requirements: int = Field(
        100,
        ge=1,
        le=10_000,
        description="Different combinations of `requires` that tasks of one client may have; the next one is refused.",
    )
    client_skill_max_concurrency: int = Field(
        0, ge=0, le=1_000_000, description="Tasks of one client and one skill that run at once; 0 = any number."
    )
    client_priorities: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=256)], LaneName], BeforeValidator(ranked)
    ] = Field(
        default_factory=dict,
        max_length=1000,
        description="Priorities of clients' tasks where neither the task, its template nor its skill has one: "
        "local=high. Until there is authentication every client is called local.",
    )
    agent_max_concurrency: int = Field(
        0, ge=0, le=1_000_000, description="Tasks of the agent that run at once, in all processes; 0 = any number."
    )
    breaker_failures: int = Field(
        0,
        ge=0,
        le=1000,
        description="Failed runs in a row after which a skill starts none for a while; 0 = it goes on.",
    )
    breaker_seconds: float = Field(
        30,
        gt=0,
        le=30 * DAY,
        description="How long that is at first; each trial run that fails doubles it, up to 32 times as long.",
    )

    lease_seconds: float = Field(
        8, gt=0, le=3600, description="A worker unseen for so long is dead; more than twice the beat."
    )
    beat_seconds: float = Field(2, gt=0, le=600, description="How often a worker says that it lives.")
    poll_seconds: float = Field(1, gt=0, le=60, description="How often the store is asked for work, about.")
    cancel_grace_seconds: float = Field(
        5, ge=0, le=3600, description="How long a canceled handler may take to clean up before it is ended."
    )
    timeout_seconds: float = Field(
        1800, gt=0, le=365 * DAY, description="How long one run may take where its skill says nothing else."
    )
    pause_seconds: float = Field(
        7 * DAY, gt=0, le=365 * DAY, description="How long a task waits for an answer before it fails."
    )
    direct_seconds: float = Field(
        1, gt=0, le=60, description="How long a skill that may answer without a task has to begin its answer."
    )
    v03_default_blocking: bool = Field(
        True,  # noqa: FBT003 - a default
        description="Whether a send of generation 0.2-0.3 that does not say so waits for the end of its task.",
    )
    max_attempts: int = Field(
        4, ge=1, le=1000, description="Runs after transient failures, the first included; 1 = at most once."
    )
    backoff_base_seconds: float = Field(1, ge=0, le=DAY, description="The wait before the second attempt; it doubles.")
    backoff_limit_seconds: float = Field(300, ge=0, le=30 * DAY, description="The longest wait between attempts.")
    idempotency_seconds: float = Field(
        DAY, ge=0, le=365 * DAY, description="How long a message sent again is recognised; 0 = never."
    )
    block_seconds: float = Field(
        1, gt=0, le=3600, description="A handler that blocks the event loop for so long is named in the log."
    )
    drain_seconds: float = Field(30, ge=0, le=DAY, description="How long running handlers may go on at shutdown.")

    heartbeat_seconds: float = Field(15, gt=0, le=3600, description="How often a silent stream sends a comment.")
    write_stall_seconds: float = Field(
        30, gt=0, le=3600, description="A stream whose client takes nothing for so long is closed."
    )
    max_connections: int = Field(10_000, ge=1, le=1_000_000, description="Open connections; the next is refused (503).")
    header_seconds: float = Field(10, gt=0, le=3600, description="How long a request's headers may take.")
    body_stall_seconds: float = Field(
        30, gt=0, le=3600, description="The window in which a request's body has to come at the lowest speed."
    )
    body_bytes_per_second: int = Field(KIB, ge=1, le=GIB, description="The lowest speed of a request's body.")
    keep_alive_seconds: float = Field(30, gt=0, le=3600, description="How long a connection may wait for a request.")
    card_cache_seconds: int = Field(60, ge=0, le=365 * DAY, description="How long agent cards may be cached.")

    inline_bytes: int = Field(
        64 * KIB,
        ge=0,
        le=16 * MIB,
        description="Content up to this size is kept in the task store; larger files, and texts in pieces, as objects.",
    )
    body_limit_bytes: int = Field(10 * MIB, ge=KIB, le=GIB, description="The largest request body.")
    bodies_bytes: int = Field(
        256 * MIB, ge=KIB, le=1024 * GIB, description="Request bodies together while they are read and answered."
    )
    artifact_limit_bytes: int = Field(GIB, ge=KIB, le=1024 * GIB, description="The largest artifact or upload.")
    collect_seconds: float = Field(
        3600, ge=1, le=30 * DAY, description="How often objects that nothing refers to are looked for, about."
    )
    unused_object_seconds: float = Field(
        DAY, ge=3600, le=365 * DAY, description="How long an object that nothing refers to is kept, uploads too."
    )
    max_events_per_task: int = Field(1_000_000, ge=10, le=1_000_000_000, description="Events that a task may have.")
    writer_operations: int = Field(10_000, ge=1, le=1_000_000, description="Operations that wait for the writer.")
    writer_bytes: int = Field(64 * MIB, ge=MIB, le=16 * GIB, description="Size of the operations that wait.")
    uncommitted_events: int = Field(256, ge=1, le=1_000_000, description="Uncommitted events of a task.")
    uncommitted_bytes: int = Field(256 * KIB, ge=KIB, le=GIB, description="Size of a task's uncommitted events.")
    ring_events: int = Field(256, ge=1, le=1_000_000, description="Recent events of a task kept for its followers.")
    ring_bytes: int = Field(256 * KIB, ge=KIB, le=GIB, description="Size of these events.")
    rings_bytes: int = Field(64 * MIB, ge=KIB, le=64 * GIB, description="Size of these events over all tasks.")

    retention_completed_days: int = Field(
        30, ge=0, le=36_500, description="How long completed tasks are kept; 0 = for ever."
    )
    retention_failed_days: int = Field(90, ge=0, le=36_500, description="The same for failed tasks.")
    retention_canceled_days: int = Field(90, ge=0, le=36_500, description="The same for canceled tasks.")
    retention_rejected_days: int = Field(90, ge=0, le=36_500, description="The same for rejected tasks.")
    archive: bool = Field(
        False,  # noqa: FBT003 - a default
        description="Keep an archive of each task that is deleted after that time, in the artifact store.",
    )
    retire_seconds: float = Field(
        3600, ge=1, le=30 * DAY, description="How often tasks that ended long ago are looked for, about."
    )

    templates: dict[TemplateName, TaskTemplate] = Field(
        default_factory=dict,
        max_length=1000,
        description="Types of tasks by name, each with `description`, `text` and `options` that a send may leave out.",
    )

    task_manager: TaskManager = Field(
        default_factory=TaskManager, description="The task manager of the seed documents, under their names."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.lease_seconds <= 2 * self.beat_seconds:
            raise ValueError("lease_seconds must be more than twice beat_seconds: one lost beat is no death")
        if self.backoff_base_seconds > self.backoff_limit_seconds:
            raise ValueError("backoff_base_seconds must not be above backoff_limit_seconds")
        if self.ring_bytes > self.rings_bytes:
            raise ValueError("ring_bytes must not be above rings_bytes: one task's share of the whole")
        if self.body_limit_bytes > self.bodies_bytes:
            raise ValueError("body_limit_bytes must not be above bodies_bytes: one body's share of the whole")
        if self.inline_bytes > self.artifact_limit_bytes:
            raise ValueError("inline_bytes must not be above artifact_limit_bytes")
        if not is_loopback(self.host) and not self.insecure:
            raise ValueError(
                f"host {self.host} is reached from elsewhere, and there is no authentication yet: bind 127.0.0.1, or "
                "say insecure=true (--insecure) where everybody who can reach it may use it"
            )
        return self
