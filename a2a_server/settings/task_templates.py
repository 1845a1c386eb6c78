"""Templates of tasks as the configuration file has them. What their options mean is checked where they are used."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from a2a_server.settings.block import Block

TemplateName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class TaskTemplate(Block):
    """A named type of task: what is taken where a send that names it says nothing."""

    description: str = Field("", max_length=10_000, description="What it is for, for people.")
    text: str = Field("", max_length=100_000, description="The text of a message that has none.")
    options: dict[str, Any] = Field(default_factory=dict, description="Task options, as clients write them.")
