"""Writes the reference pages that are made from code, so that every setting, command, error and metric is in them.

A page is one entry of PAGES: where it is, and the function that gives its text. `--check` writes nothing, shows what
differs and exits with 1 when a page is stale. Drawings are `diagram.py`.
"""

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from cyclopts import App, Parameter

from a2a_server import errors
from a2a_server.cli import application
from a2a_server.cli.failures import Exit
from a2a_server.settings import Knob, knobs
from a2a_server.settings.catalogue import shown
from a2a_server.telemetry.catalogue import CATALOGUE

DEFAULTS = Parameter(negative=(), show_default=False)
"""As in `application`: parameters of commands do not inherit it when they are only looked at."""

ROOT = Path(__file__).parent.parent

EXITS = {
    Exit.OK: "it worked",
    Exit.ERROR: "an error: the task failed, the server refused, a check found something to do",
    Exit.USAGE: "the command line or the settings ask for something that cannot be",
    Exit.UNREACHABLE: "nothing answers at the address, or it stopped answering",
    Exit.UNAUTHORIZED: "the server wants other credentials",
    Exit.TIMEOUT: "`--timeout` is over; the task goes on",
    Exit.INTERRUPTED: "Ctrl-C; the task goes on",
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table; bars in cells are escaped."""
    columns = list(head)
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"


def prose(text: str) -> list[str]:
    """A paragraph as lines of the pages' width; codes and links stay whole."""
    return textwrap.wrap(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)


def made(name: str, source: str) -> str:
    """The line that says where a page comes from."""
    return f"Made by `scripts/docs` from {source}: change that, not {name}."


def settings_page() -> str:
    """docs/settings.md."""
    every = knobs()
    lines = [
        "# Settings",
        "",
        made("this page", "`a2a_server/settings/`"),
        "",
        *prose("""
            A value is taken from the first of these that has it: a flag of the command line, the environment, the file
            that `--config` names, the default. The variable of a setting is `A2A_SERVER_` and its name in capitals,
            with `__` between the names of a block and of what is in it: `A2A_SERVER_PORT`,
            `A2A_SERVER_TASK_MANAGER__ID`. An empty variable counts as absent; a list is written with commas. A file is
            YAML (`.yaml`, `.yml`) or TOML (`.toml`). A name that nobody knows is an error, which suggests the nearest.
        """),
        "",
        *prose("""
            `a2a-server config show --sources` shows every setting with its value and where it comes from,
            `a2a-server check config` checks them, and [.env.example](../.env.example) lists all variables.
        """),
        "",
        *table(("setting", "type", "default", "meaning"), (_setting(knob) for knob in every if len(knob.path) == 1)),
        "",
        "## The block `task_manager`",
        "",
        *prose("""
            The settings file of the seed documents is valid as it is; their names are kept beside those with units.
            What is *recorded* is checked and shown, and has no effect yet.
        """),
        "",
        *table(("setting", "type", "default", "meaning"), (_setting(knob) for knob in every if len(knob.path) > 1)),
        "",
        *prose("""
            `databases` take a bare name, which means a SQLite file of that name in the directory of the store, or the
            address of one. `databases.tasks` is `store` by another name; where `store` is given too, `store` holds. Log
            lines and resource samples stay in the tasks' database whatever `databases.execution` says, and the
            start-up text says so.
        """),
    ]
    return _text(lines)


def _setting(knob: Knob) -> tuple[str, str, str, str]:
    name = knob.name.removeprefix("task_manager.")
    also = "".join(f"<br>also `{alias}`" for alias in knob.aliases)
    kind = f"{knob.kind}: {knob.bounds}" if knob.bounds else knob.kind
    return f"`{name}`{also}", kind, f"`{shown(knob.default)}`" if knob.default not in ("", []) else "", knob.meaning


def environment_page() -> str:
    """.env.example."""
    lines = [
        "# Every setting as an environment variable, with its default. " + made("this file", "a2a_server/settings/"),
        "# docs/settings.md says more. Take the # away from what you change.",
    ]
    for knob in knobs():
        kind = f"{knob.kind}: {knob.bounds}" if knob.bounds else knob.kind
        lines += ["", f"# {knob.meaning}", f"# ({kind})", f"#{knob.variable}={shown(knob.default)}"]
    return _text(lines)


def commands_page() -> str:
    """docs/commands.md."""
    lines = [
        "# Commands",
        "",
        made("this page", "`a2a_server/cli/`"),
        "",
        *prose("""
            `--help` after any command shows the same. `--version` shows the version. `--debug`, anywhere on the line,
            shows where an error came from. `a2a-server --validate-config` and `--validate-queues`, without a command,
            are `check config` and `check queues`. What agents say goes to stdout; an error is one line on stderr.
        """),
        "",
        "## How a command ends",
        "",
        *table(("exit code", "meaning"), ((str(code.value), meaning) for code, meaning in EXITS.items())),
    ]
    for words, app in _commands(application(), ()):
        lines += ["", f"## `a2a-server {' '.join(words)}`", "", *_command(app)]
    return _text(lines)


def _commands(app: App, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], App]]:
    for name, command in app.resolved_commands().items():
        if name.startswith("-"):
            continue
        if command.default_command is None:
            yield from _commands(command, (*above, name))
        else:
            yield (*above, name), command


