"""A2A v0.1 on the wire: the golden answers of protocol.md section 4, and the error oracle for its params."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies

from a2a_server.errors import InternalError, InvalidParams, Overloaded, PushNotSupported, TaskNotFound
from a2a_server.model.objects import (
    EVENT_URI,
    OPTIONS_URI,
    PROGRESS_URI,
    TASK_URI,
    Artifact,
    ArtifactEvent,
    Data,
    File,
    Generation,
    JsonObject,
    Message,
    Part,
    Progress,
    Role,
    State,
    Status,
    StatusEvent,
    Task,
    Text,
)
from a2a_server.wire import v01

BASE = "https://agent.example"
AT = 1_746_093_600_000_000
STAMP = "2025-05-01T10:00:00.000Z"
FINAL = [state for state in State if state not in {State.SUBMITTED, State.WORKING}]

LABELS = strategies.text(strategies.characters(codec="utf-8"), max_size=20).filter(str.isprintable)
METADATA = strategies.none() | strategies.dictionaries(strategies.text(), strategies.text(), min_size=1, max_size=2)
PARTS: strategies.SearchStrategy[Part] = (
    strategies.builds(Text, strategies.text(), metadata=METADATA)
    | strategies.builds(Data, strategies.dictionaries(strategies.text(), strategies.integers(0, 9)), metadata=METADATA)
    | strategies.builds(File, LABELS, LABELS, raw=strategies.binary(), metadata=METADATA)
    | strategies.builds(File, LABELS, LABELS, url=strategies.text(min_size=1), metadata=METADATA)
)


def send_params(**members: object) -> dict[str, Any]:
    return {"id": "t1", "message": {"role": "user", "parts": [{"type": "text", "text": "hi"}]}, **members}


def with_part(part: object) -> dict[str, Any]:
    return send_params(message={"role": "user", "parts": [part]})


def task(state: State, *artifacts: Artifact, **members: Any) -> Task:  # noqa: ANN401 - any field of a task
    return Task("t1", "s1", Generation.V01, Status(state, AT), 7, artifacts, **members)


class TestSend:
    def test_the_example_of_the_specification(self) -> None:
        """Section 4: tasks/send {"id":"t1","sessionId":"s1","message":{…},"historyLength":5}."""
        request = v01.parse_send(send_params(sessionId="s1", historyLength=5))
        assert request.generation is Generation.V01
        assert (request.task_id, request.context_id) == ("t1", "s1")
        assert request.message == Message(Role.USER, (Text("hi"),))
        assert (request.blocking, request.history_length) == (True, 5)
        assert (request.metadata, request.after) == (None, None)

    def test_history_that_nobody_asked_for_is_none(self) -> None:
        """Section 4: "historyLength omitted/0/null = no history requested"."""
        for members in ({}, {"historyLength": 0}, {"historyLength": None}):
            assert v01.parse_send(send_params(**members)).history_length == 0

    def test_waits_for_the_end_unless_the_options_say_otherwise(self) -> None:
        """Section 4: "tasks/send of the google servers waits for completion (no blocking flag exists)"."""
        for option, blocking in ((True, False), (False, True)):
            metadata = {OPTIONS_URI: {"returnImmediately": option}, "mine": 1, "afterEvent": 2}
            request = v01.parse_send(send_params(metadata=metadata))
            assert request.blocking is blocking
            assert (request.metadata, request.after) == ({"mine": 1}, 2)

    def test_every_kind_of_part(self) -> None:
        parts = [
            {"type": "text", "text": "", "metadata": {"a": 1}},
            {"type": "file", "file": {"name": "a.png", "mimeType": "image/png", "bytes": "AP8=", "uri": None}},
            {"type": "file", "file": {"uri": "https://x/y"}},
            {"type": "data", "data": {"k": None}},
        ]
        message = {"role": "user", "parts": parts, "metadata": {"m": 1}, "messageId": "ignored"}
        assert v01.parse_send(send_params(message=message)).message == Message(
            Role.USER,
            (
                Text("", metadata={"a": 1}),
                File("a.png", "image/png", raw=b"\x00\xff"),
                File(url="https://x/y"),
                Data({"k": None}),
            ),
            metadata={"m": 1},
        )

    def test_the_dialect_of_python_a2a(self) -> None:
        """Section 4: message:{"content":{"type":"text","text":..},"role","message_id"}; "accept `content`"."""
        metadata: JsonObject = {"created_at": "2025-06-01T10:00:00", "custom_fields": {}}
        request = v01.parse_send(
            {
                "id": "0d4f",
                "sessionId": "9a1c",
                "status": {"state": "submitted", "timestamp": "2025-06-01T10:00:00.000000"},
                "message": {
                    "content": {"text": "hi", "type": "text"},
                    "role": "user",
                    "message_id": "6f0e",
                    "parent_message_id": None,
                    "conversation_id": "c",
                    "metadata": metadata,
                },
            }
        )
        assert (request.task_id, request.context_id) == ("0d4f", "9a1c")
        assert request.message == Message(Role.USER, (Text("hi"),), metadata=metadata)

    def test_parts_win_over_content(self) -> None:
        message = {"content": {"type": "text", "text": "no"}, "parts": [{"type": "text", "text": "hi"}], "role": "user"}
        assert v01.parse_send(send_params(message=message)).message == Message(Role.USER, (Text("hi"),))

    def test_push_notifications_are_not_supported(self) -> None:
        with pytest.raises(PushNotSupported):
            v01.parse_send(send_params(pushNotification={"url": "https://c/x"}))
        assert v01.parse_send(send_params(pushNotification=None)).task_id == "t1"

    @pytest.mark.parametrize(
        ("params", "path"),
        [
            (None, "params"),
            ([], "params"),
            ({}, "id"),
            (send_params(id=None), "id"),
            (send_params(id=""), "id"),
            (send_params(id=1), "id"),
            (send_params(id="x" * 257), "id"),
            (send_params(id="a\r"), "id"),
            (send_params(sessionId=5), "sessionId"),
            (send_params(sessionId="\x1b"), "sessionId"),
            (send_params(message=None), "message"),
            (send_params(message="hi"), "message"),
            (send_params(message={"parts": [{"type": "text", "text": "x"}]}), "message.role"),
            (send_params(message={"role": "agent", "parts": [{"type": "text", "text": "x"}]}), "message.role"),
            (send_params(message={"role": "ROLE_USER", "parts": [{"type": "text", "text": "x"}]}), "message.role"),
            (send_params(message={"role": "user"}), "message.parts"),
            (send_params(message={"role": "user", "parts": []}), "message.parts"),
            (send_params(message={"role": "user", "parts": "x"}), "message.parts"),
            (send_params(message={"role": "user", "content": {"text": "x"}}), "message.content.type"),
            (
                send_params(message={"role": "user", "content": {"type": "error", "message": "x"}}),
                "message.content.type",
            ),
            (send_params(message={"role": "user", "content": [{"type": "text", "text": "x"}]}), "message.content"),
            (send_params(message={"role": "user", "content": "x"}), "message.content"),
            (send_params(message={"role": "user", "content": {"type": "text"}}), "message.content.text"),
            (send_params(message={"role": "system", "content": {"type": "text", "text": "x"}}), "message.role"),
            (send_params(historyLength=-1), "historyLength"),
            (send_params(historyLength="1"), "historyLength"),
            (send_params(metadata=[1]), "metadata"),
            (send_params(metadata={"afterEvent": 1.5}), "metadata.afterEvent"),
            (send_params(metadata={OPTIONS_URI: {"skil": 1}}), f'metadata["{OPTIONS_URI}"].skil'),
            (with_part("x"), "message.parts[0]"),
            (with_part({"text": "x"}), "message.parts[0].type"),
            (with_part({"kind": "text", "text": "x"}), "message.parts[0].type"),
            (with_part({"type": "image"}), "message.parts[0].type"),
            (with_part({"type": ["text"]}), "message.parts[0].type"),
            (with_part({"type": "text"}), "message.parts[0].text"),
            (with_part({"type": "text", "text": 1}), "message.parts[0].text"),
            (with_part({"type": "data"}), "message.parts[0].data"),
            (with_part({"type": "data", "data": [1]}), "message.parts[0].data"),
            (with_part({"type": "file"}), "message.parts[0].file"),
            (with_part({"type": "file", "file": {}}), "message.parts[0].file"),
            (with_part({"type": "file", "file": {"bytes": "", "uri": ""}}), "message.parts[0].file"),
            (with_part({"type": "file", "file": {"bytes": "!"}}), "message.parts[0].file.bytes"),
            (with_part({"type": "file", "file": {"bytes": 1}}), "message.parts[0].file.bytes"),
            (with_part({"type": "file", "file": {"uri": ""}}), "message.parts[0].file.uri"),
            (with_part({"type": "file", "file": {"uri": "x", "name": 1}}), "message.parts[0].file.name"),
            (with_part({"type": "file", "file": {"uri": "x", "mimeType": 1}}), "message.parts[0].file.mimeType"),
            (with_part({"type": "text", "text": "x", "metadata": 1}), "message.parts[0].metadata"),
        ],
        ids=lambda value: f"{repr(value)[:24]}…{repr(value)[-70:]}",
    )
    def test_what_breaks_a_rule_is_named_by_its_path(self, params: object, path: str) -> None:
        """Oracle: "missing, wrong-typed or empty required fields; a part without or with a wrong kind; …" is -32602."""
        with pytest.raises(InvalidParams) as caught:
            v01.parse_send(params)
        assert caught.value.path == path
        assert caught.value.message.startswith(path)


class TestOtherRequests:
    def test_the_examples_of_the_specification(self) -> None:
        """Section 4: tasks/get {"id":"t1","historyLength":2}, tasks/cancel {"id":"t1"}, tasks/resubscribe."""
        get = v01.parse_get({"id": "t1", "historyLength": 2})
        assert (get.task_id, get.history_length, get.generation) == ("t1", 2, Generation.V01)
        assert v01.parse_get({"id": "t1"}).history_length is None  # none, as the generation has it
        assert v01.parse_cancel({"id": "t1"}).task_id == "t1"
        subscribe = v01.parse_subscribe({"id": "t2", "metadata": {"afterEvent": 3}})
        assert (subscribe.task_id, subscribe.after, subscribe.generation) == ("t2", 3, Generation.V01)

    @pytest.mark.parametrize("parse", [v01.parse_get, v01.parse_cancel, v01.parse_subscribe], ids=lambda f: f.__name__)
    @pytest.mark.parametrize(("params", "path"), [(None, "params"), ({}, "id"), ({"id": 5}, "id")], ids=repr)
    def test_need_an_id(self, parse: Callable[[object], object], params: object, path: str) -> None:
        with pytest.raises(InvalidParams) as caught:
            parse(params)
        assert caught.value.path == path

    def test_negative_history_and_bad_metadata_are_refused(self) -> None:
        cases: list[tuple[Callable[[object], object], object, str]] = [
            (v01.parse_get, {"id": "T", "historyLength": -1}, "historyLength"),
            (v01.parse_subscribe, {"id": "T", "historyLength": -1}, "historyLength"),
            (v01.parse_cancel, {"id": "T", "metadata": 1}, "metadata"),
            (v01.parse_subscribe, {"id": "T", "metadata": {"afterEvent": -1}}, "metadata.afterEvent"),
        ]
        for parse, params, path in cases:
            with pytest.raises(InvalidParams) as caught:
                parse(params)
            assert caught.value.path == path


class TestRender:
    def test_the_example_of_the_specification(self) -> None:
        """Section 4: {"id":"t1","sessionId":"s1","status":{…},"artifacts":[{"parts":[…],"index":0}],"history":[…]}."""
        shown = v01.render_send(
            task(State.COMPLETED, Artifact("", (Text("echo"),)), history=(Message(Role.USER, (Text("hi"),), "hash"),)),
            BASE,
        )
        assert shown == {
            "id": "t1",
            "sessionId": "s1",
            "status": {"state": "completed", "timestamp": STAMP},
            "artifacts": [{"parts": [{"type": "text", "text": "echo"}], "index": 0}],
            "history": [{"role": "user", "parts": [{"type": "text", "text": "hi"}]}],
        }

    def test_no_answer_is_a_message(self) -> None:
        said = Message(Role.AGENT, (Text("hi"),), "m")
        for render in (v01.render_send, v01.render_start):
            with pytest.raises(TypeError):
                render(said, BASE)

    def test_metadata_is_the_clients_own_and_what_the_owner_sees(self) -> None:
        shown = v01.render_task(task(State.WORKING, metadata={"mine": 1}, info={"phase": "ready"}), BASE)
        assert shown["metadata"] == {"mine": 1, TASK_URI: {"phase": "ready"}}
        assert "metadata" not in v01.render_task(task(State.WORKING), BASE)

    def test_every_kind_of_part(self) -> None:
        cases: list[tuple[Part, JsonObject]] = [
            (Text("x", "text/markdown", "a.md", {"k": 1}), {"type": "text", "text": "x", "metadata": {"k": 1}}),
            (Data({"a": 1}), {"type": "data", "data": {"a": 1}}),
            (Data([1]), {"type": "data", "data": {"value": [1]}}),
            (Data(None), {"type": "data", "data": {"value": None}}),
            (
                File("a.png", "image/png", raw=b"\x00\xff"),
                {"type": "file", "file": {"name": "a.png", "mimeType": "image/png", "bytes": "AP8="}},
            ),
            (File(url="https://x/y"), {"type": "file", "file": {"uri": "https://x/y"}}),
            (File(stored="k/0/1"), {"type": "file", "file": {"uri": f"{BASE}/artifacts/k/0/1"}}),
        ]
        for part, shown in cases:
            assert v01.render_part(part, BASE) == shown

    @pytest.mark.parametrize(
        ("state", "word"),
        [
            (State.SUBMITTED, "submitted"),
            (State.WORKING, "working"),
            (State.INPUT_REQUIRED, "input-required"),
            (State.AUTH_REQUIRED, "input-required"),
            (State.COMPLETED, "completed"),
            (State.CANCELED, "canceled"),
            (State.FAILED, "failed"),
            (State.REJECTED, "failed"),
        ],
    )
    def test_states_and_when_they_are_final(self, state: State, word: str) -> None:
        """Section 4: "`final:true` on the last event of the *interaction*, also for input-required"."""
        event = StatusEvent(2, Status(state, AT, Message(Role.AGENT, (Text("?"),), "m")))
        assert v01.render_event(event, "t1", "s1", BASE) == {
            "id": "t1",
            "status": {
                "state": word,
                "message": {"role": "agent", "parts": [{"type": "text", "text": "?"}]},
                "timestamp": STAMP,
            },
            "final": state in FINAL,
            "metadata": {EVENT_URI: {"n": 2}},
        }

    def test_a_progress_note(self) -> None:
        event = StatusEvent(2, Status(State.WORKING, AT), Progress(0.5, note="half"), {"e": 1})
        shown = v01.render_event(event, "t1", "s1", BASE)
        assert shown["metadata"] == {"e": 1, PROGRESS_URI: {"progress": 0.5, "note": "half"}, EVENT_URI: {"n": 2}}

    def test_an_artifact_event(self) -> None:
        """Section 4: {"id":"t2","artifact":{"parts":[…],"index":0,"append":false,"lastChunk":false}}."""
        artifact = Artifact("report", (Text("par"),), "A report.", {"m": 1}, ordinal=2)
        assert v01.render_event(ArtifactEvent(3, AT, artifact, append=True, last=False), "t2", "s1", BASE) == {
            "id": "t2",
            "artifact": {
                "name": "report",
                "description": "A report.",
                "parts": [{"type": "text", "text": "par"}],
                "index": 2,
                "metadata": {"m": 1},
                "append": True,
                "lastChunk": False,
            },
            "metadata": {EVENT_URI: {"n": 3}},
        }

    @pytest.mark.parametrize("state", State)
    def test_a_snapshot_is_a_status_and_each_artifact_and_ends_where_final_is_true(self, state: State) -> None:
        """core.md section 6: "a v0.1 snapshot is that status and each artifact so far with `append: false`"."""
        done, open_ = Artifact("a", (Text("x"),)), Artifact("b", (Text("y"),), ordinal=1, closed=False)
        items = v01.render_start(task(state, done, open_), BASE)
        status = items[-1] if state in FINAL else items[0]
        assert status["final"] is (state in FINAL)
        artifacts = [item["artifact"] for item in items if "artifact" in item]
        assert [(a["index"], a["append"], a["lastChunk"]) for a in artifacts if isinstance(a, dict)] == [
            (0, False, True),
            (1, False, False),
        ]
        assert [item.get("metadata") for item in items] == [None, None, {EVENT_URI: {"n": 7}}]
        assert all(item["id"] == "t1" for item in items)

    @pytest.mark.parametrize("state", State)
    def test_a_snapshot_without_artifacts_is_one_status(self, state: State) -> None:
        assert v01.render_start(task(state), BASE) == [
            {
                "id": "t1",
                "status": {"state": v01._STATES[state], "timestamp": STAMP},
                "final": state in FINAL,
                "metadata": {EVENT_URI: {"n": 7}},
            }
        ]

    @given(PARTS)
    def test_parts_survive_the_round_trip(self, part: Part) -> None:
        assert v01.parse_part(orjson.loads(orjson.dumps(v01.render_part(part, BASE))), "p") == part


def test_errors_carry_a_plain_data_object_or_none() -> None:
    """Oracle: "v0.1 and 0.3 a plain `data` object or none"."""
    assert v01.render_error(TaskNotFound()) == {"code": -32001, "message": "Task not found"}
    assert v01.render_error(InvalidParams("id is missing", path="id")) == {
        "code": -32602,
        "message": "id is missing",
        "data": {"field": "id"},
    }
    assert v01.render_error(Overloaded("Busy", retry_after_seconds=3))["data"] == {"retryAfterSeconds": 3}
    assert v01.render_error(InternalError(error_id="e1"))["data"] == {"errorId": "e1"}
