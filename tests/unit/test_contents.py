from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from a2a_server.lifecycle.contents import content, continues, joined
from a2a_server.model.objects import Data, File, Part, Text

steady = settings(max_examples=100, derandomize=True, deadline=None)
PLAIN, HTML = Text("a"), Text("b", "text/html")
RAW, NAMED, URL, STORED = File(raw=b"a"), File("n", raw=b"b"), File(url="u"), File(stored="s", size=3)
DATA = Data({"a": 1})

some_parts = st.sampled_from([PLAIN, HTML, RAW, NAMED, URL, STORED, DATA, Text("c", metadata={"m": 1})])
chunks = st.lists(st.lists(some_parts, max_size=3), max_size=6)


@pytest.mark.parametrize(
    ("before", "part", "one"),
    [
        (PLAIN, Text("x"), True),
        (PLAIN, HTML, False),
        (PLAIN, Text("x", filename="f"), False),
        (PLAIN, Text("x", metadata={}), False),
        (RAW, File(raw=b"x"), True),
        (RAW, NAMED, False),
        (RAW, STORED, True),
        (URL, URL, False),
        (RAW, URL, False),
        (DATA, DATA, False),
        (PLAIN, RAW, False),
        (DATA, PLAIN, False),
    ],
)
def test_neighbours_that_are_one(before: Part, part: Part, one: bool) -> None:
    assert continues(before, part) is one


def test_a_text_streamed_word_by_word_is_one_part() -> None:
    assert joined([(Text("a "),), (Text("b "),), (), (Text("c"),)]) == (Text("a b c"),)


def test_chunks_of_a_file_are_one_part() -> None:
    assert joined([(NAMED,), (NAMED,)]) == (File("n", raw=b"bb"),)


def test_parts_given_at_once_stay_apart() -> None:
    assert joined([(RAW, RAW), (RAW, PLAIN, PLAIN)]) == (RAW, File(raw=b"aa"), PLAIN, PLAIN)


def test_what_refers_elsewhere_is_never_joined() -> None:
    for part in (URL, STORED, DATA):
        assert joined([(part,), (part,)]) == (part, part)
    assert joined([(STORED,), (RAW,), (RAW,)]) == (STORED, File(raw=b"aa"))


@given(chunks)
@steady
def test_joining_keeps_content_and_order(given_chunks: list[list[Part]]) -> None:
    flat = [part for chunk in given_chunks for part in chunk]
    whole = joined(given_chunks)
    assert b"".join(content(part) or b"" for part in whole) == b"".join(content(part) or b"" for part in flat)
    assert [part for part in whole if content(part) is None] == [part for part in flat if content(part) is None]
    assert len(whole) <= len(flat)


@given(chunks)
@steady
def test_joining_what_is_joined_changes_nothing(given_chunks: list[list[Part]]) -> None:
    once = joined(given_chunks)
    assert joined([once]) == once


def test_what_a_part_contributes() -> None:
    assert content(Text("ü")) == "ü".encode()
    assert content(RAW) == b"a"
    assert [content(part) for part in (URL, STORED, DATA)] == [None, None, None]
