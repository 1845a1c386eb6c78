"""How commands end: the exit codes, and the errors that carry them to `main`."""

from __future__ import annotations

from enum import IntEnum

from a2a_server.errors import ServiceUnreachable


class Exit(IntEnum):
    """What the shell sees. INTERRUPTED is the shell's own convention for Ctrl-C."""

    OK = 0
    ERROR = 1
    USAGE = 2
    UNREACHABLE = 3
    UNAUTHORIZED = 4
    TIMEOUT = 5
    INTERRUPTED = 130


class CommandError(Exception):
    """The command failed; the text is the one line that people read, and says the way out."""

    exit: Exit = Exit.ERROR


class UsageError(CommandError):
    """The command line asks for something that cannot be."""

    exit = Exit.USAGE


class UnreachableError(CommandError):
    """Nothing answers at the address, or it stopped answering for longer than retries last."""

    exit = Exit.UNREACHABLE


class UnauthorizedError(CommandError):
    """The server wants other credentials."""

    exit = Exit.UNAUTHORIZED


class WaitedTooLongError(CommandError):
    """`--timeout` is over; the task goes on."""

    exit = Exit.TIMEOUT


class RpcError(CommandError):
    """The server answered with a JSON-RPC error; `code` is the protocol's."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


class BusyError(CommandError):
    """The server is overloaded or draining (HTTP 429 and 503)."""


def exit_of(error: Exception) -> Exit:
    """How a command ends that could not begin: a service that does not answer is no fault of the settings."""
    return Exit.UNREACHABLE if isinstance(error, ServiceUnreachable) else Exit.USAGE
