"""The names of objects: one rule for every artifact store.

A name is `{key}/{artifact}/{fence}` or has one level more (`archive/{key}/{rev}` is a retired task), is made by the
engine and never has a word of a user in it.
Names are ASCII, so their order is that of their bytes everywhere.
"""

from __future__ import annotations

import re
from typing import Final

NAME_CHARACTERS: Final = 200

_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,64}(?:/[A-Za-z0-9-]{1,64}){2,3}", re.ASCII)
_UNASKABLE: Final = re.compile(r"[^ -~]")


def is_name(name: str) -> bool:
    """Whether an object can have this name."""
    return len(name) <= NAME_CHARACTERS and _NAME.fullmatch(name) is not None


def require_name(name: str) -> None:
    """Raises ValueError for a name that no object can have."""
    if not is_name(name):
        raise ValueError("an object's name is {key}/{artifact}/{fence}, or one level more")


def askable(after: str) -> str:
    """Printable ASCII that has the same names behind it as `after`: what any service can be asked."""
    after = after[: NAME_CHARACTERS + 1]
    if odd := _UNASKABLE.search(after):
        return after[: odd.start()] + ("~" if odd[0] > "~" else "")
    return after
