"""What the owners of tasks say of them when they have ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from a2a_server.codec import decode
from a2a_server.engine.engine import Engine
from a2a_server.errors import DataRejected, InvalidParams, TaskNotFound
from a2a_server.lifecycle.feedback import BEST, FEEDBACK, GiveFeedback
from a2a_server.lifecycle.states import TERMINAL
from a2a_server.model.objects import Scope
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import StateRow, TaskName, TaskRow
from a2a_server.values import value_class

MOST_SHOWN: Final = 100
"""Authors whose feedback is shown with a task."""
LONGEST_COMMENT: Final = 10_000


@value_class(frozen=True, slots=True)
class Given:
    """What an author said last. rating: 1 to 5. at: microseconds."""

    rating: int
    comment: str
    at: int
    by: str


class Feedback:
    """Keeps and reads the feedback on one engine's tasks. Concurrency: any number of callers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.backends.store

    async def give(self, scope: Scope, task_id: str, rating: int, comment: str = "") -> TaskRow:
        """The task, with what the caller says of it now, instead of what they said before. Idempotent.

        Raises TaskNotFound; UnsupportedOperation: it has not ended; InvalidParams; Overloaded; StoreUnavailable.
        """
        if not 1 <= rating <= BEST:
            raise InvalidParams(f"rating must be 1 to {BEST}.", path="rating")
        if len(comment) > LONGEST_COMMENT:
            raise InvalidParams(f"comment must have at most {LONGEST_COMMENT} characters.", path="comment")
        name = TaskName(scope.tenant, scope.owner, self._engine.agent, task_id)
        try:
            await self._engine.submit(GiveFeedback(name, scope.owner, rating, comment))
        except DataRejected:
            raise InvalidParams("comment holds a character that cannot be stored.", path="comment") from None
        row = await self._store.find(scope, self._engine.agent, task_id)
        if row is None:
            raise TaskNotFound
        return row

    async def of(self, row: TaskRow) -> Sequence[Given]:
        """What was said of the task, by author."""
        if row.state not in TERMINAL:
            return ()
        page = await self._store.rows(RowQuery(Table.STATE, (bytes(row.key), FEEDBACK), limit=MOST_SHOWN))
        found = [(one.name, decode(one.body)) for one in page.rows if isinstance(one, StateRow)]
        return [Given(said["rating"], said["comment"], said["at"], author) for author, said in found]
