import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from a2a_server.telemetry import JsonLines, LogFormat, TextLines, configure

FORGED = "done\n2026-01-01T00:00:00.000Z INFO forged\r\x1b[31m\x00\x7f\x85\u2028\u2029\u202e\ud800"
FIELDS = ("skill", "worker", "error_id", "file", "line", "function", "method", "generation", "code", "seconds")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("a2a_server")
    before = root.level, own.level, list(root.handlers)
    yield
    root.setLevel(before[0])
    own.setLevel(before[1])
    root.handlers[:] = before[2]


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("a2a_server.engine", logging.WARNING, __file__, 1, message, args, None)
    made.created = 1_767_225_600.25
    vars(made).update(extra)
    return made


def failed() -> logging.LogRecord:
    made = record("it failed")
    try:
        raise ValueError(FORGED)  # noqa: TRY301 - a traceback is what is tested
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def test_a_text_line_tells_time_level_logger_message_and_extras() -> None:
    line = TextLines().format(record("claimed %d", 3, task="t-1", worker="w"))
    assert line == "2026-01-01T00:00:00.250Z WARNING  a2a_server.engine: claimed 3 task=t-1 worker=w"


def test_a_json_line_tells_the_same() -> None:
    assert json.loads(JsonLines().format(record("claimed %d", 3, task="t-1", due_at=7))) == {
        "at": "2026-01-01T00:00:00.250Z",
        "level": "warning",
        "logger": "a2a_server.engine",
        "message": "claimed 3",
        "task": "t-1",
        "due_at": 7,
    }


@pytest.mark.parametrize("formatter", [TextLines(), JsonLines()], ids=["text", "json"])
@pytest.mark.parametrize(
    "given",
    [record(FORGED), record("%s", FORGED), record("x", task=FORGED), record("x", stack_info=FORGED), failed()]
    + [record("x", **{name: FORGED}) for name in FIELDS],
    ids=["message", "argument", "extra", "stack", "exception", *FIELDS],
)
def test_a_record_is_one_printable_line_whatever_it_carries(
    formatter: logging.Formatter, given: logging.LogRecord
) -> None:
    line = formatter.format(given)
    assert line.isprintable()
    assert line.splitlines() == [line]
    assert "forged" in line
    assert "\\n" in line
    line.encode()


def test_json_gives_back_what_was_logged() -> None:
    fields = json.loads(JsonLines().format(record(FORGED, task=FORGED)))
    assert (fields["message"], fields["task"]) == (FORGED, FORGED)


def test_an_exception_is_told_with_its_traceback() -> None:
    assert "Traceback" in TextLines().format(failed())
    assert "ValueError" in json.loads(JsonLines().format(failed()))["error"]


def test_extras_replace_no_field_and_may_be_anything() -> None:
    fields = json.loads(JsonLines().format(record("told", level="forged", at="never", what={1})))
    assert (fields["level"], fields["at"], fields["what"]) == ("warning", "2026-01-01T00:00:00.250Z", "{1}")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_configure_sends_this_servers_records_from_the_level_up(log_format: LogFormat) -> None:
    stream = io.StringIO()
    configure("info", log_format, stream)
    logging.getLogger("a2a_server.engine").info("told", extra={"task": "t-1"})
    logging.getLogger("a2a_server.engine").debug("not told")
    logging.getLogger("library").info("not told")
    logging.getLogger("library").warning("told")
    lines = stream.getvalue().splitlines()
    assert ["t-1" in line for line in lines] == [True, False]


def test_configuring_again_replaces_its_own_handler_only() -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    first, second = io.StringIO(), io.StringIO()
    configure("info", "text", first)
    configure("error", "text", second)
    logging.getLogger("a2a_server.web").error("once")
    logging.getLogger("a2a_server.web").warning("not told")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1
    assert other in logging.getLogger().handlers
