"""A travel agent: asks what it does not know, books once, and unbooks what comes to nothing.

Serve it with `a2a-server run a2a_server.examples.travel:agent`, send it `{"city": "Lisbon", "nights": 3}`, and stop the
server at any moment: at its next start the trip goes on where it was, no question is asked twice, no room booked twice.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Annotated

from pydantic import Field

from a2a_server import Agent, File, Happening, Reject, TaskContext

log = logging.getLogger("travel")

PRICES = {"Lisbon": 90, "Oslo": 140, "Rome": 110}

agent = Agent("Travel", description="Plans a trip with you and books it.", version="1.0.0")


class Hotels:
    """Stands for a booking service."""

    def __init__(self) -> None:
        self.booked: dict[str, str] = {}

    async def book(self, city: str, key: str) -> str:
        """Book a room. Idempotent: the same key again is the same room."""
        return self.booked.setdefault(key, f"{city}-{len(self.booked) + 1}")

    async def unbook(self, key: str) -> None:
        """Give the room back, if there is one."""
        self.booked.pop(key, None)


@agent.lifespan
async def hotels() -> AsyncIterator[Hotels]:
    """One for each worker process: every skill has it as `task.resources`."""
    yield Hotels()


@agent.skill(tags=["travel"])
async def trip(
    task: TaskContext, city: str, nights: Annotated[int, Field(ge=1, le=30)], wishes: File | None = None
) -> AsyncIterator[str]:
    """Book a stay: the city, how many nights, and if you like a text file with your wishes.

    Whatever of it is missing, the task asks for. `ask` ends the run, and the answer begins it anew: so what must not be
    done twice is a `step`, and so is what a question is made of and may change meanwhile.
    """
    if wishes is not None:
        yield f"Noted: {(await task.read(wishes)).decode()}\n"
    guest = await task.step("guest", task.memory.get, "guest", "traveller")
    if await task.ask(f"{nights} nights in {city} cost {nights * PRICES[city]} €, {guest}. Book them?") != "yes":
        raise Reject("Nothing was booked.")
    room = await task.step("book", task.resources.book, city, task.idempotency_key("room"))
    name = await task.ask(f"Room {room} is yours. On what name?")
    await task.memory.set("guest", name)
    yield f"Booked {room} for {name}."


@trip.validate
def known(city: str) -> str | None:
    """Asked before the first run; a text says no."""
    return None if city in PRICES else f"No hotels in {city}, only in {', '.join(PRICES)}."


@trip.rollback
async def unbook(task: TaskContext) -> None:
    """Called before the task ends as failed or canceled."""
    await task.resources.unbook(task.idempotency_key("room"))


@agent.on("completed", "failed", "canceled", "rejected")
def note(event: Happening) -> None:
    """Called at least once behind the end of every task."""
    log.info("Trip %s is %s.", event.task.id, event.state.name.lower())
