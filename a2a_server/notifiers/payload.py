"""Doorbells as they travel between processes: keys and numbers, and of a task that can be claimed its queue's name.

A payload is JSON text, `[1,"origin",bell,bell,…]`: the format, who rings, then bells. A bell is an array: key (hex),
last_n, state, phase, cancel_at, fence, visible (0 or 1), and for a task that can be claimed queue, lane, rank. The
number 0 in place of a bell says "poll": bells were dropped. A payload without bells says only that its sender is there.
What follows the members that are known here is skipped, so a later version may add to a bell without a new format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import orjson

from a2a_server.model.objects import Phase, State
from a2a_server.model.rows import Head, Key, TaskRow
from a2a_server.model.turns import Bell, Hint

FORMAT: Final = 1
QUEUE_CHARS: Final = 256
"""The longest name of a queue that travels; a task of a longer one is found by polling."""
LIMIT_BYTES: Final = 1 << 20
"""The longest payload that is read."""
_POLL: Final = 0
_HEAD_MEMBERS: Final = 7
_HINT_MEMBERS: Final = 10
_MOST: Final = 1 << 63
_KEY_BYTES: Final = 16


def told_of(row: TaskRow) -> tuple[Head, Hint | None]:
    """What other processes hear of a task."""
    head = Head(row.last_n, row.state, row.phase, row.cancel_at, row.fence, row.visible)
    hint = Hint(row.queue, row.lane, row.rank, row.key) if row.phase is Phase.READY else None
    return head, hint


def opening(origin: str) -> bytes:
    """How every payload of `origin` begins, and nobody else's. It has 16 characters at most, none but [0-9a-f]."""
    return f'[{FORMAT},"{origin}"'.encode()


def hello(origin: str) -> bytes:
    """A payload that tells nothing."""
    return opening(origin) + b"]"


def poll(origin: str) -> bytes:
    """A payload that tells whoever hears it to ask the store."""
    return opening(origin) + b",%d]" % _POLL


def pack(key: Key, head: Head, hint: Hint | None) -> bytes:
    """One bell, of at most 1,300 bytes."""
    members: list[int | str] = [key.hex(), *head[:5], int(head.visible)]
    if hint is not None and len(hint.queue) <= QUEUE_CHARS and hint.queue.isprintable():
        members += hint[:3]
    return orjson.dumps(members)


def join(origin: str, bells: Iterable[bytes], limit_bytes: int) -> Iterator[bytes]:
    """Packed bells in as few payloads of at most `limit_bytes` as their order gives, each bell whole."""
    first = opening(origin)
    parts, size = [first], len(first) + 1
    for bell in bells:
        if size + 1 + len(bell) > limit_bytes and len(parts) > 1:
            yield b",".join(parts) + b"]"
            parts, size = [first], len(first) + 1
        parts.append(bell)
        size += 1 + len(bell)
    if len(parts) > 1:
        yield b",".join(parts) + b"]"


def split(payload: bytes) -> tuple[list[Bell], bool]:
    """The bells of a payload, and whether it says "poll". Raises ValueError for what this version cannot read."""
    if len(payload) > LIMIT_BYTES:
        raise ValueError("longer than any payload is")
    read = orjson.loads(payload)
    if not isinstance(read, list) or read[:1] != [FORMAT]:
        raise ValueError("another format")
    bells = [_unpacked(member) for member in read[2:] if member != _POLL]
    return bells, len(bells) < len(read) - 2


def _unpacked(member: object) -> Bell:
    if not isinstance(member, list) or len(member) < _HEAD_MEMBERS:
        raise ValueError("not a bell")
    name, *numbers = member[:_HEAD_MEMBERS]
    key = Key(bytes.fromhex(name if isinstance(name, str) else ""))
    if len(key) != _KEY_BYTES:
        raise ValueError("not a key")
    last_n, state, phase, cancel_at, fence, visible = map(_number, numbers)
    head = Head(last_n, State(state), Phase(phase), cancel_at, fence, bool(visible))
    hint = None
    if len(member) >= _HINT_MEMBERS:
        queue, lane, rank = member[_HEAD_MEMBERS:_HINT_MEMBERS]
        if not isinstance(queue, str) or len(queue) > QUEUE_CHARS:
            raise ValueError("not a queue")
        hint = Hint(queue, _number(lane), _number(rank), key)
    return Bell(key, None, head=head, hint=hint)


def _number(member: object) -> int:
    if type(member) is not int or not 0 <= member < _MOST:
        raise ValueError("not a number of ours")
    return member
