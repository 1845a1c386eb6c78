"""Comparing on a noisy machine: the sides take turns, and what counts is each round's ratio.

A machine that slows down for a while slows down both sides of a round. So each round measures every side once, and a
ratio is that of the medians with the smallest and the largest of the rounds' own ratios. A claim holds when that whole
interval does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from statistics import median


class Verdict(StrEnum):
    """What the rounds say of a claim; TOLD: nothing, because it has no limit."""

    HOLDS = "holds"
    OPEN = "open"
    MISSED = "missed"
    TOLD = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """One side costs at most `limit` times what another one costs; `aim` is what is hoped for, None = no more.

    limit: None = there is none, and the ratio is only told.
    """

    side: str
    against: str
    limit: float | None
    aim: float | None = None


@dataclass(frozen=True, slots=True)
class Ratio:
    """Of medians, and the smallest and largest of single rounds."""

    value: float
    low: float
    high: float

    def within(self, limit: float) -> Verdict:
        """Whether the interval lies at or below the limit."""
        if self.high <= limit:
            return Verdict.HOLDS
        return Verdict.MISSED if self.low > limit else Verdict.OPEN


def ratio(side: list[float], against: list[float]) -> Ratio:
    """Of two sides measured in the same rounds. Raises ValueError for none, or unequal numbers, of rounds."""
    if not side:
        raise ValueError("a ratio needs at least one round")
    rounds = [mine / theirs for mine, theirs in zip(side, against, strict=True)]
    return Ratio(median(side) / median(against), min(rounds), max(rounds))
