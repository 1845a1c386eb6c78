"""Content to send and to expect."""

from __future__ import annotations


def content(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]
