"""The console's font: 512 glyphs of 8x16, letters from Debian's fonts, lines and blocks drawn here.

Debian's console fonts stand in one glyph for all weights of a line and have no eighth blocks, so
borders and bars of a screen become diamonds. Here every line and block is drawn exactly.

Source of the format: PSF 1, `include/uapi/linux/kd.h` and psf(5) of kbd; a glyph is 16 bytes, one
per row, its leftmost pixel the highest bit.
"""

from __future__ import annotations

import gzip
import struct
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

WIDTH, HEIGHT = 8, 16
GLYPHS = 512
LETTERS_FROM = "Uni2-Terminus16.psf.gz"

_MAGIC = b"\x36\x04"
_MODE_512, _MODE_TABLE = 1, 2
_END, _SEQUENCE = 0xFFFF, 0xFFFE

CENTRE_X, CENTRE_Y = 3, 7
_LINES = "".join(map(chr, range(0x2500, 0x2580)))
_BLOCKS = "".join(map(chr, range(0x2580, 0x25A0)))
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

DRAWN = {
    "✓": "........ .......# ......## .....##. ....##.. #..##... ####.... .##.....",
    "●": "........ ..####.. .######. ######## ######## ######## .######. ..####..",
    "○": "........ ..####.. .#....#. #......# #......# #......# .#....#. ..####..",
    "◉": "........ ..####.. .#....#. #..##..# #.####.# #..##..# .#....#. ..####..",
    "▲": "........ ...##... ...##... ..####.. ..####.. .######. .######. ########",
    "▼": "........ ######## .######. .######. ..####.. ..####.. ...##... ...##...",
    "▶": "........ ##...... ####.... ######.. ######## ######.. ####.... ##......",
    "◀": "........ ......## ....#### ..###### ######## ..###### ....#### ......##",
    "⚠": "...##... ...##... ..#..#.. ..#..#.. .#.##.#. .#.##.#. #......# ###..### ########",
    "⏎": "......## ......## ......## ..#...## .##...## ######## ######## .##..... ..#.....",
    "⌫": "........ ..###### .#....## #.#..#.# #..##..# #..##..# #.#..#.# .#....## ..######",
    "⇥": "........ ...#...# ....#..# .....#.# ######## .....#.# ....#..# ...#...#",
    "◆": "........ ...##... ..####.. .######. ######## .######. ..####.. ...##...",
}
"""Marks that the source font lacks or draws small; rows from the fourth on, `#` is a pixel."""

SAME_AS = {
    "✔": "✓",
    "✗": "×",
    "✘": "×",
    "⬤": "●",
    "⭘": "○",
    "◯": "○",
    "▸": "▶",
    "►": "▶",
    "◂": "◀",
    "◄": "◀",
    "▴": "▲",
    "▾": "▼",
    "↵": "⏎",
    "◦": "○",
    "‑": "-",
    "‐": "-",
    "−": "-",
    "\u2009": " ",
    "\u202f": " ",
    "∙": "·",
    "ʼ": "'",
}
"""Signs that share a glyph with another one."""

WANTED = "".join(
    (
        "".join(map(chr, range(0x20, 0x7F))),
        "".join(map(chr, range(0xA0, 0x100))),
        _LINES,
        _BLOCKS,
        "".join(DRAWN),
        _SPINNER,
        "–—‘’“”„•…‹›€™←↑→↓↔↕≈≠≤≥√∞■☐☑☒\ufffd",
        "ĄąĆćČčĎďĘęĚěĞğİıŁłŃńŇňŐőŒœŘřŚśŞşŠšŤťŮůŰűŸŹźŻżŽž",
        "".join(map(chr, range(0x100, 0x180))),
    )
)
"""In order of need: what finds no glyph in the source is left out, what is beyond 512 too."""


class Canvas:
    """One glyph being drawn; `x` from the left, `y` from the top."""

    def __init__(self) -> None:
        self._rows = [0] * HEIGHT

    def fill(self, left: int, top: int, right: int, bottom: int) -> None:
        """Set the pixels of a box; `right` and `bottom` belong to it. Outside is cut off."""
        for y in range(max(top, 0), min(bottom, HEIGHT - 1) + 1):
            for x in range(max(left, 0), min(right, WIDTH - 1) + 1):
                self._rows[y] |= 0x80 >> x

    def clear(self, x: int, y: int) -> None:
        """Unset a pixel."""
        self._rows[y] &= ~(0x80 >> x)

    @property
    def glyph(self) -> bytes:
        """The rows as PSF has them."""
        return bytes(self._rows)


def make_font(letters: Mapping[str, bytes]) -> bytes:
    """A PSF font of at most 512 glyphs from `letters` and what is drawn here.

    The same glyph is stored once, with all its signs in the table.
    """
    glyphs: dict[bytes, list[str]] = {}
    for sign in dict.fromkeys(WANTED):
        glyph = draw(sign) or letters.get(sign)
        if glyph is None or (glyph not in glyphs and len(glyphs) == GLYPHS):
            continue
        glyphs.setdefault(glyph, []).append(sign)
    place = {sign: glyph for glyph, signs in glyphs.items() for sign in signs}
    for sign, other in SAME_AS.items():
        if sign not in place and other in place:
            glyphs[place[other]].append(sign)
    return render_psf(tuple((glyph, "".join(signs)) for glyph, signs in glyphs.items()))


