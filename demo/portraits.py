"""Two people cut out of public-domain photographs that ship inside Python packages.

Eileen Collins, astronaut (NASA, in scikit-image) and Rear Admiral Grace Hopper (US Navy, in matplotlib).
Outlines and face boxes were drawn by hand on the photographs. Nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Name = Literal["astronaut", "admiral"]

# Soft edge of a cut-out, in pixels of the photograph: a lens does not cut either.
_FEATHER = 1.5
# From the middle of a face to the feet, in heights of the face: a person is about eight faces tall.
_BODY = 8.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Portrait:
    """A person without surroundings.

    Attributes:
        levels: RGBA pictures, each half the size of the one before, so that small people are not made of single pixels.
        face: x1, y1, x2, y2 in pixels of the first level, from hairline or brim to chin and from ear to ear.
    """

    levels: tuple[Image.Image, ...]
    face: tuple[float, float, float, float]

    @property
    def face_height(self) -> float:
        """In pixels of the first level."""
        return self.face[3] - self.face[1]

    @property
    def middle(self) -> tuple[float, float]:
        """Of the face, x and y in pixels of the first level."""
        x1, y1, x2, y2 = self.face
        return (x1 + x2) / 2, (y1 + y2) / 2


# fmt: off
_Outline = tuple[tuple[int, int], ...]

_ASTRONAUT_OUTLINE: _Outline = (
    (22, 512), (22, 455), (35, 380), (45, 290), (60, 265), (95, 240), (112, 222), (112, 195), (122, 175), (150, 155),
    (172, 150), (183, 152), (180, 135), (172, 122), (158, 108), (153, 85), (156, 60), (170, 42), (192, 25), (218, 16),
    (245, 20), (270, 32), (290, 52), (300, 75), (298, 100), (288, 120), (278, 133), (268, 150), (260, 168), (262, 178),
    (285, 190), (302, 215), (304, 235), (300, 245), (330, 262), (352, 290), (360, 320), (362, 350), (385, 343),
    (430, 348), (465, 372), (488, 410), (500, 460), (505, 512),
)
_ADMIRAL_OUTLINE: _Outline = (
    (12, 600), (15, 520), (22, 460), (35, 400), (50, 380), (100, 358), (160, 338), (190, 322), (200, 295), (185, 285),
    (168, 262), (158, 235), (154, 200), (158, 170), (150, 165), (146, 140), (147, 110), (160, 90), (172, 80), (180, 55),
    (205, 40), (225, 27), (260, 22), (290, 27), (320, 42), (345, 60), (352, 85), (370, 92), (371, 130), (372, 165),
    (366, 185), (373, 215), (362, 250), (362, 290), (345, 305), (330, 315), (345, 330), (400, 345), (470, 375),
    (495, 390), (505, 430), (512, 480), (512, 600),
)
# fmt: on


def packaged(package: str, *parts: str) -> Path:
    """A file inside an installed package, which is not imported: matplotlib would write caches.

    Raises:
        FileNotFoundError: The package or the file is not there.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"package {package} is missing; run `make setup`")
    path = Path(spec.submodule_search_locations[0], *parts)
    if not path.is_file():
        raise FileNotFoundError(f"package {package} has no {'/'.join(parts)}; run `make setup`")
    return path


@cache
def portrait(name: Name, *, mirrored: bool = False) -> Portrait:
    """A person, looking the other way if mirrored."""
    if name == "astronaut":
        path, outline, face = packaged("skimage", "data", "astronaut.png"), _ASTRONAUT_OUTLINE, (179, 66, 272, 184)
    else:
        path = packaged("matplotlib", "mpl-data", "sample_data", "grace_hopper.jpg")
        outline, face = _ADMIRAL_OUTLINE, (162, 135, 368, 335)
    cut = _dressed(_cut_out(Image.open(path).convert("RGB"), outline), face)
    if mirrored:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        face = (cut.width - face[2], face[1], cut.width - face[0], face[3])
    return Portrait(levels=tuple(halved(cut)), face=face)


def _cut_out(photograph: Image.Image, outline: _Outline) -> Image.Image:
    mask = Image.new("L", photograph.size, 0)
    ImageDraw.Draw(mask).polygon(list(outline), fill=255)
    photograph.putalpha(mask.filter(ImageFilter.GaussianBlur(_FEATHER)))
    return photograph


def _dressed(cut: Image.Image, face: tuple[int, int, int, int]) -> Image.Image:
    """Draw the photograph's last row down to the feet, ever darker: a cloak, since the photographs end at the waist."""
    feet = round((face[1] + face[3]) / 2 + _BODY * (face[3] - face[1]))
    pixels = np.asarray(cut)
    rows = feet - cut.height
    shade = np.linspace(1.0, 0.35, rows)[:, None, None]
    hem = np.array(Image.fromarray(pixels[-6:-5]).filter(ImageFilter.GaussianBlur(3)), dtype=np.float64)
    cloak = np.repeat(hem, rows, axis=0)
    cloak[..., :3] *= shade
    return Image.fromarray(np.concatenate([pixels[:-5], np.uint8(cloak)]))


def halved(picture: Image.Image) -> list[Image.Image]:
    """A picture and its halves down to a width of 32 pixels or less, as `Portrait` wants them."""
    levels = [picture]
    while levels[-1].width > 32:
        levels.append(levels[-1].resize((levels[-1].width // 2, levels[-1].height // 2), Image.Resampling.BOX))
    return levels
