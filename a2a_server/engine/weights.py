"""About how many bytes outputs and ends hold in memory until they are committed."""

from __future__ import annotations

from typing import Final

from a2a_server.lifecycle.contents import weight
from a2a_server.lifecycle.endings import End
from a2a_server.model.runs import Chunk, LogLine, Output

OUTPUT_BYTES: Final = 64
"""What an output takes beside its content."""


def output_bytes(output: Output) -> int:
    """Of an output that is not encoded yet."""
    match output:
        case Chunk():
            return OUTPUT_BYTES + sum(weight(part) for part in output.parts)
        case LogLine():
            return OUTPUT_BYTES + len(output.text)
        case _:
            return OUTPUT_BYTES + len(output.note)


def end_bytes(end: End) -> int:
    """Of what an end says."""
    said = end.message or (end.pause and end.pause.message)
    note = len(end.waiting.note) + 64 * len(end.waiting.children) if end.waiting else 0
    return note + (sum(weight(part) for part in said.parts) if said else 0)
