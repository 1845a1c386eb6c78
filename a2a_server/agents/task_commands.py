"""Plain sentences as commands of the task manager: a small grammar, no model.

```
list [WORD] tasks [of SKILL]       WORD: a state, a status or a phase: failed, in_progress, held …
get TASK                           also: show TASK
create task: TEXT                  also: run SKILL: TEXT
cancel TASK
retry TASK
requeue TASK
delete TASK
answer TASK: TEXT
rate TASK RATING                   also: rate TASK RATING: TEXT
why is TASK not running            also: explain TASK
events of TASK
count tasks
list schedules                     also: list templates
pause schedule ID                  also: resume schedule ID, trigger schedule ID
list dead letters
list queues                        also: list workers, list limits
pause queue NAME                   also: resume queue NAME
drain worker ID
list [active] alerts
report sizing
help
```

Small and capital letters are the same, but for ids and texts; `task` may stand before an id, and a full stop or a
question mark at the end. Everything else is refused with this list.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from a2a_server.errors import InvalidParams
from a2a_server.model.commands import Command
from a2a_server.model.management import PHASE_WORDS, STATE_WORDS, STATUS_WORDS

GRAMMAR: Final = (__doc__ or "").split("```")[1].strip()
"""What is understood, for people."""

_TASK = r"(?:task\s+)?(?P<taskId>[^\s:?]+)"
_MANY = {"schedules": "listSchedules", "templates": "listTemplates", "dead letters": "listDeadLetters",
         "queues": "listQueues", "workers": "listWorkers", "limits": "listLimits"}  # fmt: skip


def _listed(found: re.Match[str]) -> Command:
    said: dict[str, Any] = {}
    if word := (found["word"] or "").lower():
        said[_kind_of(word)] = [word]
    if found["skill"]:
        said["skill"] = [found["skill"]]
    return Command("listTasks", said)


def _kind_of(word: str) -> str:
    for kind, words in (("state", STATE_WORDS), ("status", STATUS_WORDS), ("phase", PHASE_WORDS)):
        if word in words:
            return kind
    known = sorted({*STATE_WORDS, *STATUS_WORDS, *PHASE_WORDS})
    raise InvalidParams(f'No task is "{word}"; a task may be: {", ".join(known)}.')


def _rated(found: re.Match[str]) -> Command:
    said: dict[str, Any] = {"taskId": found["taskId"], "rating": int(found["rating"])}
    return Command("giveFeedback", said | ({"comment": found["text"]} if found["text"] else {}))


def _done_to(kind: str, name: str) -> Callable[[re.Match[str]], Command]:
    """A verb, and the thing that it is done to."""
    return lambda found: Command(f"{found['verb'].lower()}{kind}", {name: found[name]})


def _as(operation: str, **more: object) -> Callable[[re.Match[str]], Command]:
    """The operation, with the pattern's groups as its arguments."""
    return lambda found: Command(
        operation, {name: value for name, value in found.groupdict().items() if value is not None} | more
    )


_RULES: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Command]], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), said)
    for pattern, said in (
        (r"report sizing", _as("reportSizing")),
        (rf"list (?P<things>{'|'.join(_MANY)})", lambda found: Command(_MANY[found["things"].lower()])),
        (r"list active alerts", _as("listAlerts", active=True)),
        (r"list alerts", _as("listAlerts")),
        (r"list (?:all |my )?(?:(?P<word>[\w-]+) )?tasks(?: of (?P<skill>\S+))?", _listed),
        (r"(?:count|how many) tasks", _as("countTasks")),
        (r"create (?:a )?task: (?P<text>.+)", _as("createTask")),
        (r"run (?P<skill>[^\s:]+): (?P<text>.+)", _as("createTask")),
        (rf"answer {_TASK}: (?P<text>.+)", _as("answerTask")),
        (rf"rate {_TASK} (?P<rating>[0-9])(?:: (?P<text>.+))?", _rated),
        (r"(?P<verb>pause|resume|trigger) schedule (?P<scheduleId>[^\s:?]+)", _done_to("Schedule", "scheduleId")),
        (r"(?P<verb>pause|resume) queue (?P<name>[^\s:?]+)", _done_to("Queue", "name")),
        (r"(?P<verb>drain) worker (?P<workerId>[^\s:?]+)", _done_to("Worker", "workerId")),
        (rf"(?P<verb>cancel|retry|requeue|delete) {_TASK}", _done_to("Task", "taskId")),
        (
            rf"why (?:is|does) {_TASK} (?:not |n't )?(?:run|running|held|waiting|blocked|queued)",
            _as("explainTask"),
        ),
        (rf"explain {_TASK}", _as("explainTask")),
        (rf"(?:events|history) of {_TASK}", _as("listEvents")),
        (rf"(?:get|show) {_TASK}", _as("getTask")),
    )
)


def read(text: str) -> Command | None:
    """The command that a sentence says; None = it asks for help.

    Raises:
        InvalidParams: it is none; the text says what is understood.
    """
    spoken = re.sub(r"[ \t]+", " ", text.strip())
    plain = spoken.rstrip(".?! ")
    if plain.lower() in {"help", "what can you do", ""}:
        return None
    for pattern, command in _RULES:
        if found := pattern.fullmatch(spoken if "text" in pattern.groupindex else plain):
            return command(found)
    raise InvalidParams(f"This was not understood. Say one of:\n{GRAMMAR}")
