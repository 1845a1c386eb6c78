"""A2A 0.2 and 0.3 on the wire: requests, by the examples of protocol.md section 5 and the error oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from a2a.compat.v0_3 import types

from a2a_server.errors import InvalidParams, PushNotSupported
from a2a_server.model.objects import OPTIONS_URI, Data, File, Generation, Json, Lane, Message, Role, Text
from a2a_server.wire import v03

OPTIONS_PATH = f'metadata["{OPTIONS_URI}"]'
TEXT: dict[str, Any] = {"kind": "text", "text": "hi"}


def send_params(**members: object) -> dict[str, Any]:
    return {"message": {"kind": "message", "messageId": "m1", "role": "user", "parts": [TEXT]}, **members}


def with_message(**members: object) -> dict[str, Any]:
    return {"message": {"kind": "message", "messageId": "m1", "role": "user", "parts": [TEXT], **members}}


def with_part(part: object) -> dict[str, Any]:
    return with_message(parts=[TEXT, part])


class TestSend:
    def test_the_example_of_the_specification(self) -> None:
        """Section 5: {"message":{"kind":"message",…},"configuration":{"blocking":true,"historyLength":2}}."""
        request = v03.parse_send(send_params(configuration={"blocking": True, "historyLength": 2}))
        assert request.generation is Generation.V03
        assert request.message == Message(Role.USER, (Text("hi"),), "m1")
        assert (request.blocking, request.history_length) == (True, 2)
        assert (request.task_id, request.context_id, request.metadata, request.after) == ("", "", None, None)

    @pytest.mark.parametrize("configuration", [None, {}, {"blocking": None, "historyLength": None}])
    def test_leaves_waiting_and_history_to_the_server_unless_told_otherwise(self, configuration: object) -> None:
        """Section 5: "`blocking`: … default not specified"; section 8: "unset = server default (may be all)"."""
        request = v03.parse_send(send_params(configuration=configuration))
        assert request.blocking is None
        assert request.history_length is None

    def test_everything_that_a_message_may_say(self) -> None:
        members: dict[str, Any] = {
            "taskId": "T",
            "contextId": "C",
            "referenceTaskIds": ["T0"],
            "extensions": ["urn:x"],
            "metadata": {"k": 1},
            "parts": [
                {"kind": "text", "text": "", "metadata": {"p": 1}},
                {"kind": "file", "file": {"bytes": "AP8=", "mimeType": "image/png", "name": "a.png", "uri": None}},
                {"kind": "file", "file": {"uri": "https://x/y"}, "metadata": {"p": 2}},
                {"kind": "data", "data": {"k": [None]}},
            ],
        }
        request = v03.parse_send(with_message(**members))
        assert request.message == Message(
            Role.USER,
            (
                Text("", metadata={"p": 1}),
                File("a.png", "image/png", raw=b"\x00\xff"),
                File(url="https://x/y", metadata={"p": 2}),
                Data({"k": [None]}),
            ),
            "m1",
            "C",
            "T",
            ("T0",),
            ("urn:x",),
            {"k": 1},
        )
        assert (request.task_id, request.context_id) == ("T", "C")

    @pytest.mark.parametrize("kind", [{}, {"kind": None}, {"kind": "message"}])
    def test_the_outer_message_may_lack_its_kind(self, kind: dict[str, Any]) -> None:
        """Section 5: "Missing `kind` on the outer message is tolerated by the SDK"."""
        message = {"messageId": "m1", "role": "user", "parts": [TEXT], **kind}
        assert v03.parse_send({"message": message}).message == Message(Role.USER, (Text("hi"),), "m1")

    def test_what_0_2_must_say_and_what_nobody_knows_is_taken(self) -> None:
        """Section 5: "acceptedOutputModes? (required before 0.3)"; unknown members are ignored."""
        request = v03.parse_send(
            {
                **with_message(final=True, message_id="no", parts=[{**TEXT, "mimeType": 5}]),
                "configuration": {"acceptedOutputModes": ["text/plain"], "returnImmediately": "x"},
                "extra": 1,
                "metadata": {},
            }
        )
        assert request.message == Message(Role.USER, (Text("hi"),), "m1")
        assert request.metadata is None

    def test_what_the_sdk_sends(self) -> None:
        configuration = types.MessageSendConfiguration(
            accepted_output_modes=["text/plain"], blocking=False, history_length=0
        )
        parts = [
            types.Part(root=types.TextPart(text="hi")),
            types.Part(root=types.FilePart(file=types.FileWithBytes(bytes="AP8=", mime_type="image/png", name="a"))),
        ]
        message = types.Message(message_id="m1", role=types.Role.user, parts=parts, context_id="C")
        params = types.MessageSendParams(message=message, configuration=configuration, metadata={"mine": 1})
        for dumped in (
            params.model_dump(mode="json", by_alias=True),
            params.model_dump(mode="json", by_alias=True, exclude_none=True),
        ):
            request = v03.parse_send(dumped)
            file = File("a", "image/png", raw=b"\x00\xff")
            assert request.message == Message(Role.USER, (Text("hi"), file), "m1", "C")
            assert (request.blocking, request.history_length) == (False, 0)
            assert request.metadata == {"mine": 1}

    def test_data_that_the_sdk_wrapped_is_unwrapped(self) -> None:
        """a2a-sdk 1.x marks data that is no object with `data_part_compat` in the part's metadata."""
        mark = {"data_part_compat": True}
        cases: list[tuple[dict[str, Any], Data]] = [
            ({"data": {"value": [1]}, "metadata": mark}, Data([1])),
            ({"data": {"value": None}, "metadata": {**mark, "p": 1}}, Data(None, metadata={"p": 1})),
            ({"data": {"value": [1]}}, Data({"value": [1]})),
            ({"data": {"value": [1]}, "metadata": {"p": 1}}, Data({"value": [1]}, metadata={"p": 1})),
            ({"data": {"other": 1}, "metadata": mark}, Data({"other": 1}, metadata={"data_part_compat": True})),
            ({"data": {}, "metadata": mark}, Data({}, metadata={"data_part_compat": True})),
        ]
        for given, part in cases:
            assert v03.parse_part({"kind": "data", **given}, "p") == part

    def test_a_push_configuration_is_not_supported(self) -> None:
        """Section 8: "push not declared -> -32003"."""
        with pytest.raises(PushNotSupported) as caught:
            v03.parse_send(send_params(configuration={"pushNotificationConfig": {"url": "https://c/x"}}))
        assert caught.value.path == "configuration.pushNotificationConfig"
        assert v03.parse_send(send_params(configuration={"pushNotificationConfig": None})).message.id == "m1"

    @pytest.mark.parametrize(
        ("params", "path"),
        [
            (None, "params"),
            ([], "params"),
            ("x", "params"),
            ({}, "message"),
            ({"message": None}, "message"),
            ({"message": []}, "message"),
            (with_message(kind="task"), "message.kind"),
            (with_message(kind=""), "message.kind"),
            (with_message(kind=["message"]), "message.kind"),
            (with_message(messageId=None), "message.messageId"),
            (with_message(messageId=""), "message.messageId"),
            (with_message(messageId=5), "message.messageId"),
            (with_message(messageId="x" * 257), "message.messageId"),
            (with_message(messageId="a\nb"), "message.messageId"),
            (with_message(contextId={}), "message.contextId"),
            (with_message(contextId="a\u2028b"), "message.contextId"),
            (with_message(taskId="\x7f"), "message.taskId"),
            (with_message(taskId=1), "message.taskId"),
            (with_message(role=None), "message.role"),
            (with_message(role="agent"), "message.role"),
            (with_message(role="ROLE_USER"), "message.role"),
            (with_message(role=["user"]), "message.role"),
            (with_message(parts=None), "message.parts"),
            (with_message(parts=[]), "message.parts"),
            (with_message(parts={}), "message.parts"),
            (with_message(parts=None, content=[TEXT]), "message.parts"),
            (with_message(referenceTaskIds="x"), "message.referenceTaskIds"),
            (with_message(referenceTaskIds=["a", ""]), "message.referenceTaskIds[1]"),
            (with_message(extensions=[None]), "message.extensions[0]"),
            (with_message(metadata=[]), "message.metadata"),
            (with_part("x"), "message.parts[1]"),
            (with_part(None), "message.parts[1]"),
            (with_part({}), "message.parts[1].kind"),
            (with_part({"text": "x"}), "message.parts[1].kind"),
            (with_part({"type": "text", "text": "x"}), "message.parts[1].kind"),
            (with_part({"kind": "image"}), "message.parts[1].kind"),
            (with_part({"kind": ["text"]}), "message.parts[1].kind"),
            (with_part({"kind": "text"}), "message.parts[1].text"),
            (with_part({"kind": "text", "text": 1}), "message.parts[1].text"),
            (with_part({"kind": "data"}), "message.parts[1].data"),
            (with_part({"kind": "data", "data": [1]}), "message.parts[1].data"),
            (with_part({"kind": "file"}), "message.parts[1].file"),
            (with_part({"kind": "file", "file": {}}), "message.parts[1].file"),
            (with_part({"kind": "file", "file": {"bytes": "", "uri": "x"}}), "message.parts[1].file"),
            (with_part({"kind": "file", "file": {"fileWithBytes": "AA=="}}), "message.parts[1].file"),
            (with_part({"kind": "file", "file": {"bytes": "!"}}), "message.parts[1].file.bytes"),
            (with_part({"kind": "file", "file": {"bytes": 1}}), "message.parts[1].file.bytes"),
            (with_part({"kind": "file", "file": {"uri": ""}}), "message.parts[1].file.uri"),
            (with_part({"kind": "file", "file": {"uri": "x", "name": 1}}), "message.parts[1].file.name"),
            (with_part({"kind": "file", "file": {"uri": "x", "mimeType": 1}}), "message.parts[1].file.mimeType"),
            (with_part({"kind": "text", "text": "x", "metadata": 1}), "message.parts[1].metadata"),
            (send_params(configuration=[]), "configuration"),
            (send_params(configuration={"historyLength": -1}), "configuration.historyLength"),
            (send_params(configuration={"historyLength": "5"}), "configuration.historyLength"),
            (send_params(configuration={"historyLength": 2**31}), "configuration.historyLength"),
            (send_params(configuration={"blocking": 1}), "configuration.blocking"),
            (send_params(configuration={"blocking": "true"}), "configuration.blocking"),
            (send_params(configuration={"acceptedOutputModes": "text"}), "configuration.acceptedOutputModes"),
            (send_params(configuration={"acceptedOutputModes": [1]}), "configuration.acceptedOutputModes[0]"),
            (send_params(metadata=5), "metadata"),
            (send_params(metadata={"afterEvent": -1}), "metadata.afterEvent"),
            (send_params(metadata={"afterEvent": "3"}), "metadata.afterEvent"),
            (send_params(metadata={OPTIONS_URI: {"skil": 1}}), f"{OPTIONS_PATH}.skil"),
        ],
        ids=lambda value: repr(value)[-100:],
    )
    def test_what_breaks_a_rule_is_named_by_its_path(self, params: object, path: str) -> None:
        """Oracle: "missing, wrong-typed or empty required fields; a part without or with a wrong kind; …" is -32602."""
        with pytest.raises(InvalidParams) as caught:
            v03.parse_send(params)
        assert caught.value.code == -32602
        assert caught.value.path == path
        assert caught.value.message.startswith(path)


