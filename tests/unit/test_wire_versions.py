"""Version negotiation: A2A 1.0.1 section 3.6, and the rules for names that tell their generation themselves."""

from __future__ import annotations

import pytest

from a2a_server.errors import ClientError, InternalError, InvalidParams, MethodNotFound, Overloaded, VersionNotSupported
from a2a_server.model.objects import Generation
from a2a_server.model.requests import GetRequest, SubscribeRequest
from a2a_server.wire import v01, v03, v10, versions
from a2a_server.wire.operations import Operation

SHARED = ["tasks/get", "tasks/cancel", "tasks/resubscribe"]
OLD = ["tasks/send", "tasks/sendSubscribe", "tasks/pushNotification/set", "tasks/pushNotification/get"]
MIDDLE = [
    "message/send",
    "message/stream",
    *(f"tasks/pushNotificationConfig/{verb}" for verb in ("set", "get", "list", "delete")),
    "agent/getAuthenticatedExtendedCard",
]


@pytest.mark.parametrize("version", [None, "", "  ", "1.0", "1.0.1", " 1.0 "])
@pytest.mark.parametrize("method", sorted(v10.METHODS))
def test_pascal_case_is_1_0_with_and_without_a_version(method: str, version: str | None) -> None:
    """Rule: "PascalCase without a header is served as 1.0"; "Major.Minor only; patch ignored"; "Absent or empty"."""
    found = versions.route(method, version)
    assert found.wire is v10
    assert found.operation is v10.METHODS[method]
    assert not found.undecided


@pytest.mark.parametrize("version", [None, "", "0.3", "0.3.0", "0.2", "0.2.6"])
@pytest.mark.parametrize("method", MIDDLE)
def test_names_of_0_3_alone_are_0_3_without_a_version_or_with_theirs(method: str, version: str | None) -> None:
    found = versions.route(method, version)
    assert found.wire is v03
    assert found.operation is v03.METHODS[method]
    assert not found.undecided


@pytest.mark.parametrize("version", [None, "", "0.1", "0.1.0"])
@pytest.mark.parametrize("method", OLD)
def test_names_of_v0_1_alone_are_v0_1_without_a_version_or_with_theirs(method: str, version: str | None) -> None:
    found = versions.route(method, version)
    assert found.wire is v01
    assert found.operation is v01.METHODS[method]
    assert not found.undecided


@pytest.mark.parametrize(
    ("version", "wire"), [("0.1", v01), ("0.1.0", v01), ("0.2", v03), ("0.2.4", v03), ("0.3", v03), ("0.3.0", v03)]
)
@pytest.mark.parametrize("method", SHARED)
def test_a_version_decides_about_names_that_two_generations_have(
    method: str, version: str, wire: versions.Wire
) -> None:
    """Rule: "py SDK 1.x client talking 0.3 sends `a2a-version: 0.3` with slash methods"."""
    found = versions.route(method, version)
    assert found.wire is wire
    for created in Generation:
        assert found.answering(created) is wire
    assert found.parse_get({"id": "T"}) == GetRequest("T", None, wire.GENERATION)
    assert found.parse_subscribe({"id": "T"}) == SubscribeRequest("T", None, wire.GENERATION)


@pytest.mark.parametrize("version", [None, "", " "])
@pytest.mark.parametrize("method", SHARED)
def test_without_a_version_the_task_decides(method: str, version: str | None) -> None:
    """Rule: "remember on each task the generation that created it and render in that one"."""
    found = versions.route(method, version)
    assert found.operation is v01.METHODS[method] is v03.METHODS[method]
    assert found.answering(Generation.V01) is v01
    assert found.answering(Generation.V03) is v03
    assert found.answering(Generation.V10) is v03  # who writes tasks/get cannot read 1.0
    assert found.parse_get({"id": "T", "historyLength": 2}) == GetRequest("T", 2, None)
    metadata = {"afterEvent": 3}
    assert found.parse_subscribe({"id": "T", "metadata": metadata}) == SubscribeRequest("T", 3, None)


def test_two_generations_spell_errors_alike() -> None:
    """Rule: "unknown ids give the same error in both"."""
    errors = [InvalidParams("id is missing", path="id"), InternalError(error_id="e"), Overloaded(retry_after_seconds=2)]
    for error in [*errors, *(kind() for kind in ClientError.__subclasses__())]:
        assert v01.render_error(error) == v03.render_error(error)


@pytest.mark.parametrize("generation", Generation)
def test_every_generation_has_its_wire(generation: Generation) -> None:
    assert versions.wire_of(generation).GENERATION is generation


@pytest.mark.parametrize(
    ("method", "version"),
    [
        *((method, version) for method in ["SendMessage", "GetTask"] for version in ["0.3", "0.1", "0.3.0", "0.2"]),
        *((method, "1.0") for method in [*SHARED, *OLD, *MIDDLE]),
        *((method, version) for method in OLD for version in ["0.3", "0.2"]),
        *((method, "0.1") for method in MIDDLE),
    ],
)
def test_an_explicit_version_that_does_not_have_the_method_is_refused(method: str, version: str) -> None:
    """Rule: "an explicit version that does not match the name -> -32009"."""
    with pytest.raises(VersionNotSupported) as caught:
        versions.route(method, version)
    assert caught.value.code == -32009
    assert method in caught.value.message


@pytest.mark.parametrize(
    "version", ["9.9", "1.1", "2.0", "1", "x", "1.0, 0.3", "0.4", "1.0-rc", "\u0660.\u0663", "v" * 5000]
)
@pytest.mark.parametrize("method", ["SendMessage", "tasks/send", "message/send", "tasks/get", "nothing/known"])
def test_a_version_that_is_not_served_is_refused_whatever_the_method(method: str, version: str) -> None:
    """Rule: "`A2A-Version` not served (9.9) … | -32009"."""
    with pytest.raises(VersionNotSupported, match=r"is not served; send 1\.0, 0\.3 or 0\.1$") as caught:
        versions.route(method, version)
    assert len(caught.value.message) < 600


@pytest.mark.parametrize("version", [None, "0.3", "0.2", "1.0", "0.1"])
@pytest.mark.parametrize(
    "method",
    [
        "message/sends",
        "",
        "getTask",
        "no\nmethod",
        "x" * 5000,
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_method_of_no_wire_is_not_found(method: str, version: str | None) -> None:
    """Rule: "unknown method; method of no generation | -32601"."""
    with pytest.raises(MethodNotFound) as caught:
        versions.route(method, version)
    assert caught.value.code == -32601
    assert caught.value.message.startswith("Method not found: ")
    assert len(caught.value.message) < 100
    assert caught.value.message.isprintable()


def test_every_operation_is_a_method_of_1_0_and_two_of_them_stream() -> None:
    """protocol.md section 1, column N."""
    assert set(v10.METHODS.values()) == set(Operation)
    assert {operation for operation in Operation if operation.streams} == {Operation.STREAM, Operation.SUBSCRIBE}


def test_three_names_coincide_and_no_more() -> None:
    assert not (set(v01.METHODS) | set(v03.METHODS)) & set(v10.METHODS)
    assert set(SHARED) == versions.SHARED
