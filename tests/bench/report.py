"""What was found, as a table to read, as JSON to keep, and as Markdown for the documentation."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from statistics import median

import psutil
from rich.console import Console
from rich.table import Table

from tests.bench.costs import Series
from tests.bench.pairing import Claim, Ratio, Verdict, ratio
from tests.bench.rows import Row

SAME = 0.10
"""Differences below this are none."""
_MARKS = {
    Verdict.HOLDS: "[green]holds[/]",
    Verdict.OPEN: "[yellow]open[/]",
    Verdict.MISSED: "[red]missed[/]",
    Verdict.TOLD: "",
}
_OTHERS = (
    *("a2a-sdk", "fasta2a", "Starlette", "ASGI", "import", "the same"),
    *("pgbench", "raw insert", "a round trip"),
)
_PACKAGES = ("uvicorn", "uvloop", "starlette", "orjson", "pydantic")


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim as it was measured."""

    claim: Claim
    ratio: Ratio

    @property
    def verdict(self) -> Verdict:
        """Of the limit."""
        return Verdict.TOLD if self.claim.limit is None else self.ratio.within(self.claim.limit)

    @property
    def text(self) -> str:
        """Ratio, interval, limit and aim on one line."""
        limit = f"; limit {self.claim.limit:g}" if self.claim.limit is not None else ""
        aim = f", aim {self.claim.aim:g}" if self.claim.aim is not None else ""
        return f"× {self.ratio.value:.2f} ({self.ratio.low:.2f}–{self.ratio.high:.2f}){limit}{aim}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row as it was measured. series: for each side one number a round."""

    row: Row
    series: Series

    @property
    def findings(self) -> list[Finding]:
        """Of the claims whose sides were measured."""
        measured = self.series
        return [
            Finding(claim, ratio(measured[claim.side], measured[claim.against]))
            for claim in self.row.claims
            if claim.side in measured and claim.against in measured
        ]

    def against(self, side: str) -> Ratio:
        """The row's first side against another one."""
        first = next(iter(self.series.values()))
        return ratio(first, self.series[side])


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run. doubts: why its figures are not those of a durable server; empty for a real one."""

    mode: str
    outcomes: Sequence[Outcome]
    doubts: Sequence[str]
    seconds: float

    def json(self) -> str:
        """Everything: machine, versions, each round of each side, each claim."""
        body = {
            "mode": self.mode,
            "durable": not self.doubts,
            "doubts": list(self.doubts),
            "seconds": round(self.seconds, 1),
            "machine": machine(),
            "rows": [
                {
                    "name": outcome.row.name,
                    "title": outcome.row.title,
                    "unit": outcome.row.unit,
                    "sides": {
                        name: {"median": median(values), "rounds": values} for name, values in outcome.series.items()
                    },
                    "claims": [
                        {**asdict(finding.claim), **asdict(finding.ratio), "verdict": finding.verdict}
                        for finding in outcome.findings
                    ],
                }
                for outcome in self.outcomes
            ],
        }
        return json.dumps(body, indent=2, ensure_ascii=False)

    def show(self, console: Console) -> None:
        """The table on a terminal."""
        table = Table(title="Ours against its peers" + (" — NOT DURABLE" if self.doubts else ""), title_justify="left")
        for heading in ("row", "what", "measured", "claim", ""):
            table.add_column(heading, overflow="fold")
        for outcome in self.outcomes:
            first = True
            for claim, mark in _claims(outcome):
                what = f"{outcome.row.title}\n[dim]{outcome.row.unit}[/]" if first else ""
                table.add_row(outcome.row.name if first else "", what, _figures(outcome) if first else "", claim, mark)
                first = False
            table.add_section()
        console.print(table)
        console.print(
            f"[dim]{'; '.join(f'{name} {value}' for name, value in machine().items() if name != 'packages')}[/]"
        )
        for doubt in self.doubts:
            console.print(f"[red]Not durable:[/] {doubt}")

    def markdown(self) -> str:
        """The table for a page: a line a row."""
        lines = ["| work | unit | ours | others | ratio, with its interval | |", "|---|---|---|---|---|---|"]
        for outcome in self.outcomes:
            names = list(outcome.series)
            ours = "; ".join(f"{name} {_short(outcome.series[name])}" for name in names if _is_ours(name))
            theirs = "; ".join(f"{name} {_short(outcome.series[name])}" for name in names if not _is_ours(name))
            claims = "<br>".join(
                f"{claim.claim.side} ÷ {claim.claim.against}: {claim.text}" for claim in outcome.findings
            )
            limited = any(claim.verdict for claim in outcome.findings)
            verdicts = "<br>".join(claim.verdict for claim in outcome.findings) if limited else ""
            if not outcome.row.claims:
                claims = _same(outcome)
            lines.append(f"| {outcome.row.title} | {outcome.row.unit} | {ours} | {theirs} | {claims} | {verdicts} |")
        return "\n".join(lines) + "\n"


def machine() -> dict[str, object]:
    """What the figures were measured on, and with."""
    return {
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - no path of ours
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _claims(outcome: Outcome) -> Iterable[tuple[str, str]]:
    if not outcome.row.claims:
        yield _same(outcome), ""
    for finding in outcome.findings:
        yield f"{finding.claim.side} ÷ {finding.claim.against}\n{finding.text}", _MARKS[finding.verdict]


def _same(outcome: Outcome) -> str:
    found = outcome.against(list(outcome.series)[-1])
    return f"× {found.value:.2f} ({found.low:.2f}–{found.high:.2f}) where nothing differs"


def _figures(outcome: Outcome) -> str:
    return "\n".join(f"{name}: {_short(values)}" for name, values in outcome.series.items())


def _short(values: list[float]) -> str:
    return f"{median(values):.3g}"


def _is_ours(name: str) -> bool:
    return not name.startswith(_OTHERS)
