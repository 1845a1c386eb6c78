"""ListTasks as 1.0 spells it, and page tokens."""

from __future__ import annotations

from typing import Any

import pytest
from a2a.types.a2a_pb2 import ListTasksRequest, ListTasksResponse
from google.protobuf.json_format import MessageToDict, ParseDict  # type: ignore[import-untyped]  # its stubs are a package of their own

from a2a_server.errors import InvalidParams
from a2a_server.model.objects import Artifact, Generation, Message, Role, State, Status, Task, Text
from a2a_server.model.queries import TaskCursor
from a2a_server.model.requests import ListRequest
from a2a_server.model.rows import Key
from a2a_server.wire.pages import decode_token, encode_token, parse_list, render_list

CURSOR = TaskCursor(1_780_000_000_123_456, Key(bytes(range(16))))
MOMENT = 1_779_962_400_000_000  # 2026-05-28T10:00:00Z


def test_nothing_asked_is_a_page_of_fifty_without_artifacts() -> None:
    assert parse_list({}) == ListRequest(None, None, None, 50, "", None, artifacts=False)


def test_every_member() -> None:
    asked = {
        "tenant": "",
        "contextId": "c",
        "status": "TASK_STATE_WORKING",
        "pageSize": 7,
        "pageToken": "token",
        "historyLength": 3,
        "statusTimestampAfter": "2026-05-28T10:00:00Z",
        "includeArtifacts": True,
        "unknown": 1,
    }
    expected = ListRequest("c", State.WORKING, MOMENT, 7, "token", 3, artifacts=True)
    assert parse_list(asked) == expected
    snake = {"context_id": "c", "status": 2, "page_size": 7.0, "page_token": "token", "history_length": 3}
    assert parse_list(snake | {"status_timestamp_after": asked["statusTimestampAfter"], "include_artifacts": True}) == (
        expected
    )


def test_what_the_reference_client_sends() -> None:
    message = ListTasksRequest(
        context_id="c",
        status="TASK_STATE_INPUT_REQUIRED",
        page_size=5,
        page_token="t",
        history_length=0,
        include_artifacts=True,
    )
    message.status_timestamp_after.FromJsonString("2026-05-28T10:00:00.000000001Z")
    asked = MessageToDict(message)
    assert parse_list(asked) == ListRequest("c", State.INPUT_REQUIRED, MOMENT + 1, 5, "t", 0, artifacts=True)
    assert parse_list(MessageToDict(ListTasksRequest())) == parse_list({})


@pytest.mark.parametrize("value", ["TASK_STATE_UNSPECIFIED", 0, None])
def test_an_unspecified_state_is_any_state(value: object) -> None:
    assert parse_list({"status": value}).state is None


@pytest.mark.parametrize("state", State)
def test_states_have_names_and_numbers(state: State) -> None:
    assert parse_list({"status": f"TASK_STATE_{state.name}"}).state is state
    assert parse_list({"status": int(state)}).state is state


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-05-28T10:00:00Z", MOMENT),
        ("2026-05-28t10:00:00z", MOMENT),
        ("2026-05-28T10:00:00+00:00", MOMENT),
        ("2026-05-28T12:30:00+02:30", MOMENT),
        ("2026-05-28T07:30:00-02:30", MOMENT),
        ("2026-05-28T10:00:00.5Z", MOMENT + 500_000),
        ("2026-05-28T10:00:00.000001Z", MOMENT + 1),
        ("2026-05-28T10:00:00.000001001Z", MOMENT + 2),
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("9999-12-31T23:59:59.999999999Z", 253_402_300_800_000_000),
        ("9999-12-31T23:59:59-00:00", 253_402_300_799_000_000),
        ("", None),
        (None, None),
    ],
)
def test_moments(text: str | None, moment: int | None) -> None:
    assert parse_list({"statusTimestampAfter": text}).status_from == moment


