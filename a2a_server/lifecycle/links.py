"""What one turn knows and writes of the ties between tasks, of their tags, and of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from a2a_server.model.objects import State
from a2a_server.model.rows import EdgeKind, EdgeRow, Key, RecordKey, RecordRow, TagRow
from a2a_server.model.turns import Changes, Loaded


class Links:
    """Edges, tags and records of a turn, as they become."""

    __slots__ = ("_changes", "_loaded", "_records", "_tied")

    def __init__(self, loaded: Loaded, changes: Changes) -> None:
        self._loaded = loaded
        self._changes = changes
        self._records: dict[RecordKey, RecordRow | None] = {}
        self._tied: set[Key] = set()

    def waits(self, downstream: Key) -> Mapping[tuple[int, int], int]:
        """(on_failure, done) -> how many of the task's edges were so when the turn was loaded."""
        return self._loaded.waits.get(downstream, {})

    def tie(self, edge: EdgeRow) -> None:
        """Have a task follow another one; an edge that exists stays as it is."""
        self._changes.edges.append(edge)
        self._tied.add(edge.downstream)

    def tied(self, downstream: Key) -> bool:
        """Whether the task got an edge in this turn, of which `waits` and `arrived` do not know."""
        return downstream in self._tied

    def arrived(self, downstream: Key) -> Sequence[EdgeRow]:
        """The task's edges whose upstream had ended when the turn was loaded, and that nobody has acted on."""
        return self._loaded.arrived.get(downstream, ())

    def ended(self, upstream: Key, state: State) -> None:
        """Have everybody who follows the task learn how it ended."""
        self._changes.ended[upstream] = int(state)

    def settled(self, downstream: Key, *kinds: EdgeKind) -> None:
        """Note that what arrived at the task has been acted on. kinds: by edges of these kinds, none = of every one."""
        arrived = self.arrived(downstream)
        self._changes.settled += [edge for edge in arrived if not kinds or edge.on_failure in kinds]

    def tag(self, row: TagRow) -> None:
        """Give a task a tag that it may have already."""
        self._changes.tags.append(row)

    def untag(self, row: TagRow) -> None:
        """Take a tag away."""
        self._changes.gone_tags.append(row)

    def record(self, key: RecordKey) -> RecordRow | None:
        """A record that the turn has loaded, as it is now."""
        return self._records[key] if key in self._records else self._loaded.records.get(key)

    def keep(self, row: RecordRow) -> RecordRow:
        """Create or change a record that the turn has loaded or found missing; returns it with its `rev`."""
        before = self._loaded.records.get(row.key)
        row = row._replace(rev=before.rev + 1 if before else 1)
        self._records[row.key] = row
        return row

    def drop(self, key: RecordKey) -> None:
        """Delete a record that the turn has loaded, if it is there."""
        self._records[key] = None

    def finish(self) -> None:
        """Write the records into the changes. Call once, when every operation is decided."""
        for key, row in self._records.items():
            if row is not None:
                self._changes.records.append(row)
            elif (before := self._loaded.records.get(key)) is not None:
                self._changes.gone_records.append((key, before.rev))