def _command(app: App) -> Iterator[str]:
    about, _, _ = (app.default_command.__doc__ or "").strip().partition("Args:")
    yield from (line.strip() for line in about.strip().splitlines())
    rows = []
    for argument in app.assemble_argument_collection(default_parameter=DEFAULTS, parse_docstring=True):
        if not argument.parse or not argument.show or argument.names == ("*",):
            continue
        names = ", ".join(f"`{name}`" for name in argument.names)
        choices = argument.get_choices() or ()
        more = f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
        more += "".join(f" Variable `{variable}`." for variable in argument.parameter.env_var or ())
        rows.append((names, re.sub(r"\s+", " ", str(argument.parameter.help or "")) + more))
    if rows:
        yield ""
        yield from table(("argument", "meaning"), rows)


HTTP = {
    errors.ContentTypeNotSupported: "415 where the request itself has another type or an encoding, else 200",
    errors.InvalidRequest: "413 where the body is over its limit, else 200",
    errors.Overloaded: "503 or 429, with `Retry-After`",
}
"""Where JSON-RPC does not answer with 200."""


def errors_page() -> str:
    """docs/errors.md."""
    kinds = sorted(errors.ClientError.__subclasses__(), key=lambda kind: kind.code, reverse=True)
    rows = ((str(kind.code), f"`{kind.reason}`", kind.default, _about(kind), HTTP.get(kind, "200")) for kind in kinds)
    raised = ((f"`{kind.__name__}`", _about(kind)) for kind in (errors.Reject, errors.Fail, errors.Retry))
    lines = [
        "# Errors",
        "",
        made("this page", "`a2a_server/errors.py`"),
        "",
        "## What clients see",
        "",
        *prose("""
            The text may say more than the one in the table: it names the thing, the rule and the way out. In 1.0 `data`
            is a list with an `ErrorInfo` that has the reason, and for invalid parameters a `BadRequest` with the path
            of the field.
        """),
        "",
        *table(("code", "reason", "text", "meaning", "HTTP"), rows),
        "",
        "## What agents raise",
        "",
        *table(("exception", "meaning"), raised),
        "",
        "## What stops a start",
        "",
        *prose("""
            A setting, card or agent that cannot work is a `ConfigurationError`: the command ends with 2 and says what
            to change.
        """),
    ]
    return _text(lines)


def metrics_page() -> str:
    """docs/metrics.md."""
    rows = (
        (
            f"`{metric.name}`",
            metric.kind,
            "; ".join(f"`{name}`: {what}" for name, what in metric.labels.items()),
            metric.help,
        )
        for metric in CATALOGUE
    )
    lines = [
        "# Metrics",
        "",
        made("this page", "`a2a_server/telemetry/catalogue.py`"),
        "",
        *prose("""
            `GET /metrics` gives the text format of Prometheus, or OpenMetrics where the `Accept` header names it.
            Counters begin at zero with the process. Each process counts what it does itself, so sums over processes are
            right; `queue_size` is read from the store at every scrape and is the same in all of them: take the maximum.
            Process figures (`process_…`, `python_…`) come with them.
        """),
        "",
        *prose("""
            No label carries an id, or a word that a client chose. What to watch is in
            [operations](operations.md#what-to-watch). What one task took (`durationSeconds`, `responseSeconds`,
            `throughput`) the management API tells, [with the formulas](management.md#when-and-how-long).
        """),
        "",
        *table(("name", "kind", "labels", "meaning"), rows),
    ]
    return _text(lines)


def _about(kind: type[Exception]) -> str:
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split()).removeprefix("Raised by an agent: ")


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/settings.md": settings_page,
    "docs/commands.md": commands_page,
    "docs/errors.md": errors_page,
    "docs/metrics.md": metrics_page,
    ".env.example": environment_page,
}


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description="Write the reference pages that are made from code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a page is stale")
    check = parser.parse_args().check
    stale = 0
    for name, page in PAGES.items():
        path, fresh = ROOT / name, page()
        stored = path.read_text(encoding="utf-8") if path.exists() else ""
        if fresh == stored:
            continue
        if not check:
            path.write_text(fresh, encoding="utf-8")
            continue
        stale = 1
        before, after = stored.splitlines(keepends=True), fresh.splitlines(keepends=True)
        sys.stderr.writelines(difflib.unified_diff(before, after, name, "the code"))
        print(f"{name} is stale: run scripts/docs", file=sys.stderr)
    return stale


if __name__ == "__main__":
    sys.exit(main())
