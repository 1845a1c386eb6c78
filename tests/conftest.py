"""What every run of tests ends with."""

from __future__ import annotations

from tests.services.shared import run


def pytest_sessionfinish() -> None:
    run().end()
