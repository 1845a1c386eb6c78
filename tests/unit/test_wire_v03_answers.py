"""A2A 0.2 and 0.3 on the wire: what the server answers; the golden answers of protocol.md section 5."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
import pytest
from a2a.compat.v0_3 import conversions, types
from hypothesis import given, strategies
from pydantic import BaseModel

from a2a_server.errors import (
    ExtendedCardNotConfigured,
    InternalError,
    InvalidParams,
    Overloaded,
    TaskNotFound,
    VersionNotSupported,
)
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
from a2a_server.wire import v03

ModelT = TypeVar("ModelT", bound=BaseModel)

BASE = "https://agent.example"
AT = 1_754_042_400_000_000
STAMP = "2025-08-01T10:00:00.000Z"
FINAL = [state for state in State if state not in {State.SUBMITTED, State.WORKING}]

LABELS = strategies.text(strategies.characters(codec="utf-8"), max_size=20).filter(str.isprintable)
JSON: strategies.SearchStrategy[Any] = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers(-9, 9) | strategies.text(),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(), inner, max_size=3),
    max_leaves=6,
)
METADATA = strategies.none() | strategies.dictionaries(strategies.text(), JSON, min_size=1, max_size=2)
PARTS: strategies.SearchStrategy[Part] = (
    strategies.builds(Text, strategies.text(), metadata=METADATA)
    | strategies.builds(Data, JSON, metadata=METADATA)
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
    large = Artifact("", (File("b.zip", "application/zip", stored="0198/1/2", size=70_000),), ordinal=1)
    status = Status(State.COMPLETED, AT, Message(Role.AGENT, (Text("yo"),), "m2", "C", "T"))
    return Task("T", "C", Generation.V03, status, 9, (result, large), (said,), {"mine": 1}, {"phase": "final"})


def sdk_accepts(shown: JsonObject, model: type[ModelT]) -> ModelT:
    """Read as the SDK's 0.3 types read it; what they do not know would show in what they give back."""
    read = model.model_validate_json(orjson.dumps(shown))
    assert read.model_dump(mode="json", by_alias=True, exclude_none=True).keys() == shown.keys()
    return read


