"""A2A 1.0 on the wire: what the server answers; the golden answers of protocol.md section 6."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
import pytest
from a2a import types
from google.protobuf import json_format  # type: ignore[import-untyped]  # its stubs are a package of their own
from hypothesis import given, strategies

from a2a_server.errors import InternalError, InvalidParams, Overloaded, ParseError, TaskNotFound
from a2a_server.model.objects import (
    EVENT_URI,
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
from a2a_server.wire import v10

MessageT = TypeVar("MessageT")

BASE = "https://agent.example"
AT = 1_779_962_400_123_456
STAMP = "2026-05-28T10:00:00.123Z"

LABELS = strategies.text(strategies.characters(codec="utf-8"), max_size=20).filter(str.isprintable)
NUMBERS = strategies.integers(-(2**53), 2**53) | strategies.floats(allow_nan=False, allow_infinity=False)
JSON: strategies.SearchStrategy[Any] = strategies.recursive(
    strategies.none() | strategies.booleans() | NUMBERS | strategies.text(),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(), inner, max_size=3),
    max_leaves=6,
)
METADATA = strategies.none() | strategies.dictionaries(strategies.text(), JSON, min_size=1, max_size=3)
PARTS: strategies.SearchStrategy[Part] = (
    strategies.builds(Text, strategies.text(), LABELS, LABELS, METADATA)
    | strategies.builds(Data, JSON, LABELS, LABELS, METADATA)
    | strategies.builds(File, LABELS, LABELS, raw=strategies.binary(), metadata=METADATA)
    | strategies.builds(File, LABELS, LABELS, url=strategies.text(min_size=1), metadata=METADATA)
)


def full_task() -> Task:
    said = Message(
        Role.USER,
        (Text("hi"), Data([1, {"a": None}]), File("a.bin", "image/png", raw=b"\x00\xff"), File(url="https://x/y")),
        "m1",
        "C",
        "T",
        ("T0",),
        ("urn:x",),
        {"k": "v"},
    )
    result = Artifact(
        "report", (Text("done", "text/markdown", "r.md", {"a": 1}),), "A report.", {"m": True}, ("urn:x",)
    )
    large = Artifact("blob", (File("b.zip", "application/zip", stored="0198/1/2", size=70_000),), ordinal=1)
    status = Status(State.COMPLETED, AT, Message(Role.AGENT, (Text("yo"),), "m2", "C", "T"))
    return Task("T", "C", Generation.V10, status, 9, (result, large), (said,), {"mine": 1}, {"phase": "final"})


def sdk_accepts(shown: JsonObject, message: MessageT) -> MessageT:
    json_format.ParseDict(orjson.loads(orjson.dumps(shown)), message, ignore_unknown_fields=False)
    return message


class TestRender:
    def test_the_example_of_the_specification(self) -> None:
        """Section 6: {"task":{"id":"T","contextId":"C","status":{"state":"TASK_STATE_WORKING","timestamp":…}}}."""
        task = Task("T", "C", Generation.V10, Status(State.WORKING, 1_779_962_400_000_000), 1)
        assert v10.render_send(task, BASE) == {
            "task": {
                "id": "T",
                "contextId": "C",
                "status": {"state": "TASK_STATE_WORKING", "timestamp": "2026-05-28T10:00:00.000Z"},
            }
        }
        assert v10.render_task(task, BASE) == v10.render_send(task, BASE)["task"]

    def test_everything_that_a_task_may_have(self) -> None:
        assert v10.render_task(full_task(), BASE) == {
            "id": "T",
            "contextId": "C",
            "status": {
                "state": "TASK_STATE_COMPLETED",
                "message": {
                    "messageId": "m2",
                    "role": "ROLE_AGENT",
                    "parts": [{"text": "yo"}],
                    "contextId": "C",
                    "taskId": "T",
                },
                "timestamp": STAMP,
            },
            "artifacts": [
                {
                    "artifactId": "artifact-1",
                    "name": "report",
                    "description": "A report.",
                    "parts": [
                        {"text": "done", "filename": "r.md", "mediaType": "text/markdown", "metadata": {"a": 1}},
                    ],
                    "metadata": {"m": True},
                    "extensions": ["urn:x"],
                },
                {
                    "artifactId": "artifact-2",
                    "name": "blob",
                    "parts": [
                        {
                            "url": f"{BASE}/artifacts/0198/1/2",
                            "filename": "b.zip",
                            "mediaType": "application/zip",
                        }
                    ],
                },
            ],
            "history": [
                {
                    "messageId": "m1",
                    "role": "ROLE_USER",
                    "parts": [
                        {"text": "hi"},
                        {"data": [1, {"a": None}]},
                        {"raw": "AP8=", "filename": "a.bin", "mediaType": "image/png"},
                        {"url": "https://x/y"},
                    ],
                    "contextId": "C",
                    "taskId": "T",
                    "referenceTaskIds": ["T0"],
                    "extensions": ["urn:x"],
                    "metadata": {"k": "v"},
                }
            ],
            "metadata": {"mine": 1, TASK_URI: {"phase": "final"}},
        }

    @pytest.mark.parametrize("state", State)
    def test_the_sdk_accepts_every_task_and_state(self, state: State) -> None:
        task = full_task()
        shown = v10.render_task(task, BASE)
        assert isinstance(shown["status"], dict)
        shown["status"] = {**shown["status"], "state": v10.STATES[state]}
        read = sdk_accepts(shown, types.Task())
        assert read.status.state == state.value
        assert read.status.timestamp.ToJsonString() == STAMP
        assert read.artifacts[1].parts[0].url == f"{BASE}/artifacts/0198/1/2"
        assert sdk_accepts(v10.render_send(task, BASE), types.SendMessageResponse()).task.id == "T"

    def test_a_stream_begins_with_the_task_and_says_what_it_includes(self) -> None:
        """Section 8: "first event MUST be current Task"."""
        (item,) = v10.render_start(full_task(), BASE)
        task = item["task"]
        assert isinstance(task, dict)
        assert task["metadata"] == {"mine": 1, TASK_URI: {"phase": "final"}, EVENT_URI: {"n": 9}}
        assert {**task, "metadata": None} == {**v10.render_task(full_task(), BASE), "metadata": None}
        assert sdk_accepts(item, types.StreamResponse()).task.metadata[EVENT_URI]["n"] == 9

    def test_a_direct_answer(self) -> None:
        """Section 6: {"result":{"message":{"messageId":"m2","contextId":"C","role":"ROLE_AGENT","parts":[…]}}}."""
        said = Message(Role.AGENT, (Text("yo"),), "m2", "C")
        shown = v10.render_send(said, BASE)
        assert shown == {
            "message": {"messageId": "m2", "contextId": "C", "role": "ROLE_AGENT", "parts": [{"text": "yo"}]}
        }
        assert v10.render_start(said, BASE) == [shown]
        assert sdk_accepts(shown, types.SendMessageResponse()).message.message_id == "m2"
        assert sdk_accepts(shown, types.StreamResponse()).message.message_id == "m2"

    def test_a_status_event(self) -> None:
        """Section 6: {"statusUpdate":{"taskId":"T","contextId":"C","status":{"state":"TASK_STATE_WORKING"}}}."""
        event = StatusEvent(2, Status(State.WORKING, AT, metadata={"s": 1}), metadata={"e": 2})
        shown = v10.render_event(event, "T", "C", BASE)
        assert shown == {
            "statusUpdate": {
                "taskId": "T",
                "contextId": "C",
                "status": {"state": "TASK_STATE_WORKING", "timestamp": STAMP},
                "metadata": {"s": 1, "e": 2, EVENT_URI: {"n": 2}},
            }
        }
        assert sdk_accepts(shown, types.StreamResponse()).status_update.task_id == "T"

    @pytest.mark.parametrize(
        ("progress", "told"),
        [
            (Progress(0.0), {"progress": 0.0}),
            (Progress(None, 3, 10, "pages"), {"done": 3, "total": 10, "note": "pages"}),
            (Progress(), {}),
        ],
        ids=repr,
    )
    def test_a_progress_note(self, progress: Progress, told: JsonObject) -> None:
        event = StatusEvent(3, Status(State.WORKING, AT), progress)
        shown = v10.render_event(event, "T", "C", BASE)["statusUpdate"]
        assert isinstance(shown, dict)
        assert shown["metadata"] == {PROGRESS_URI: told, EVENT_URI: {"n": 3}}

    def test_an_artifact_event(self) -> None:
        """Section 6: {"artifactUpdate":{…,"artifact":{…},"append":true,"lastChunk":true}}."""
        event = ArtifactEvent(4, AT, Artifact("a", (Text("x"),)), append=True, last=True)
        shown = v10.render_event(event, "T", "C", BASE)
        assert shown == {
            "artifactUpdate": {
                "taskId": "T",
                "contextId": "C",
                "artifact": {"artifactId": "artifact-1", "name": "a", "parts": [{"text": "x"}]},
                "append": True,
                "lastChunk": True,
                "metadata": {EVENT_URI: {"n": 4}},
            }
        }
        assert sdk_accepts(shown, types.StreamResponse()).artifact_update.last_chunk

    def test_a_chunk_without_parts_says_empty_text(self) -> None:
        """Section 3: "required arrays must be non-empty"."""
        event = ArtifactEvent(4, AT, Artifact("", ()), append=True, last=True)
        shown = v10.render_event(event, "T", "C", BASE)["artifactUpdate"]
        assert isinstance(shown, dict)
        assert shown["artifact"] == {"artifactId": "artifact-1", "parts": [{"text": ""}]}

    def test_moments_are_cut_to_milliseconds(self) -> None:
        for at, stamp in ((0, "1970-01-01T00:00:00.000Z"), (999_999, "1970-01-01T00:00:00.999Z")):
            task = Task("T", "C", Generation.V10, Status(State.WORKING, at), 1)
            status = v10.render_task(task, BASE)["status"]
            assert isinstance(status, dict)
            assert status["timestamp"] == stamp

    @given(PARTS)
    def test_parts_survive_the_round_trip_and_the_sdk_takes_them(self, part: Part) -> None:
        shown = v10.render_part(part, BASE)
        assert v10.parse_part(orjson.loads(orjson.dumps(shown)), "p") == part
        sdk_accepts(shown, types.Part())


class TestErrors:
    def test_an_error_carries_error_info(self) -> None:
        """Section 7: `error.data` = array: [{"@type":…ErrorInfo,"reason":"TASK_NOT_FOUND","domain":…}]."""
        assert v10.render_error(TaskNotFound()) == {
            "code": -32001,
            "message": "Task not found",
            "data": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "TASK_NOT_FOUND",
                    "domain": "a2a-protocol.org",
                }
            ],
        }

    def test_invalid_params_name_the_field(self) -> None:
        """Section 7: "plus google.rpc.BadRequest {fieldViolations:[{field,description}]} for -32602"."""
        shown = v10.render_error(InvalidParams("id is missing", path="id"))
        assert isinstance(shown["data"], list)
        assert shown["data"][1] == {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "id", "description": "id is missing"}],
        }
        assert len(v10.render_error(InvalidParams())["data"] or []) == 1  # type: ignore[arg-type]  # only its length counts
        assert len(v10.render_error(ParseError(path="x"))["data"] or []) == 1  # type: ignore[arg-type]  # only its length counts

    def test_facts_are_strings(self) -> None:
        for error, facts in (
            (Overloaded(retry_after_seconds=3), {"retryAfterSeconds": "3"}),
            (InternalError(error_id="e1"), {"errorId": "e1"}),
        ):
            data = v10.render_error(error)["data"]
            assert isinstance(data, list)
            assert isinstance(data[0], dict)
            assert data[0]["metadata"] == facts
