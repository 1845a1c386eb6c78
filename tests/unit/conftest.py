"""What every unit test stands on."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("A2A_SERVER_"):
            monkeypatch.delenv(name)
