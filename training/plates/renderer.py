"""Draws one plate: its ground, characters, band, captions, screws, wear, and how it hangs in the world.

Everything random comes from the generator that is given, so a seed repeats a plate exactly (on the same fonts).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from plates.fonts import FontBook
from plates.styles import STYLES, Colour, Style

# Rows of a drawn plate. The largest plate of a training picture has about 120 rows; above that nothing is gained.
PLATE_ROWS = 96
_ALPHABETS = {
    "L": "ABCDEFGHJKLMNPRSTUVWXYZ",
    "D": "0123456789",
    "C": "京沪粤川苏浙鲁豫冀晋鄂湘赣闽津渝品川横浜名古屋大阪神戸札幌",
    "J": "さすせそたちつてとなにぬねのはひふほまみむめもやゆよ",
    "K": "가나다라마거너더러머고노도로모구누두루무",
    "T": "กขคฆงจฉชซฌญฎฐฒณดตถทธนบปผพภมยรลวศสหอฮ",
    "A": "ابجدهوزحطیکلمنسعفصقرشت٠١٢٣٤٥٦٧٨٩",
    # The Cyrillic letters that look like Latin ones, the only ones on Russian plates.
    "Y": "АВЕКМНОРСТУХ",  # noqa: RUF001
}

Quad = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Plate:
    """A drawn plate, seen from the front.

    Attributes:
        picture: (h, w, 4) uint8; the last component is opacity (round corners).
        style: The name of its style.
    """

    picture: NDArray[np.uint8]
    style: str


class PlateRenderer:
    """Draws plates.

    Args:
        fonts: The faces to draw with.
    """

    def __init__(self, fonts: FontBook) -> None:
        self._fonts = fonts
        weights = np.array([style.weight for style in STYLES])
        self._chances = weights / weights.sum()

    def draw(self, random: np.random.Generator, style: Style | None = None) -> Plate:
        """One plate.

        Args:
            random: Source of every choice.
            style: None chooses one by weight.
        """
        chosen = style if style is not None else STYLES[int(random.choice(len(STYLES), p=self._chances))]
        width = round(PLATE_ROWS * float(random.choice(chosen.aspects)) * random.uniform(0.95, 1.05))
        ground, ink = chosen.colours[int(random.integers(len(chosen.colours)))]
        ground, ink = _tinted(ground, random), _tinted(ink, random)
        picture = Image.new("RGB", (width, PLATE_ROWS), ground)
        area = _band(picture, chosen, random)
        area = self._captions(picture, chosen, area, ink, random)
        self._text(picture, chosen, area, ink, random)
        _border(picture, ink, random)
        _screws(picture, random)
        shaded = _worn(np.asarray(picture, np.float32), random)
        return Plate(np.dstack((shaded, _opacity(width, random))), chosen.name)

    def _text(
        self,
        picture: Image.Image,
        style: Style,
        area: tuple[int, int, int, int],
        ink: Colour,
        random: np.random.Generator,
    ) -> None:
        lines = [_filled(line, random) for line in str(random.choice(np.array(style.patterns))).split("\n")]
        face = int(random.integers(1000))
        left, top, right, bottom = area
        rows = (bottom - top) / len(lines)
        for number, line in enumerate(lines):
            box = (left, round(top + number * rows), right, round(top + (number + 1) * rows))
            mask = self._line(line, style.role, face, box, random.uniform(0.68, 0.92))
            picture.paste(ink, (box[0], box[1]), mask)

    def _captions(
        self,
        picture: Image.Image,
        style: Style,
        area: tuple[int, int, int, int],
        ink: Colour,
        random: np.random.Generator,
    ) -> tuple[int, int, int, int]:
        left, top, right, bottom = area
        if not style.captions:
            return area
        strip = round(PLATE_ROWS * random.uniform(0.16, 0.22))
        colour = (240, 240, 240) if style.band == "top" else ink
        place = 0 if style.band == "top" else top
        self._caption(picture, style, (left, place, right, place + strip), colour, random)
        if style.band == "top":
            return left, max(top, place + strip), right, bottom
        if random.random() < 0.6:
            self._caption(picture, style, (left, bottom - strip, right, bottom), ink, random)
            bottom -= strip
        return left, top + strip, right, bottom

    def _caption(
        self,
        picture: Image.Image,
        style: Style,
        box: tuple[int, int, int, int],
        ink: Colour,
        random: np.random.Generator,
    ) -> None:
        words = str(random.choice(np.array(style.captions)))
        mask = self._line(words, "small", int(random.integers(1000)), box, random.uniform(0.6, 0.9))
        picture.paste(ink, (box[0], box[1]), mask)

    def _line(self, text: str, role: str, face: int, box: tuple[int, int, int, int], fill: float) -> Image.Image:
        """A mask of the box's size with the text in its middle, its height the share `fill` of the box's."""
        width, height = box[2] - box[0], box[3] - box[1]
        font = self._fonts.face(role, face, max(8, height))
        ink = [round(side) for side in font.getbbox(text)]
        size = (max(1, ink[2] - ink[0]), max(1, ink[3] - ink[1]))
        drawn = Image.new("L", size)
        ImageDraw.Draw(drawn).text((-ink[0], -ink[1]), text, font=font, fill=255)
        rows = max(1, round(height * fill))
        columns = min(round(size[0] * rows / size[1] * 1.05), round(width * 0.94))
        mask = Image.new("L", (width, height))
        mask.paste(drawn.resize((max(1, columns), rows)), ((width - columns) // 2, (height - rows) // 2))
        return mask


def _tinted(colour: Colour, random: np.random.Generator) -> Colour:
    red, green, blue = (int(np.clip(value + random.normal(0, 9), 0, 255)) for value in colour)
    return red, green, blue


def _filled(pattern: str, random: np.random.Generator) -> str:
    return "".join(str(random.choice(list(_ALPHABETS[sign]))) if sign in _ALPHABETS else sign for sign in pattern)


def _band(picture: Image.Image, style: Style, random: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw the band and give what it leaves for the text: (left, top, right, bottom)."""
    width, rows = picture.size
    draw = ImageDraw.Draw(picture)
    margin, strip = round(rows * 0.05), round(rows * random.uniform(0.32, 0.42))
    left, top, right, bottom = margin, margin, width - margin, rows - margin
    if style.band in ("left", "both"):
        draw.rectangle((0, 0, strip, rows), fill=style.band_colour)
        draw.ellipse(
            (strip * 0.2, rows * 0.15, strip * 0.8, rows * 0.15 + strip * 0.6), outline=(240, 200, 40), width=3
        )
        draw.rectangle((strip * 0.3, rows * 0.68, strip * 0.7, rows * 0.86), fill=(230, 230, 230))
        left = strip + 2
    if style.band in ("right", "both"):
        draw.rectangle((width - strip, 0, width, rows), fill=style.band_colour)
        right = width - strip - 2
    if style.band == "top":
        draw.rectangle((0, 0, width, round(rows * 0.24)), fill=style.band_colour)
        top = round(rows * 0.26)
    if style.band == "box":
        right = round(width * 0.77)
        draw.line((right, 0, right, rows), fill=(20, 20, 20), width=3)
        draw.rectangle(
            (right + rows * 0.25, rows * 0.2, width - rows * 0.3, rows * 0.55), outline=(20, 20, 20), width=6
        )
        draw.rectangle((right + rows * 0.2, rows * 0.72, width - rows * 0.2, rows * 0.88), fill=(60, 60, 140))
    return left, top, right, bottom


