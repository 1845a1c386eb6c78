"""Which server a client's command talks to, and how such a command runs: bounded, interruptible, one way to end."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from a2a_server.cli import output
from a2a_server.cli.admin import Admin, Given, Query
from a2a_server.cli.failures import Exit, UnreachableError, UsageError, WaitedTooLongError
from a2a_server.cli.flags import DEFAULT_URL
from a2a_server.cli.invoked import command
from a2a_server.cli.rpc import BrokenError, Connection, Json


@Parameter(name="*")
@dataclass(frozen=True)
class Target:
    """Which server, for how long, and how the answer is shown."""

    url: Annotated[str, Parameter(env_var="A2A_URL", show_default=True)] = DEFAULT_URL
    """Where the server listens."""
    token: Annotated[str, Parameter(env_var="A2A_TOKEN")] = ""
    """Bearer token, where the server asks for one; better given in the environment."""
    timeout: float | None = None
    """Give up waiting after so many seconds; tasks go on. Without it there is no limit."""
    output: Annotated[Literal["text", "json"], Parameter(alias="-o", show_default=True)] = "text"
    """For people, or JSON: one object, and one a line when streaming."""

    @property
    def json(self) -> bool:
        """Whether programs read the answer."""
        return self.output == "json"

    def command(self, *words: str) -> str:
        """A command line that asks the same server; the token is not in it."""
        where = () if self.url in {DEFAULT_URL, os.environ.get("A2A_URL")} else ("--url", self.url)
        return command(*words, *where)

    def connection(self) -> Connection:
        """To use as an asynchronous context manager. Raises UsageError."""
        self._check()
        return Connection(self.url, self.token)

    def admin(self) -> Admin:
        """The same for the management API."""
        self._check()
        return Admin(self.url, self.token)

    def _check(self) -> None:
        if self.timeout is not None and self.timeout <= 0:
            raise UsageError("--timeout is a number of seconds above 0")

    def ask(
        self,
        method: str,
        path: str,
        show: Callable[[Json], None],
        query: Query = (),
        body: Given = None,
        *,
        revision: int | None = None,
        doing: str = "",
    ) -> int:
        """Make one request of the management API and show its answer, as `call` does; the exit code.

        Args:
            method: as HTTP has it.
            path: below `/api/v1`.
            show: shows the answer to people.
            query: its parameters.
            body: what is sent.
            revision: the one that the thing must have to be changed; None = any.
            doing: what people are told on a terminal while it lasts, which may be long.
        """

        async def work() -> int:
            async with self.admin() as admin:
                with self.sign(doing):
                    result = await admin.request(method, path, query, body, revision=revision, patient=bool(doing))
            (output.emit_json if self.json else show)(result)
            return Exit.OK

        return self.run(work)

    def sign(self, doing: str) -> AbstractContextManager[None]:
        """A sign on stderr that something goes on, for people at a terminal."""
        if not doing or self.json or not sys.stderr.isatty():
            return nullcontext()
        from a2a_server.cli.board import working

        return working(doing)

    def run(self, work: Callable[[], Awaitable[int]], way_back: Callable[[], str] = lambda: "") -> int:
        """Run `work` to its end or to `--timeout`; the exit code.

        Args:
            work: gives the exit code.
            way_back: says, where it was stopped or cut off, how to go on.
        """

        async def bounded() -> int:
            async with asyncio.timeout(self.timeout):
                return await work()

        try:
            return asyncio.run(bounded())
        except KeyboardInterrupt:
            output.say(f"\n{way_back()}".rstrip())
            return Exit.INTERRUPTED
        except TimeoutError as error:
            text = f"no end within {self.timeout:g} s at {self.url}. {way_back()}"
            raise WaitedTooLongError(text.rstrip()) from error
        except BrokenError as error:
            raise UnreachableError(f"lost {self.url}: {error}. {way_back()}".rstrip()) from error
        except UnreachableError as error:
            raise UnreachableError(f"{error} {way_back()}".rstrip()) from error

    def call(self, method: str, params: Json, show: Callable[[Json], None]) -> int:
        """Make one request and show its result, as it is where programs read it; the exit code."""

        async def work() -> int:
            async with self.connection() as connection:
                result = await connection.call(method, params)
            (output.emit_json if self.json else show)(result)
            return Exit.OK

        return self.run(work)