class TestOptions:
    def test_are_taken_out_of_the_metadata(self) -> None:
        options: Json = {"skill": "s", "priority": "high", "maxAttempts": 3.0, "title": None}
        request = v03.parse_send(send_params(metadata={OPTIONS_URI: options, "mine": 1, "afterEvent": 4}))
        assert (request.options.skill, request.options.priority) == ("s", Lane.HIGH)
        assert request.options.max_attempts == 3
        assert (request.metadata, request.after) == ({"mine": 1}, 4)

    @pytest.mark.parametrize(("option", "blocking"), [(True, False), (False, True)])
    @pytest.mark.parametrize("said", [{}, {"blocking": True}, {"blocking": False}])
    def test_return_immediately_wins_over_the_configuration(
        self, option: bool, blocking: bool, said: dict[str, Any]
    ) -> None:
        metadata = {OPTIONS_URI: {"returnImmediately": option}}
        assert v03.parse_send(send_params(metadata=metadata, configuration=said)).blocking is blocking


class TestOtherRequests:
    def test_the_examples_of_the_specification(self) -> None:
        """Section 5: tasks/get {"id":"T","historyLength":2}, tasks/cancel {"id":"T"}, tasks/resubscribe {"id":"T"}."""
        get = v03.parse_get({"id": "T", "historyLength": 2})
        assert (get.task_id, get.history_length, get.generation) == ("T", 2, Generation.V03)
        assert v03.parse_get({"id": "T"}).history_length is None
        assert v03.parse_cancel({"id": "T", "metadata": {}}).task_id == "T"
        subscribe = v03.parse_subscribe({"id": "T", "metadata": {"afterEvent": 3}})
        assert (subscribe.task_id, subscribe.after, subscribe.generation) == ("T", 3, Generation.V03)
        assert v03.parse_subscribe({"id": "T"}).after is None

    @pytest.mark.parametrize("parse", [v03.parse_get, v03.parse_cancel, v03.parse_subscribe], ids=lambda f: f.__name__)
    @pytest.mark.parametrize(
        ("params", "path"),
        [(None, "params"), ([], "params"), ({}, "id"), ({"id": ""}, "id"), ({"id": 5}, "id"), ({"id": "a\tb"}, "id")],
        ids=repr,
    )
    def test_need_an_id(self, parse: Callable[[object], object], params: object, path: str) -> None:
        with pytest.raises(InvalidParams) as caught:
            parse(params)
        assert caught.value.path == path

    def test_negative_history_and_bad_metadata_are_refused(self) -> None:
        cases: list[tuple[Callable[[object], object], object, str]] = [
            (v03.parse_get, {"id": "T", "historyLength": -1}, "historyLength"),
            (v03.parse_cancel, {"id": "T", "metadata": 1}, "metadata"),
            (v03.parse_subscribe, {"id": "T", "metadata": {"afterEvent": "x"}}, "metadata.afterEvent"),
        ]
        for parse, params, path in cases:
            with pytest.raises(InvalidParams) as caught:
                parse(params)
            assert caught.value.path == path