class TestRender:
    def test_the_example_of_the_specification(self) -> None:
        """Section 5: {"kind":"task","id":"T","contextId":"C","status":{…},"artifacts":[…],"history":[...]}."""
        history = (Message(Role.USER, (Text("hi"),), "m1"),)
        done = Status(State.COMPLETED, AT)
        task = Task("T", "C", Generation.V03, done, 1, (Artifact("", (Text("echo"),)),), history)
        assert v03.render_send(task, BASE) == {
            "kind": "task",
            "id": "T",
            "contextId": "C",
            "status": {"state": "completed", "timestamp": STAMP},
            "artifacts": [{"artifactId": "artifact-1", "parts": [{"kind": "text", "text": "echo"}]}],
            "history": [
                {"kind": "message", "messageId": "m1", "role": "user", "parts": [{"kind": "text", "text": "hi"}]}
            ],
        }
        assert v03.render_task(task, BASE) == v03.render_send(task, BASE)

    def test_everything_that_a_task_may_have(self) -> None:
        shown = v03.render_task(full_task(), BASE)
        assert shown == {
            "kind": "task",
            "id": "T",
            "contextId": "C",
            "status": {
                "state": "completed",
                "message": {
                    "kind": "message",
                    "messageId": "m2",
                    "role": "agent",
                    "parts": [{"kind": "text", "text": "yo"}],
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
                    "parts": [{"kind": "text", "text": "done", "metadata": {"a": 1}}],
                    "metadata": {"m": True},
                    "extensions": ["urn:x"],
                },
                {
                    "artifactId": "artifact-2",
                    "parts": [
                        {
                            "kind": "file",
                            "file": {
                                "name": "b.zip",
                                "mimeType": "application/zip",
                                "uri": f"{BASE}/artifacts/0198/1/2",
                            },
                        }
                    ],
                },
            ],
            "history": [
                {
                    "kind": "message",
                    "messageId": "m1",
                    "role": "user",
                    "parts": [
                        {"kind": "text", "text": "hi"},
                        {"kind": "data", "data": {"value": [1, {"a": None}]}, "metadata": {"data_part_compat": True}},
                        {"kind": "file", "file": {"name": "a.bin", "mimeType": "image/png", "bytes": "AP8="}},
                        {"kind": "file", "file": {"uri": "https://x/y"}},
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
        core = conversions.to_core_task(sdk_accepts(shown, types.Task))
        assert core.artifacts[1].parts[0].url == f"{BASE}/artifacts/0198/1/2"
        assert [value.number_value for value in core.history[0].parts[1].data.list_value.values][:1] == [1]

    def test_a_direct_answer_is_a_bare_message(self) -> None:
        """Section 5: or result {"kind":"message","messageId":"m2","role":"agent","contextId":"C","parts":[...]}."""
        said = Message(Role.AGENT, (Text("yo"),), "m2", "C")
        shown = v03.render_send(said, BASE)
        assert shown == {
            "kind": "message",
            "messageId": "m2",
            "role": "agent",
            "contextId": "C",
            "parts": [{"kind": "text", "text": "yo"}],
        }
        assert v03.render_start(said, BASE) == [shown]
        assert sdk_accepts(shown, types.Message).message_id == "m2"

    def test_a_stream_begins_with_the_task_and_says_what_it_includes(self) -> None:
        """Section 5: message/stream -> data: {…"result":{"kind":"task","id":"T","contextId":"C","status":…}}."""
        (item,) = v03.render_start(full_task(), BASE)
        assert item["metadata"] == {"mine": 1, TASK_URI: {"phase": "final"}, EVENT_URI: {"n": 9}}
        assert {**item, "metadata": None} == {**v03.render_task(full_task(), BASE), "metadata": None}
        assert sdk_accepts(item, types.Task).id == "T"

    @pytest.mark.parametrize(
        ("state", "word"),
        [
            (State.SUBMITTED, "submitted"),
            (State.WORKING, "working"),
            (State.INPUT_REQUIRED, "input-required"),
            (State.AUTH_REQUIRED, "auth-required"),
            (State.COMPLETED, "completed"),
            (State.CANCELED, "canceled"),
            (State.FAILED, "failed"),
            (State.REJECTED, "rejected"),
        ],
    )
    def test_states_and_when_they_are_final(self, state: State, word: str) -> None:
        """Section 3: "M adds rejected, auth-required"; `final` where a task has ended or asks."""
        event = StatusEvent(2, Status(state, AT, Message(Role.AGENT, (Text("?"),), "m"), {"s": 1}), metadata={"e": 2})
        shown = v03.render_event(event, "T", "C", BASE)
        assert shown == {
            "kind": "status-update",
            "taskId": "T",
            "contextId": "C",
            "status": {
                "state": word,
                "message": {
                    "kind": "message",
                    "messageId": "m",
                    "role": "agent",
                    "parts": [{"kind": "text", "text": "?"}],
                },
                "timestamp": STAMP,
            },
            "final": state in FINAL,
            "metadata": {"s": 1, "e": 2, EVENT_URI: {"n": 2}},
        }
        assert sdk_accepts(shown, types.TaskStatusUpdateEvent).status.state.value == word

    def test_a_progress_note(self) -> None:
        event = StatusEvent(2, Status(State.WORKING, AT), Progress(0.5, note="half"), {"e": 1})
        shown = v03.render_event(event, "T", "C", BASE)
        assert shown["metadata"] == {"e": 1, PROGRESS_URI: {"progress": 0.5, "note": "half"}, EVENT_URI: {"n": 2}}

    @pytest.mark.parametrize(("append", "last"), [(True, False), (False, True)])
    def test_an_artifact_event(self, append: bool, last: bool) -> None:
        """Section 5: {"kind":"artifact-update",…,"artifact":{…},"append":false,"lastChunk":true}."""
        event = ArtifactEvent(4, AT, Artifact("a", (Text("x"),), ordinal=2), append=append, last=last)
        shown = v03.render_event(event, "T", "C", BASE)
        assert shown == {
            "kind": "artifact-update",
            "taskId": "T",
            "contextId": "C",
            "artifact": {"artifactId": "artifact-3", "name": "a", "parts": [{"kind": "text", "text": "x"}]},
            "append": append,
            "lastChunk": last,
            "metadata": {EVENT_URI: {"n": 4}},
        }
        assert sdk_accepts(shown, types.TaskArtifactUpdateEvent).last_chunk is last

    def test_a_chunk_without_parts_has_none(self) -> None:
        event = ArtifactEvent(4, AT, Artifact("", ()), append=True, last=True)
        shown = v03.render_event(event, "T", "C", BASE)
        assert shown["artifact"] == {"artifactId": "artifact-1", "parts": []}
        assert sdk_accepts(shown, types.TaskArtifactUpdateEvent).artifact.parts == []

    @given(PARTS)
    def test_parts_survive_the_round_trip_and_the_sdk_takes_them(self, part: Part) -> None:
        shown = v03.render_part(part, BASE)
        assert v03.parse_part(orjson.loads(orjson.dumps(shown)), "p") == part
        assert types.Part.model_validate(shown).root.kind == shown["kind"]


def test_errors_carry_a_plain_data_object_or_none() -> None:
    """Oracle: "v0.1 and 0.3 a plain `data` object or none"."""
    assert v03.render_error(TaskNotFound()) == {"code": -32001, "message": "Task not found"}
    assert v03.render_error(InvalidParams("id is missing", path="id")) == {
        "code": -32602,
        "message": "id is missing",
        "data": {"field": "id"},
    }
    assert v03.render_error(Overloaded("Busy", retry_after_seconds=3))["data"] == {"retryAfterSeconds": 3}
    assert v03.render_error(InternalError(error_id="e1"))["data"] == {"errorId": "e1"}


def test_codes_that_0_3_does_not_have_are_sent_as_they_are() -> None:
    assert v03.render_error(VersionNotSupported())["code"] == -32009
    assert v03.render_error(ExtendedCardNotConfigured())["code"] == -32007
