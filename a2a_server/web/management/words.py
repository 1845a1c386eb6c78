"""Kinds of members that several resources have."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from a2a_server.agent.values import NAME_LENGTH, artifact_name
from a2a_server.errors import Fail

LaneWord: TypeAlias = Annotated[str, Field(pattern="^(critical|high|normal|low|backlog)$")]
"""A priority by its word."""
Name: TypeAlias = Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""A name that people give."""
Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Words: TypeAlias = tuple[Word, ...]
"""What workers have and tasks require."""


def _artifact_name(name: str) -> str:
    try:
        return artifact_name(name)
    except Fail:
        raise ValueError(f"must be 1 to {NAME_LENGTH} printable characters") from None


ArtifactName: TypeAlias = Annotated[str, AfterValidator(_artifact_name)]
"""What an agent calls an artifact, by the rule that its handlers are under."""
