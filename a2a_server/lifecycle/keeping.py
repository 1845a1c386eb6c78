"""What is remembered of objects in the artifact store, so that they can be found, and kept as long as they are needed.

An object is known by rows of its own, in a scope that only its name decides: who uploaded it, which tasks' messages
refer to it, when somebody last meant to use it, and which collectors are about to delete it. Objects that runs store
are named by their artifacts' rows and events and need none of this until another task's message refers to them.

A send and a collector that meet: each writes its mark first (`TOUCHED`, `CONDEMNED`) and looks for the other's then, so
at least one of them sees the other and gives way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from a2a_server.codec import canonical, decode, encode, pack_part, unpack_part
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import File, JsonObject, Part, Scope
from a2a_server.model.rows import Key, StateRow, TaskRow
from a2a_server.model.turns import Needs
from a2a_server.values import value_class

MARK: Final = "mark"
"""Space of an object's marks, few of each object."""
USE: Final = "use"
"""Space of its uses: one row a task, named by its key in hexadecimal."""

UPLOADED: Final = "uploaded"
TOUCHED: Final = "touched"
CONDEMNED: Final = "condemned"
"""Beginning of the marks that collectors set, each its own."""


def object_scope(name: str) -> bytes:
    """The scope of an object's rows. No task's key and no owner's shelf looks so."""
    return canonical({"object": name})


def stored_files(parts: Iterable[Part]) -> tuple[File, ...]:
    """The parts that refer to objects, each object once."""
    found = {part.stored: part for part in parts if isinstance(part, File) and part.stored}
    return tuple(found.values())


def use(turn: Turn, task: TaskRow, files: Iterable[File]) -> None:
    """Say that a message of the task refers to these objects; in the turn that writes the message."""
    for file in files:
        turn.remember(use_of(task, file))


def use_of(task: TaskRow, file: File) -> StateRow:
    """The row which says that the task refers to the file's object."""
    body = encode(known(Scope(task.tenant, task.owner), file))
    return StateRow(object_scope(file.stored), USE, task.key.hex(), 0, 0, body)


def known(scope: Scope, file: File) -> JsonObject:
    """What a row keeps of an object: whose it is, and the part that refers to it."""
    return {"t": scope.tenant, "o": scope.owner, "p": pack_part(file)}


def file_of(row: StateRow, scope: Scope) -> File | None:
    """The file that a row of an object keeps; None where it is another's."""
    packed = decode(row.body)
    part = unpack_part(packed["p"]) if (packed["t"], packed["o"]) == (scope.tenant, scope.owner) else None
    return part if isinstance(part, File) else None


def user_of(row: StateRow) -> Key:
    """The task of a use."""
    return Key(bytes.fromhex(row.name))


def marked_at(row: StateRow) -> int:
    """When a mark was set, microseconds."""
    at: int = decode(row.body)["at"]
    return at


@value_class(frozen=True, slots=True)
class Note:
    """A row of the object `name` to be written; about None = to be forgotten."""

    name: str
    space: str
    entry: str
    about: JsonObject | None = None


@value_class(frozen=True, slots=True)
class Keep:
    """Write notes, each with the time. urgent: for the collector, which waits; clients are refused when all is full."""

    notes: tuple[Note, ...]
    urgent: bool = False

    @property
    def weight(self) -> int:
        """A few hundred bytes each."""
        return 512 * len(self.notes)

    def needs(self, needs: Needs, shard: str) -> None:
        """No rows: notes replace what was there."""

    def decide(self, turn: Turn) -> int:
        """The time that they were written with, microseconds."""
        for note in self.notes:
            body = b"" if note.about is None else encode({**note.about, "at": turn.now})
            turn.remember(StateRow(object_scope(note.name), note.space, note.entry, 0, 0, body))
        return turn.now
