"""The block `task_manager:`, as the seed documents write it. Their names stay valid beside ours with units.

Most of it has no effect yet; such a knob says in `recorded` what will use it, and wherever it is shown so does that.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field

from a2a_server.settings.addresses import database
from a2a_server.settings.block import Block, listed

DAY = 86_400

Name = Annotated[str, Field(min_length=1, max_length=100)]
Names = Annotated[tuple[Name, ...], BeforeValidator(listed), Field(max_length=100)]


def _recorded(user: str) -> dict[str, Any]:
    return {"recorded": user}


def _both(name: str, theirs: str) -> AliasChoices:
    return AliasChoices(name, theirs)


class Databases(Block):
    """A bare name means a SQLite file of that name beside the store."""

    tasks: Annotated[str, AfterValidator(database)] = Field(
        "", description="Where tasks live, unless `store` says it; empty = as `store` says."
    )
    execution: Annotated[str, AfterValidator(database)] = Field(
        "",
        description="Accepted; log lines and resource samples are kept in the tasks' database all the same.",
    )
    monitoring: Annotated[str, AfterValidator(database)] = Field(
        "",
        description="Where roll-ups and alerts will live.",
        json_schema_extra=_recorded("monitoring, once it keeps roll-ups"),
    )


class AlertThresholds(Block):
    """From where on something is worth an alert."""

    task_duration_seconds: float = Field(
        3600,
        gt=0,
        le=365 * DAY,
        validation_alias=_both("task_duration_seconds", "task_duration"),
        description="A task that runs for longer.",
        json_schema_extra=_recorded("alerts, once there are any"),
    )
    resource_usage: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Used part of what was allocated, 0 to 1.",
        json_schema_extra=_recorded("alerts, once there are any"),
    )
    dependency_wait_seconds: float = Field(
        300,
        gt=0,
        le=365 * DAY,
        validation_alias=_both("dependency_wait_seconds", "dependency_wait"),
        description="A task that waits for others for longer.",
        json_schema_extra=_recorded("alerts, once there are any"),
    )
    failure_rate: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Failed part of the tasks that ended, 0 to 1.",
        json_schema_extra=_recorded("alerts, once there are any"),
    )


class TaskManager(Block):
    """The task manager of the seed documents."""

    id: Name = Field(
        "task-manager",
        description="Id of the task manager's own agent.",
        json_schema_extra=_recorded("the task manager's own agent, once it is served"),
    )
    name: Name = Field(
        "TaskManager",
        description="Name of the task manager's own agent; it renames nothing else.",
        json_schema_extra=_recorded("the task manager's own agent, once it is served"),
    )
    capabilities: Names = Field(
        ("task_management", "execution_management", "monitoring"),
        description="Skills of the task manager's own agent.",
        json_schema_extra=_recorded("the task manager's own agent, once it is served"),
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
        description="How often recurring tasks are looked at.",
        json_schema_extra=_recorded("recurring tasks, once there are any"),
    )
    monitoring_interval_seconds: float = Field(
        300,
        gt=0,
        le=DAY,
        validation_alias=_both("monitoring_interval_seconds", "monitoring_interval"),
        description="How often figures are rolled up and thresholds looked at.",
        json_schema_extra=_recorded("monitoring, once it keeps roll-ups"),
    )
    alert_thresholds: AlertThresholds = Field(
        default_factory=AlertThresholds, description="From where on something is worth an alert."
    )
