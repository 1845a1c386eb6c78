"""`retention run`: what ended long ago, deleted now instead of by the next round of a server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from a2a_server.cli.failures import CommandError, Exit
from a2a_server.cli.flags import DEFAULT_URL, Flags
from a2a_server.cli.output import Json, emit, emit_json
from a2a_server.errors import EngineError

if TYPE_CHECKING:
    from a2a_server.engine.retiring import Survey

DAY = 86_400 * 1_000_000


def run(
    *,
    dry_run: bool = False,
    admin: bool = False,
    url: Annotated[str, Parameter(env_var="A2A_URL")] = DEFAULT_URL,
    token: Annotated[str, Parameter(env_var="A2A_TOKEN")] = "",
    output: Annotated[Literal["text", "json"], Parameter(alias="-o", show_default=True)] = "text",
    flags: Flags | None = None,
) -> int:
    """Delete the tasks whose time is over (retention_…_days), archived first where `archive` says so.

    Servers do this by themselves, about every `retire_seconds`. Tasks that have not ended are never touched.

    Args:
        dry_run: Only say how many they are, by state; nothing is touched. Works beside a server.
        admin: Have a server do it, over its management API, by its own settings.
        url: Where that server listens.
        token: Bearer token, where that server asks for one; better given in the environment.
        output: For people, or JSON: one object.
        flags: Settings as flags.
    """
    from a2a_server.cli.target import Target

    target = Target(url=url, token=token, output=output)
    doing = "counting old tasks" if dry_run else "deleting old tasks"
    if admin:
        return target.ask("POST", "retention", _show, (), {"dryRun": dry_run}, doing=doing)
    from a2a_server.wiring.retention import retire

    try:
        with target.sign(doing):
            survey = asyncio.run(retire((flags or Flags()).settings().settings, dry_run=dry_run))
    except EngineError as error:
        raise CommandError(str(error) or type(error).__name__) from error
    answer = {"dryRun": dry_run, "archived": survey.archived, "states": _described(survey)}
    (emit_json if output == "json" else _show)(answer)
    return Exit.OK


def _show(answer: Json) -> None:
    states = answer.get("states") or {}
    for state, one in states.items():
        kept = f", {one['waiting']} more wait for others" if one["waiting"] else ""
        emit(f"{state:<10} {one['retired']:>8}  the oldest ended {one['oldestDays']:.0f} days ago{kept}\n")
    tasks = sum(one["retired"] for one in states.values())
    said = "would be" if answer.get("dryRun") else "was" if tasks == 1 else "were"
    emit(f"{tasks} task{'' if tasks == 1 else 's'} {said} deleted.\n")


def _described(survey: Survey) -> dict[str, dict[str, Any]]:
    """As `POST /api/v1/retention` answers."""
    return {
        state.name.lower(): {
            "retired": survey.retired[state],
            "waiting": survey.waiting[state],
            "oldestDays": round(survey.oldest[state] / DAY, 3),
        }
        for state in sorted(survey.oldest)
    }
