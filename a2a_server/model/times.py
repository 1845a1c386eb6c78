"""Moments as clients read and write them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
OUT_OF_TIME: Final = "must be a moment between 1970 and 2200"


def is_in_time(moment: datetime) -> bool:
    """Whether a moment may be asked for: one that can be written in every time zone, and counted with."""
    return EPOCH < moment < LATEST


def _in_time(moment: datetime) -> datetime:
    if not is_in_time(moment):
        raise ValueError(OUT_OF_TIME)
    return moment


InTime = Annotated[AwareDatetime, AfterValidator(_in_time)]
"""A moment that is asked for."""


def timestamp(at: int) -> str:
    """A moment in RFC 3339, UTC, with milliseconds: `2026-05-28T10:00:00.000Z`.

    Args:
        at: microseconds since the epoch; what is finer than a millisecond is cut off.

    Source: A2A 1.0.1 section 5.6.1 (UTC, `Z`, millisecond precision).
    """
    second, rest = divmod(at, 1_000_000)
    return f"{_second(second)}.{rest // 1000:03d}Z"


def moment(text: str) -> int:
    """The moment that `timestamp` wrote, microseconds since the epoch. Raises ValueError for any other text."""
    return round(datetime.fromisoformat(text).timestamp() * 1000) * 1000


@lru_cache(maxsize=1024)  # events come in bursts, and formatting a date costs more than all the rest of a status
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