def make_font_file(source: Path, target: Path) -> None:
    """Write the font, compressed, from one of Debian's; the same bytes each time."""
    font = make_font(parse_psf(gzip.decompress(source.read_bytes())))
    target.write_bytes(gzip.compress(font, mtime=0))


def parse_psf(font: bytes) -> dict[str, bytes]:
    """Sign to glyph, of a PSF 1 font of 8x16 with a table. Raises `ValueError` for another."""
    if font[:2] != _MAGIC or font[3] != HEIGHT or not font[2] & _MODE_TABLE:
        raise ValueError("not a PSF 1 font of 8x16 with a table of signs")
    count = GLYPHS if font[2] & _MODE_512 else GLYPHS // 2
    end = 4 + count * HEIGHT
    glyphs: dict[str, bytes] = {}
    number = 0
    is_sequence = False
    for (value,) in struct.iter_unpack("<H", font[end:]):
        if value == _END:
            number, is_sequence = number + 1, False
        elif value == _SEQUENCE:
            is_sequence = True
        elif not is_sequence and number < count:
            start = 4 + number * HEIGHT
            glyphs.setdefault(chr(value), font[start : start + HEIGHT])
    return glyphs


def render_psf(glyphs: tuple[tuple[bytes, str], ...]) -> bytes:
    """A PSF 1 font of 512 glyphs; unused ones are blank and have no sign."""
    blank = (bytes(HEIGHT), "")
    full = (*glyphs, *[blank] * (GLYPHS - len(glyphs)))
    table = b"".join(
        b"".join(struct.pack("<H", ord(sign)) for sign in signs) + struct.pack("<H", _END)
        for _, signs in full
    )
    head = _MAGIC + bytes((_MODE_512 | _MODE_TABLE, HEIGHT))
    return head + b"".join(glyph for glyph, _ in full) + table


def draw(sign: str) -> bytes | None:
    """The glyph of a sign that is drawn here, else None."""
    code = ord(sign)
    if sign in DRAWN:
        return _draw_rows(DRAWN[sign])
    if 0x2500 <= code < 0x2580:
        return _draw_line(unicodedata.name(sign).removeprefix("BOX DRAWINGS "))
    if 0x2580 <= code < 0x25A0:
        return _draw_block(code)
    if 0x2800 <= code < 0x2900:
        return _draw_braille(code - 0x2800)
    return None


def _draw_rows(picture: str) -> bytes:
    rows = [
        sum(0x80 >> x for x, pixel in enumerate(row) if pixel == "#") for row in picture.split()
    ]
    return bytes((0, 0, 0, *rows, *[0] * (HEIGHT - 3 - len(rows))))


# Box drawing

_DIRECTIONS = {
    "UP": ("UP",),
    "DOWN": ("DOWN",),
    "LEFT": ("LEFT",),
    "RIGHT": ("RIGHT",),
    "HORIZONTAL": ("LEFT", "RIGHT"),
    "VERTICAL": ("UP", "DOWN"),
}
_WEIGHTS = {"LIGHT": 1, "SINGLE": 1, "HEAVY": 2, "DOUBLE": 3}
_DASHES = {"DOUBLE": 2, "TRIPLE": 3, "QUADRUPLE": 4}
_DOUBLE = 3


def arms_of(name: str) -> dict[str, int]:
    """Direction to weight (1 light, 2 heavy, 3 double) from a sign's Unicode name.

    `LIGHT DOWN AND RIGHT` gives its weight first and once, `DOWN LIGHT AND RIGHT HEAVY` after
    each direction.
    """
    arms: dict[str, int] = {}
    weight = 0
    for clause in name.split(" AND "):
        words = clause.split()
        weight = next((_WEIGHTS[word] for word in words if word in _WEIGHTS), weight)
        for word in words:
            for direction in _DIRECTIONS.get(word, ()):
                arms[direction] = weight
    return arms


def _draw_line(name: str) -> bytes:
    if "DIAGONAL" in name:
        return _draw_diagonal(name)
    if "DASH" in name:
        return _draw_dashes(name)
    arms = arms_of(name.replace("ARC ", ""))
    canvas = Canvas()
    for direction, weight in arms.items():
        _draw_arm(canvas, direction, weight, arms)
    if "ARC" in name:
        canvas.clear(CENTRE_X, CENTRE_Y)
    return canvas.glyph


