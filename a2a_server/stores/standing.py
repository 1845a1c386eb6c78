"""What `check` says of a database's schema, in the same words for every store."""

from __future__ import annotations

from typing import Final

EMPTY: Final = "an empty database, which the first start sets up"
MISSING: Final = "does not exist yet; the first start makes it"


def standing(version: int, newest: int, *, mended_by: str) -> str:
    """version: the number that was found, 0 = the database is empty. mended_by: what brings it up to date."""
    if not version:
        return EMPTY
    behind = f"; {mended_by} brings it up to date" if version < newest else ""
    return f"schema version {version} of {newest}{behind}"
