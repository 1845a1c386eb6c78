"""Kinds of members that several resources have."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

LaneWord: TypeAlias = Annotated[str, Field(pattern="^(critical|high|normal|low|backlog)$")]
"""A priority by its word."""
Name: TypeAlias = Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""A name that people give."""
Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Words: TypeAlias = tuple[Word, ...]
"""What workers have and tasks require."""