def _draw_arm(canvas: Canvas, direction: str, weight: int, arms: Mapping[str, int]) -> None:
    is_vertical = direction in {"UP", "DOWN"}
    towards_end = direction in {"DOWN", "RIGHT"}
    sides = ("LEFT", "RIGHT") if is_vertical else ("UP", "DOWN")
    opposite = {"UP": "DOWN", "DOWN": "UP", "LEFT": "RIGHT", "RIGHT": "LEFT"}[direction]
    across = [arms.get(side, 0) for side in sides]
    for offset in {1: (0,), 2: (-1, 0, 1), 3: (-1, 1)}[weight]:
        reach = _reach(offset, weight, across, arms.get(opposite, 0))
        centre = CENTRE_Y if is_vertical else CENTRE_X
        end = (HEIGHT if is_vertical else WIDTH) - 1
        first, last = (centre - reach, end) if towards_end else (0, centre + reach)
        if is_vertical:
            canvas.fill(CENTRE_X + offset, first, CENTRE_X + offset, last)
        else:
            canvas.fill(first, CENTRE_Y + offset, last, CENTRE_Y + offset)


def _reach(offset: int, weight: int, across: list[int], opposite: int) -> int:
    """How far a stroke goes beyond the centre, in pixels; negative where it stops before it."""
    if weight == _DOUBLE:
        near, far = (across[0], across[1]) if offset < 0 else (across[1], across[0])
        if near == _DOUBLE:
            return -1
        return 1 if far == _DOUBLE and not opposite and not near else 0
    if _DOUBLE in across:
        # A single stroke ends at the rail it meets: the near one if both rails go through.
        return -1 if across[0] and across[1] and not opposite else 1
    return 1 if 2 in across else 0


def _draw_dashes(name: str) -> bytes:
    words = name.split()
    count, weight = _DASHES[words[1]], _WEIGHTS[words[0]]
    around = weight - 1
    canvas = Canvas()
    is_vertical = "VERTICAL" in words
    length = HEIGHT if is_vertical else WIDTH
    for number in range(count):
        first = number * length // count
        last = (number + 1) * length // count - 2
        if is_vertical:
            canvas.fill(CENTRE_X - around, first, CENTRE_X + around, last)
        else:
            canvas.fill(first, CENTRE_Y - around, last, CENTRE_Y + around)
    return canvas.glyph


def _draw_diagonal(name: str) -> bytes:
    canvas = Canvas()
    for y in range(HEIGHT):
        x = y * WIDTH // HEIGHT
        if "UPPER LEFT" in name or "CROSS" in name:
            canvas.fill(x, y, x, y)
        if "UPPER RIGHT" in name or "CROSS" in name:
            canvas.fill(WIDTH - 1 - x, y, WIDTH - 1 - x, y)
    return canvas.glyph


# Blocks

_QUADRANTS = {
    0x2596: "sw",
    0x2597: "se",
    0x2598: "nw",
    0x2599: "nw sw se",
    0x259A: "nw se",
    0x259B: "nw ne sw",
    0x259C: "nw ne se",
    0x259D: "ne",
    0x259E: "ne sw",
    0x259F: "ne sw se",
}
_SHADES: dict[int, Callable[[int, int], bool]] = {
    0x2591: lambda x, y: (x + 2 * (y % 2)) % 4 == 0,
    0x2592: lambda x, y: (x + y) % 2 == 0,
    0x2593: lambda x, y: (x + 2 * (y % 2)) % 4 != 0,
}


def _draw_block(code: int) -> bytes:
    canvas = Canvas()
    right, bottom = WIDTH - 1, HEIGHT - 1
    if code == 0x2580:
        canvas.fill(0, 0, right, HEIGHT // 2 - 1)
    elif 0x2581 <= code <= 0x2588:
        canvas.fill(0, HEIGHT - 2 * (code - 0x2580), right, bottom)
    elif 0x2589 <= code <= 0x258F:
        canvas.fill(0, 0, 0x2590 - code - 1, bottom)
    elif code == 0x2590:
        canvas.fill(WIDTH // 2, 0, right, bottom)
    elif code == 0x2594:
        canvas.fill(0, 0, right, 1)
    elif code == 0x2595:
        canvas.fill(right, 0, right, bottom)
    elif code in _SHADES:
        for y in range(HEIGHT):
            for x in range(WIDTH):
                if _SHADES[code](x, y):
                    canvas.fill(x, y, x, y)
    else:
        for quadrant in _QUADRANTS[code].split():
            top = 0 if quadrant[0] == "n" else HEIGHT // 2
            left = 0 if quadrant[1] == "w" else WIDTH // 2
            canvas.fill(left, top, left + WIDTH // 2 - 1, top + HEIGHT // 2 - 1)
    return canvas.glyph


def _draw_braille(dots: int) -> bytes:
    """Source: Unicode 16, section 21.1: bits 0-2 and 6 are the left column, 3-5 and 7 the right."""
    canvas = Canvas()
    places = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
    for bit, (column, row) in enumerate(places):
        if dots >> bit & 1:
            left, top = 1 + 4 * column, 1 + 4 * row
            canvas.fill(left, top, left + 1, top + 1)
    return canvas.glyph
