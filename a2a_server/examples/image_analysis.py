"""A thousand pictures to look at, the urgent ones first: an agent, and a program that gives it a batch.

`python -m a2a_server.examples.image_analysis` starts the agent's server in this process (or takes one that runs, with
`--url`), sends a batch of 1,000 cases in one request, follows all of them in one stream, and fetches what was found.
The agent by itself is served with `a2a-server run a2a_server.examples.image_analysis:agent`.

The program is in `image_client.py`: a client as anybody would write one. What draws, writes and reads pictures is in
`pictures.py`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Annotated, Any, Final

from pydantic import Field

from a2a_server import Agent, Artifact, Data, File, Reject, SyncTask
from a2a_server.examples.pictures import Picture, drawn, opened, png

CELL: Final = 4
"""A cell of the heat map is a square of so many pixels."""
HOT: Final = 6.0
"""From this score on a cell is part of a finding: how often it is further from the middle than most others are."""
EDGE: Final = 96
"""Brightness, of 255, that has to change across two pixels to be an edge."""
BINS: Final = 16
"""Bars of the histogram."""
MOST_BYTES: Final = 4 << 20

Side = Annotated[int, Field(ge=16, le=512)]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that stands out. kind: bright or dark. x, y, width, height: where, in pixels. score: how much."""

    kind: str
    x: int
    y: int
    width: int
    height: int
    score: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of a whole picture. mean_colour: red, green, blue. histogram: pixels by brightness. edges: pixels on one."""

    width: int
    height: int
    mean_colour: tuple[float, ...]
    histogram: tuple[int, ...]
    edges: int


@dataclass(frozen=True, slots=True)
class Heat:
    """How far each cell is from the middle of all. width, height: in cells. scores: row by row, negative = dark."""

    width: int
    height: int
    scores: tuple[float, ...]


agent = Agent(
    "Image analysis", description="Looks at pictures: colours, brightness, edges, and what stands out.", version="1.0.0"
)


@agent.skill(tags=["image"], examples=['{"seed": 7, "width": 64, "height": 64}'])
def analyse(
    task: SyncTask,
    image: File | None = None,
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0,
    width: Side = 64,
    height: Side = 64,
) -> list[Artifact]:
    """Analyse a picture: a PNG or PPM file, or one that is drawn from a seed.

    The result are two artifacts: `analysis`, data with the members `statistics` and `findings`, and `heat map`, a PNG.
    A plain function, so it runs in a thread and may take its time.
    """
    task.progress(done=0, total=4, note="reading")
    if image is None:
        picture = drawn(seed, width, height)
    else:
        try:
            picture = opened(task.read(image, limit_bytes=MOST_BYTES))
        except ValueError as error:
            raise Reject(f"The image cannot be analysed: {error}.") from None
    task.progress(done=1, total=4, note="statistics")
    bright = brightness(picture)
    statistics = measured(picture, bright)
    task.progress(done=2, total=4, note="findings")
    heat = heated(bright, picture.width, picture.height)
    findings = found(heat)
    task.progress(done=3, total=4, note="heat map")
    heat_map = png(coloured(heat))
    task.progress(done=4, total=4, note=f"{len(findings)} findings")
    content: dict[str, Any] = {"statistics": asdict(statistics), "findings": [asdict(finding) for finding in findings]}
    return [
        Artifact("analysis", (Data(content),)),
        Artifact("heat map", (File("heat-map.png", "image/png", raw=heat_map),)),
    ]


def brightness(picture: Picture) -> list[int]:
    """Of each pixel, 0 to 255. Source: ITU-R BT.601."""
    red, green, blue = (picture.pixels[channel::3] for channel in range(3))
    return [(299 * r + 587 * g + 114 * b) // 1000 for r, g, b in zip(red, green, blue, strict=True)]


def measured(picture: Picture, bright: Sequence[int]) -> Statistics:
    """What can be counted."""
    width, height, size = picture.width, picture.height, len(bright)
    bars = Counter(value * BINS // 256 for value in bright)
    edges = sum(
        abs(bright[place + 1] - bright[place - 1]) + abs(bright[place + width] - bright[place - width]) >= EDGE
        for y in range(1, height - 1)
        for place in range(y * width + 1, (y + 1) * width - 1)
    )
    return Statistics(
        width,
        height,
        tuple(round(sum(picture.pixels[channel::3]) / size, 2) for channel in range(3)),
        tuple(bars[bar] for bar in range(BINS)),
        edges,
    )


def heated(bright: Sequence[int], width: int, height: int) -> Heat:
    """Each cell's distance from the median, in median distances: what is rare does not move the scale."""
    columns, rows = max(1, width // CELL), max(1, height // CELL)
    means = []
    for row in range(rows):
        lines = range(row * CELL, min(height, (row + 1) * CELL))
        for column in range(columns):
            begin, end = column * CELL, min(width, (column + 1) * CELL)
            means.append(
                sum(sum(bright[y * width + begin : y * width + end]) for y in lines) / len(lines) / (end - begin)
            )
    middle = median(means)
    usual = max(1.0, median(abs(mean - middle) for mean in means))
    return Heat(columns, rows, tuple(round((mean - middle) / usual, 2) for mean in means))


def found(heat: Heat) -> list[Finding]:
    """Hot cells that touch, bright or dark, are one finding; the strongest come first."""
    left = {place for place, score in enumerate(heat.scores) if abs(score) >= HOT}
    findings = []
    while left:
        bright = heat.scores[min(left)] > 0
        reached, edge = set[int](), {min(left)}
        while edge:
            reached |= edge
            left -= edge
            near = {neighbour for place in edge for neighbour in _neighbours(place, heat)}
            edge = {place for place in near & left if (heat.scores[place] > 0) is bright}
        xs, ys = [place % heat.width for place in reached], [place // heat.width for place in reached]
        findings.append(
            Finding(
                "bright" if bright else "dark",
                min(xs) * CELL,
                min(ys) * CELL,
                (max(xs) - min(xs) + 1) * CELL,
                (max(ys) - min(ys) + 1) * CELL,
                max(abs(heat.scores[place]) for place in reached),
            )
        )
    return sorted(findings, key=lambda finding: (-finding.score, finding.y, finding.x))


def coloured(heat: Heat) -> Picture:
    """A pixel a cell: what is bright shows red, what is dark blue, all else black."""
    pixels = bytearray()
    for score in heat.scores:
        strength = min(255, round(abs(score) / HOT * 128))
        pixels += bytes((strength, strength // 4, 0) if score > 0 else (0, strength // 4, strength))
    return Picture(heat.width, heat.height, bytes(pixels))


def _neighbours(place: int, heat: Heat) -> set[int]:
    x = place % heat.width
    sides = {place - 1} if x else set[int]()
    if x + 1 < heat.width:
        sides.add(place + 1)
    return sides | {place - heat.width, place + heat.width}


if __name__ == "__main__":
    from a2a_server.examples.image_client import main

    sys.exit(main(sys.argv[1:]))
