"""What the task manager understands: commands by name, and the sentences of its grammar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from a2a_server.agents.task_commands import GRAMMAR, read
from a2a_server.errors import InvalidParams
from a2a_server.model.commands import OPERATIONS, Command, command_of


def said(operation: str, **arguments: Any) -> Command:  # noqa: ANN401 - a command's arguments
    return Command(operation, arguments)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("list tasks", said("listTasks")),
        ("List my tasks.", said("listTasks")),
        ("list failed tasks", said("listTasks", state=["failed"])),
        ("list in_progress tasks of echo", said("listTasks", status=["in_progress"], skill=["echo"])),
        ("LIST HELD TASKS", said("listTasks", phase=["held"])),
        ("get task-1", said("getTask", taskId="task-1")),
        ("show task 0198-aB", said("getTask", taskId="0198-aB")),
        ("cancel 0198-aB", said("cancelTask", taskId="0198-aB")),
        ("Cancel task 0198-aB.", said("cancelTask", taskId="0198-aB")),
        ("retry t-1", said("retryTask", taskId="t-1")),
        ("Requeue task t-1", said("requeueTask", taskId="t-1")),
        ("delete t-1", said("deleteTask", taskId="t-1")),
        ("rate t-1 5", said("giveFeedback", taskId="t-1", rating=5)),
        ("rate task t-1 2: too Slow.", said("giveFeedback", taskId="t-1", rating=2, comment="too Slow.")),
        ("why is 0198-aB not running?", said("explainTask", taskId="0198-aB")),
        ("why is task 0198-aB held", said("explainTask", taskId="0198-aB")),
        ("explain 0198-aB", said("explainTask", taskId="0198-aB")),
        ("events of t.1", said("listEvents", taskId="t.1")),
        ("count tasks", said("countTasks")),
        ("how many tasks?", said("countTasks")),
        ("list workers", said("listWorkers")),
        ("list dead letters", said("listDeadLetters")),
        ("pause schedule nightly", said("pauseSchedule", scheduleId="nightly")),
        ("Resume queue echo.", said("resumeQueue", name="echo")),
        ("drain worker 0a", said("drainWorker", workerId="0a")),
        ("list alerts", said("listAlerts")),
        ("list active alerts", said("listAlerts", active=True)),
        ("create task: Sum: up\nthis.", said("createTask", text="Sum: up\nthis.")),
        ("run echo: Hello there?", said("createTask", text="Hello there?", skill="echo")),
        ("answer t-1: yes, please.", said("answerTask", taskId="t-1", text="yes, please.")),
        ("Report sizing.", said("reportSizing")),
        ("help", None),
        ("", None),
    ],
)
def test_sentences(text: str, command: Command | None) -> None:
    assert read(text) == command


@pytest.mark.parametrize(
    "text", ["cancel", "drop all tables", "list tasks; cancel t-1", "cancel t-1 t-2", "why", "rate t-1", "pause t-1"]
)
def test_what_is_no_sentence_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        read(text)
    assert GRAMMAR in caught.value.message


def test_a_word_that_no_task_is_names_those_that_are() -> None:
    with pytest.raises(InvalidParams, match=r'No task is "purple"; a task may be: .*in_progress.*working'):
        read("list purple tasks")


def test_every_line_of_the_grammar_is_understood() -> None:
    for line in GRAMMAR.splitlines():
        sentence, _, also = line.partition("  ")
        others = also.strip().removeprefix("also:").split(", ") if "also:" in also else []
        for form in (sentence, *(other.strip() for other in others)):
            words = form.replace("TASK", "t-1").replace("TEXT", "do it").replace("SKILL", "echo").replace("RATING", "4")
            for plain in (
                words.replace("[WORD] ", "").replace("[active] ", "").replace(" [of echo]", ""),
                words.replace("[WORD]", "failed").replace("[", "").replace("]", ""),
            ):
                command = read(plain)
                assert plain == "help" if command is None else command.operation in OPERATIONS


@pytest.mark.parametrize("operation", ["list_tasks", "listTasks"])
def test_operations_and_arguments_in_either_spelling(operation: str) -> None:
    found = command_of({"operation": operation, "context_id": "c", "state": "failed"})
    assert found == said("listTasks", contextId="c", state="failed")


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        ({"operation": "drop_tasks"}, '"operation" must be one of: createTask, listTasks, '),
        ({"operation": 3}, '"operation" must be one of: '),
        ({"operation": "getTask", "taskId": "a", "task_id": "b"}, "getTask: taskId is there twice"),
    ],
)
def test_what_is_no_command_is_refused(data: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        command_of(data)
    assert caught.value.message.startswith(rule)


def test_the_page_says_the_same() -> None:
    page = (Path(__file__).parents[2] / "docs/task-manager.md").read_text()
    assert GRAMMAR in page
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    told: dict[str, tuple[str, bool]] = {}
    for _, skill, names, *_ in (row for row in rows if "management" in row[1] or "monitoring" in row[1]):
        for part, for_operators in zip(names.split("; operators:"), (False, True), strict=False):
            told |= {name.strip(" `"): (skill.strip(" `"), for_operators) for name in part.split(",") if name.strip()}
    assert told == {name: (str(one.capability), one.for_operators) for name, one in OPERATIONS.items()}
