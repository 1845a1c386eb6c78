"""Values of this house's own: dataclasses that nobody changes once they are made.

Type checkers see to that; at run time nothing does. A dataclass that is frozen at run time sets each of its members by
a call: for the values of one task that was 7 to 9 % of its processor time, and a tenth of what a start takes. What
users' code is given (`model.objects` and the like) stays frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as value_class
else:
    from dataclasses import dataclass

    def value_class(*, frozen: bool, eq: bool = True, **options: bool) -> Callable[[type[Any]], type[Any]]:
        """As `dataclasses.dataclass`, for classes that are frozen, with hashes as theirs. Raises ValueError."""
        if not frozen:
            raise ValueError("a value is frozen")

        def made(cls: type[Any]) -> type[Any]:
            return dataclass(eq=eq, unsafe_hash=eq and "__hash__" not in cls.__dict__, **options)(cls)

        return made


__all__ = ["value_class"]
