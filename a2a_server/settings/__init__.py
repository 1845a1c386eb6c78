"""Every knob: typed, bounded, defaulted, described, with its unit in its name. Nothing here changes after start-up.

A value is taken from the first of these that has it: a flag (a keyword of `load`), the environment (`A2A_SERVER_` and
the name in capitals, `__` between the names of a block and of what is in it; an empty variable counts as absent), the
file, the default. What nobody knows is an error, so a misspelt knob is never silently without effect.

`knobs` holds them, `task_manager` the seed documents' block, `addresses` the rules of URLs, `sources` reads them,
`catalogue` lists them for people.
"""

from a2a_server.settings.addresses import kind_of, local_path
from a2a_server.settings.catalogue import Knob, knobs, value_of
from a2a_server.settings.knobs import PREFIX, Settings
from a2a_server.settings.sources import Sourced, load, load_sourced
from a2a_server.settings.task_manager import TaskManager

__all__ = [
    "PREFIX",
    "Knob",
    "Settings",
    "Sourced",
    "TaskManager",
    "kind_of",
    "knobs",
    "load",
    "load_sourced",
    "local_path",
    "value_of",
]
