"""How answers look on a terminal, in a pipe and as JSON. What agents say goes to stdout, what we say to stderr.

Text that was written cannot be taken back, and agents that start again after a crash begin their text again: what
repeats the text already shown is held back until it goes beyond, so that the reader sees one text.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeAlias

from a2a_server.model.objects import PROGRESS_URI, TASK_URI

Json: TypeAlias = dict[str, Any]
Write: TypeAlias = Callable[[str], object]
Note: TypeAlias = Callable[[str], None]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SPEAKING = {"TASK_STATE_COMPLETED", "TASK_STATE_INPUT_REQUIRED", "TASK_STATE_AUTH_REQUIRED"}
AGAIN = "(the agent began this text again; here it is from its beginning)"


def safe(text: str) -> str:
    """The text without what could drive a terminal."""
    return _CONTROL.sub("�", text.replace("\r\n", "\n"))


def say(text: str) -> None:
    """A line on stderr."""
    sys.stderr.write(f"{safe(text)}\n")
    sys.stderr.flush()


def emit(text: str) -> None:
    """Text on stdout, at once; as it is, unless a terminal would obey it."""
    sys.stdout.write(safe(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def emit_json(document: Json) -> None:
    """One JSON document on one line of stdout."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def state_name(state: str) -> str:
    """A state as people write it: `input-required`."""
    return state.removeprefix("TASK_STATE_").lower().replace("_", "-")


def part_text(part: Json) -> str:
    """One part for people; files by name, type and address or size."""
    if "text" in part:
        return str(part["text"])
    if "data" in part:
        return json.dumps(part["data"], ensure_ascii=False)
    about = [str(part[key]) for key in ("filename", "mediaType") if part.get(key)]
    if part.get("url"):
        about.append(str(part["url"]))
    elif "raw" in part:
        about.append(f"{len(str(part['raw']).rstrip('=')) * 3 // 4} bytes")
    return f"[file: {', '.join(about)}]"


def message_text(message: Json | None) -> str:
    """What a message says; without what only programs read of a question for parameters."""
    parts = [part for part in (message or {}).get("parts") or () if not _is_for_programs(part)]
    return "\n".join(part_text(part) for part in parts)


def _is_for_programs(part: Json) -> bool:
    data = part.get("data")
    return isinstance(data, dict) and {"missing", "schema"} <= data.keys()


def artifact_text(artifact: Json) -> str:
    """An artifact's text: text parts run on, everything else stands on lines of its own."""
    return _joined(artifact.get("parts") or (), at_line_start=True)


def task_text(task: Json) -> str:
    """What the task has to say: its artifacts, then the agent's last words or question."""
    texts = [artifact_text(artifact).removesuffix("\n") for artifact in task.get("artifacts") or ()]
    texts.append(last_words(task["status"]))
    if why := partial(task):
        texts.append(f"(not the whole result: {why})")
    return "".join(f"{text}\n" for text in texts if text)


def partial(task: Json) -> str:
    """Why the result is not whole; '' = it is."""
    about = (task.get("metadata") or {}).get(TASK_URI)
    return str(about.get("partial", "")) if isinstance(about, dict) else ""


def last_words(status: Json | None) -> str:
    """What the agent says with a result, or asks; '' in every other state (what goes wrong is an error's text)."""
    if status is None or status.get("state") not in _SPEAKING:
        return ""
    return message_text(status.get("message"))


def task_report(task: Json) -> str:
    """Everything about a task, for `task get`."""
    status = task["status"]
    lines = [
        ("task", task.get("id", "")),
        ("context", task.get("contextId", "")),
        ("state", state_name(status["state"])),
        ("since", status.get("timestamp", "")),
        ("says", message_text(status.get("message"))),
        ("partial", partial(task)),
    ]
    texts = [f"{name:<9}{value}\n" for name, value in lines if value]
    for message in task.get("history") or ():
        who = str(message.get("role", "")).removeprefix("ROLE_").lower()
        texts.append(f"{who:<9}{message_text(message)}\n")
    for artifact in task.get("artifacts") or ():
        label = " ".join(str(artifact[key]) for key in ("artifactId", "name") if artifact.get(key))
        text = artifact_text(artifact).removesuffix("\n")
        texts.append(f"\n{label}\n{text}\n")
    return "".join(texts)


