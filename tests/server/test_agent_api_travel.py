"""The travel agent, as the documentation tells of it: no question twice, no room twice, nothing left behind."""

from __future__ import annotations

import pytest

from a2a_server.examples.travel import agent
from a2a_server.testing import Protocol, connect
from tests.server.agent_talks import GENERATIONS, asked, assembled, crashing, log_of, made, said, state, talk

QUESTIONS = ["3 nights in Lisbon cost 270 €, traveller. Book them?", "Room Lisbon-1 is yours. On what name?"]


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_trip_is_booked_in_every_generation(generation: Protocol) -> None:
    async with connect(agent) as server:
        task = await talk(server, "Lisbon", "3", "yes", "Ada", generation=generation)
    assert (state(task), made(task)) == ("completed", "Booked Lisbon-1 for Ada.")


async def test_a_trip_is_booked_once_whatever_event_a_worker_dies_at() -> None:
    async with connect(agent) as server:
        rooms = list[str]()
        async for n, task in crashing(server, {"data": {"city": "Lisbon", "nights": 3}}, "yes", "Ada"):
            assert state(task) == "completed", n
            log = await log_of(server, task)
            assert len(asked(log)) == 2, n
            assert assembled(log) == made(task), n
            rooms.append(made(task))
        assert rooms == [f"Booked Lisbon-{number} for Ada." for number in range(2, len(rooms) + 2)]


async def test_a_trip_that_is_canceled_gives_its_room_back() -> None:
    async with connect(agent) as server:
        task = await talk(server, "Lisbon", "3", "yes")
        assert said(task) == QUESTIONS[1]
        assert state(await server.cancel(task["id"])) == "canceled"
        task = await talk(server, "Lisbon", "3", "yes")
        assert said(task) == QUESTIONS[1], "the first room is free again"
        assert state(await talk(server, "Oslo", "3", "no")) == "rejected"
        assert state(await talk(server, {"data": {"city": "Paris", "nights": 1}})) == "rejected"
