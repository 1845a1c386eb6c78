"""How this program was started, so that the commands that it prints work when they are pasted."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

NAME = "a2a-server"


def command(*words: str) -> str:
    """A command line of this program, quoted for a shell: by its name where the shell finds it, else by its path."""
    return shlex.join((*_program(), *words))


def _program() -> tuple[str, ...]:
    started = Path(sys.argv[0])
    if started.parts[-2:] == ("a2a_server", "__main__.py"):
        return _path(Path(sys.executable)), "-m", "a2a_server"
    if started.name != NAME or not started.is_file():
        return (NAME,)
    found = shutil.which(NAME)
    if found is not None and Path(found).samefile(started):
        return (NAME,)
    return (_path(started),)


def _path(path: Path) -> str:
    # Links stay as they are: the Python of a virtual environment is one.
    whole = path.absolute()
    below = whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole
    return str(below) if len(below.parts) > 1 else f"./{below}"