def _border(picture: Image.Image, ink: Colour, random: np.random.Generator) -> None:
    if random.random() < 0.6:
        inset = int(random.integers(0, 5))
        box = (inset, inset, picture.width - 1 - inset, picture.height - 1 - inset)
        ImageDraw.Draw(picture).rounded_rectangle(box, radius=9, outline=ink, width=int(random.integers(2, 5)))


def _screws(picture: Image.Image, random: np.random.Generator) -> None:
    draw = ImageDraw.Draw(picture)
    for _ in range(int(random.integers(0, 5))):
        x, y = random.uniform(0.05, 0.95) * picture.width, random.choice([0.1, 0.5, 0.9]) * picture.height
        grey = int(random.integers(40, 220))
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=(grey, grey, grey))


def _opacity(width: int, random: np.random.Generator) -> NDArray[np.uint8]:
    mask = Image.new("L", (width, PLATE_ROWS))
    box = (0, 0, width - 1, PLATE_ROWS - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius=float(random.uniform(0, 12)), fill=255)
    return np.asarray(mask)


def smooth_field(shape: tuple[int, int], cells: tuple[int, int], random: np.random.Generator) -> NDArray[np.float32]:
    """A random field without sharp edges, (rows, columns) float32 in [0, 1]."""
    coarse = Image.fromarray(random.random(cells).astype(np.float32))
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), np.float32).clip(0, 1)


