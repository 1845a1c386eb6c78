"""`completion`: what makes a shell complete this program's commands and options."""

from __future__ import annotations

import sys
from typing import Literal

from a2a_server.cli.failures import Exit, UsageError
from a2a_server.cli.invoked import NAME, command


def completion(shell: Literal["bash", "zsh", "fish", "powershell"] | None = None, /, *, install: bool = False) -> int:
    """Print the script that completes commands and options, or install it for this user.

    Args:
        shell: Which shell; without it the one that is running.
        install: Write it where the shell finds it, and say where; bash and zsh then load it from their start-up file.
    """
    from cyclopts.completion.detect import ShellDetectionError

    from a2a_server.cli import application

    app = application()
    try:
        if not install:
            sys.stdout.write(app.generate_completion(prog_name=NAME, shell=shell))
            return Exit.OK
        path = app.install_completion(shell=shell)
    except ShellDetectionError as error:
        raise UsageError(f"which shell is running cannot be told; name it: {command('completion', 'bash')}") from error
    sys.stdout.write(f"{path}\nOpen a new shell to use it.\n")
    return Exit.OK
