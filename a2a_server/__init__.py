"""Runs any agent as durable A2A tasks. These names are the public surface; importing them pulls in no server."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from a2a_server.agent import Agent, Partial
from a2a_server.context import Answer, SyncTask, TaskContext
from a2a_server.errors import Fail, Reject, Retry
from a2a_server.model.objects import Artifact, Data, File, Message, Progress, Role, Text
from a2a_server.model.runs import Happening

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = [
    "Agent",
    "Answer",
    "Artifact",
    "Data",
    "Fail",
    "File",
    "Happening",
    "Message",
    "Partial",
    "Progress",
    "Reject",
    "Retry",
    "Role",
    "SyncTask",
    "TaskContext",
    "Text",
    "__version__",
    "asgi",
    "run",
]

try:
    __version__ = version("a2a-task-server")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"


def run(agent: Agent, **settings: object) -> None:
    """Serve the agent until the process is told to stop.

    Args:
        agent: what to serve.
        **settings: any setting by its name, for example `port=8000`, `store="sqlite:///tasks.db"`; they win over the
            environment and over a configuration file.

    Raises:
        ConfigurationError: a setting, the card or the agent cannot work; the text says what to change.
    """
    from a2a_server import wiring

    wiring.run(agent, **settings)


def asgi(agent: Agent, **settings: object) -> Starlette:
    """The agent as an ASGI application, to mount in another one or to give to a server of your choice.

    Args:
        agent: what to serve.
        **settings: any setting by its name, as for `run`.

    Raises:
        ConfigurationError: a setting, the card or the agent cannot work; the text says what to change.
    """
    from a2a_server import wiring

    return wiring.asgi(agent, **settings)
