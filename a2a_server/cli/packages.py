"""The check that the imported package `a2a_server` is this project's.

The distribution `a2a-server` on the package index is somebody else's and installs a package of the same name, so that
one overwrites files of the other. Where none of our files is imported at all nothing here can run.
"""

from __future__ import annotations

import sys
from importlib.metadata import Distribution
from pathlib import Path

from a2a_server.errors import ConfigurationError

FOREIGN = "a2a-server"
OURS = "a2a-task-server"


def refuse_foreign_package(package: Path, installed: Path | None = None) -> None:
    """Passes where the imported package directory holds no files of the foreign distribution.

    Args:
        package: the directory of the imported package `a2a_server`.
        installed: where to look for installed distributions; None = wherever Python imports from.

    Raises:
        ConfigurationError: it does; the text says how to repair the environment.
    """
    places = sys.path if installed is None else [str(installed)]
    for foreign in Distribution.discover(name=FOREIGN, path=places):
        if Path(str(foreign.locate_file("a2a_server"))).resolve() == package.resolve():
            raise ConfigurationError(
                f"the package a2a_server in {package.parent} is (in part) that of {FOREIGN} {foreign.version}, another "
                f"project; both cannot be installed together. Repair it with: pip uninstall {FOREIGN} && "
                f"pip install --force-reinstall --no-deps {OURS}"
            )
