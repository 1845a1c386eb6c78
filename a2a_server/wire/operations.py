"""What can be asked for, whatever a generation calls it."""

from __future__ import annotations

from enum import StrEnum


class Operation(StrEnum):
    """An A2A operation. Source: A2A 1.0.1 section 3.1."""

    SEND = "send"
    STREAM = "stream"
    GET = "get"
    LIST = "list"
    CANCEL = "cancel"
    SUBSCRIBE = "subscribe"
    PUSH_SET = "push-set"
    PUSH_GET = "push-get"
    PUSH_LIST = "push-list"
    PUSH_DELETE = "push-delete"
    EXTENDED_CARD = "extended-card"

    @property
    def streams(self) -> bool:
        """Whether a successful answer is a stream of items instead of one result."""
        return self in _STREAMING


_STREAMING = frozenset({Operation.STREAM, Operation.SUBSCRIBE})
