"""What plates look like around the world: sizes, colours, bands, lines and the patterns of their characters.

Source: the countries' own size rules where they are public (EU: 520 x 110 mm, two lines 280 x 200 mm; North America and
Japan: 12 x 6 in and 330 x 165 mm; China: 440 x 140 mm; Russia: 520 x 112 mm; Mercosur: 400 x 130 mm); colours and
patterns are simplified, since a detector must find plates and not read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Colour = tuple[int, int, int]
Band = Literal["none", "left", "right", "both", "top", "box"]

WHITE: Colour = (238, 238, 234)
YELLOW: Colour = (240, 196, 30)
BLACK: Colour = (22, 22, 24)
BLUE: Colour = (24, 60, 150)
GREEN: Colour = (30, 110, 70)
RED: Colour = (170, 28, 34)
SILVER: Colour = (176, 180, 182)
SKY: Colour = (120, 170, 215)


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """One kind of plate.

    Attributes:
        name: For messages and tests.
        weight: How often it is drawn, against the others.
        aspects: Width divided by height; one is chosen.
        colours: (background, ink) pairs; one is chosen.
        patterns: Main text, one of them, its lines separated by a line feed. `L` is a letter, `D` a digit, `C` a
            Chinese, `J` a Japanese, `K` a Korean, `T` a Thai, `A` an Arabic, `Y` a Cyrillic sign, anything else itself.
        role: The role in `fonts.ROLES` of the main text.
        band: Where a coloured band or a box with a region lies.
        band_colour: Its colour.
        captions: Words above or below the text, as on North American plates.
    """

    name: str
    weight: float
    aspects: tuple[float, ...]
    colours: tuple[tuple[Colour, Colour], ...]
    patterns: tuple[str, ...]
    role: str = "latin"
    band: Band = "none"
    band_colour: Colour = BLUE
    captions: tuple[str, ...] = ()


_EU = (520 / 110,)
_SQUARE = (280 / 200, 240 / 130, 200 / 160)
_AMERICAN = (2.0,)

STYLES: tuple[Style, ...] = (
    Style(
        name="eu",
        weight=5,
        aspects=_EU,
        colours=((WHITE, BLACK),),
        band="left",
        patterns=(
            "LL DDD LL",
            "L DD LLL",
            "LL DD LLL",
            "LLL DDD",
            "DDDD LLL",
            "LL-DDD-LL",
            "LLL LDDD",
            "D LL DDDD",
            "LL DDDDL",
        ),
    ),
    Style(
        name="eu both bands",
        weight=2,
        aspects=_EU,
        colours=((WHITE, BLACK),),
        band="both",
        patterns=("LL DDD LL", "LL-DDD-LL"),
    ),
    Style(
        name="eu without band",
        weight=2,
        aspects=_EU,
        colours=((WHITE, BLACK), (SILVER, BLACK), (WHITE, RED), (WHITE, GREEN)),
        patterns=("LLDD LLL", "LL DDDDD", "LLL DDD", "DDDD LL DD", "LL DDD DDD"),
    ),
    Style(
        name="yellow long",
        weight=3,
        aspects=(*_EU, 4.2),
        colours=((YELLOW, BLACK),),
        band="left",
        patterns=("LLDD LLL", "DD-LL-LL", "L-DDD-LL", "DD DDD DD", "DDD-DD-DDD"),
    ),
    Style(
        name="yellow without band",
        weight=1.5,
        aspects=(*_EU, 3.6),
        colours=((YELLOW, BLACK),),
        patterns=("LLDD LLL", "LL DD LL DDDD", "LLL DDDD"),
    ),
    Style(
        name="square",
        weight=2.5,
        aspects=_SQUARE,
        colours=((WHITE, BLACK), (YELLOW, BLACK)),
        band="left",
        patterns=("LL\nDDDD", "LLDD\nLLL", "L DDD\nLL", "DDD\nLL DD"),
    ),
    Style(
        name="square without band",
        weight=2,
        aspects=_SQUARE,
        colours=((WHITE, BLACK), (YELLOW, BLACK), (BLACK, WHITE), (RED, WHITE)),
        patterns=("LL DD\nDDDD", "LLL\nDDDD", "DD-LL\nDDDD"),
    ),
    Style(
        name="american",
        weight=5,
        aspects=_AMERICAN,
        colours=(
            (WHITE, BLUE),
            (WHITE, BLACK),
            (WHITE, RED),
            (SKY, BLUE),
            (YELLOW, BLACK),
            (WHITE, GREEN),
            (BLUE, YELLOW),
            (SILVER, BLACK),
        ),
        patterns=("LLL DDDD", "DLLLDDD", "DDD LLL", "LLL-DDD", "LL DDDDD", "LLLL DDD"),
        captions=(
            "CALIFORNIA",
            "New York",
            "TEXAS",
            "ONTARIO",
            "Florida",
            "OHIO",
            "Quebec",
            "MEXICO",
            "UTAH",
            "Garden State",
            "Sunshine State",
        ),
    ),
    Style(
        name="mercosur",
        weight=2,
        aspects=(400 / 130,),
        colours=((WHITE, BLACK),),
        band="top",
        patterns=("LLLDLDD", "LL DDD LL", "LLL DDDD"),
        captions=("BRASIL", "REPUBLICA ARGENTINA", "URUGUAY"),
    ),
    Style(
        name="south american grey",
        weight=1,
        aspects=(400 / 130, 2.2),
        colours=((SILVER, BLACK), (BLACK, WHITE), (YELLOW, BLACK)),
        patterns=("LLL DDDD", "LLL-DDD"),
        captions=("SP - SAO PAULO", "BOGOTA", "CHILE", "LIMA"),
    ),
    Style(
        name="indian",
        weight=2,
        aspects=(500 / 120, 4.0),
        colours=((WHITE, BLACK), (YELLOW, BLACK), (BLACK, YELLOW), (GREEN, WHITE)),
        patterns=("LL DD LL DDDD", "LL DDL DDDD", "LLDDLLDDDD"),
    ),
    Style(
        name="indian two lines",
        weight=1.5,
        aspects=(340 / 200, 1.5),
        colours=((WHITE, BLACK), (YELLOW, BLACK)),
        patterns=("LL DD\nLL DDDD", "LL-DD-LL\nDDDD"),
    ),
    Style(
        name="chinese",
        weight=2.5,
        aspects=(440 / 140, 480 / 140),
        role="cjk",
        colours=((BLUE, WHITE), (BLUE, WHITE), (GREEN, BLACK), (YELLOW, BLACK), (WHITE, BLACK), (BLACK, WHITE)),
        patterns=("CL·DDDDD", "CL·DLDDD", "CL·DDLLD", "CLDDDDDD"),
    ),
    Style(
        name="chinese two lines",
        weight=0.7,
        aspects=(440 / 220,),
        role="cjk",
        colours=((YELLOW, BLACK),),
        patterns=("CL\nDDDDD",),
    ),
    Style(
        name="japanese",
        weight=2,
        aspects=(330 / 165,),
        role="cjk",
        colours=((WHITE, GREEN), (YELLOW, BLACK), (GREEN, WHITE)),
        patterns=("CC DDD\nJ DD-DD", "CC DD\nJ ·D-DD"),
    ),
    Style(
        name="korean",
        weight=1,
        aspects=(520 / 110, 335 / 155),
        role="cjk",
        colours=((WHITE, BLACK), (GREEN, WHITE), (YELLOW, BLACK)),
        patterns=("DDD C DDDD", "DDC DDDD"),
    ),
    Style(
        name="thai",
        weight=1,
        aspects=(340 / 150,),
        role="thai",
        colours=((WHITE, BLACK), (YELLOW, BLACK), (GREEN, WHITE)),
        patterns=("TT DDDD\nTTTTTT", "DTT DDDD\nTTTTT"),
    ),
    Style(
        name="russian",
        weight=2,
        aspects=(520 / 112,),
        role="cyrillic",
        colours=((WHITE, BLACK),),
        band="box",
        patterns=("YDDDYY", "YDDDYY"),
    ),
    Style(
        name="ukrainian",
        weight=1,
        aspects=_EU,
        role="cyrillic",
        colours=((WHITE, BLACK),),
        band="left",
        patterns=("YYDDDDYY",),
    ),
    Style(
        name="arabic",
        weight=1.5,
        aspects=(520 / 110, 335 / 155),
        role="arabic",
        colours=((WHITE, BLACK), (YELLOW, BLACK), (WHITE, RED)),
        patterns=("AAAA DD", "DD AA DDD", "AAA\nDDDD", "DDDDD\nAAAA"),
    ),
    Style(
        name="gulf",
        weight=1,
        aspects=(520 / 110,),
        colours=((WHITE, BLACK),),
        band="right",
        patterns=("L DDDDD", "LL DDDD", "DDDDD"),
    ),
    Style(
        name="white on black",
        weight=2,
        aspects=(4.5, 520 / 110, 3.4),
        colours=((BLACK, WHITE), (BLACK, SILVER), (BLACK, YELLOW)),
        patterns=("LLL DDDD L", "LLL DDDD", "L DDDD LL", "DDDD LLL", "LLL DDD"),
    ),
    Style(
        name="white on black two lines",
        weight=1,
        aspects=(1.6, 1.4),
        colours=((BLACK, WHITE),),
        patterns=("LLL\nDDDD", "L DDDD\nDD.DD"),
    ),
    Style(
        name="white on red or green",
        weight=0.7,
        aspects=(*_EU, 2.0),
        colours=((RED, WHITE), (GREEN, WHITE), (BLUE, WHITE)),
        patterns=("DDD LL DD", "LLL DDDD"),
    ),
    Style(
        name="australian",
        weight=1,
        aspects=(372 / 134,),
        colours=((WHITE, BLUE), (YELLOW, BLACK), (WHITE, GREEN), (BLACK, WHITE)),
        patterns=("LLL-DDD", "DLL DLL", "LL DD LL"),
        captions=("NSW", "VICTORIA", "QUEENSLAND"),
    ),
    Style(
        name="african",
        weight=1,
        aspects=_EU,
        colours=((WHITE, BLACK), (YELLOW, BLACK), (WHITE, BLUE), (WHITE, GREEN)),
        band="none",
        patterns=("LLL DDDL", "LL DD LL LL", "LLL DDD GP", "LL-DDD-LLL"),
    ),
)
