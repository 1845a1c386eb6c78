"""Every row of the error oracle that concerns the envelope; JSON-RPC 2.0 sections 4 to 6."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import orjson
import pytest
from hypothesis import given, strategies

from a2a_server.errors import InvalidParams, InvalidRequest, ParseError
from a2a_server.model.objects import Json
from a2a_server.wire import jsonrpc
from a2a_server.wire.jsonrpc import Request

DEEPEST = b"[" * 64 + b"]" * 64
NUMBERS = strategies.integers(-(2**63), 2**64 - 1) | strategies.floats(allow_nan=False, allow_infinity=False)
VALUES = strategies.recursive(
    strategies.none() | strategies.booleans() | NUMBERS | strategies.text(),
    lambda inner: strategies.lists(inner, max_size=4) | strategies.dictionaries(strategies.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1,]",
        b'{"a":1}x',
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'"\\udc00"',
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"1e400",
        b"[" + DEEPEST + b"]",
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" * 2000,
        b"[" * 200_000,
        b"18446744073709551616",
        b'{"a":[1,{"b":18446744073709551616}]}',
        b"-9223372036854775809",
        b"[ 100000000000000000000 ]",
        b"[" + b"1" * 5000 + b"]",
        b"[" + b"1" * 200 + b"]",
        b'["18446744073709551616",18446744073709551616]',
        b'["\\"",18446744073709551616]',
        b'["\\\\",18446744073709551616,"1.5"]',
    ],
    ids=lambda body: f"{len(body)} {body[:24].decode('latin-1')}",
)
def test_what_is_not_json_as_we_take_it_is_a_parse_error(body: bytes) -> None:
    """Rule: "not JSON, bad UTF-8, lone surrogate, NaN/Infinity, deeper than 64, an integer ≥ 2^64 or absurdly long"."""
    with pytest.raises(ParseError) as caught:
        jsonrpc.read(body)
    assert caught.value.code == -32700
    assert caught.value.message.startswith("Invalid JSON payload")
    assert len(caught.value.message) < 120


@pytest.mark.parametrize(
    "body",
    [
        DEEPEST,
        b"18446744073709551615",
        b"-9223372036854775808",
        b'"18446744073709551616"',
        b'{"18446744073709551616":1e30}',
        b'["a \\" 18446744073709551616",1e30]',
        b"[18446744073709551616.0]",
        b"[184467440737095516160e3, 1E30]",
        b"[1e-0000000000000000000000001, 1e30]",
        b"[0.18446744073709551616, -1e30]",
        b"[18446744073709551615, -9223372036854775808, -9.3e18]",
        b'"\\ud83d\\ude00"',
        b'"\\u0000"',
        b" [] ",
        b"null",
    ],
    ids=lambda body: f"{len(body)} {body[:24].decode('latin-1')}",
)
def test_what_is_json_is_read(body: bytes) -> None:
    assert jsonrpc.read(body) == orjson.loads(body)


@given(VALUES)
def test_any_json_value_is_read_back(value: Json) -> None:
    assert jsonrpc.read(orjson.dumps(value)) == value


@given(strategies.integers(2**64) | strategies.integers(max_value=-(2**63) - 1), strategies.text())
def test_an_integer_beyond_64_bits_is_found_wherever_it_stands(value: int, text: str) -> None:
    body = b'{"a":' + orjson.dumps(text) + b',"b":[' + str(value).encode() + b"]}"
    with pytest.raises(ParseError):
        jsonrpc.read(body)


@given(strategies.text(alphabet='0123456789"\\eE.,-+ '))
def test_digits_in_strings_are_no_integers(text: str) -> None:
    assert jsonrpc.read(orjson.dumps([text, 1e300])) == [text, 1e300]


def outcome(body: bytes) -> object:
    try:
        return jsonrpc.read(body)
    except ParseError as error:
        return error.message


@given(
    strategies.integers(62, 66),
    strategies.sampled_from([0, 2**63, -(2**63) - 1, -(2**63), 2**64 - 1, 2**64, 10**17, 10**18 - 1, 10**18]),
    strategies.text(alphabet='[{"\\1', max_size=24),
)
def test_a_short_body_is_read_as_a_long_one(depth: int, number: int, text: str) -> None:
    """Short bodies are looked through, not walked: where the limits of depth and of integers stand, it is the same."""
    inner = b"[" + orjson.dumps(text) + b"," + str(number).encode() + b"]"
    body = b"[" * (depth - 1) + inner + b"]" * (depth - 1)
    assert outcome(body) == outcome(body + b" " * 5000)


@pytest.mark.parametrize(
    "entry",
    [
        1,
        "x",
        None,
        [],
        {},
        {"jsonrpc": "1.0", "id": 1, "method": "GetTask"},
        {"jsonrpc": 2.0, "id": 1, "method": "GetTask"},
        {"id": 1, "method": "GetTask"},
        {"jsonrpc": "2.0", "id": 1},
        {"jsonrpc": "2.0", "id": 1, "method": None},
        {"jsonrpc": "2.0", "id": 1, "method": 5},
        {"jsonrpc": "2.0", "id": {}, "method": "GetTask"},
        {"jsonrpc": "2.0", "id": [], "method": "GetTask"},
        {"jsonrpc": "2.0", "id": True, "method": "GetTask"},
    ],
    ids=repr,
)
def test_what_is_no_request_is_invalid(entry: Json) -> None:
    """Rule: "`jsonrpc` not "2.0"; `method` missing or not a string; id an object, array or boolean"."""
    with pytest.raises(InvalidRequest) as caught:
        jsonrpc.check(entry)
    assert caught.value.code == -32600


@pytest.mark.parametrize(
    ("entry", "id"),
    [
        ({"id": 7}, 7),
        ({"id": "x", "method": 1}, "x"),
        ({"id": 1.5}, 1.5),
        ({"id": None}, None),
        ({}, None),
        ({"id": False}, None),
        ({"id": {}}, None),
        ([], None),
        (3, None),
    ],
    ids=repr,
)
def test_an_invalid_request_is_answered_with_its_id_where_it_could_be_read(entry: Json, id: jsonrpc.Id) -> None:
    assert jsonrpc.identify(entry) == id


def test_a_request_without_id_is_a_notification_and_one_with_null_is_not() -> None:
    """Rule: "`id: null` | treated as a request, answered with id null"."""
    call: dict[str, Json] = {"jsonrpc": "2.0", "method": "GetTask", "params": {"id": "T"}}
    assert jsonrpc.check(call) == Request(None, "GetTask", {"id": "T"}, notification=True)
    assert jsonrpc.check({**call, "id": None}) == Request(None, "GetTask", {"id": "T"}, notification=False)
    assert jsonrpc.check({**call, "id": 0, "params": None}) == Request(0, "GetTask", None, notification=False)


def test_params_of_any_type_pass_the_envelope() -> None:
    """Rule: "`params` missing or not an object where one is needed" is -32602, said by the method."""
    assert jsonrpc.check({"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": 5}).params == 5


@pytest.mark.parametrize("document", [[], [1] * 101, "x", 5, None, True], ids=lambda value: repr(value)[:12])
def test_a_document_that_is_no_request_and_no_batch_of_1_to_100_is_one_invalid_request(document: Json) -> None:
    with pytest.raises(InvalidRequest):
        jsonrpc.entries(document)


def test_entries_keep_their_order_and_bad_ones_stay_for_their_own_answer() -> None:
    assert jsonrpc.entries({"a": 1}) == [{"a": 1}]
    assert jsonrpc.entries([1, {}, []]) == [1, {}, []]
    assert len(jsonrpc.entries([1] * 100)) == 100


@pytest.mark.parametrize("id", [1, 'a"b', None, 1.5, "ü"], ids=repr)
def test_answers_carry_a_result_or_an_error_under_the_id(id: jsonrpc.Id) -> None:
    assert orjson.loads(jsonrpc.success(id, {"x": [1]})) == {"jsonrpc": "2.0", "id": id, "result": {"x": [1]}}
    error: dict[str, Json] = {"code": -32601, "message": "Method not found"}
    assert orjson.loads(jsonrpc.failure(id, error)) == {"jsonrpc": "2.0", "id": id, "error": error}


def refused(entry: Json) -> InvalidParams:
    with pytest.raises(InvalidParams) as caught:
        jsonrpc.check_limits(entry, len(orjson.dumps(entry)))
    return caught.value


def test_too_many_members_are_refused_with_path_and_limit() -> None:
    """Rule: "more keys, longer strings … | -32602 with the path and the limit"."""
    metadata: dict[str, Json] = {f"key {n}": n for n in range(9_999)}
    error = refused({"params": {"metadata": metadata}})
    assert error.path == "metadata"
    assert "10000" in error.message
    del metadata["key 0"]
    entry: Json = {"params": {"metadata": metadata}}
    jsonrpc.check_limits(entry, len(orjson.dumps(entry)))


def test_too_many_elements_are_refused_with_path_and_limit() -> None:
    error = refused({"id": 1, "params": {"message": {"parts": [{"data": [1] * 50_000}, {"data": [1] * 50_000}]}}})
    assert error.path == "message.parts[0].data"
    assert "100000" in error.message
    assert refused({"params": {"parts": [[]] * 100_000}}).path == "parts"
    assert refused({"params": {}, "other": {"more": [1] * 100_000}}).path == "other.more"
    entry: Json = {"params": {"data": [1] * 99_998}}
    jsonrpc.check_limits(entry, len(orjson.dumps(entry)))


def test_too_long_a_string_is_refused_with_path_and_limit() -> None:
    limit = 8 * 1024 * 1024
    error = refused({"params": {"message": {"parts": [{"text": "x"}, {"text": "ü" * (limit // 2) + "x"}]}}})
    assert error.path == "message.parts[1].text"
    assert str(limit) in error.message
    assert refused({"params": {"metadata": {"x" * (limit + 1): 1}}}).path == "metadata"
    jsonrpc.check_limits({"a": "x" * limit}, limit + 100)


def cost(work: Callable[[], object]) -> float:
    """Seconds of processor time, the least of five."""
    found = []
    for _ in range(5):
        begin = process_time()
        work()
        found.append(process_time() - begin)
    return min(found)


MANY = 3_000_000
CROWDS = {
    "numbers": b"1,",
    "strings": b'"",',
    "arrays": b"[],",
    "objects": b"{},",
    "nested": b"[[[[]]]],",
}


@pytest.mark.parametrize("kind", CROWDS)
def test_a_crowded_body_is_refused_at_little_cost(kind: str) -> None:
    item = CROWDS[kind]
    values = item * (MANY // len(item))
    body = b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"a":[1e300,' + values + b"1]}}"
    numbers = b"[" + CROWDS["numbers"] * (MANY // 2) + b"1]"

    def refuse() -> None:
        with pytest.raises((InvalidParams, ParseError), match="100000"):
            jsonrpc.check_limits(jsonrpc.read(body), len(body))

    assert cost(refuse) < 10 * cost(lambda: orjson.loads(numbers))  # what as long a list of numbers costs to be read
    with pytest.raises((InvalidRequest, ParseError), match="100000"):
        jsonrpc.read(b"[" + body + b"]")


def test_brackets_in_strings_are_no_arrays() -> None:
    text = '[{\\"' * 100_000
    assert jsonrpc.read(orjson.dumps({"text": text})) == {"text": text}


@pytest.mark.parametrize(("between", "most"), [(b" ", 3_000_000), (b",1234567890123456789", 90_000)])
def test_a_search_for_huge_integers_grows_with_the_body_and_no_quicker(between: bytes, most: int) -> None:
    def search(count: int) -> float:
        body = b"[1e300" + between * count + b",1]"
        return cost(lambda: jsonrpc.read(body))

    assert search(most) < 40 * search(most // 10)  # 10 where it grows as the body does, 100 where with its square


def test_a_small_body_is_not_searched() -> None:
    jsonrpc.check_limits({str(n): n for n in range(10_001)}, 50_000)
