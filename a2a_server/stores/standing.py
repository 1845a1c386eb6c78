"""What `check` says of a database's schema, in the same words for every store."""

from __future__ import annotations


def standing(version: int, newest: int, *, mended_by: str) -> str:
    """version: the number that was found, 0 = the database is empty. mended_by: what brings it up to date."""
    if not version:
        return "an empty database, which the first start sets up"
    behind = f"; {mended_by} brings it up to date" if version < newest else ""
    return f"schema version {version} of {newest}{behind}"
