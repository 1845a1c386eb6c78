"""Pictures as plain bytes: drawn, written as PNG, and read from PNG or PPM, with nothing but the standard library.

What the image analysis example looks at. Enough for that, and no image library: PNG with 8 bits a channel that is not
interlaced, PPM of the kind P6.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from random import Random
from typing import Final

MOST_PIXELS: Final = 512 * 512
SITE: Final = 16
"""A drawn picture is laid out in squares of so many pixels; each may hold one spot."""

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = {0: 1, 2: 3, 4: 2, 6: 4}
_PPM: Final = re.compile(rb"P6(?:\s+|#[^\n]*\n)+(\d{1,6})\s+(\d{1,6})\s+255\s", re.ASCII)


@dataclass(frozen=True, slots=True)
class Picture:
    """pixels: red, green and blue, a byte each, row by row from the top left."""

    width: int
    height: int
    pixels: bytes


@dataclass(frozen=True, slots=True)
class Spot:
    """A disc that is brighter or darker than what is around it. In pixels."""

    x: int
    y: int
    radius: int
    bright: bool


def spots_of(seed: int, width: int, height: int) -> list[Spot]:
    """The spots of a drawn picture: none to three, each in a square of its own. The same for the same arguments."""
    chance = Random(f"spots {seed}")  # noqa: S311 - no secret
    sites = [(x, y) for y in range(height // SITE) for x in range(width // SITE)]
    half = SITE // 2
    return [
        Spot(
            x * SITE + half + chance.randint(-1, 1),
            y * SITE + half + chance.randint(-1, 1),
            chance.randint(3, 4),
            chance.random() < 0.5,  # noqa: PLR2004 - one half
        )
        for x, y in chance.sample(sites, min(len(sites) // 2, chance.randint(0, 3)))
    ]


def drawn(seed: int, width: int, height: int) -> Picture:
    """A tinted slope with noise and its spots. The same for the same arguments."""
    chance = Random(f"picture {seed}")  # noqa: S311 - no secret
    tint = [chance.randint(100, 150) for _ in range(3)]
    noise = chance.randbytes(width * height)
    shades = [x * 16 // width - 8 + (noise[y * width + x] >> 4) - 8 for y in range(height) for x in range(width)]
    for spot in spots_of(seed, width, height):
        for y in range(spot.y - spot.radius, spot.y + spot.radius + 1):
            for x in range(spot.x - spot.radius, spot.x + spot.radius + 1):
                if (x - spot.x) ** 2 + (y - spot.y) ** 2 <= spot.radius**2:
                    shades[y * width + x] += 80 if spot.bright else -80
    return Picture(width, height, bytes(min(255, max(0, base + shade)) for shade in shades for base in tint))


def png(picture: Picture) -> bytes:
    """The picture as a PNG file."""
    row = 3 * picture.width
    lines = (b"\0" + picture.pixels[start : start + row] for start in range(0, len(picture.pixels), row))
    head = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b""))
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def opened(raw: bytes) -> Picture:
    """The picture in a PNG or PPM file. Raises ValueError: it is none, is broken, or is larger than `MOST_PIXELS`."""
    if found := _PPM.match(raw):
        width, height = _sized(int(found[1]), int(found[2]))
        pixels = raw[found.end() : found.end() + 3 * width * height]
        if len(pixels) < 3 * width * height:
            raise ValueError("the file ends too early")
        return Picture(width, height, pixels)
    if not raw.startswith(_SIGNATURE):
        raise ValueError("only PNG and PPM (P6, 8 bits) can be read")
    head, packed = _chunks(raw)
    try:
        width, height, depth, colours, *rest = struct.unpack(">IIBBBBB", head)
    except struct.error:
        raise ValueError("the file has no header") from None
    channels = _CHANNELS.get(colours)
    if depth != 8 or channels is None or rest != [0, 0, 0]:  # noqa: PLR2004 - bits
        raise ValueError("only PNG with 8 bits a channel can be read, without a palette and not interlaced")
    _sized(width, height)
    wanted = height * (1 + width * channels)
    try:
        data = zlib.decompressobj().decompress(packed, wanted)  # no more, whatever the file would unfold to
    except zlib.error:
        raise ValueError("its compressed data are broken") from None
    if len(data) < wanted:
        raise ValueError("the file ends too early")
    samples = _unfiltered(data, width * channels, channels)
    if channels < 3:  # noqa: PLR2004 - grey, with or without alpha
        return Picture(width, height, bytes(grey for grey in samples[::channels] for _ in range(3)))
    if channels == 3:  # noqa: PLR2004 - red, green, blue
        return Picture(width, height, bytes(samples))
    del samples[3::4]
    return Picture(width, height, bytes(samples))


def _sized(width: int, height: int) -> tuple[int, int]:
    if not (width > 0 and height > 0 and width * height <= MOST_PIXELS):
        raise ValueError(f"{width} × {height} pixels are not 1 to {MOST_PIXELS}")
    return width, height


def _chunks(raw: bytes) -> tuple[bytes, bytes]:
    """The header's data and the packed pixels. Raises ValueError."""
    head, packed, place = b"", b"", len(_SIGNATURE)
    while place + 12 <= len(raw):
        (length,) = struct.unpack_from(">I", raw, place)
        kind, data = raw[place + 4 : place + 8], raw[place + 8 : place + 8 + length]
        if raw[place + 8 + length : place + 12 + length] != struct.pack(">I", zlib.crc32(kind + data)):
            raise ValueError("a part of the file is damaged")
        if kind == b"IHDR":
            head = data
        elif kind == b"IDAT":
            packed += data
        place += 12 + length
    return head, packed


def _unfiltered(data: bytes, row: int, step: int) -> bytearray:
    """The samples without each line's filter. Source: PNG specification, section 9.2. Raises ValueError."""
    samples = bytearray()
    above = bytearray(row)
    for start in range(0, len(data), row + 1):
        kind, line = data[start], bytearray(data[start + 1 : start + 1 + row])
        if kind > 4:  # noqa: PLR2004 - the last one there is
            raise ValueError(f"filter {kind} does not exist")
        if kind:
            for place, up in enumerate(above):
                left, corner = (line[place - step], above[place - step]) if place >= step else (0, 0)
                line[place] = (line[place] + _guess(kind, left, up, corner)) & 255
        samples += line
        above = line
    return samples


def _guess(kind: int, left: int, up: int, corner: int) -> int:
    if kind == 4:  # noqa: PLR2004 - Paeth
        far = left + up - corner
        return min((left, up, corner), key=lambda near: abs(far - near))
    return (0, left, up, (left + up) // 2)[kind]
