"""What may be changed once it is made: of what users' code is given, nothing."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass, replace

import pytest

import a2a_server
from a2a_server.model.runs import TaskView
from a2a_server.values import value_class

PUBLIC = [one for name in a2a_server.__all__ if is_dataclass(one := getattr(a2a_server, name))]


@pytest.mark.parametrize("kind", [*PUBLIC, TaskView], ids=lambda kind: kind.__name__)
def test_what_users_code_is_given_stays_as_it_is(kind: type) -> None:
    given: object = object.__new__(kind)
    for field in fields(kind):
        with pytest.raises(FrozenInstanceError):
            setattr(given, field.name, None)


@value_class(frozen=True, slots=True)
class Place:
    """A value."""

    row: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FrozenPlace:
    """The same, frozen at run time."""

    row: int
    names: tuple[str, ...] = ()


def test_a_value_is_equal_hashed_and_replaced_as_a_frozen_dataclass() -> None:
    one, same = Place(1, ("a",)), Place(1, ("a",))
    assert (one == same, hash(one), {one: 2}[same]) == (True, hash(FrozenPlace(1, ("a",))), 2)
    assert replace(one, row=3) == Place(3, ("a",)) != one
    assert not hasattr(one, "__dict__")
