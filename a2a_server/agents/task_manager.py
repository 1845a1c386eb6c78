"""The task manager as an agent: its skills take commands about the caller's tasks, and answer with data and a text.

A message holds a data part (`{"operation": "listTasks", …}`, model.commands) or a sentence (agents.task_commands); a
text beside a data part is for people, and is not read. Who carries a command out is told apart: `Desk`. The scope of a
command is that of the task which brings it, so nobody reaches through this agent what is not theirs.

A command may be carried out again when its worker died: whoever carries it out is given a key that is the same then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol

from a2a_server.agent import Agent
from a2a_server.context import TaskContext
from a2a_server.errors import ClientError, Draining, Fail, InvalidParams, Overloaded, Reject, Retry, StoreUnavailable
from a2a_server.model.commands import OPERATION, OPERATIONS, Answered, Capability, Command, command_of
from a2a_server.model.objects import Artifact, Data, Scope, Text

NAME: Final = "task-manager"
"""What this agent is called in addresses, and as a part of queues' names."""
TIMEOUT_SECONDS: Final = 60.0

_ABOUT: Final = {
    Capability.TASKS: "Make tasks, batches, schedules and templates; find, read, change and delete them.",
    Capability.EXECUTION: "Cancel, retry, requeue and answer tasks, one or many; pause and resume; drain workers.",
    Capability.MONITORING: "Why a task does not run, what happened to it, how many there are, who runs them, alerts.",
}
_EXAMPLES: Final = {
    Capability.TASKS: ["list failed tasks", '{"operation": "listTasks", "state": ["working"]}'],
    Capability.EXECUTION: ["cancel TASK", '{"operation": "cancelTask", "taskId": "TASK"}'],
    Capability.MONITORING: ["why is TASK not running", '{"operation": "countTasks"}'],
}


_HELP: Final = f"""

Or send a data part with an operation, {{"{OPERATION}": "listTasks"}}; a text beside it is not read."""


class Desk(Protocol):
    """Carries commands out."""

    async def answer(self, scope: Scope, command: Command, key: str) -> Answered:
        """What the command came to. key: the same whenever this very command is carried out again.

        Raises ClientError, StoreUnavailable, Draining.
        """
        ...


def task_manager(desk: Desk, name: str, capabilities: Collection[str], version: str) -> Agent:
    """The agent. capabilities: its skills, of `Capability`; the first one also takes the commands of the others.

    Raises ConfigurationError: there are none.
    """
    able = tuple(dict.fromkeys(Capability(capability) for capability in capabilities))
    agent = Agent(name, "Manages the tasks of this server, under the rights of whoever asks.", version)
    for capability in able:
        agent.skill(
            id=capability,
            name=capability.replace("_", " ").capitalize(),
            description=_ABOUT[capability],
            tags=["tasks"],
            examples=_EXAMPLES[capability],
            timeout_seconds=TIMEOUT_SECONDS,
        )(_skill(desk, able if capability is able[0] else (capability,), able))
    return agent


def _skill(
    desk: Desk, takes: Collection[Capability], able: Collection[Capability]
) -> Callable[[TaskContext], Awaitable[Artifact]]:
    async def skill(task: TaskContext) -> Artifact:
        try:
            command = await _command(task)
            if isinstance(command, str):
                return _artifact(Answered({"operations": [*_names(takes)]}, command))
            if command.capability not in takes:
                raise InvalidParams(_elsewhere(command, able))  # noqa: TRY301 - told as what the desk refuses
            answered = await desk.answer(Scope(task.tenant, task.owner, NAME), command, task.idempotency_key())
        except InvalidParams as error:
            raise Reject(error.message) from error
        except Overloaded as error:
            raise Retry(error.message, after_seconds=error.retry_after_seconds or 1) from error
        except ClientError as error:
            raise Fail(error.message) from error
        except (StoreUnavailable, Draining) as error:
            raise Retry("The store does not answer at the moment.", after_seconds=1) from error
        return _artifact(answered)

    return skill


async def _command(task: TaskContext) -> Command | str:
    """The command; of a sentence that asks for help, what is understood."""
    if any(isinstance(part, Data) and not isinstance(part.data, dict) for part in task.message.parts):
        raise InvalidParams(f'A data part must be an object, such as {{"{OPERATION}": "listTasks"}}.')
    data = {**task.parameters, **task.data}
    if OPERATION in data:
        return command_of(data)
    if data:
        raise InvalidParams(f'A data part must say "{OPERATION}", one of: {", ".join(OPERATIONS)}.')
    return await asyncio.to_thread(_spoken, task.text)


def _spoken(text: str) -> Command | str:
    from a2a_server.agents.task_commands import GRAMMAR, read  # noqa: PLC0415 - waits for the first sentence

    return read(text) or GRAMMAR + _HELP


def _names(capabilities: Collection[Capability]) -> list[str]:
    return [name for name, operation in OPERATIONS.items() if operation.capability in capabilities]


def _elsewhere(command: Command, able: Collection[Capability]) -> str:
    if command.capability in able:
        return f'This belongs to the skill "{command.capability}"; send it there, or to the default skill.'
    return f'This belongs to "{command.capability}", which this task manager does not offer.'


def _artifact(answered: Answered) -> Artifact:
    return Artifact("answer", (Data(answered.data), Text(answered.text)))
