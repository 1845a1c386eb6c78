"""What is made when it is first asked for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from a2a_server.engine.late import Late


async def test_it_is_read_once_on_a_thread_and_made_in_the_loop() -> None:
    readers: list[int] = []

    def read() -> Callable[[], list[int]]:
        readers.append(threading.get_ident())
        return lambda: [threading.get_ident()]

    late = Late(read)
    assert readers == []
    first, *others = await asyncio.gather(*(late.get() for _ in range(5)))
    assert all(other is first for other in others)
    assert first == [threading.get_ident()]
    assert len(readers) == 1
    assert readers != first


async def test_what_could_not_be_read_is_read_again() -> None:
    reads = iter((OSError("gone"), "here"))

    def read() -> Callable[[], str]:
        found = next(reads)
        if isinstance(found, OSError):
            raise found
        return lambda: str(found)

    late = Late(read)
    with pytest.raises(OSError, match="gone"):
        await late.get()
    assert await late.get() == "here"
