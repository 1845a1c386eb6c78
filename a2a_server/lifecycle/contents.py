"""What an artifact's chunks add up to. Pure; the engine closes takes with it and the service shows open ones.

A client that obeys `append` ends with the same content, in as many parts as there were chunks; stored artifacts join
what one chunk ends and the next begins with where both are of one kind, so that a text streamed word by word is one
text part. Parts of one chunk stay apart: two files given at once are two files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from a2a_server.codec import canonical, encode_parts
from a2a_server.model.objects import Data, File, Part, Text


def joined(chunks: Iterable[Sequence[Part]]) -> tuple[Part, ...]:
    """The chunks' parts, joined between chunks where both are plain text, or bytes of one file."""
    runs: list[list[Part]] = []
    for parts in chunks:
        for index, part in enumerate(parts):
            before = runs[-1][-1] if runs else None
            if index == 0 and before and continues(before, part) and not (_refers(part) or _refers(before)):
                runs[-1].append(part)
            else:
                runs.append([part])
    return tuple(_join(run) for run in runs)


def continues(before: Part, part: Part) -> bool:
    """Whether two neighbours are one text, or bytes of one file."""
    if isinstance(before, Text) and isinstance(part, Text):
        return _label(before) == _label(part)
    if isinstance(before, File) and isinstance(part, File):
        return not (before.url or part.url) and _label(before) == _label(part)
    return False


def _refers(part: Part) -> bool:
    return isinstance(part, File) and part.raw is None


def _label(part: Part) -> tuple[object, ...]:
    return (part.media_type, part.filename, part.metadata)


def _join(run: list[Part]) -> Part:
    first = run[0]
    if len(run) == 1:
        return first
    if isinstance(first, Text):
        return replace(first, text="".join(part.text for part in run if isinstance(part, Text)))
    if isinstance(first, File):
        return replace(first, raw=b"".join(part.raw or b"" for part in run if isinstance(part, File)))
    return first


def weight(part: Part) -> int:
    """About how many bytes a part holds in memory."""
    match part:
        case Text():
            return len(part.text)
        case File():
            return len(part.raw or b"")
        case Data():
            return len(canonical(part.data))


def content_bytes(part: Part) -> int:
    """How many bytes a part adds to its artifact: its content, or its stored form where it is no text and no bytes."""
    if isinstance(part, Text):
        return len(part.text) if part.text.isascii() else len(part.text.encode())
    if isinstance(part, File) and part.raw is not None:
        return len(part.raw)
    if isinstance(part, File) and part.stored:
        return part.size
    return len(encode_parts((part,)))


def content(part: Part) -> bytes | None:
    """The bytes that a part contributes to its artifact as one object: text as UTF-8, raw bytes; None = others."""
    if isinstance(part, Text):
        return part.text.encode()
    if isinstance(part, File) and part.raw is not None:
        return part.raw
    return None
