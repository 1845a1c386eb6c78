"""What the task manager's own agent can be asked for: operations by name, and the skill that each belongs to.

A command travels as a data part, `{"operation": "listTasks", …}`: the operation's name in the management API, and its
arguments: the variables of its path, the parameters of its query and the members of its body, side by side. Which there
are, and what may stand in them, is the table of routes' to say; here is only who may ask whom. Names and arguments may
be spelled with underscores too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pydantic.alias_generators import to_camel

from a2a_server.errors import InvalidParams
from a2a_server.model.objects import JsonObject
from a2a_server.values import value_class

OPERATION: Final = "operation"


class Capability(StrEnum):
    """The skills of the task manager's own agent."""

    TASKS = "task_management"
    EXECUTION = "execution_management"
    MONITORING = "monitoring"


class Operation(NamedTuple):
    """Which skill takes it. for_operators: it is about the server, not about the caller's own tasks."""

    capability: Capability
    for_operators: bool = False


_TASKS, _EXECUTION, _MONITORING = (Operation(capability) for capability in Capability)
_RUNS_SERVER = Operation(Capability.EXECUTION, for_operators=True)
_SEES_SERVER = Operation(Capability.MONITORING, for_operators=True)

OPERATIONS: Final[Mapping[str, Operation]] = {
    "createTask": _TASKS,
    "listTasks": _TASKS,
    "getTask": _TASKS,
    "replaceTask": _TASKS,
    "changeTask": _TASKS,
    "deleteTask": _TASKS,
    "addDependencies": _TASKS,
    "giveFeedback": _TASKS,
    "createBatch": _TASKS,
    "getBatch": _TASKS,
    "listBatchResults": _TASKS,
    "listMessages": _TASKS,
    "listArtifacts": _TASKS,
    "getResult": _TASKS,
    "listChildren": _TASKS,
    "getGraph": _TASKS,
    "createSchedule": _TASKS,
    "listSchedules": _TASKS,
    "getSchedule": _TASKS,
    "replaceSchedule": _TASKS,
    "changeSchedule": _TASKS,
    "deleteSchedule": _TASKS,
    "previewSchedule": _TASKS,
    "createTemplate": _TASKS,
    "listTemplates": _TASKS,
    "getTemplate": _TASKS,
    "replaceTemplate": _TASKS,
    "changeTemplate": _TASKS,
    "deleteTemplate": _TASKS,
    "cancelTask": _EXECUTION,
    "answerTask": _EXECUTION,
    "retryTask": _EXECUTION,
    "requeueTask": _EXECUTION,
    "bulk": _EXECUTION,
    "retryDeadLetters": _EXECUTION,
    "pauseSchedule": _EXECUTION,
    "resumeSchedule": _EXECUTION,
    "triggerSchedule": _EXECUTION,
    "pauseQueue": _RUNS_SERVER,
    "resumeQueue": _RUNS_SERVER,
    "setLimit": _RUNS_SERVER,
    "deleteLimit": _RUNS_SERVER,
    "drainWorker": _RUNS_SERVER,
    "runRetention": _RUNS_SERVER,
    "explainTask": _MONITORING,
    "listEvents": _MONITORING,
    "listJournal": _MONITORING,
    "listCheckpoints": _MONITORING,
    "listSteps": _MONITORING,
    "countTasks": _MONITORING,
    "listDeadLetters": _MONITORING,
    "listQueues": _SEES_SERVER,
    "getQueue": _SEES_SERVER,
    "listLimits": _SEES_SERVER,
    "getLimit": _SEES_SERVER,
    "listWorkers": _SEES_SERVER,
    "getWorker": _SEES_SERVER,
    "listAlerts": _SEES_SERVER,
    "reportSizing": _SEES_SERVER,
    "showSettings": _SEES_SERVER,
}
"""Every operation by its name."""


@value_class(frozen=True, slots=True)
class Answered:
    """What a command came to: as data, and for people."""

    data: JsonObject
    text: str


@value_class(frozen=True, slots=True)
class Command:
    """One of `OPERATIONS`, and its arguments as they were given, camelCase."""

    operation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def capability(self) -> Capability:
        """The skill that takes it."""
        return OPERATIONS[self.operation].capability


def command_of(data: Mapping[str, Any]) -> Command:
    """The command that a data part says.

    Raises:
        InvalidParams: no such operation, or an argument is there in both spellings.
    """
    named = data.get(OPERATION)
    operation = to_camel(named) if isinstance(named, str) else ""
    if operation not in OPERATIONS:
        raise InvalidParams(f'"{OPERATION}" must be one of: {", ".join(OPERATIONS)}.', path=OPERATION)
    arguments: dict[str, Any] = {}
    for name, value in data.items():
        if name == OPERATION:
            continue
        if arguments.setdefault(to_camel(name), value) is not value:
            raise InvalidParams(f"{operation}: {to_camel(name)} is there twice; leave one out.", path=name)
    return Command(operation, arguments)