def _worn(picture: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.uint8]:
    """Dirt, a hard shadow's edge, unequal light and a reflex, each on some plates."""
    shape = picture.shape[:2]
    if random.random() < 0.35:
        cover = smooth_field(shape, (5, 11), random)[..., None] ** 2 * random.uniform(0.2, 0.8)
        mud = np.array(random.uniform((60, 50, 35), (150, 130, 110)), np.float32)
        picture = picture * (1 - cover) + mud * cover
    if random.random() < 0.35:
        rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32) / PLATE_ROWS
        angle, edge = random.uniform(0, 2 * np.pi), random.uniform(-0.5, 2.5)
        side = np.cos(angle) * columns + np.sin(angle) * rows > edge
        picture = np.where(side[..., None], picture * np.float32(random.uniform(0.35, 0.8)), picture)
    if random.random() < 0.4:
        light = 1 + random.uniform(0.1, 0.5) * (smooth_field(shape, (2, 3), random)[..., None] - 0.5)
        picture = picture * light
    if random.random() < 0.12:
        glare = smooth_field(shape, (3, 5), random)[..., None] ** 4 * 255
        picture = picture + glare
    return picture.clip(0, 255).astype(np.uint8)


def quad_of(
    centre: tuple[float, float], width: float, height: float, random: np.random.Generator, tilt: float = 1.0
) -> Quad:
    """The four corners of a plate that hangs a little askew and is seen from the side.

    Args:
        centre: x, y in pixels.
        width: Of the plate without tilt, pixels.
        height: Likewise.
        random: Source of yaw, pitch and roll.
        tilt: 0 for a plate seen from the front, 1 for all that occurs on roads.

    Returns:
        (4, 2) float64 x, y: top left, top right, bottom right, bottom left.
    """
    yaw, pitch = random.normal(0, 0.35 * tilt), random.normal(0, 0.2 * tilt)
    roll = random.normal(0, 0.06 * tilt)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / 2, height / 2)
    yaw, pitch = np.clip(yaw, -1.0, 1.0), np.clip(pitch, -0.6, 0.6)
    depth = 1 + (np.sin(yaw) * corners[:, 0] + np.sin(pitch) * corners[:, 1]) / (width * random.uniform(3, 9))
    flat = np.column_stack((corners[:, 0] * np.cos(yaw), corners[:, 1] * np.cos(pitch)))
    shear = np.sin(yaw) * np.sin(pitch)
    flat[:, 1] += shear * corners[:, 0]
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    turned: Quad = (flat / depth[:, None]) @ turn.T + centre
    return turned


def bounds_of(quad: Quad, width: int, height: int) -> NDArray[np.float64]:
    """The box around a quadrilateral: xyxy in pixels, cut at the picture's borders."""
    box: NDArray[np.float64] = np.concatenate((quad.min(axis=0), quad.max(axis=0)))
    return box.clip(0, (width, height, width, height))


def paste(canvas: NDArray[np.uint8], plate: NDArray[np.uint8], quad: Quad, random: np.random.Generator) -> None:
    """Put a plate onto a picture, in place, sharp as the picture allows.

    Args:
        canvas: (H, W, 3) uint8; it is changed.
        plate: (h, w, 4) uint8 with opacity.
        quad: Where its corners go, as `quad_of` gives them.
        random: Source of the softness.
    """
    rows, columns = canvas.shape[:2]
    left, top = np.floor(quad.min(axis=0)).astype(int) - 2
    right, bottom = np.ceil(quad.max(axis=0)).astype(int) + 3
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, columns), min(bottom, rows)
    if right <= left or bottom <= top:
        return
    warped = _warped(plate, quad - (left, top), (right - left, bottom - top))
    if random.random() < 0.5:
        warped = warped.filter(ImageFilter.GaussianBlur(random.uniform(0.2, 0.9)))
    layer = np.asarray(warped, np.float32)
    opacity = layer[..., 3:] / 255
    region = canvas[top:bottom, left:right]
    region[:] = (region * (1 - opacity) + layer[..., :3] * opacity).astype(np.uint8)


def _warped(plate: NDArray[np.uint8], quad: Quad, size: tuple[int, int]) -> Image.Image:
    """The plate in perspective, on a transparent picture of `size` (columns, rows)."""
    source = Image.fromarray(plate)
    rows = max(4.0, float(np.linalg.norm(quad[3] - quad[0])), float(np.linalg.norm(quad[2] - quad[1])))
    if rows < source.height:
        scale = rows / source.height
        source = source.resize(
            (max(2, round(source.width * scale)), max(2, round(source.height * scale))), Image.Resampling.BOX
        )
    width, height = source.size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    coefficients = _perspective(quad, corners)
    # Outside of it the nearest opaque colour with no opacity: no dark rim comes from interpolation.
    return source.transform(size, Image.Transform.PERSPECTIVE, tuple(coefficients), Image.Resampling.BILINEAR)


def _perspective(target: Quad, source: Quad) -> NDArray[np.float64]:
    """The eight coefficients that map a target pixel to the source, as Pillow wants them."""
    rows = []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    return np.linalg.solve(np.array(rows, np.float64), source.reshape(-1)).astype(np.float64)