def _joined(parts: Iterable[Json], *, at_line_start: bool) -> str:
    pieces: list[str] = []
    for part in parts:
        piece = part_text(part)
        if "text" not in part:
            piece = f"{piece}\n" if at_line_start else f"\n{piece}\n"
        if piece:
            pieces.append(piece)
            at_line_start = piece.endswith("\n")
    return "".join(pieces)


@dataclass
class _Growing:
    shown: list[str] = field(default_factory=list)
    again: str | None = None

    @property
    def at_line_start(self) -> bool:
        if self.again is not None:
            return not self.again or self.again.endswith("\n")
        return not self.shown or self.shown[-1].endswith("\n")


class Transcript:
    """Writes artifacts as they grow, each piece of text once."""

    def __init__(self, write: Write, note: Write) -> None:
        self._write = write
        self._note = note
        self._artifacts: dict[str, _Growing] = {}
        self._current = ""
        self._at_line_start = True

    def add(self, artifact: Json, *, append: bool) -> None:
        """A chunk came; without `append` it replaces what there is of the artifact."""
        artifact_id = str(artifact.get("artifactId", ""))
        growing = self._artifacts.setdefault(artifact_id, _Growing())
        if not append and growing.shown:
            growing.shown = ["".join(growing.shown)]
            growing.again = ""
        piece = _joined(artifact.get("parts") or (), at_line_start=growing.at_line_start)
        if growing.again is None:
            self._show(artifact_id, growing, piece)
            return
        growing.again += piece
        shown = growing.shown[0]
        if growing.again.startswith(shown):
            piece, growing.again = growing.again[len(shown) :], None
            self._show(artifact_id, growing, piece)
        elif not shown.startswith(growing.again):
            self._restart(artifact_id, growing)

    def line(self, text: str) -> None:
        """Text on lines of its own."""
        if text:
            self._break_line()
            self._put(f"{text}\n")

    def close(self) -> None:
        """Nothing more comes: what is held back is shown, and the last line ended."""
        for artifact_id, growing in self._artifacts.items():
            if growing.again is not None:
                self._restart(artifact_id, growing)
        self._break_line()

    def _restart(self, artifact_id: str, growing: _Growing) -> None:
        text, growing.again, growing.shown = growing.again or "", None, []
        self._break_line()
        self._note(AGAIN)
        self._show(artifact_id, growing, text)

    def _show(self, artifact_id: str, growing: _Growing, piece: str) -> None:
        if not piece:
            return
        if artifact_id != self._current:
            self._break_line()
            self._current = artifact_id
        growing.shown.append(piece)
        self._put(piece)

    def _put(self, text: str) -> None:
        self._write(text)
        self._at_line_start = text.endswith("\n")

    def _break_line(self) -> None:
        if not self._at_line_start:
            self._put("\n")


class View(Protocol):
    """Shows a stream. Used as a context manager, so that a live display always ends."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def show(self, item: Json) -> None:
        """One item of the stream."""

    def note(self, text: str) -> None:
        """What people should know about the stream itself."""


class JsonLines:
    """Every item as it came, one a line."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, item: Json) -> None:
        """One line."""
        emit_json(item)

    def note(self, text: str) -> None:
        """On stderr."""
        say(text)


class Silent:
    """Nothing; what is to be seen is shown afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, item: Json) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class Plain:
    """Text as it comes, for pipes."""

    def __init__(self, write: Write = emit, note: Note = say) -> None:
        self._note = note
        self._transcript = Transcript(write, note)
        self._words = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transcript.close()

    def show(self, item: Json) -> None:
        """Writes what is new."""
        task, update, status = item.get("task"), item.get("artifactUpdate"), item.get("statusUpdate")
        if "message" in item:
            self._transcript.line(message_text(item["message"]))
        if update:
            self._transcript.add(update["artifact"], append=bool(update.get("append")))
        for artifact in (task or {}).get("artifacts") or ():
            self._transcript.add(artifact, append=False)
        words = last_words((task or status or {}).get("status"))
        if words != self._words:
            self._transcript.line(words)
            self._words = words

    def note(self, text: str) -> None:
        """Where notes go; the text on stdout goes on behind it."""
        self._note(text)


def progress_of(item: Json) -> Json | None:
    """The progress note that an item carries."""
    for inner in item.values():
        note = (inner.get("metadata") or {}).get(PROGRESS_URI) if isinstance(inner, dict) else None
        if isinstance(note, dict):
            return note
    return None
