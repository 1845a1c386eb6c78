"""Version negotiation: A2A 1.0.1 section 3.6, and the rules for names that tell their generation themselves."""

from __future__ import annotations

import pytest

from a2a_server.errors import MethodNotFound, VersionNotSupported
from a2a_server.wire import v01, v10, versions
from a2a_server.wire.operations import Operation

SHARED = ["tasks/get", "tasks/cancel", "tasks/resubscribe"]
OLD = ["tasks/send", "tasks/sendSubscribe", "tasks/pushNotification/set", "tasks/pushNotification/get"]


@pytest.mark.parametrize("version", [None, "", "  ", "1.0", "1.0.1", " 1.0 "])
@pytest.mark.parametrize("method", sorted(v10.METHODS))
def test_pascal_case_is_1_0_with_and_without_a_version(method: str, version: str | None) -> None:
    """Rule: "PascalCase without a header is served as 1.0"; "Major.Minor only; patch ignored"; "Absent or empty"."""
    found = versions.route(method, version)
    assert found.wire is v10
    assert found.operation is v10.METHODS[method]


@pytest.mark.parametrize("version", [None, "", "0.1", "0.1.0"])
@pytest.mark.parametrize("method", sorted(v01.METHODS))
def test_slash_names_are_v0_1_without_a_version_or_with_theirs(method: str, version: str | None) -> None:
    found = versions.route(method, version)
    assert found.wire is v01
    assert found.operation is v01.METHODS[method]


@pytest.mark.parametrize("method", SHARED)
def test_an_explicit_0_3_has_the_methods_that_it_shares_with_v0_1(method: str) -> None:
    """Rule: "py SDK 1.x client talking 0.3 sends `a2a-version: 0.3` with slash methods"."""
    assert versions.route(method, "0.3").wire is v01


@pytest.mark.parametrize(
    ("method", "version"),
    [
        *((method, version) for method in ["SendMessage", "GetTask"] for version in ["0.3", "0.1", "0.3.0"]),
        *((method, "1.0") for method in [*SHARED, *OLD]),
        *((method, "0.3") for method in OLD),
    ],
)
def test_an_explicit_version_that_does_not_have_the_method_is_refused(method: str, version: str) -> None:
    """Rule: "an explicit version that does not match the name -> -32009"."""
    with pytest.raises(VersionNotSupported) as caught:
        versions.route(method, version)
    assert caught.value.code == -32009
    assert method in caught.value.message


@pytest.mark.parametrize(
    "version", ["9.9", "1.1", "2.0", "1", "x", "1.0, 0.3", "0.2", "1.0-rc", "\u0660.\u0663", "v" * 5000]
)
@pytest.mark.parametrize("method", ["SendMessage", "tasks/send", "nothing/known"])
def test_a_version_that_is_not_served_is_refused_whatever_the_method(method: str, version: str) -> None:
    """Rule: "`A2A-Version` not served (9.9) … | -32009"."""
    with pytest.raises(VersionNotSupported, match=r"is not served; send 1\.0 or 0\.1$") as caught:
        versions.route(method, version)
    assert len(caught.value.message) < 600


@pytest.mark.parametrize("version", [None, "0.3", "1.0", "0.1"])
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


@pytest.mark.parametrize("version", [None, "0.3", "1.0", "0.1"])
@pytest.mark.parametrize(
    "method",
    [
        "message/send",
        "message/stream",
        *(f"tasks/pushNotificationConfig/{verb}" for verb in ("set", "get", "list", "delete")),
        "agent/getAuthenticatedExtendedCard",
    ],
)
def test_methods_of_0_2_and_0_3_alone_say_what_to_use_instead(method: str, version: str | None) -> None:
    with pytest.raises(MethodNotFound) as caught:
        versions.route(method, version)
    assert caught.value.code == -32601
    for said in (method, "0.2–0.3 ", "not served yet", "SendMessage (1.0)", "tasks/send (v0.1)"):
        assert said in caught.value.message


def test_every_operation_is_a_method_of_1_0_and_two_of_them_stream() -> None:
    """protocol.md section 1, column N."""
    assert set(v10.METHODS.values()) == set(Operation)
    assert {operation for operation in Operation if operation.streams} == {Operation.STREAM, Operation.SUBSCRIBE}


def test_names_of_the_generations_never_coincide() -> None:
    assert not set(v01.METHODS) & set(v10.METHODS)
    assert set(SHARED) == versions.SHARED
