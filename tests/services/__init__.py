"""Real services for tests, for drills and for a developer's machine: PostgreSQL, Redis, RabbitMQ, MongoDB, S3, SQS.

`service(name)` is the address of a server that all tests of a run share: take a database, prefix or bucket of your own
there (`fresh.py`) and never flush, stop or kill it. `own(name)` is a server to do that with. `proxy.py` puts faults in
front of either. Everything listens on 127.0.0.1 and is gone after the run. `python -m tests.services` is what
`scripts/services` calls.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from tests.services.kinds import NotReady
from tests.services.programs import Missing
from tests.services.server import Server, own
from tests.services.shared import run

__all__ = ["Missing", "NotReady", "Server", "needed", "own", "service"]


def service(name: str) -> str:
    """The address of a running service, the same for the whole run of tests; blocks while it starts.

    `A2A_TEST_<NAME>_URL` names one that runs already. Skips the test, with the reason, where there is none and no
    program for it; fails it with `A2A_TEST_REQUIRE_SERVICES=1`. Outside pytest use `own`.

    Args:
        name: postgresql, redis, rabbitmq, mongodb, s3 or sqs (the last two: the HTTP endpoint).

    Raises:
        NotReady: its program is here, but does not come up.
    """
    given = os.environ.get(f"A2A_TEST_{name.upper()}_URL")
    if given:
        return given
    try:
        return run().url(name)
    except Missing as reason:
        _excuse(reason)


@contextmanager
def needed() -> Iterator[None]:
    """What is missing inside skips or fails the test, as `service` does: `with needed(), own("redis") as server:`."""
    try:
        yield
    except Missing as reason:
        _excuse(reason)


def _excuse(reason: Missing) -> NoReturn:
    if os.environ.get("A2A_TEST_REQUIRE_SERVICES") == "1":
        pytest.fail(str(reason))
    pytest.skip(str(reason), allow_module_level=True)
