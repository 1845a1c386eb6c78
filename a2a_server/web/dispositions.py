"""Names and types of files as HTTP headers say them: read from uploads, written for downloads.

What comes in is data, whatever it says, and never becomes a path here. What goes out is fit for any client to save
under: no directories, no control characters, nothing that a header or a file dialog could take for something else.
Source: RFC 6266, RFC 8187, RFC 9110 section 8.3.1.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

MAX_NAME: Final = 255
"""Longest file name or media type, in characters."""
PLAIN: Final = "application/octet-stream"
NAMELESS: Final = "download"

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE: Final = re.compile(rf'{_WORD}/{_WORD}(?:[ \t]*;[ \t]*{_WORD}=(?:{_WORD}|"[ !#-\[\]-~]*"))*', re.ASCII)
_PARAMETER: Final = re.compile(r';[ \t]*(filename\*?)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;"]*)', re.IGNORECASE)
_EXTENDED: Final = re.compile(
    r"(utf-8|iso-8859-1)'[A-Za-z0-9-]*'((?:[!#$&+.^_`|~0-9A-Za-z-]|%[0-9A-Fa-f]{2})*)", re.IGNORECASE
)
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


def is_filename(text: str) -> bool:
    """Whether it is a name that is kept: 1 to 255 printable characters."""
    return 0 < len(text) <= MAX_NAME and text.isprintable()


def filename_of(header: str) -> str | None:
    """The name that a Content-Disposition header gives, `filename*` before `filename`; None = none.

    Raises ValueError for one that cannot be read.
    """
    given: dict[str, str] = {}
    for name, value in _PARAMETER.findall(header):
        given.setdefault(name.lower(), value.strip())
    if (extended := given.get("filename*")) is not None:
        said = _EXTENDED.fullmatch(extended)
        if said is None:
            raise ValueError("filename* must be UTF-8''name, percent-encoded")
        return unquote_to_bytes(said[2]).decode(said[1])
    if (plain := given.get("filename")) is None:
        return None
    if plain.startswith('"'):
        plain = re.sub(r"\\(.)", r"\1", plain[1:-1])
    try:
        return plain.encode("latin-1").decode()  # what most clients mean by bytes that are not ASCII
    except UnicodeError:
        return plain


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
