"""The console's font: every line and block a screen uses has its own exact glyph."""

from __future__ import annotations

import unicodedata

import pytest

from live_image.console_font import (
    DRAWN,
    GLYPHS,
    HEIGHT,
    SAME_AS,
    arms_of,
    draw,
    make_font,
    parse_psf,
    render_psf,
)

LETTERS = {chr(code): bytes((code, *[0] * 14, code)) for code in range(0x20, 0x7F)}


def rows(sign: str) -> list[str]:
    glyph = draw(sign)
    assert glyph is not None
    return [f"{row:08b}".replace("0", ".").replace("1", "#") for row in glyph]


def edges(sign: str) -> dict[str, str]:
    """The pixels at the four edges, which must meet those of the neighbour."""
    picture = rows(sign)
    return {
        "UP": picture[0],
        "DOWN": picture[-1],
        "LEFT": "".join(row[0] for row in picture),
        "RIGHT": "".join(row[-1] for row in picture),
    }


def test_psf_round_trip() -> None:
    glyphs = ((b"\x01" * 16, "a"), (b"\x02" * 16, "bc"))
    assert parse_psf(render_psf(glyphs)) == {
        "a": b"\x01" * 16,
        "b": b"\x02" * 16,
        "c": b"\x02" * 16,
    }


def test_psf_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="PSF 1"):
        parse_psf(b"\x36\x04\x03\x08" + bytes(100))


def test_sequences_of_a_table_are_passed_over() -> None:
    font = b"\x36\x04\x02\x10" + bytes(256 * 16) + b"\x41\x00\xfe\xff\x42\x00\x43\x00\xff\xff"
    assert set(parse_psf(font)) == {"A"}


def test_font_has_what_screens_draw() -> None:
    signs = parse_psf(make_font(LETTERS))
    wanted = {chr(code) for code in range(0x2500, 0x25A0)} | set(DRAWN) | set("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
    assert wanted | set(SAME_AS) - {"∙", "✗", "✘"} <= set(signs)
    assert len(set(signs.values())) <= GLYPHS


def test_font_is_cut_at_its_size() -> None:
    many = {chr(code): code.to_bytes(16, "big") for code in range(0x20, 0x2000)}
    font = make_font(many)
    assert font[:4] == b"\x36\x04\x03\x10"
    assert len(set(parse_psf(font).values())) <= GLYPHS
    assert "A" in parse_psf(font)


@pytest.mark.parametrize(
    ("name", "arms"),
    [
        ("LIGHT DOWN AND RIGHT", {"DOWN": 1, "RIGHT": 1}),
        ("DOWN LIGHT AND RIGHT HEAVY", {"DOWN": 1, "RIGHT": 2}),
        ("UP HEAVY AND RIGHT DOWN LIGHT", {"UP": 2, "RIGHT": 1, "DOWN": 1}),
        ("VERTICAL SINGLE AND RIGHT DOUBLE", {"UP": 1, "DOWN": 1, "RIGHT": 3}),
        ("LIGHT LEFT AND HEAVY RIGHT", {"LEFT": 1, "RIGHT": 2}),
    ],
)
def test_arms(name: str, arms: dict[str, int]) -> None:
    assert arms_of(name) == arms


@pytest.mark.parametrize("code", range(0x2500, 0x2580))
def test_lines_reach_exactly_the_edges_they_name(code: int) -> None:
    name = unicodedata.name(chr(code))
    if "DASH" in name or "DIAGONAL" in name:
        pytest.skip("neither has arms")
    arms = arms_of(name.removeprefix("BOX DRAWINGS ").replace("ARC ", ""))
    pixels = {None: 0, 1: 1, 2: 3, 3: 2}
    found = {side: line.count("#") for side, line in edges(chr(code)).items()}
    assert found == {side: pixels[arms.get(side)] for side in found}


@pytest.mark.parametrize("pair", ["─┤", "━┫", "═╣", "━┥", "╼┫", "═╡", "─╢", "╾┤"])
def test_neighbours_meet(pair: str) -> None:
    assert edges(pair[0])["RIGHT"] == edges(pair[1])["LEFT"]


def test_eighths_grow() -> None:
    assert [sum(row.count("#") for row in rows(chr(0x2580 + n))) for n in range(1, 9)] == [
        n * 16 for n in range(1, 9)
    ]
    assert [rows(chr(0x2590 - n))[0].count("#") for n in range(1, 8)] == list(range(1, 8))


def test_quadrants_add_up() -> None:
    def pixels(sign: str) -> int:
        glyph = draw(sign)
        assert glyph is not None
        return int.from_bytes(glyph, "big")

    assert pixels("▚") ^ pixels("▞") == pixels("█")
    assert pixels("▛") | pixels("▗") == pixels("█")
    assert pixels("▌") == pixels("▘") | pixels("▖")


def test_drawn_marks_fit() -> None:
    for sign in DRAWN:
        assert all(len(row) == 8 for row in DRAWN[sign].split()), sign
        assert len(rows(sign)) == HEIGHT
