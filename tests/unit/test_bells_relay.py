"""The relay over a carrier inside the process, which breaks when a test says so."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from a2a_server.errors import ConfigurationError, StoreUnavailable
from a2a_server.model.rows import Key
from a2a_server.model.turns import Bell
from a2a_server.notifiers.payload import hello, poll, split
from a2a_server.notifiers.relay import LIMIT_TASKS, TOGETHER, Pace, Relay, unreachable
from tests.contracts.rows import key, task
from tests.patience import PATIENCE

QUICK = Pace(link=0.2, send=0.2, pulse=0.02, steady=60, first=0.001, most=0.002, last=0.2)
SLOW = Pace(link=3600, send=3600, pulse=3600, steady=3600, first=0.001, most=0.002, last=3600)
STRANGER = "f" * 16


class Wire:
    """A carrier: what is sent is kept in `sent` and heard at once, unless it is `stopped`, `deaf` or `broken`."""

    address = "wire://here"
    limit_bytes = 1_000
    gap_seconds = 0.0

    def __init__(self) -> None:
        self.sent: list[list[bytes]] = []
        self.heard: Callable[[bytes], None] = lambda _: None
        self.gone = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()
        self.links = 0
        self.deaf = False
        self.broken: Exception | None = None
        self.sending: Exception | None = None
        self.stubborn = False

    @asynccontextmanager
    async def link(self, heard: Callable[[bytes], None]) -> AsyncIterator["Wire"]:
        self.links += 1
        if self.broken is not None:
            raise self.broken
        self.heard, self.gone = heard, asyncio.Event()
        yield self

    def explain(self, error: Exception) -> StoreUnavailable | ConfigurationError | None:
        return unreachable(self.address, error) if isinstance(error, OSError | TimeoutError) else None

    async def send(self, payloads: Sequence[bytes]) -> None:
        if self.sending is not None:
            raise self.sending
        self.sent.append(list(payloads))
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            if not self.stubborn:
                raise
            self.stubborn = False
        if not self.deaf:
            for payload in payloads:
                self.heard(payload)

    async def stay(self) -> None:
        await self.gone.wait()

    def bells(self) -> list[Bell]:
        return [bell for payloads in self.sent for payload in payloads for bell in split(payload)[0]]

    def polls(self) -> int:
        return sum(split(payload)[1] for payloads in self.sent for payload in payloads)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - the condition is a plain attribute
            await asyncio.sleep(0.001)


async def batch(listener: AsyncIterator[Sequence[Bell]]) -> Sequence[Bell]:
    async with asyncio.timeout(PATIENCE):
        return await anext(listener)


def bells(*numbers: int, last_n: int = 1) -> list[Bell]:
    return [Bell(key(number), task(number, last_n=last_n)) for number in numbers]


def rung(wire: Wire) -> list[Key]:
    return [bell.key for bell in wire.bells()]


@asynccontextmanager
async def opened(wire: Wire, pace: Pace = SLOW) -> AsyncIterator[Relay]:
    relay = Relay(wire, pace=pace)
    await relay.open()
    wire.sent.clear()
    yield relay
    async with asyncio.timeout(PATIENCE):
        await relay.close()


async def test_while_the_carrier_is_busy_the_newest_head_of_each_task_waits() -> None:
    wire = Wire()
    async with opened(wire) as relay:
        wire.free.clear()
        await relay.ring(bells(1))
        await until(lambda: len(wire.sent) == 1)
        for n in range(2, 50):
            await relay.ring(bells(1, 2, last_n=n))
        wire.free.set()
        await until(lambda: len(wire.sent) == 2)
        assert [(bell.key, bell.head and bell.head.last_n) for bell in wire.bells()] == [
            (key(1), 1),
            (key(1), 49),
            (key(2), 49),
        ]


async def test_a_long_backlog_is_sent_in_parts() -> None:
    wire = Wire()
    async with opened(wire) as relay:
        await relay.ring(bells(*range(2 * TOGETHER + 1)))
        await until(lambda: len(wire.sent) == 3)
        assert rung(wire) == [key(number) for number in range(2 * TOGETHER + 1)]
        assert max(len(payload) for payloads in wire.sent for payload in payloads) <= wire.limit_bytes


async def test_a_backlog_beyond_its_limit_becomes_one_call_to_poll() -> None:
    wire = Wire()
    async with opened(wire) as relay:
        await relay.ring(bells(*range(LIMIT_TASKS)))
        assert len(relay._backlog) == LIMIT_TASKS
        await relay.ring(bells(LIMIT_TASKS))
        await until(lambda: len(wire.sent) == 1)
        assert (wire.polls(), rung(wire)) == (1, [])
        await relay.ring(bells(5))
        await until(lambda: len(wire.sent) == 2)
        assert (wire.polls(), rung(wire)) == (1, [key(5)])


async def test_bells_that_did_not_come_back_become_a_call_to_poll() -> None:
    wire = Wire()
    async with opened(wire) as relay:
        wire.deaf = True  # a broker that took it, perhaps, and died
        await relay.ring(bells(1))
        await until(lambda: len(wire.sent) == 1)
        wire.deaf = False
        wire.gone.set()
        await until(lambda: wire.polls() == 1)
        await until(lambda: relay._up)
        wire.gone.set()
        await until(lambda: wire.links == 3 and relay._up)
        assert wire.polls() == 1
        assert wire.sent[-1] == [hello(relay._origin)]


async def test_while_there_is_no_link_nothing_is_kept() -> None:
    wire = Wire()
    async with opened(wire) as relay:
        listener = relay.listen()
        wire.broken = ConnectionRefusedError("no")
        wire.gone.set()
        await until(lambda: wire.links >= 5)
        await relay.ring(bells(1))
        assert not relay._backlog
        assert await batch(listener) == tuple(bells(1))
        wire.broken = None
        assert await batch(listener) == ()
        assert (wire.polls(), rung(wire)) == (1, [])


async def test_an_outage_is_said_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "a2a_server.notifiers")
    wire = Wire()
    async with opened(wire) as relay:
        for _ in range(2):
            wire.broken = ConnectionRefusedError("nobody there")
            links = wire.links
            wire.gone.set()
            await until(lambda links=links: wire.links > links + 5)  # type: ignore[misc]
            wire.broken = None
            await until(lambda: relay._up)
    lost, healed, *again = [record.getMessage() for record in caplog.records]
    assert lost.endswith(
        "wire://here cannot be reached: the connection was closed. Is it running, and is this its address?"
    )
    assert healed == "wire://here: doorbells reach other processes again."
    assert again == [lost, healed]


async def test_an_error_that_the_driver_never_spoke_of_is_logged_whole_and_survived(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wire = Wire()
    async with opened(wire) as relay:
        wire.broken = wire.sending = ZeroDivisionError("in a driver")
        await relay.ring(bells(1))
        await until(lambda: wire.links >= 5)
        wire.broken = wire.sending = None
        await until(lambda: relay._up)
    first = caplog.records[0]
    assert first.getMessage().endswith("wire://here: ZeroDivisionError('in a driver')")
    assert first.exc_info is not None


async def test_a_link_on_which_nothing_comes_back_is_given_up() -> None:
    wire = Wire()
    async with opened(wire, QUICK) as relay:
        listener = relay.listen()
        await until(lambda: len(wire.sent) >= 2)  # it says hello while nothing rings
        assert all(payloads == [hello(relay._origin)] for payloads in wire.sent)
        links = wire.links  # a machine that stands still may have cost some
        wire.deaf = True
        await until(lambda: wire.links > links)
        wire.deaf = False
        assert await batch(listener) == ()


async def test_a_carrier_that_takes_nothing_is_given_up() -> None:
    wire = Wire()
    async with opened(wire, QUICK) as relay:
        wire.free.clear()
        await relay.ring(bells(1))
        await until(lambda: wire.links >= 2)
        wire.free.set()
        await until(lambda: wire.polls() >= 1 and relay._up)


async def test_a_driver_that_swallows_a_cancellation_as_it_dies_holds_nothing_up() -> None:
    wire = Wire()
    async with opened(wire) as relay:
        wire.stubborn = wire.deaf = True
        wire.free.clear()
        await relay.ring(bells(1))
        await until(lambda: len(wire.sent) == 1)
        wire.gone.set()
        await until(lambda: not wire.stubborn)
        wire.deaf = False
        wire.free.set()
        await until(lambda: wire.polls() == 1 and relay._up)


async def test_open_says_what_is_wrong_and_may_be_called_again() -> None:
    wire = Wire()
    relay = Relay(wire, pace=QUICK)
    wire.broken = ConnectionRefusedError("nobody there")
    with pytest.raises(StoreUnavailable, match=r"wire://here cannot be reached: nobody there\. Is it running"):
        await relay.open()
    wire.broken, wire.deaf = None, True
    with pytest.raises(StoreUnavailable, match="what is sent does not come back within"):
        await relay.open()
    wire.deaf, wire.broken = False, ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        await relay.open()
    assert wire.links == 3
    wire.broken = None
    await relay.open()
    await relay.close()


async def test_open_that_is_canceled_leaves_nothing_running() -> None:
    wire = Wire()
    wire.free.clear()
    relay = Relay(wire, pace=SLOW)
    opening = asyncio.create_task(relay.open())
    await until(lambda: bool(wire.sent))
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_close_sends_the_last_bells_but_waits_for_no_broker() -> None:
    wire = Wire()
    async with opened(wire) as relay:
        await relay.ring(bells(1))
    assert rung(wire) == [key(1)]
    async with opened(wire, QUICK) as relay:
        wire.free.clear()
        await relay.ring(bells(2))


async def test_what_others_send_is_heard_and_rubbish_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "a2a_server.notifiers")
    wire = Wire()
    async with opened(wire) as relay:
        listener = relay.listen()
        for _ in range(3):
            wire.heard(b'[2,"from the future"]')
        wire.heard(hello(STRANGER))
        wire.heard(poll(STRANGER))
        assert await batch(listener) == ()
        assert [record.getMessage() for record in caplog.records] == [
            "wire://here: a doorbell cannot be read: another format."
        ]
