"""Runs any agent as durable A2A tasks. These names are the public surface; importing them pulls in no server.

Each name is imported when it is first used, so that a program which needs one of them, such as the client on the
command line, does not wait for all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from a2a_server.agent import Agent, Partial
    from a2a_server.context import Answer, SyncTask, TaskContext, TaskHandle
    from a2a_server.errors import Fail, Reject, Retry
    from a2a_server.model.objects import Artifact, Data, File, Message, Progress, Role, State, Text
    from a2a_server.model.runs import ChildResult, Happening

    __version__: str

__all__ = [
    "Agent",
    "Answer",
    "Artifact",
    "ChildResult",
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
    "State",
    "SyncTask",
    "TaskContext",
    "TaskHandle",
    "Text",
    "__version__",
    "asgi",
    "run",
]

_HOMES = {
    "a2a_server.agent": ("Agent", "Partial"),
    "a2a_server.context": ("Answer", "SyncTask", "TaskContext", "TaskHandle"),
    "a2a_server.errors": ("Fail", "Reject", "Retry"),
    "a2a_server.model.objects": ("Artifact", "Data", "File", "Message", "Progress", "Role", "State", "Text"),
    "a2a_server.model.runs": ("ChildResult", "Happening"),
}


def _found(name: str) -> object:
    """A public name, which Python asks for once. Raises AttributeError for any other."""
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("a2a-task-server")
        except PackageNotFoundError:  # a checkout that is not installed
            return "0+unknown"
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if not TYPE_CHECKING:  # checkers read the imports above

    def __getattr__(name: str) -> object:
        found = globals()[name] = _found(name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
