"""Names that agents give to files, made into names of files: one part of a path, whatever was meant.

What a name may do on any system that the file is carried to counts, not only on this one.
"""

from __future__ import annotations

import mimetypes
import re
import unicodedata

LONGEST_BYTES = 200
"""Leaves room below the 255 bytes of most file systems."""

FALLBACK = "artifact"

_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+')
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³")}
)


def safe_name(wanted: str) -> str:
    """The last part of what is wanted, without what a system gives a meaning to; never empty, hidden or too long."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", wanted).rstrip("/\\"))[-1]
    name = _shortened(_UNSAFE.sub("_", last)).strip(". _")
    if not name or name.partition(".")[0].strip().lower() in _DEVICES:
        name = f"{FALLBACK}_{name}".rstrip("_")
    return name


def with_extension(name: str, media_type: str) -> str:
    """The name, with the extension of its media type where it has none."""
    if "." in name:
        return name
    return name + (mimetypes.guess_extension(media_type.partition(";")[0].strip()) or "")


def distinct(name: str, taken: set[str]) -> str:
    """The name, numbered where it is taken already, whatever its case; it is taken from now on."""
    stem, dot, extension = name.rpartition(".") if "." in name else (name, "", "")
    number, chosen = 1, name
    while chosen.casefold() in taken:
        number += 1
        chosen = f"{stem}-{number}{dot}{extension}"
    taken.add(chosen.casefold())
    return chosen


def _shortened(name: str) -> str:
    stem, dot, extension = name.rpartition(".") if "." in name else (name, "", "")
    tail = f"{dot}{extension}" if len(extension.encode()) <= LONGEST_BYTES // 4 else ""
    stem = stem if tail or not dot else name
    room = LONGEST_BYTES - len(tail.encode())
    return stem.encode()[:room].decode(errors="ignore") + tail
