"""How a file is handed out: the media type and the Content-Disposition header that go with its bytes.

Names and types come from agents and clients; what is said of them here is fit for any header and any file dialog.
Source: RFC 6266, RFC 8187, RFC 9110 section 8.3.1.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

MAX_NAME: Final = 255
"""Longest file name or media type, in characters."""
PLAIN: Final = "application/octet-stream"
NAMELESS: Final = "download"

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE: Final = re.compile(rf'{_WORD}/{_WORD}(?:[ \t]*;[ \t]*{_WORD}=(?:{_WORD}|"[ !#-\[\]-~]*"))*', re.ASCII)
# What turns the direction of text, so that `exe.txt` may read as something else.
_DIRECTIONS: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Names that mean a device on Windows, whatever follows the dot.
_DEVICES: Final = re.compile(
    r"(?:con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])(?:\..*)?", re.IGNORECASE
)
_FALLBACK: Final = re.compile(r"[^0-9A-Za-z !#$&+.^_`~()\[\]{}=@,-]")


def is_media_type(text: str) -> bool:
    """Whether it is a media type that a header can carry: `type/subtype` with parameters, at most 255 characters."""
    return len(text) <= MAX_NAME and _MEDIA_TYPE.fullmatch(text) is not None


def attachment(filename: str) -> str:
    """The Content-Disposition header of a file to be saved, under a harmless form of its name."""
    name = _harmless(filename)
    fallback = _FALLBACK.sub("_", name)
    header = f'attachment; filename="{fallback}"'
    return header if fallback == name else f"{header}; filename*=UTF-8''{quote(name, safe='', errors='replace')}"


def _harmless(filename: str) -> str:
    last = re.split(r"[/\\]", filename)[-1]
    name = "".join(character if character.isprintable() else "_" for character in _DIRECTIONS.sub("", last))
    name = re.sub(r'[<>:"|?*]', "_", name)[:MAX_NAME].strip(" .")
    return (f"_{name}" if _DEVICES.fullmatch(name) else name) or NAMELESS
