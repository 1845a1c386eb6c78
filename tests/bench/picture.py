"""The table as a picture that needs no program to be seen: SVG, readable on light and on dark pages.

One bar a claim: what ours costs as a part of what it is compared with, the interval over it, and the limit as a stroke.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from tests.bench.pairing import Verdict
from tests.bench.report import Finding, Report

_WIDTH, _LEFT, _BAR, _LINE, _TOP = 960, 400, 360, 33, 84
_MOST = 1.75
"""The largest ratio that is drawn to scale."""
_COLOURS = {Verdict.HOLDS: "#2a9d6f", Verdict.OPEN: "#d9a520", Verdict.MISSED: "#cf4b3f"}
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 16px }
  .faint { fill: #6e7781 }
  .small { font-size: 10.5px }
  .grid { stroke: #d0d7de }
  .page { fill: #ffffff }
  .limit { stroke: #24292f; stroke-width: 2 }
  .whisker { stroke: #24292f; stroke-width: 1.5; opacity: .7 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .faint { fill: #8d96a0 } .grid { stroke: #3d444d } .page { fill: #0d1117 }
    .limit, .whisker { stroke: #e6edf3 }
  }
"""


def picture(report: Report) -> str:
    """SVG of all claims that were measured."""
    lines = [
        (outcome.row.title, outcome.row.unit, finding, finding.claim.limit)
        for outcome in report.outcomes
        for finding in outcome.findings
        if finding.claim.limit is not None
    ]
    height = _TOP + _LINE * len(lines) + 40
    body = "\n".join([*_grid(height), *(each for at, line in enumerate(lines) for each in _bar(at, *line))])
    durable = "" if not report.doubts else " — not durable"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">\n'
        f"<title>What a2a_server costs, as a part of what others cost</title>\n<style>{_STYLE}</style>\n"
        f'<rect class="page" width="{_WIDTH}" height="{height}" rx="8"/>\n'
        f'<text class="title" x="20" y="30">Cost of ours ÷ cost of what it is compared with{durable}</text>\n'
        '<text class="faint" x="20" y="50">shorter is better; thin line: smallest and largest of the rounds; '
        "stroke: the limit</text>\n"
        f"{body}\n</svg>\n"
    )


def _grid(height: int) -> Iterator[str]:
    for step in range(8):
        at = step * 0.25
        x = _x(at)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 12}" y2="{height - 34}"/>'
        yield f'<text class="faint" x="{x:.1f}" y="{height - 16}" text-anchor="middle">{at:g}</text>'


def _bar(at: int, title: str, unit: str, finding: Finding, limit: float) -> Iterator[str]:
    y = _TOP + at * _LINE
    claim, found = finding.claim, finding.ratio
    yield f'<text x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(title)}</text>'
    against = f"{claim.side} ÷ {claim.against}, {unit}"
    yield f'<text class="faint small" x="{_LEFT - 12}" y="{y + 16}" text-anchor="end">{escape(against)}</text>'
    yield (
        f'<rect x="{_LEFT}" y="{y - 6}" width="{_x(found.value) - _LEFT:.1f}" height="14" rx="3" '
        f'fill="{_COLOURS[finding.verdict]}"/>'
    )
    yield f'<line class="whisker" x1="{_x(found.low):.1f}" x2="{_x(found.high):.1f}" y1="{y + 1}" y2="{y + 1}"/>'
    yield f'<line class="limit" x1="{_x(limit):.1f}" x2="{_x(limit):.1f}" y1="{y - 9}" y2="{y + 11}"/>'
    yield f'<text x="{_LEFT + _BAR + 16}" y="{y + 5}">× {found.value:.2f} of at most {limit:.2g}</text>'


def _x(value: float) -> float:
    return _LEFT + min(value, _MOST) / _MOST * _BAR
