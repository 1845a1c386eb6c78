"""What one event of a stream of many tasks says: it may be kept for the next reader, and must fit that one too."""

from __future__ import annotations

import orjson
import pytest

from a2a_server.codec import encode_spec, encode_status
from a2a_server.engine.many import Change, News
from a2a_server.model.objects import Progress, State, TaskSpec
from a2a_server.web.management.events import encoded
from tests.contracts import rows
from tests.contracts.rows import key

PLAIN = rows.leased(1, key(9), spec=encode_spec(TaskSpec(1800.0)), status=encode_status(State.WORKING))
HALFWAY = PLAIN._replace(status=encode_status(State.WORKING, None, Progress(0.5)))


@pytest.mark.parametrize(
    ("change", "first", "kind"),
    [
        (Change(HALFWAY), False, "task"),
        (Change(HALFWAY, 3, moved=False), True, "task"),
        (Change(HALFWAY, 3, moved=False), False, "progress"),
        (Change(HALFWAY, 3), False, "status"),
        (Change(PLAIN, 3, moved=False), False, "status"),
        (Change(HALFWAY, 4, moved=False, left=True), False, "progress"),
    ],
)
def test_each_reader_is_told_what_it_is_to_him(change: Change, first: bool, kind: str) -> None:
    for _ in range(2):  # made, and kept
        data = orjson.loads(encoded(News([change]), first=first).split(b"data: ")[1])
        assert (data["kind"], data.get("left", False)) == (kind, change.left)
