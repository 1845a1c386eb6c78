from __future__ import annotations

import asyncio

import pytest

from a2a_server.engine.outcomes import LONGEST_WAIT_SECONDS, completed, is_expected, raised, stopped
from a2a_server.errors import Fail, Reject, Retry
from a2a_server.lifecycle.dead_letters import Dead
from a2a_server.lifecycle.endings import End, EndKind
from a2a_server.lifecycle.turn import speech
from a2a_server.model.objects import Message, Role, Text
from a2a_server.model.runs import Completed, SkillSpec, Stopping
from a2a_server.policy import SECOND
from tests.unit.turns import MemoryTurns, report, started

SKILL = SkillSpec("echo", "Echo", retry_on=(KeyError,))


def end_of(error: BaseException, skill: SkillSpec = SKILL) -> End:
    return raised(error, skill, error_id="e1", jitter=0.5)


def test_a_result() -> None:
    message = Message(Role.AGENT, (Text("done"),))
    assert completed(Completed(message, "half")) == End(EndKind.COMPLETED, message=message, partial="half")


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Stopping.CANCELED, EndKind.CANCELED),
        (Stopping.DEADLINE, EndKind.FAILED),
        (Stopping.SHUTDOWN, EndKind.HANDED_BACK),
        (None, EndKind.FAILED),
    ],
)
def test_a_run_that_was_stopped(reason: Stopping | None, kind: EndKind) -> None:
    end = stopped(reason)
    assert end is not None
    assert end.kind is kind


@pytest.mark.parametrize(
    ("cut_short", "dead", "named"), [(True, Dead.DEADLINE, "deadline"), (False, Dead.TIMEOUT, "timeout")]
)
def test_whose_time_was_up_is_told(dead: Dead, named: str, *, cut_short: bool) -> None:
    end = stopped(Stopping.DEADLINE, cut_short=cut_short)
    assert end is not None
    assert end.dead is dead
    assert named in end.text


def test_a_run_that_lost_its_lease_ends_nothing() -> None:
    assert stopped(Stopping.LEASE_LOST) is None


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (Reject("no"), End(EndKind.REJECTED, "no")),
        (Fail("broken"), End(EndKind.FAILED, "broken")),
        (Retry("later"), End(EndKind.TRANSIENT, "later", jitter=0.5)),
        (Retry("later", after_seconds=1.5), End(EndKind.TRANSIENT, "later", after=1_500_000, jitter=0.5)),
        (Retry("now", after_seconds=0), End(EndKind.TRANSIENT, "now", after=0, jitter=0.5)),
    ],
    ids=repr,
)
def test_the_agents_own_words(error: Exception, end: End) -> None:
    assert end_of(error) == end


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError("secret"), EndKind.TRANSIENT),
        (ConnectionResetError("secret"), EndKind.TRANSIENT),
        (TimeoutError("secret"), EndKind.TRANSIENT),
        (KeyError("secret"), EndKind.TRANSIENT),
        (ValueError("secret"), EndKind.FAILED),
        (SystemExit("secret"), EndKind.FAILED),
    ],
    ids=repr,
)
def test_other_errors_are_judged_and_never_quoted(error: BaseException, kind: EndKind) -> None:
    end = end_of(error)
    assert end.kind is kind
    assert "'echo'" in end.text
    assert "e1" in end.text
    assert "secret" not in end.text


def test_what_is_transient_is_the_skills_own() -> None:
    assert end_of(KeyError("x"), SkillSpec("other", "Other")).kind is EndKind.FAILED


@pytest.mark.parametrize(
    ("seconds", "after"),
    [
        (float("inf"), LONGEST_WAIT_SECONDS * SECOND),
        (1e300, LONGEST_WAIT_SECONDS * SECOND),
        (-5.0, 0),
        (float("-inf"), 0),
        (float("nan"), None),
    ],
)
def test_a_delay_that_no_clock_can_keep_is_bounded(seconds: float, after: int | None) -> None:
    assert end_of(Retry(after_seconds=seconds)).after == after


@pytest.mark.parametrize("text", ["half \ud800 a pair", ValueError("an error, not a text"), None, 7], ids=repr)
@pytest.mark.parametrize("error", [Fail, Reject, Retry])
def test_any_text_can_be_written(error: type[Fail | Reject | Retry], text: object) -> None:
    """A task whose end cannot be written would hang until its alarm."""
    end = end_of(error(text))  # type: ignore[arg-type]  # any error
    assert isinstance(end.text, str)
    store = MemoryTurns()
    row = store.one(report(started(store), end=end)).row
    assert speech(row, end.text).text.encode().decode() == end.text


def test_the_longest_delay_can_be_written() -> None:
    store = MemoryTurns()
    row = store.one(report(started(store), end=end_of(Retry(after_seconds=1e300)))).row
    assert row.due_at == store.now + LONGEST_WAIT_SECONDS * SECOND


def test_what_an_agent_raises_on_purpose_needs_no_traceback() -> None:
    assert all(is_expected(error) for error in (Reject(), Fail(), Retry(), asyncio.CancelledError()))
    assert not any(is_expected(error) for error in (OSError(), ValueError(), SystemExit()))
