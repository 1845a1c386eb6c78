"""The table of `scripts/bench --tasks` for the documentation: a line a claim, the machine above it."""

from __future__ import annotations

from statistics import median

from tests.bench.report import Outcome, Report, machine


def markdown(report: Report) -> str:
    """Ready to be pasted."""
    about = machine()
    where = (
        f"{about['cores']} cores of {about['processor']}, {about['memory_gib']} GiB, {about['system']}, "
        f"Python {about['python']}"
    )
    mode = "" if report.mode == "full" else " (a quick look)"
    durable = " (not durable)" if report.doubts else ""
    lines = [
        f"`scripts/bench --tasks --{report.mode}`{mode}{durable}: {where}; {report.seconds:.0f} s.",
        "",
        "| work | unit | measured | against | ratio, with its interval | limit | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for outcome in report.outcomes:
        lines += _lines(outcome)
    return "\n".join(lines) + "\n"


def _lines(outcome: Outcome) -> list[str]:
    row, series = outcome.row, outcome.series
    if not row.claims:
        first, *_, last = series
        found = outcome.against(last)
        ratio = f"× {found.value:.2f} ({found.low:.2f}–{found.high:.2f})"
        return [f"| {row.title} | {row.unit} | {_shown(outcome, first)} | {_shown(outcome, last)} | {ratio} |  |  |"]
    lines = []
    for number, finding in enumerate(outcome.findings):
        claim, found = finding.claim, finding.ratio
        heads = (row.title, row.unit) if number == 0 else ("", "")
        limit = "" if claim.limit is None else f"{claim.limit:.3g}"
        ratio = f"× {found.value:.3g} ({found.low:.3g}–{found.high:.3g})"
        cells = (*heads, _shown(outcome, claim.side), _shown(outcome, claim.against), ratio, limit, finding.verdict)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _shown(outcome: Outcome, side: str) -> str:
    value = f"{median(outcome.series[side]):.3g}"
    return side if side.startswith(f"{value} ") else f"{side} {value}"