WRONG: dict[str, list[Any]] = {
    "pageSize": [0, 101, -1, 1.5, "5", True, [], 2**40, 1e300],
    "pageToken": [1, [], {}, True],
    "status": ["WORKING", "working", "TASK_STATE_NONE", "", "2", 9, -1, 2.0, True, [], {}],
    "historyLength": [-1, "1", 1.5, 2**31, True],
    "contextId": [1, [], "x" * 257, "a\nb"],
    "includeArtifacts": ["true", 1, []],
    "tenant": ["x"],
    "statusTimestampAfter": [
        1,
        True,
        "yesterday",
        "2026-05-28",
        "2026-05-28T10:00:00",
        "2026-05-28 10:00:00Z",
        "2026-05-28T10:00Z",
        "2026-05-28T10:00:00Z ",
        "2026-05-28T10:00:00Z\n",
        "2026-05-28T10:00:00.Z",
        "2026-05-28T10:00:00.1234567890Z",
        "2026-13-28T10:00:00Z",
        "2026-02-30T10:00:00Z",
        "2026-05-28T25:00:00Z",
        "2026-05-28T10:00:60Z",
        "2026-05-28T10:00:00+24:00",
        "2026-05-28T10:00:00+00:60",
        "2026-05-28T10:00:00+0000",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "10000-01-01T00:00:00Z",
        "٢٠٢٦-05-28T10:00:00Z",
    ],
}


@pytest.mark.parametrize(
    ("member", "value"), [(member, value) for member, values in WRONG.items() for value in values], ids=repr
)
def test_a_wrong_member_is_named(member: str, value: object) -> None:
    with pytest.raises(InvalidParams) as raised:
        parse_list({member: value})
    assert raised.value.path == member
    assert raised.value.message.startswith(member)


@pytest.mark.parametrize("params", [None, [], "x", 1])
def test_params_must_be_an_object(params: object) -> None:
    with pytest.raises(InvalidParams) as raised:
        parse_list(params)
    assert raised.value.path == "params"


def test_an_answer_has_every_member_and_is_what_the_reference_reads() -> None:
    task = Task(
        "t",
        "c",
        Generation.V10,
        Status(State.COMPLETED, MOMENT),
        4,
        artifacts=(Artifact("text", (Text("x"),)),),
        history=(Message(Role.USER, (Text("hi"),), "m"),),
    )
    answer = render_list([task], "next", 1, 3, "http://127.0.0.1")
    read = ParseDict(answer, ListTasksResponse())
    assert (read.next_page_token, read.page_size, read.total_size) == ("next", 1, 3)
    assert [shown.id for shown in read.tasks] == ["t"]
    assert len(read.tasks[0].history) == len(read.tasks[0].artifacts) == 1
    empty: dict[str, object] = {"tasks": [], "nextPageToken": "", "pageSize": 50, "totalSize": 0}
    assert render_list([], "", 50, 0, "") == empty


def test_a_token_comes_back_as_the_cursor_it_was() -> None:
    for cursor in (CURSOR, TaskCursor(0, Key(b"\xff" * 16)), TaskCursor(-1, Key(bytes(16)))):
        assert decode_token(encode_token(cursor, b"list"), b"list") == cursor


def test_a_token_is_of_one_list() -> None:
    with pytest.raises(InvalidParams) as raised:
        decode_token(encode_token(CURSOR, b"list"), b"another")
    assert raised.value.path == "pageToken"


def test_no_character_of_a_token_can_be_changed() -> None:
    token = encode_token(CURSOR, b"list")
    for at in range(len(token)):
        for character in "A_z9":
            changed = token[:at] + character + token[at + 1 :]
            if changed != token:
                with pytest.raises(InvalidParams):
                    decode_token(changed, b"list")


@pytest.mark.parametrize("token", ["x", " ", "A" * 44, "A" * 43, "A" * 45, "A" * 43 + "=", "Ä" * 44, "x" * 1_000_000])
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(InvalidParams) as raised:
        decode_token(token, b"list")
    assert raised.value.path == "pageToken"
    assert "x" * 65 not in raised.value.message
