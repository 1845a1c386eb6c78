"""`GET /api/v1`: what this API is, and where to go on."""

from __future__ import annotations

from importlib.metadata import version

from pydantic import Field

from a2a_server.service.showing import Shown
from a2a_server.web.management.below import PREFIX
from a2a_server.web.management.table import Call, NoQuery, Reply, Route


class Api(Shown):
    """What answers here."""

    name: str = Field(description="The server's name.")
    version: str = Field(description="The server's version.")
    api: str = Field(description="The version of this API.")
    agent: str = Field(description="The agent whose tasks these are.")
    document: str = Field(description="Where the OpenAPI document is.")


class ApiPages:
    """Serves the API's names. agent: the name that the agent's card says."""

    def __init__(self, agent: str) -> None:
        self._agent = agent

    def routes(self) -> tuple[Route, ...]:
        """Its rows of the table."""
        return (Route("GET", "", "about", "Names and versions.", self.about, "api", result=Api),)

    async def about(self, call: Call[NoQuery, None]) -> Reply:  # noqa: ARG002 - a handler's shape
        """GET /api/v1."""
        return Reply(
            Api(
                name="a2a-task-server",
                version=version("a2a-task-server"),
                api="1",
                agent=self._agent,
                document=f"{PREFIX}/openapi.json",
            )
        )
