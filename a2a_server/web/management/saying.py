"""Answers of the management API in words, for people who read what the task manager's own agent says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

_DONE: Final = {
    "createTask": "Made",
    "answerTask": "Answered",
    "retryTask": "Made again",
    "requeueTask": "Requeued",
    "changeTask": "Changed",
    "replaceTask": "Changed",
    "giveFeedback": "Rated",
}
_NONE: Final = {
    "tasks": "No task matches.",
    "workers": "No worker lives.",
    "alerts": "No alerts.",
    "skills": "Too few runs have ended.",
}
_NAMES: Final = ("id", "name", "key", "taskId", "n", "seq", "index", "skill")
"""Members that say which thing of a list it is; the first that is there."""
_QUIET: Final = frozenset({"agent", "owner", "tenant", "generation", "revision", "metadata", "context", "parameters"})


def said(operation: str, data: Mapping[str, Any]) -> str:
    """What was answered, a line for each thing."""
    if (words := _WORDS.get(operation)) is not None:
        return words(data)
    if _is_task(data):
        done = _DONE.get(operation)
        return f"{done}: {_task(data)}" if done else _task(data)
    listed = next(((name, value) for name, value in data.items() if isinstance(value, list)), None)
    if listed is None or any(name in data for name in ("id", "key")):
        return _thing(data) or "Done."
    return "\n".join(_lines(*listed, more="next" in data))


def _lines(name: str, things: Sequence[Any], *, more: bool) -> list[str]:
    lines = [_task(one) if _is_task(one) else _thing(one) for one in things if isinstance(one, dict)]
    if not things:
        lines = [_NONE.get(name, "There are none.")]
    return [*lines, "Others may follow: ask again with what next says."] if more else lines


def _canceled(data: Mapping[str, Any]) -> str:
    return f"{'Canceled' if data['state'] == 'canceled' else 'Asked to stop'}: {_task(data)}"


def _counted(data: Mapping[str, Any]) -> str:
    lines = [f"{_numbers(data['states']) or 'No tasks'}."]
    lines += [
        f"Of {one['skill']}, needing {_needs(one['requires'])}: {_numbers(one['phases'])}."
        for one in data.get("needing", ())
    ]
    return "\n".join(lines)


def _numbers(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _needs(requires: Mapping[str, Any]) -> str:
    told = ((name, ", ".join(value) if isinstance(value, list) else _word(value)) for name, value in requires.items())
    return ", ".join(f"{name} {value}" for name, value in told)


def _done(data: Mapping[str, Any]) -> str:
    return f"{data['matched']} matched, {data['done']} done."


_WORDS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "cancelTask": _canceled,
    "explainTask": lambda data: f"{data['id']}: {' '.join(one['text'] for one in data['reasons'])}",
    "countTasks": _counted,
    "createBatch": lambda data: (
        f"Batch {data.get('id', 'without tasks of its own')}: {data['created']} made, {data['failed']} refused."
    ),
    "bulk": _done,
    "retryDeadLetters": _done,
}


def _is_task(thing: object) -> bool:
    return isinstance(thing, dict) and thing.keys() >= {"id", "contextId", "skill", "state", "phase"}


def _task(task: Mapping[str, Any]) -> str:
    title = f"  {task['title']}" if task.get("title") else ""
    return f"{task['id']}  {task['state']}, {task['phase']}  {task['skill']}{title}"


def _thing(thing: Mapping[str, Any]) -> str:
    if isinstance(thing.get("text"), str) and "threshold" in thing:
        return str(thing["text"])
    first = next((name for name in _NAMES if name in thing), None)
    members = [
        f"{name} {_word(value)}"
        for name, value in thing.items()
        if name != first and name not in _QUIET and not isinstance(value, dict | list)
    ]
    return "  ".join([*([] if first is None else [str(thing[first])]), ", ".join(members)]).strip()


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
