"""`check`: whether this server could start here, and what to do where it could not. Nothing is made or changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from a2a_server.cli.cards import complaints_of, document_of
from a2a_server.cli.failures import CommandError, Exit
from a2a_server.cli.flags import Flags
from a2a_server.cli.output import emit, emit_json
from a2a_server.errors import ConfigurationError

if TYPE_CHECKING:
    from a2a_server.settings import Settings, Sourced

Subject: TypeAlias = Literal["config", "queues", "card", "store"]
SUBJECTS: tuple[Subject, ...] = ("config", "queues", "card", "store")
CARD_FILE = Path("agent_card.json")


@dataclass(frozen=True)
class Finding:
    """What one check found. `text`: what was looked at, or what to do."""

    subject: str
    ok: bool
    text: str


def check(
    *subject: Subject,
    agent: str = "",
    output: Annotated[Literal["text", "json"], Parameter(alias="-o", show_default=True)] = "text",
    flags: Flags | None = None,
) -> int:
    """Check settings, queues, card and store without starting anything; without a name, all of them.

    Ends with 1 where something has to be done first. Nothing is made: a database that does not exist yet still does not
    exist afterwards.

    Args:
        subject: config, queues, card or store.
        agent: The agent whose card is checked, and whether it has the skills that templates in the settings name; as
            `run` takes it, its code is loaded. Without it: agent_card.json.
        output: For people, or JSON: one object.
        flags: Settings as flags.
    """
    findings = examine(subject or SUBJECTS, agent, flags or Flags())
    return report(findings, as_json=output == "json")


def report(findings: list[Finding], *, as_json: bool) -> int:
    """Show what was found; the exit code."""
    ok = all(finding.ok for finding in findings)
    if as_json:
        checks = [{"check": one.subject, "ok": one.ok, "text": one.text} for one in findings]
        emit_json({"ok": ok, "checks": checks})
    else:
        emit("".join(f"{one.subject:<7} {'OK  ' if one.ok else 'FAIL'}  {one.text}\n" for one in findings))
    return Exit.OK if ok else Exit.ERROR


def examine(subjects: tuple[Subject, ...], agent: str, flags: Flags) -> list[Finding]:
    """One finding for each subject. Where the settings are no good, what depends on them cannot be looked at."""
    try:
        sourced = flags.settings()
    except ConfigurationError as error:
        unread = "not looked at, because the settings cannot be used"
        texts = {"config": str(error), "queues": unread, "store": unread}
        return [
            Finding(one, ok=False, text=texts[one]) if one in texts else _finding(one, lambda: _card(agent))
            for one in dict.fromkeys(("config", *subjects))
        ]
    checks: dict[str, Callable[[], str]] = {
        "config": lambda: _config(sourced, flags, agent),
        "queues": lambda: _queues(sourced.settings),
        "card": lambda: _card(agent),
        "store": lambda: _store(sourced.settings),
    }
    return [_finding(one, checks[one]) for one in dict.fromkeys(subjects)]


def _finding(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, ok=True, text=look())
    except (ConfigurationError, CommandError) as error:
        return Finding(subject, ok=False, text=str(error))


def _config(sourced: Sourced, flags: Flags, agent: str) -> str:
    from a2a_server.settings import knobs

    if sourced.settings.templates:
        _check_templates(sourced.settings, agent)
    given = len(sourced.sources)
    read = f"{flags.config}, environment and flags" if flags.config else "environment and flags (no --config given)"
    return f"read {read}: {given} of {len(knobs())} settings are given, the others have their defaults"


def _check_templates(settings: Settings, agent: str) -> None:
    """Their skills too, where the agent is named."""
    from a2a_server.cli.loading import load_agent
    from a2a_server.wiring.templates import templates_of

    templates_of(settings, load_agent(agent).specs if agent else ())


def _queues(settings: Settings) -> str:
    from a2a_server.wiring.operating import round_trip

    return asyncio.run(round_trip(settings))


def _card(agent: str) -> str:
    if agent:
        from a2a_server.cli.loading import load_agent

        loaded = load_agent(agent)
        return f"{agent}: the card of {loaded.name}, {len(loaded.card.skills)} skills"
    if not CARD_FILE.is_file():
        return f"there is no {CARD_FILE} here, and no --agent was named: nothing to look at"
    complaints = complaints_of(document_of(CARD_FILE))
    if complaints:
        raise ConfigurationError(f"{CARD_FILE}: {'; '.join(complaints)}")
    return f"{CARD_FILE}: a card that can be served"


def _store(settings: Settings) -> str:
    from a2a_server.settings import kind_of, local_path
    from a2a_server.wiring.operating import examined

    where = _directory(local_path(settings.artifacts)) if kind_of(settings.artifacts) == "file" else ""
    return "; ".join(filter(None, (asyncio.run(examined(settings)), where)))


def _directory(path: Path) -> str:
    above = path
    while not os.path.lexists(above):
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{path} cannot hold artifacts: {above} is no directory that can be written")
    return f"artifacts go to {path}" if above == path else f"artifacts go to {path}, which the first start makes"
