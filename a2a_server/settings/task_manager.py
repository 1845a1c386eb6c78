"""The block `task_manager:`, as the seed documents write it. Their names stay valid beside ours with units.

Most of it has no effect yet; such a knob says in `recorded` what will use it, and wherever it is shown so does that.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field

from a2a_server.settings.addresses import STORES, address, database
from a2a_server.settings.block import Block, listed

DAY = 86_400

Name = Annotated[str, Field(min_length=1, max_length=100)]
Capabilities = Annotated[
    tuple[Literal["task_management", "execution_management", "monitoring"], ...], BeforeValidator(listed)
]
Names = Annotated[tuple[Name, ...], BeforeValidator(listed), Field(max_length=100)]


def _recorded(user: str) -> dict[str, Any]:
    return {"recorded": user}


def _both(name: str, theirs: str) -> AliasChoices:
    return AliasChoices(name, theirs)


def _anywhere(value: str) -> str:
    """Passes what `database` does, and the address of any store; ValueError for others."""
    if "://" not in value or value.startswith("sqlite:"):
        return database(value)
    address(*STORES).func(value)  # type: ignore[call-arg]  # a validator of one argument
    return value


class Databases(Block):
    """A bare name means a SQLite file of that name beside the store."""

    tasks: Annotated[str, AfterValidator(database)] = Field(
        "", description="Where tasks live, unless `store` says it; empty = as `store` says."
    )
    execution: Annotated[str, AfterValidator(database)] = Field(
        "",
        description="Accepted; log lines and resource samples are kept in the tasks' database all the same.",
    )
    monitoring: Annotated[str, AfterValidator(_anywhere)] = Field(
        "",
        description="Where alerts and what runs took are kept; empty = with the tasks. Processes that share their "
        "tasks share it too: a bare name is then with the tasks, and sqlite: is refused.",
    )


class AlertThresholds(Block):
    """From where on something is worth an alert."""

    task_duration_seconds: float = Field(
        3600,
        gt=0,
        le=365 * DAY,
        validation_alias=_both("task_duration_seconds", "task_duration"),
        description="A task that runs for longer.",
    )
    resource_usage: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Used part of what was allocated, 0 to 1.",
    )
    dependency_wait_seconds: float = Field(
        300,
        gt=0,
        le=365 * DAY,
        validation_alias=_both("dependency_wait_seconds", "dependency_wait"),
        description="A task that waits for others for longer.",
    )
    failure_rate: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Failed part of the tasks that ended, 0 to 1.",
    )


class TaskManager(Block):
    """The task manager of the seed documents."""

    id: Name = Field(
        "task-manager",
        description="What the task manager's own agent says of itself beside its name; its address stays "
        "/agents/task-manager.",
    )
    name: Name = Field(
        "TaskManager",
        description="Name on the card of the task manager's own agent; it renames nothing else.",
    )
    capabilities: Capabilities = Field(
        ("task_management", "execution_management", "monitoring"),
        description="Skills of the task manager's own agent, at /agents/task-manager; empty = it is not served.",
    )
    relationships: Names = Field(
        (),
        description="Who may delegate to the task manager.",
        json_schema_extra=_recorded("delegation, once there is any"),
    )
    databases: Databases = Field(default_factory=Databases, description="Databases of the task manager.")
    scheduling_interval_seconds: float = Field(
        60,
        gt=0,
        le=DAY,
        validation_alias=_both("scheduling_interval_seconds", "scheduling_interval"),
        description="How long scheduled work may go without a look, at most; poll_seconds is mostly shorter.",
    )
    monitoring_interval_seconds: float = Field(
        300,
        gt=0,
        le=DAY,
        validation_alias=_both("monitoring_interval_seconds", "monitoring_interval"),
        description="How often the thresholds are looked at, about.",
    )
    alert_thresholds: AlertThresholds = Field(
        default_factory=AlertThresholds, description="From where on something is worth an alert."
    )
