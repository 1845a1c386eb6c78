r"""How records become lines. What is logged is said where it happens, to the logger of that module's name.

One record is one line, whatever it carries: control characters, line ends, surrogates and the marks that reorder text
are escaped (`\n`, `\x1b`, `\u202e`), so nothing that a client sends can forge a second record. What a record is about
goes into `extra` (`logger.info("claimed", extra={"task": task_id, "worker": worker_id})`): ids, never bodies.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]

ROOT = "a2a_server"

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "taskName"}
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def configure(level: LogLevel = "info", log_format: LogFormat = "text", stream: TextIO | None = None) -> None:
    """Records of every logger go to `stream` (default: standard error), one line each.

    This server's own loggers speak from `level` up, those of libraries from warning up (or `level` if that is higher).
    For a process that is the server's own; inside another application its logging stands.

    Idempotent: called again it replaces what it set before, and leaves other handlers alone.
    """
    handler = _Handler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    root = logging.getLogger()
    for other in [other for other in root.handlers if isinstance(other, _Handler)]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    logging.getLogger(ROOT).setLevel(level.upper())


class TextLines(logging.Formatter):
    """A record as a line for people: time (UTC), level, logger, message, `name=value` for each extra, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line without its end."""
        words = [_at(record), f"{record.levelname:<8}", f"{record.name}:", record.getMessage()]
        words += [f"{name}={value}" for name, value in _extras(record).items()]
        if error := _error(self, record):
            words.append(error)
        return _UNSAFE.sub(_escaped, " ".join(words))


class JsonLines(logging.Formatter):
    """A record as a line for programs: `at` (UTC), `level`, `logger`, `message`, each extra, and `error` where raised.

    An extra of one of these names does not replace it. Values that are not JSON are given as their text.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of ASCII without its end."""
        fields: dict[str, object] = {
            "at": _at(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if error := _error(self, record):
            fields["error"] = error
        for name, value in _extras(record).items():
            fields.setdefault(name, value)
        return json.dumps(fields, default=str).replace("\x7f", "\\u007f")


class _Handler(logging.StreamHandler[TextIO]):
    """The handler that `configure` knows as its own."""


def _at(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _PLAIN}


def _error(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append(formatter.formatException(record.exc_info))
    elif record.exc_text:
        parts.append(record.exc_text)
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
