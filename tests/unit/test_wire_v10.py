"""A2A 1.0 on the wire: requests, by the examples of protocol.md section 6 and the error oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from a2a_server.errors import InvalidParams, PushNotSupported
from a2a_server.model.objects import (
    OPTIONS_URI,
    Data,
    File,
    Generation,
    Json,
    Lane,
    Message,
    Role,
    Text,
)
from a2a_server.wire import v10

OPTIONS_PATH = f'metadata["{OPTIONS_URI}"]'


def send_params(**members: object) -> dict[str, Any]:
    return {"message": {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": "hi"}]}, **members}


def with_message(**members: object) -> dict[str, Any]:
    message: dict[str, object] = {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": "hi"}], **members}
    return {"message": message}


def with_part(**members: object) -> dict[str, Any]:
    return with_message(parts=[{"text": "first"}, members])


class TestSend:
    def test_the_example_of_the_specification(self) -> None:
        """Section 6: {"message":{…},"configuration":{"returnImmediately":true,"historyLength":0}}."""
        request = v10.parse_send(send_params(configuration={"returnImmediately": True, "historyLength": 0}))
        assert request.generation is Generation.V10
        assert request.message == Message(Role.USER, (Text("hi"),), "m1")
        assert (request.blocking, request.history_length) == (False, 0)
        assert (request.task_id, request.context_id, request.metadata, request.after) == ("", "", None, None)

    def test_waits_and_leaves_history_to_the_server_unless_told_otherwise(self) -> None:
        """Section 8: "default waits for terminal or interrupted state"; "unset = server default"."""
        for configuration in (None, {}, {"returnImmediately": False}, {"historyLength": None}):
            request = v10.parse_send(send_params(configuration=configuration))
            assert request.blocking
            assert request.history_length is None

    def test_everything_that_a_message_may_say(self) -> None:
        members: dict[str, Any] = {
            "taskId": "T",
            "contextId": "C",
            "referenceTaskIds": ["T0"],
            "extensions": ["urn:x"],
            "metadata": {"k": 1},
            "parts": [
                {"text": "", "mediaType": "text/plain", "filename": "a.txt", "metadata": {"p": 1}},
                {"raw": "AP8=", "mediaType": "image/png", "filename": "a.png"},
                {"url": "https://x/y"},
                {"data": [1]},
            ],
        }
        request = v10.parse_send(with_message(**members))
        assert request.message == Message(
            Role.USER,
            (
                Text("", "text/plain", "a.txt", {"p": 1}),
                File("a.png", "image/png", raw=b"\x00\xff"),
                File(url="https://x/y"),
                Data([1]),
            ),
            "m1",
            "C",
            "T",
            ("T0",),
            ("urn:x",),
            {"k": 1},
        )
        assert (request.task_id, request.context_id) == ("T", "C")

    def test_snake_case_and_unknown_members_and_null_are_taken(self) -> None:
        """Section 3: "lowerCamelCase out, parsers accept snake_case too"; "unknown fields SHOULD be ignored"."""
        params: dict[str, Any] = {
            "tenant": "",
            "extra_member": 1,
            "message": {
                "message_id": "m1",
                "context_id": "C",
                "task_id": None,
                "reference_task_ids": ["T0"],
                "role": "ROLE_USER",
                "parts": [{"text": "hi", "media_type": "text/plain", "url": None, "unknown": {}}],
                "metadata": {"snake_case": "stays"},
            },
            "configuration": {"return_immediately": True, "history_length": 3, "accepted_output_modes": ["text/plain"]},
        }
        request = v10.parse_send(params)
        assert (request.blocking, request.history_length) == (False, 3)
        assert request.message == Message(
            Role.USER, (Text("hi", "text/plain"),), "m1", "C", "", ("T0",), metadata={"snake_case": "stays"}
        )

    def test_null_is_a_data_part(self) -> None:
        request = v10.parse_send(with_message(parts=[{"data": None}, {"data": None, "text": "x"}]))
        assert request.message.parts == (Data(None), Text("x"))

    @pytest.mark.parametrize("text", ["+/+/", "-_-_", "+/+/+w==", "-_-_-w", "-_-_-w==", ""])
    def test_base64_of_both_alphabets_with_and_without_padding(self, text: str) -> None:
        request = v10.parse_send(with_message(parts=[{"raw": text}]))
        (part,) = request.message.parts
        assert isinstance(part, File)
        assert part.raw in {b"\xfb\xff\xbf", b"\xfb\xff\xbf\xfb", b""}

    def test_a_push_configuration_is_not_supported(self) -> None:
        """Section 8: "push not declared -> -32003"."""
        for name in ("taskPushNotificationConfig", "task_push_notification_config"):
            with pytest.raises(PushNotSupported):
                v10.parse_send(send_params(configuration={name: {"url": "https://c/x"}}))

    @pytest.mark.parametrize(
        ("params", "path"),
        [
            (None, "params"),
            ([], "params"),
            ("x", "params"),
            ({}, "message"),
            ({"message": None}, "message"),
            ({"message": []}, "message"),
            ({"message": {"role": "ROLE_USER", "parts": [{"text": "x"}]}}, "message.messageId"),
            (with_message(messageId=""), "message.messageId"),
            (with_message(messageId=5), "message.messageId"),
            (with_message(messageId="x" * 257), "message.messageId"),
            (with_message(messageId="a\nb"), "message.messageId"),
            (with_message(messageId="a\x00"), "message.messageId"),
            (with_message(contextId="a\u2028b"), "message.contextId"),
            (with_message(contextId={}), "message.contextId"),
            (with_message(taskId="\x7f"), "message.taskId"),
            (with_message(role=None), "message.role"),
            (with_message(role="ROLE_AGENT"), "message.role"),
            (with_message(role="ROLE_UNSPECIFIED"), "message.role"),
            (with_message(role="user"), "message.role"),
            (with_message(role=["ROLE_USER"]), "message.role"),
            (with_message(parts=None), "message.parts"),
            (with_message(parts=[]), "message.parts"),
            (with_message(parts={}), "message.parts"),
            (with_message(parts=[{"text": "x"}, "y"]), "message.parts[1]"),
            (with_message(parts=[None]), "message.parts[0]"),
            (with_message(referenceTaskIds="x"), "message.referenceTaskIds"),
            (with_message(referenceTaskIds=["a", 1]), "message.referenceTaskIds[1]"),
            (with_message(referenceTaskIds=["a", ""]), "message.referenceTaskIds[1]"),
            (with_message(extensions=[None]), "message.extensions[0]"),
            (with_message(metadata=[]), "message.metadata"),
            (with_part(), "message.parts[1]"),
            (with_part(kind="text"), "message.parts[1]"),
            (with_part(text="x", url="y"), "message.parts[1]"),
            (with_part(text="x", data=0), "message.parts[1]"),
            (with_part(text=5), "message.parts[1].text"),
            (with_part(raw=5), "message.parts[1].raw"),
            (with_part(raw="a"), "message.parts[1].raw"),
            (with_part(raw="AP8=\n"), "message.parts[1].raw"),
            (with_part(raw="é==="), "message.parts[1].raw"),
            (with_part(url=""), "message.parts[1].url"),
            (with_part(text="x", mediaType=5), "message.parts[1].mediaType"),
            (with_part(text="x", filename="x" * 256), "message.parts[1].filename"),
            (with_part(text="x", metadata="m"), "message.parts[1].metadata"),
            (send_params(configuration=[]), "configuration"),
            (send_params(configuration={"historyLength": -1}), "configuration.historyLength"),
            (send_params(configuration={"historyLength": "5"}), "configuration.historyLength"),
            (send_params(configuration={"historyLength": 1.5}), "configuration.historyLength"),
            (send_params(configuration={"historyLength": True}), "configuration.historyLength"),
            (send_params(configuration={"historyLength": 2**31}), "configuration.historyLength"),
            (send_params(configuration={"returnImmediately": 1}), "configuration.returnImmediately"),
            (send_params(configuration={"acceptedOutputModes": "text"}), "configuration.acceptedOutputModes"),
            (send_params(metadata=5), "metadata"),
            (send_params(metadata={"afterEvent": -1}), "metadata.afterEvent"),
            (send_params(metadata={"afterEvent": "3"}), "metadata.afterEvent"),
            (send_params(metadata={"afterEvent": 2**63}), "metadata.afterEvent"),
            (send_params(tenant="acme"), "tenant"),
            (send_params(tenant=5), "tenant"),
        ],
        ids=lambda value: repr(value)[-60:],
    )
    def test_what_breaks_a_rule_is_named_by_its_path(self, params: object, path: str) -> None:
        """Oracle: "missing, wrong-typed or empty required fields; a part without or with a wrong kind; …" is -32602."""
        with pytest.raises(InvalidParams) as caught:
            v10.parse_send(params)
        assert caught.value.code == -32602
        assert caught.value.path == path
        assert caught.value.message.startswith(path)

    def test_ids_of_any_printable_characters_up_to_256_are_taken(self) -> None:
        for id in ("x", "ü 漢 🙂", "x" * 256, "../../etc"):
            assert v10.parse_send(with_message(messageId=id, contextId=id)).context_id == id


class TestOptions:
    def test_are_taken_out_of_the_metadata(self) -> None:
        options = {"skill": "s", "priority": "high", "delaySeconds": 5, "maxAttempts": 3.0, "title": None}
        request = v10.parse_send(send_params(metadata={OPTIONS_URI: options, "mine": 1, "afterEvent": 4}))
        assert (request.options.skill, request.options.priority) == ("s", Lane.HIGH)
        assert (request.options.delay_seconds, request.options.max_attempts) == (5.0, 3)
        assert request.metadata == {"mine": 1}
        assert request.after == 4
        assert v10.parse_send(send_params(metadata={OPTIONS_URI: {}, "afterEvent": 4.0})).metadata is None

    @pytest.mark.parametrize(("option", "blocking"), [(True, False), (False, True)])
    def test_return_immediately_wins_over_the_configuration(self, option: bool, blocking: bool) -> None:
        metadata = {OPTIONS_URI: {"returnImmediately": option}}
        for said in (True, False):
            params = send_params(metadata=metadata, configuration={"returnImmediately": said})
            assert v10.parse_send(params).blocking is blocking

    @pytest.mark.parametrize(
        ("options", "path", "text"),
        [
            ("x", OPTIONS_PATH, "must be an object"),
            ({"prioritty": 1}, f"{OPTIONS_PATH}.prioritty", "did you mean priority?"),
            ({"run_at": None}, f"{OPTIONS_PATH}.run_at", "did you mean runAt?"),
            ({"maxattempts": 1}, f"{OPTIONS_PATH}.maxattempts", "did you mean maxAttempts?"),
            ({"MAX-ATTEMPTS": 1}, f"{OPTIONS_PATH}.MAX-ATTEMPTS", "did you mean maxAttempts?"),
            ({"qqq": 1}, f"{OPTIONS_PATH}.qqq", "known options: skill, title, priority,"),
            ({"x" * 5000: 1}, f"{OPTIONS_PATH}.'{'x' * 64}'", "is not an option"),
            ({"delaySeconds": -1}, f"{OPTIONS_PATH}.delaySeconds", "must be at least 0"),
            ({"delaySeconds": "5"}, f"{OPTIONS_PATH}.delaySeconds", "must be a valid number"),
            ({"timeoutSeconds": 0}, f"{OPTIONS_PATH}.timeoutSeconds", "must be above 0"),
            ({"maxAttempts": 1.5}, f"{OPTIONS_PATH}.maxAttempts", "must be a valid integer"),
            ({"priority": "urgent"}, f"{OPTIONS_PATH}.priority", "must be critical, high, normal"),
            ({"runAt": "soon"}, f"{OPTIONS_PATH}.runAt", "must be a moment in RFC 3339 with a time zone"),
            ({"runAt": "2026-05-28T10:00:00"}, f"{OPTIONS_PATH}.runAt", "with a time zone"),
            ({"deadline": 5}, f"{OPTIONS_PATH}.deadline", "with a time zone"),
            ({"title": "x" * 256}, f"{OPTIONS_PATH}.title", "must have at most 255 characters"),
            ({"parameters": []}, f"{OPTIONS_PATH}.parameters", "must be an object"),
            ({"returnImmediately": 1}, f"{OPTIONS_PATH}.returnImmediately", "must be a valid boolean"),
        ],
        ids=lambda value: repr(value)[:50],
    )
    def test_unknown_and_invalid_ones_are_refused(self, options: Json, path: str, text: str) -> None:
        """Oracle: "unknown or invalid task option | -32602 with the field's path"."""
        with pytest.raises(InvalidParams) as caught:
            v10.parse_send(send_params(metadata={OPTIONS_URI: options}))
        assert caught.value.path == path
        assert text in caught.value.message
        assert len(caught.value.message) < 500


class TestOtherRequests:
    def test_the_examples_of_the_specification(self) -> None:
        """Section 6: GetTask {"id":"T","historyLength":10}, CancelTask {"id":"T","metadata":{}}, SubscribeToTask."""
        get = v10.parse_get({"id": "T", "history_length": 10})
        assert (get.task_id, get.history_length, get.generation) == ("T", 10, Generation.V10)
        assert v10.parse_get({"id": "T"}).history_length is None
        assert v10.parse_cancel({"id": "T", "metadata": {}}).task_id == "T"
        subscribe = v10.parse_subscribe({"id": "T", "metadata": {"afterEvent": 0}})
        assert (subscribe.task_id, subscribe.after, subscribe.generation) == ("T", 0, Generation.V10)
        assert v10.parse_subscribe({"id": "T"}).after is None

    @pytest.mark.parametrize("parse", [v10.parse_get, v10.parse_cancel, v10.parse_subscribe], ids=lambda f: f.__name__)
    @pytest.mark.parametrize(
        ("params", "path"),
        [
            (None, "params"),
            ({}, "id"),
            ({"id": ""}, "id"),
            ({"id": 5}, "id"),
            ({"id": "a\tb"}, "id"),
            ({"id": "T", "tenant": "acme"}, "tenant"),
        ],
        ids=repr,
    )
    def test_need_an_id(self, parse: Callable[[object], object], params: object, path: str) -> None:
        with pytest.raises(InvalidParams) as caught:
            parse(params)
        assert caught.value.path == path

    def test_negative_history_and_bad_metadata_are_refused(self) -> None:
        cases: list[tuple[Callable[[object], object], object, str]] = [
            (v10.parse_get, {"id": "T", "historyLength": -1}, "historyLength"),
            (v10.parse_cancel, {"id": "T", "metadata": 1}, "metadata"),
            (v10.parse_subscribe, {"id": "T", "metadata": {"afterEvent": "x"}}, "metadata.afterEvent"),
        ]
        for parse, params, path in cases:
            with pytest.raises(InvalidParams) as caught:
                parse(params)
            assert caught.value.path == path

    def test_a_null_after_event_is_none(self) -> None:
        assert v10.parse_subscribe({"id": "T", "metadata": {"afterEvent": None, "x": 1}}).after is None
