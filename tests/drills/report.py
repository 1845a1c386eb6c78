"""What a drill says: lines while it runs, and one JSON object at its end."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

from tests.drills.ledger import Violation

_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one drill: its figures, and every broken promise."""

    drill: str
    figures: dict[str, object]
    violations: list[Violation] = field(default_factory=list)

    @property
    def line(self) -> str:
        """The figures on one line."""
        shown = ", ".join(f"{name} {value}" for name, value in self.figures.items())
        return f"{self.drill} drill: {len(self.violations)} violations; {shown}"

    @property
    def text(self) -> str:
        """Everything, as JSON."""
        counted = Counter(violation.rule for violation in self.violations)
        shown = [violation._asdict() for violation in self.violations[:_SHOWN]]
        body = {"drill": self.drill, **self.figures, "broken": counted, "violations": shown}
        return json.dumps(body, indent=2, ensure_ascii=False)


def say(text: str) -> None:
    """A line of progress."""
    print(text, flush=True)
