"""The command `a2a-server`: what it offers, and how it ends.

Exit codes: 0 ok, 1 error, 2 usage or configuration, 3 unreachable, 4 not authorised, 5 timeout, 130 Ctrl-C. An error is
one line on stderr; `--debug`, anywhere on the line, adds the traceback. A command is imported when it is named, what it
needs when it runs, so that the client starts no server's imports and the server no client's.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from a2a_server.cli.failures import CommandError, Exit, exit_of
from a2a_server.cli.output import say
from a2a_server.errors import ConfigurationError

if TYPE_CHECKING:
    from cyclopts import App, UnknownOptionError

START_OBJECTS = 200_000
"""How many objects are made before a look for cycles among them: more than a start makes, where nearly all stay."""
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
    if arguments is None:
        gc.set_threshold(START_OBJECTS, *gc.get_threshold()[1:])
    from cyclopts import CycloptsError, UnknownOptionError

    words, debug = _without_debug(sys.argv[1:] if arguments is None else list(arguments))
    try:
        return _dispatch(words)
    except CommandError as error:
        code, text = error.exit, str(error)
        failure: BaseException = error
    except UnknownOptionError as error:
        code, text, failure = Exit.USAGE, _unknown_option(error), error
    except (ConfigurationError, CycloptsError) as error:
        code, text, failure = exit_of(error), str(error), error
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
    from difflib import get_close_matches

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
    words = checking_words(words)
    app = _commands()
    if not _names_command(app, words):
        _imported(app)  # what comes now is a help text, which describes them all
    return app(words) or Exit.OK


def _names_command(app: App, words: list[str]) -> bool:
    for name in app.parse_commands(words)[0]:
        if not name.startswith("-"):
            app = app[name]
    return app.default_command is not None


def application() -> App:
    """Every command, imported."""
    return _imported(_commands())


def _imported(app: App) -> App:
    for name, command in app.resolved_commands().items():
        if not name.startswith("-"):
            _imported(command)
    return app


def _commands() -> App:
    from cyclopts import App, Parameter

    app = App(
        name="a2a-server",
        help="Runs any agent as durable A2A tasks, and talks to such servers.",
        help_epilogue=_EPILOGUE,
        version=program_version,
        default_parameter=Parameter(negative=(), show_default=False),
        suppress_keyboard_interrupt=False,
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
    )
    _add(app, "serving:{} run demo", "operating:{} worker workers drain migrate", "storing:{} backup restore")
    _add(app, "client:{} send", "checking:{} check")
    for name, (about, *places) in GROUPS.items():
        group = App(name=name, help=about)
        _add(group, *places)
        app.command(group)
    _add(app, "completing:{} completion")
    return app


GROUPS = {
    "task": (
        "Send, list, read, follow, change, cancel tasks, and download what they made.",
        "client:{} send",
        "listing:{}_ list",
        "client:{} get cancel subscribe",
        "watching:{} watch",
        "downloading:{} download",
        "managing:{} submit show retry requeue reprioritise delete feedback bulk",
        "changing:{} change depend answer",
        "explaining:{} explain",
        "details:{} events journal messages checkpoints steps artifacts result children graph",
    ),
    "batch": (
        "Submit many tasks at once, and see what came of them, over the management API.",
        "batches:{} submit show results",
    ),
    "schedule": (
        "Look after what makes tasks by the clock, over the management API.",
        "keeping:{}_schedule show create change delete pause resume trigger preview",
        "keeping:{}_schedules list",
    ),
    "template": (
        "Look after what tasks are made from, over the management API.",
        "keeping:{}_template show create change delete",
        "keeping:{}_templates list",
    ),
    "queue": (
        "Look after queues, over the management API.",
        "queues:{}_queue show pause resume",
        "queues:{}_queues list",
    ),
    "limit": (
        "Look after limits, over the management API.",
        "queues:{}_limit show set delete",
        "queues:{}_limits list",
    ),
    "dead-letters": ("Look after what was given up, over the management API.", "queues:{}_dead list retry"),
    "server": (
        "Ask a server about itself and all its tasks.",
        "server:{} about settings openapi counts alerts sizing",
    ),
    "card": ("Read and check agent cards.", "cards:{} get validate"),
    "config": ("Look at the settings.", "configuration:{} show"),
    "store": ("Move what a server keeps.", "storing:{} copy"),
    "retention": ("Delete tasks that ended long ago.", "retaining:{} run"),
}
"""Of each group what it is for, then files of this package with how their functions are called, and their commands."""


def _add(group: App, *places: str) -> None:
    for place in places:
        pattern, *names = place.split()
        for name in names:
            group.command(f"a2a_server.cli.{pattern.format(name)}", name=name)


CHECKS = ("config", "queues")


def checking_words(words: list[str]) -> list[str]:
    """The same words, with `--validate-config` and `--validate-queues` without a command as what they stand for."""
    flags = [f"--validate-{check}" for check in CHECKS]
    asked = [check for check, flag in zip(CHECKS, flags, strict=True) if flag in words]
    if not asked or not words[0].startswith("-"):
        return words
    return ["check", *asked, *(word for word in words if word not in flags)]


def program_version() -> str:
    """The version that is installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("a2a-task-server")
    except PackageNotFoundError:
        return "unknown (not installed)"
