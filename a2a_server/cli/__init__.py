"""The command `a2a-server`: what it offers, and how it ends.

Exit codes: 0 ok, 1 error, 2 usage or configuration, 3 unreachable, 4 not authorised, 5 timeout, 130 Ctrl-C. An error is
one line on stderr; `--debug`, anywhere on the line, adds the traceback. What a command needs is imported when it runs,
so that the client starts no server's imports.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cyclopts import App, CycloptsError, Parameter, UnknownOptionError

from a2a_server.cli.failures import CommandError, Exit
from a2a_server.cli.output import say
from a2a_server.errors import ConfigurationError

LIKE = 0.7
"""How like a known option an unknown one must be to be taken for it."""

_EPILOGUE = (
    "--debug, anywhere on the line, shows where an error came from. --validate-config and --validate-queues, without a "
    "command, are check config and check queues."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    Args:
        arguments: what follows the program's name; None = this process's own.
    """
    words, debug = _without_debug(sys.argv[1:] if arguments is None else list(arguments))
    try:
        return _dispatch(words)
    except CommandError as error:
        code, text = error.exit, str(error)
        failure: BaseException = error
    except UnknownOptionError as error:
        code, text, failure = Exit.USAGE, _unknown_option(error), error
    except (ConfigurationError, CycloptsError) as error:
        code, text, failure = Exit.USAGE, str(error), error
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the exit itself fails to flush
        return Exit.ERROR
    except OSError as error:
        code, text, failure = Exit.ERROR, str(error), error
    except Exception as error:  # noqa: BLE001 - the program's edge: people get a line, not a traceback
        code, failure = Exit.ERROR, error
        text = f"unexpected error, {type(error).__name__}: {error} (--debug shows where)"
    if debug:
        traceback.print_exception(failure)
    say(f"a2a-server: {text}")
    return code


def _unknown_option(error: UnknownOptionError) -> str:
    given = (error.token.keyword or error.token.value).partition("=")[0]
    if not given.startswith("--"):
        return str(error)
    names = [name for argument in error.argument_collection if argument.parse for name in argument.names]
    near = get_close_matches(given.strip("-"), [name.strip("-") for name in names], n=1, cutoff=LIKE)
    hint = f"did you mean --{near[0]}?" if near else "--help lists all"
    return f"unknown option {given}; {hint}"


def _without_debug(words: list[str]) -> tuple[list[str], bool]:
    end = words.index("--") if "--" in words else len(words)
    options = [word for word in words[:end] if word != "--debug"]
    return options + words[end:], len(options) < end


def _dispatch(words: list[str]) -> int:
    from a2a_server.cli.packages import refuse_foreign_package

    refuse_foreign_package(Path(__file__).parents[1])
    return application()(checking_words(words)) or Exit.OK


def application() -> App:
    """Every command. What a command needs beyond its own words is imported when it runs."""
    from a2a_server.cli import (
        cards,
        checking,
        client,
        completing,
        configuration,
        downloading,
        listing,
        serving,
        watching,
    )

    app = App(
        name="a2a-server",
        help="Runs any agent as durable A2A tasks, and talks to such servers.",
        help_epilogue=_EPILOGUE,
        version=_version,
        default_parameter=Parameter(negative=(), show_default=False),
        suppress_keyboard_interrupt=False,
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
    )
    app.command(serving.run)
    app.command(serving.demo)
    app.command(client.send)
    app.command(checking.check)
    task = App(name="task", help="Send, list, read, follow, cancel tasks, and download what they made.")
    task.command(client.send)
    task.command(listing.list_, name="list")
    task.command(client.get)
    task.command(client.cancel)
    task.command(client.subscribe)
    task.command(watching.watch)
    task.command(downloading.download)
    card = App(name="card", help="Read and check agent cards.")
    card.command(cards.get)
    card.command(cards.validate)
    config = App(name="config", help="Look at the settings.")
    config.command(configuration.show)
    for group in (task, card, config):
        app.command(group)
    app.command(completing.completion)
    return app


CHECKS = ("config", "queues")


def checking_words(words: list[str]) -> list[str]:
    """The same words, with `--validate-config` and `--validate-queues` without a command as what they stand for."""
    flags = [f"--validate-{check}" for check in CHECKS]
    asked = [check for check, flag in zip(CHECKS, flags, strict=True) if flag in words]
    if not asked or not words[0].startswith("-"):
        return words
    return ["check", *asked, *(word for word in words if word not in flags)]


def _version() -> str:
    try:
        return version("a2a-task-server")
    except PackageNotFoundError:
        return "unknown (not installed)"
