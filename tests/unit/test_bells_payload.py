import contextlib

import orjson
import pytest
from hypothesis import given, strategies as st

from a2a_server.model.objects import Lane, Phase, State
from a2a_server.model.rows import Head, Key
from a2a_server.model.turns import Bell, Hint
from a2a_server.notifiers.payload import LIMIT_BYTES, hello, join, opening, pack, poll, split, told_of
from tests.contracts.rows import final, task

ORIGIN = "0123456789abcdef"
KEY = Key(bytes(range(16)))
NUMBERS = st.integers(0, (1 << 63) - 1)
HEADS = st.builds(Head, NUMBERS, st.sampled_from(State), st.sampled_from(Phase), NUMBERS, NUMBERS, st.booleans())
QUEUES = st.text(max_size=256).filter(str.isprintable)
BELLS = st.builds(
    lambda key, head, queue, lane, rank: Bell(
        Key(key), None, head=head, hint=None if queue is None else Hint(queue, lane, rank, Key(key))
    ),
    st.binary(min_size=16, max_size=16),
    HEADS,
    st.none() | QUEUES,
    st.sampled_from(Lane),
    NUMBERS,
)


def packed(bell: Bell) -> bytes:
    assert bell.head is not None
    return pack(bell.key, bell.head, bell.hint)


@given(st.lists(BELLS, max_size=20))
def test_what_is_joined_is_split_again_in_order_and_within_the_limit(bells: list[Bell]) -> None:
    payloads = list(join(ORIGIN, map(packed, bells), 2_000))
    assert all(len(payload) <= 2_000 and payload.startswith(opening(ORIGIN)) for payload in payloads)
    read = [split(payload) for payload in payloads]
    assert [bell for some, _ in read for bell in some] == bells
    assert not any(missed for _, missed in read)


def test_a_payload_holds_as_many_bells_as_fit() -> None:
    bell = pack(KEY, Head(1, State.WORKING, Phase.LEASED, 0, 1), None)
    exact = len(opening(ORIGIN)) + 3 * (1 + len(bell)) + 1
    assert [len(split(payload)[0]) for payload in join(ORIGIN, [bell] * 4, exact)] == [3, 1]
    assert [len(split(payload)[0]) for payload in join(ORIGIN, [bell] * 4, exact - 1)] == [2, 2]


def test_a_bell_is_small() -> None:
    assert len(pack(KEY, Head(1234, State.WORKING, Phase.LEASED, 0, 12), None)) <= 70
    row = task(1, queue="echo", rank=123_456)
    assert len(pack(row.key, *told_of(row))) <= 70


def test_only_a_task_that_can_be_claimed_comes_with_a_hint() -> None:
    row = task(1, queue="echo", lane=Lane.LOW, rank=7)
    assert told_of(row)[1] == Hint("echo", Lane.LOW, 7, row.key)
    assert told_of(final(1))[1] is None


@pytest.mark.parametrize("queue", ["q" * 257, "line\nbreak", "\ud800"])
def test_a_queue_that_cannot_travel_takes_its_hint_along(queue: str) -> None:
    row = task(1, queue=queue)
    assert split(next(join(ORIGIN, [pack(row.key, *told_of(row))], 2_000)))[0][0].hint is None


def test_poll_and_hello() -> None:
    assert split(poll(ORIGIN)) == ([], True)
    assert split(hello(ORIGIN)) == ([], False)


def test_members_that_a_later_version_adds_are_skipped() -> None:
    plain = [KEY.hex(), 1, 2, 5, 0, 1, 1]
    payload = orjson.dumps([1, ORIGIN, [*plain, "echo", 3, 9, "new", None]])
    ((bell,), missed) = split(payload)
    assert bell == Bell(KEY, None, head=Head(1, State.WORKING, Phase.LEASED, 0, 1), hint=Hint("echo", 3, 9, KEY))
    assert not missed


GOOD = [KEY.hex(), 1, 2, 5, 0, 1, 1]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"{",
        b"null",
        b"{}",
        b"[]",
        b'[2,"x"]',
        b'["1","x"]',
        b'[1,"x",1]',
        b'[1,"x",null]',
        b'[1,"x",[]]',
        *(
            orjson.dumps([1, "x", [*GOOD[:at], wrong, *GOOD[at + 1 :]]])
            for at, wrong in [(0, 5), (0, "zz"), (0, "00"), (1, -1), (1, 1.5), (1, True), (1, "1"), (2, 99), (3, 0)]
        ),
        orjson.dumps([1, "x", [*GOOD, 5, 3, 9]]),
        orjson.dumps([1, "x", [*GOOD, "q" * 257, 3, 9]]),
        orjson.dumps([1, "x", [*GOOD, "q", "3", 9]]),
        b'[1,"x"' + b" " * LIMIT_BYTES + b"]",
    ],
)
def test_what_cannot_be_read_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - that is all there is to say
        split(payload)


@given(st.recursive(st.none() | st.integers(-9, 9) | st.text(max_size=3), lambda some: st.lists(some, max_size=11)))
def test_whatever_arrives_is_read_or_a_value_error(value: object) -> None:
    with contextlib.suppress(ValueError):
        split(orjson.dumps([1, "x", value]))
