"""Writes docs/lifecycle.md, the state diagrams of a task, from the tables in `a2a_server.lifecycle.states`.

The tables are the only place where a move is defined; this file only draws them. `--check` writes nothing, shows
what differs and exits with 1 when the document is stale.
"""

import argparse
import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping, Set as AbstractSet
from enum import Enum
from pathlib import Path
from typing import TypeVar

from a2a_server.lifecycle.states import PHASE_MOVES, START_PHASES, START_STATE, STATE_MOVES, TERMINAL

DOCUMENT = Path(__file__).parent.parent / "docs" / "lifecycle.md"

Member = TypeVar("Member", bound=Enum)


def diagram(
    moves: Mapping[Member, AbstractSet[Member]], starts: AbstractSet[Member], ends: AbstractSet[Member]
) -> Iterator[str]:
    """Yield the lines of a mermaid diagram, members in the order their enum defines them."""

    def in_order(members: Iterable[Member]) -> list[Member]:
        rank = {member: position for position, member in enumerate(type(next(iter(moves))))}
        return sorted(members, key=rank.__getitem__)

    yield "```mermaid"
    yield "stateDiagram-v2"
    yield from (f"    [*] --> {start.name}" for start in in_order(starts))
    for source in in_order(moves):
        yield from (f"    {source.name} --> {target.name}" for target in in_order(moves[source]))
    yield from (f"    {end.name} --> [*]" for end in in_order(ends))
    yield "```"


def document() -> str:
    """Return the whole of docs/lifecycle.md."""
    last_phases = {phase for phase, targets in PHASE_MOVES.items() if not targets}
    lines = [
        "# The life of a task",
        "",
        "Drawn by `scripts/diagram` from the tables in `a2a_server/lifecycle/states.py`: change those, not this page.",
        "",
        "## States",
        "",
        "The A2A state, which clients see. A state with an arrow to the end is terminal: it never changes again.",
        "",
        *diagram(STATE_MOVES, {START_STATE}, TERMINAL),
        "",
        "## Phases",
        "",
        "The scheduler's view, which decides who may touch the task next.",
        "",
        *diagram(PHASE_MOVES, START_PHASES, last_phases),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the document, or check it."""
    parser = argparse.ArgumentParser(description="Draw docs/lifecycle.md from the transition tables.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the page is stale")
    check = parser.parse_args().check
    fresh = document()
    stored = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else ""
    if fresh == stored:
        return 0
    if not check:
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(fresh, encoding="utf-8")
        return 0
    before, after = stored.splitlines(keepends=True), fresh.splitlines(keepends=True)
    sys.stderr.writelines(difflib.unified_diff(before, after, "docs/lifecycle.md", "the tables"))
    print("docs/lifecycle.md is stale: run scripts/diagram", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
