"""What pydantic says of broken rules, in this house's words: for options, settings, cards and requests alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NAME = "letters, digits, dots, hyphens and underscores, a letter or digit first"
_WORDS = (
    ("Value error, ", ""),
    (" after validation", ""),
    (", unable to parse string as an integer", ""),
    (", unable to parse string as a number", ""),
    (", unable to interpret input", ""),
    (r"match pattern '^[^\x00-\x1f\x7f]*$'", "be text without control characters"),
    (r"match pattern '^[^\x00-\x1f\x7f]+$'", "be text without control characters"),
    ("Field required", "is missing"),
    ("match pattern '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'", f"be 1 to 128 {_NAME}"),
    ("valid tuple", "list"),
    ("Extra inputs are not permitted", "is not known here; leave it out"),
    ("Input should", "must"),
    ("String should", "must"),
    ("List should", "must"),
    ("Tuple should", "must"),
    ("Value should", "must"),
    ("less than or equal to", "at most"),
    ("greater than or equal to", "at least"),
    ("be greater than", "be above"),
    ("be less than", "be below"),
    ("match pattern '^[A-Za-z0-9][A-Za-z0-9._-]*$'", f"be {_NAME}"),
)
_ONE_OF = re.compile(r"match pattern '\^\(([a-z]+(?:\|[a-z]+)+)\)\$'")
_COUNTED = re.compile(r"(?:Tuple|List|Set|Dictionary) should have (at (?:least|most) \d+ items?) after validation.*")


def plain_rule(text: str) -> str:
    """Pydantic's text for a broken rule, as it reads behind the name of a field."""
    for theirs, ours in _WORDS:
        text = text.replace(theirs, ours)
    text = _ONE_OF.sub(lambda found: f"be {' or '.join(found[1].replace('|', ', ').rsplit(', ', 1))}", text)
    return _COUNTED.sub(r"must have \1", text)


def of_name(place: Sequence[int | str], rule: str) -> tuple[Sequence[int | str], str]:
    """Where a rule is broken, and the rule; also of a member whose name breaks it, for which pydantic has a sign."""
    return (place[:-1], f"is a name that {rule}") if place and place[-1] == "[key]" else (place, rule)
