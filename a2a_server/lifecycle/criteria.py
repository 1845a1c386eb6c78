"""Checks that a task must have passed to complete (`completeWhen`), held against what was recorded of its result.

Checks are recorded by the run that gave the result. What its sender names there counts whether the agent requires it or
not; a name that nobody recorded counts as not passed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from a2a_server.model.runs import Checked

NAMED: Final = 5
"""Checks that an error names at most, of those that are missed and of those that were recorded."""
LONGEST_REASON: Final = 500
"""Characters of what a check said, in an error."""


def unpassed(wanted: Sequence[str], recorded: Collection[Checked]) -> str:
    """Why a task must not complete with what was recorded of its result; '' = it may."""
    if not wanted:
        return ""
    said = {check["name"]: check for check in recorded}
    missed = [name for name in wanted if name not in said or not said[name]["passed"]]
    if not missed:
        return ""
    several = len(wanted) > 1
    those = [f'"{name}" {_what(said.get(name))}' for name in missed[:NAMED]]
    there = [f'"{name}" ({"passed" if check["passed"] else "not passed"})' for name, check in said.items()]
    return (
        f"The task completes only when {'all checks' if several else 'the check'} named in completeWhen "
        f"{'have' if several else 'has'} passed: {_listed(those, len(missed))}. "
        f"Recorded: {_listed(there[:NAMED], len(there)) or 'nothing'}."
    )


def _what(check: Checked | None) -> str:
    if check is None:
        return "was never recorded"
    reason = check["message"][:LONGEST_REASON].rstrip(".")
    return f"did not pass ({reason})" if reason else "did not pass"


def _listed(words: Sequence[str], count: int) -> str:
    return ", ".join(words) + (f" and {count - len(words)} more" if count > len(words) else "")
