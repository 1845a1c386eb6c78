"""Names of files as the headers of uploads say them.

What comes in is data, whatever it says, and never becomes a path here; how it goes out is `model.attachments`.
Source: RFC 6266, RFC 8187.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from a2a_server.model.attachments import MAX_NAME

_PARAMETER: Final = re.compile(r';[ \t]*(filename\*?)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;"]*)', re.IGNORECASE)
_EXTENDED: Final = re.compile(
    r"(utf-8|iso-8859-1)'[A-Za-z0-9-]*'((?:[!#$&+.^_`|~0-9A-Za-z-]|%[0-9A-Fa-f]{2})*)", re.IGNORECASE
)


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
