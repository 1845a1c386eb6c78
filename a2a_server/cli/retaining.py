"""`retention run`: what ended long ago, deleted now instead of by the next round of a server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from a2a_server.cli.failures import CommandError, Exit
from a2a_server.cli.flags import Flags
from a2a_server.cli.output import emit, emit_json
from a2a_server.errors import EngineError

if TYPE_CHECKING:
    from a2a_server.engine.retiring import Survey

DAY = 86_400 * 1_000_000


def run(
    *,
    dry_run: bool = False,
    output: Annotated[Literal["text", "json"], Parameter(alias="-o", show_default=True)] = "text",
    flags: Flags | None = None,
) -> int:
    """Delete the tasks whose time is over (retention_…_days), archived first where `archive` says so.

    Servers do this by themselves, about every `retire_seconds`. Tasks that have not ended are never touched.

    Args:
        dry_run: Only say how many they are, by state; nothing is touched. Works beside a server.
        output: For people, or JSON: one object.
        flags: Settings as flags.
    """
    from a2a_server.wiring.retention import retire

    try:
        survey = asyncio.run(retire((flags or Flags()).settings().settings, dry_run=dry_run))
    except EngineError as error:
        raise CommandError(str(error) or type(error).__name__) from error
    found = _described(survey)
    if output == "json":
        emit_json({"dryRun": dry_run, "archived": survey.archived, "states": found})
        return Exit.OK
    for state, one in found.items():
        kept = f", {one['waiting']} more wait for others" if one["waiting"] else ""
        emit(f"{state:<10} {one['tasks']:>8}  the oldest ended {one['oldest_days']:.0f} days ago{kept}\n")
    total = survey.retired.total()
    emit(f"{total} task{'' if total == 1 else 's'} {'would be' if dry_run else 'were'} deleted.\n")
    return Exit.OK


def _described(survey: Survey) -> dict[str, dict[str, Any]]:
    return {
        state.name.lower(): {
            "tasks": survey.retired[state],
            "waiting": survey.waiting[state],
            "oldest_days": survey.oldest[state] / DAY,
        }
        for state in sorted(survey.oldest)
    }
