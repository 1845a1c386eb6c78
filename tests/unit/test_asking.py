"""Questions, answers, steps, checkpoints, memory, files: what a skill can say and keep, one attempt after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from a2a_server import Agent, Answer, Data, Fail, File, Reject, SyncTask, TaskContext, Text
from a2a_server.agents.skill import SkillRunner
from a2a_server.errors import Paused
from a2a_server.model.objects import Message, Part, Role
from a2a_server.model.runs import ASKED, Chunk, Shelf, Want
from tests.patience import PATIENCE
from tests.unit.attempts import RecordingAttempt, task_of


class Point(BaseModel):
    x: int


def said(attempt: RecordingAttempt) -> list[str]:
    parts = [part for one in attempt.outputs if isinstance(one, Chunk) for part in one.parts]
    return [part.text if isinstance(part, Text) else str(part) for part in parts]


async def asked(runner: SkillRunner, attempt: RecordingAttempt) -> Message:
    """The question that the run ends with."""
    with pytest.raises(Paused):
        await asyncio.wait_for(runner.run(attempt), PATIENCE)
    assert attempt.paused is not None
    return attempt.paused.message


async def ends(runner: SkillRunner, attempt: RecordingAttempt) -> list[str]:
    await asyncio.wait_for(runner.run(attempt), PATIENCE)
    return said(attempt)


def runner_of(function: Callable[..., Any], **options: Any) -> SkillRunner:  # noqa: ANN401 - any option of a skill
    agent = Agent("A")
    agent.skill(id="s", **options)(function)
    return SkillRunner(agent)


def attempt_of(text: str | None = "hi", **given: Any) -> RecordingAttempt:  # noqa: ANN401 - any part of a task
    return RecordingAttempt(task_of(text, skill="s", **given))


async def greet(task: TaskContext) -> str:
    name = await task.ask("Name?")
    town = await task.ask("Town?")
    return f"{name} of {town}"


def greet_plainly(task: SyncTask) -> str:
    name = task.ask("Name?")
    town = task.ask("Town?")
    return f"{name} of {town}"


async def greet_in_pieces(task: TaskContext) -> AsyncIterator[str]:
    yield await task.ask("Name?")
    yield " of "
    yield await task.ask("Town?")


def greet_in_plain_pieces(task: SyncTask) -> Iterator[str]:
    yield task.ask("Name?")
    yield " of "
    yield task.ask("Town?")


@pytest.mark.parametrize("function", [greet, greet_plainly, greet_in_pieces, greet_in_plain_pieces])
async def test_a_skill_of_any_kind_asks_and_goes_on_from_its_beginning(function: Callable[..., Any]) -> None:
    runner = runner_of(function)
    first = attempt_of()
    question = await asked(runner, first)
    assert (question.role, question.text) == (Role.AGENT, "Name?")
    second = first.answered(Text("Ada"))
    assert (await asked(runner, second)).text == "Town?"
    third = second.answered(Text("London"))
    assert "".join(await ends(runner, third)) == "Ada of London"
    await runner.close()


async def test_an_answer_is_its_text_and_carries_the_rest() -> None:
    seen: list[Answer] = []

    async def skill(task: TaskContext) -> None:
        seen.append(await task.ask("Well?"))

    attempt = attempt_of()
    runner = runner_of(skill)
    await asked(runner, attempt)
    file = File("a.txt", raw=b"a")
    await ends(runner, attempt.answered(Text("yes"), Data({"x": 1}), file))
    [answer] = seen
    assert answer == "yes"
    assert isinstance(answer, str)
    assert (answer.data, answer.files, answer.message.role) == ({"x": 1}, (file,), Role.USER)


async def test_named_questions_are_found_in_any_order() -> None:
    order = ["a", "b"]

    async def skill(task: TaskContext) -> str:
        return ",".join([await task.ask(f"{name}?", name=name) for name in order])

    runner = runner_of(skill)
    attempt = attempt_of()
    await asked(runner, attempt)
    attempt = attempt.answered(Text("A"))
    order.reverse()
    assert (await asked(runner, attempt)).text == "b?"
    assert await ends(runner, attempt.answered(Text("B"))) == ["B,A"]


async def test_another_question_than_before_fails_for_good() -> None:
    words = ["Name?"]

    async def skill(task: TaskContext) -> str:
        return await task.ask(words[-1])

    runner = runner_of(skill)
    attempt = attempt_of()
    await asked(runner, attempt)
    words.append("Age?")
    with pytest.raises(Fail, match="another question than before"):
        await runner.run(attempt.answered(Text("Ada")))


async def test_a_run_that_comes_before_the_answer_asks_the_same_again() -> None:
    runner = runner_of(greet)
    attempt = attempt_of()
    await asked(runner, attempt)
    again = attempt_of()
    again.kept = dict(attempt.kept)
    await asked(runner, again)
    assert again.kept == attempt.kept


async def gathered(task: TaskContext) -> str:
    return " ".join(await asyncio.gather(task.ask("Name?"), task.ask("Town?")))


async def grouped(task: TaskContext) -> str:
    async with asyncio.TaskGroup() as group:
        name, town = group.create_task(task.ask("Name?")), group.create_task(task.ask("Town?"))
    return f"{name.result()} {town.result()}"


@pytest.mark.parametrize("function", [gathered, grouped])
async def test_questions_side_by_side_go_out_one_after_the_other_and_keep_their_answers(
    function: Callable[..., Any],
) -> None:
    runner = runner_of(function)
    attempt = attempt_of()
    assert (await asked(runner, attempt)).text == "Name?"
    attempt = attempt.answered(Text("Ann"))
    assert (await asked(runner, attempt)).text == "Town?"
    assert await ends(runner, attempt.answered(Text("Bonn"))) == ["Ann Bonn"]


async def test_authentication_is_asked_with_an_address_and_a_scope() -> None:
    async def skill(task: TaskContext) -> str:
        return await task.need_auth("https://sign.in", scope="mail") + await task.ask("Sure?")

    runner = runner_of(skill)
    attempt = attempt_of()
    question = await asked(runner, attempt)
    assert attempt.paused is not None
    assert attempt.paused.want is Want.AUTH
    assert question.parts[1] == Data({"url": "https://sign.in", "scope": "mail"})
    attempt = attempt.answered(Text("done"))
    assert (await asked(runner, attempt)).text == "Sure?"
    assert attempt.paused is not None
    assert attempt.paused.want is Want.INPUT


@pytest.mark.parametrize("question", ["", Message(Role.AGENT, ()), (), [object()]])
async def test_a_question_has_something_to_say(question: Any) -> None:  # noqa: ANN401 - the wrong ones
    async def skill(task: TaskContext) -> str:
        return await task.ask(question)

    with pytest.raises(Fail):
        await runner_of(skill).run(attempt_of())


async def test_steps_are_done_once_and_give_json_from_the_first_run_on() -> None:
    calls: list[int] = []

    async def load(x: int) -> Point:
        calls.append(x)
        return Point(x=x)

    def plain(x: int, *, by: int) -> int:
        calls.append(x * by)
        return x * by

    async def skill(task: TaskContext) -> str:
        first = await task.step("load", load, 1)
        second = await task.step("load", load, 2)
        third = await task.step("plain", plain, 3, by=10)
        await task.ask("Go on?")
        return f"{first} {second} {third}"

    runner = runner_of(skill)
    attempt = attempt_of()
    await asked(runner, attempt)
    assert await ends(runner, attempt.answered(Text("yes"))) == ["{'x': 1} {'x': 2} 30"]
    assert calls == [1, 2, 30]


async def test_a_step_of_none_is_remembered_too_and_a_failed_one_is_not() -> None:
    calls: list[str] = []

    def nothing() -> None:
        calls.append("nothing")

    def broken() -> None:
        calls.append("broken")
        raise OSError("no")

    def skill(task: SyncTask) -> str:
        assert task.step("nothing", nothing) is None
        task.step("broken", broken)
        return "done"

    runner = runner_of(skill)
    attempt = attempt_of()
    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            await runner.run(attempt)
    assert calls == ["nothing", "broken", "broken"]
    await runner.close()


@pytest.mark.parametrize(
    ("value", "text"), [(object(), "cannot be written as JSON"), ("x" * 262_144, 'step "big" is larger than 262144')]
)
async def test_a_step_that_cannot_be_remembered_fails(value: object, text: str) -> None:
    async def skill(task: TaskContext) -> None:
        await task.step("big", lambda: value)

    with pytest.raises(Fail, match=text):
        await runner_of(skill).run(attempt_of())


async def test_a_plain_step_that_raises_stop_iteration_ends_its_run() -> None:
    def stop() -> int:
        raise StopIteration

    async def skill(task: TaskContext) -> None:
        await task.step("stop", stop)

    with pytest.raises(RuntimeError, match="StopIteration"):
        await ends(runner_of(skill), attempt_of())


async def test_a_plain_skill_takes_plain_steps_only() -> None:
    async def load() -> int:
        return 1

    def skill(task: SyncTask) -> None:
        task.step("load", load)

    runner = runner_of(skill)
    with pytest.raises(ValueError, match="write it plain"):
        await runner.run(attempt_of())
    await runner.close()


async def checkpointing(task: TaskContext) -> str:
    if "page" not in task.checkpoints:
        await task.checkpoint("page", {"n": 7})
        assert task.checkpoints["page"] == {"n": 7}
        await task.ask("Go on?")
    return str(task.checkpoints)


def checkpointing_plainly(task: SyncTask) -> str:
    if "page" not in task.checkpoints:
        task.checkpoint("page", {"n": 7})
        assert task.checkpoints["page"] == {"n": 7}
        task.ask("Go on?")
    return str(task.checkpoints)


@pytest.mark.parametrize("function", [checkpointing, checkpointing_plainly])
async def test_checkpoints_are_there_in_the_next_run(function: Callable[..., Any]) -> None:
    runner = runner_of(function)
    attempt = attempt_of()
    await asked(runner, attempt)
    assert await ends(runner, attempt.answered(Text("yes"))) == ["{'page': {'n': 7}}"]
    await runner.close()


async def remembering(task: TaskContext) -> str:
    await task.memory.set("color", "red")
    await task.memory.set("size", Point(x=1))
    await task.memory.owner.set("color", "blue")
    await task.memory.delete("size")
    found = [await task.memory.get("color"), await task.memory.owner.get("color"), await task.memory.get("size", 5)]
    return f"{found} {list(await task.memory.names('co'))} {list(await task.memory.owner.names())}"


def remembering_plainly(task: SyncTask) -> str:
    task.memory.set("color", "red")
    task.memory.set("size", Point(x=1))
    task.memory.owner.set("color", "blue")
    task.memory.delete("size")
    found = [task.memory.get("color"), task.memory.owner.get("color"), task.memory.get("size", 5)]
    return f"{found} {list(task.memory.names('co'))} {list(task.memory.owner.names())}"


@pytest.mark.parametrize("function", [remembering, remembering_plainly])
async def test_memory_is_the_conversations_or_the_owners(function: Callable[..., Any]) -> None:
    runner = runner_of(function)
    attempt = attempt_of()
    assert await ends(runner, attempt) == ["['red', 'blue', 5] ['color'] ['color']"]
    assert {shelf for shelf, *_ in attempt.kept} == {Shelf.CONTEXT, Shelf.OWNER}
    await runner.close()


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201])
async def test_names_of_values_are_printable(name: str) -> None:
    async def skill(task: TaskContext) -> None:
        await task.memory.set(name, 1)

    with pytest.raises(Fail, match="1 to 200 printable"):
        await runner_of(skill).run(attempt_of())


async def reading(task: TaskContext, source: File) -> str:
    pieces = [piece async for piece in task.open(source)]
    whole = await task.read(source)
    return f"{len(pieces)} {whole.decode()}"


def reading_plainly(task: SyncTask, source: File) -> str:
    pieces = list(task.open(source))
    return f"{len(pieces)} {task.read(source).decode()}"


@pytest.mark.parametrize("function", [reading, reading_plainly])
async def test_files_are_read_whole_or_piece_by_piece(function: Callable[..., Any]) -> None:
    runner = runner_of(function)
    assert await ends(runner, attempt_of(files=(File("a", raw=b"1234567890"),))) == ["3 1234567890"]
    await runner.close()


async def test_no_more_of_a_file_comes_into_memory_than_is_wanted() -> None:
    async def skill(task: TaskContext, source: File) -> None:
        await task.read(source, limit_bytes=9)

    with pytest.raises(Fail, match=r"The file a is larger than the 9 bytes"):
        await runner_of(skill).run(attempt_of(files=(File("a", raw=b"1234567890"),)))


async def test_a_key_for_calls_elsewhere_is_the_same_in_every_run() -> None:
    keys: list[str] = []

    async def skill(task: TaskContext) -> None:
        keys.extend([task.idempotency_key(), task.idempotency_key("mail")])

    runner = runner_of(skill)
    await runner.run(attempt_of())
    await runner.run(RecordingAttempt(task_of("hi", skill="s"), run=2, number=2))
    assert keys[:2] == keys[2:]
    assert keys[0] != keys[1]


async def order(item: str, count: int, mode: str = "fast") -> str:
    return f"{count} {item} {mode}"


async def order_of_a_file(note: str, source: File) -> str:
    return f"{note} {source.filename}"


class Order(BaseModel):
    item: str
    count: int


async def order_of_a_model(task: TaskContext, order: Order) -> str:
    return f"{order.count} {order.item} {await task.ask('Sure?')}"


def missing(question: Message) -> object:
    data = question.parts[1]
    assert isinstance(data, Data)
    assert isinstance(data.data, dict)
    assert "properties" in str(data.data["schema"])
    return data.data["missing"]


Answers = list[tuple[list[str], list[Part]]]


@pytest.mark.parametrize(
    ("function", "given", "answers", "result"),
    [
        (order, {"text": "tea"}, [(["count"], [Text("3")])], "3 tea fast"),
        (order, {"text": "tea"}, [(["count"], [Data({"count": 3, "mode": "slow"})])], "3 tea slow"),
        (order, {"text": None, "data": {"count": 2}}, [(["item"], [Text("tea")])], "2 tea fast"),
        (order, {"text": None}, [(["item", "count"], [Text("tea")]), (["count"], [Text("4")])], "4 tea fast"),
        (order, {"text": "tea"}, [(["count"], [Text("many")]), ([], [Text("5")])], "5 tea fast"),
        (order_of_a_file, {"text": "see"}, [(["source"], [File("a.txt", raw=b"a")])], "see a.txt"),
        (order_of_a_model, {"text": None, "data": {"item": "tea"}}, [(["count"], [Data({"count": 1})])], "1 tea Sure?"),
    ],
    ids=["text", "data", "the text itself", "one by one", "wrong answer", "file", "model"],
)
async def test_what_is_missing_is_asked_for(
    function: Callable[..., Awaitable[str]], given: dict[str, Any], answers: Answers, result: str
) -> None:
    runner = runner_of(function)
    attempt = attempt_of(**given)
    for names, parts in answers:
        question = await asked(runner, attempt)
        assert missing(question) == names
        assert all(name in question.text for name in names)
        attempt = attempt.answered(*parts)
    if function is order_of_a_model:
        assert (await asked(runner, attempt)).text == "Sure?"
        attempt = attempt.answered(Data({"count": 99}), Text("Sure?"))
    assert await ends(runner, attempt) == [result]


async def test_a_wrong_value_in_the_first_message_rejects_the_task() -> None:
    with pytest.raises(Reject, match='Parameter "count"'):
        await runner_of(order).run(attempt_of("tea", data={"count": "many"}))


async def test_a_text_that_looks_like_json_stays_a_text_where_only_that_fits() -> None:
    async def skill(code: Literal["5", "6"], count: int = 1) -> str:
        return f"{code} {count}"

    runner = runner_of(skill)
    attempt = attempt_of(None)
    await asked(runner, attempt)
    assert await ends(runner, attempt.answered(Text("5"))) == ["5 1"]


async def test_the_notes_of_questions_do_not_meet() -> None:
    async def skill(task: TaskContext, item: str, count: int) -> str:
        return f"{item} {count} {await task.ask('Sure?')}"

    runner = runner_of(skill)
    attempt = attempt_of("tea")
    await asked(runner, attempt)
    attempt = attempt.answered(Text("3"))
    assert (await asked(runner, attempt)).text == "Sure?"
    attempt = attempt.answered(Text("yes"))
    assert await ends(runner, attempt) == ["tea 3 yes"]
    names = [name for _, space, name in attempt.kept if space == ASKED]
    assert names == ["parameters:1", "input::1"]


async def test_an_answer_is_asked_for_with_an_example_of_what_is_not_there_yet() -> None:
    runner = runner_of(order)
    attempt = attempt_of("tea")
    question = await asked(runner, attempt)
    assert question.text == 'Parameter "count" is missing. Send text, or a data part, for example {"count":1}'
    attempt = attempt.answered(Text("many"))
    question = await asked(runner, attempt)
    data = question.parts[1]
    assert isinstance(data, Data)
    assert isinstance(data.data, dict)
    assert (data.data["missing"], data.data["wrong"]) == ([], ["count"])
