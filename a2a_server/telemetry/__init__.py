"""How this server says what it does: log lines (`logs`) and figures (`catalogue`, `observer`, `metrics`)."""

from a2a_server.telemetry.logs import (
    ROOT,
    JsonLines,
    LogFormat,
    LogLevel,
    TextLines,
    configure,
)

__all__ = ["ROOT", "JsonLines", "LogFormat", "LogLevel", "TextLines", "configure"]
