"""What a skill sees of its run, and can say while it runs: `TaskContext` for async skills, `SyncTask` for plain ones.

Both are thin views over the Attempt port and hold no state of the run but how often it asked and stepped. A verb takes
effect when it is called, in the order of the calls. What differs is how a fast skill is slowed down: an async one
awaits the verb, which waits for the commit; a plain one is held inside the verb until few enough outputs are
uncommitted.
"""

from __future__ import annotations

from a2a_server.context.asking import Answer
from a2a_server.context.family import TaskHandle
from a2a_server.context.places import Places
from a2a_server.context.remembering import Memory
from a2a_server.context.sync import SyncMemory, SyncTask
from a2a_server.context.task import TaskContext
from a2a_server.context.waiting import Pending, wait_for_room, waited
from a2a_server.context.writers import ArtifactWriter, SyncArtifactWriter

__all__ = [
    "Answer",
    "ArtifactWriter",
    "Memory",
    "Pending",
    "Places",
    "SyncArtifactWriter",
    "SyncMemory",
    "SyncTask",
    "TaskContext",
    "TaskHandle",
    "wait_for_room",
    "waited",
]
