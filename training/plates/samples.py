"""One training sample: a cut of a real photograph, its plates kept or replaced by drawn ones, seen by a bad camera."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from plates.backgrounds import Photograph
from plates.fonts import FontBook
from plates.renderer import PlateRenderer, bounds_of, paste, quad_of, smooth_field

Boxes = NDArray[np.float64]
Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What samples are made of.

    Attributes:
        side: Rows and columns of a sample, pixels.
        narrowest: Smallest width of a plate, pixels; widths are drawn evenly in their logarithm.
        widest: Largest width of one.
        replaced: Share of samples whose real plates are replaced by drawn ones.
        packaged: Share of samples on a photograph from a package.
        extra: Chance that further plates are put anywhere.
        squashed: Chance that a sample's two axes are scaled apart.
        distracted: Chance that things that look like plates are put in.
        neutral: Chance that the cameras' tint is taken out.
        brighter: Middle of the logarithm of the gain in light.
        smallest: (width, height) below which a plate is neither wanted nor a fault.
    """

    side: int = 256
    narrowest: float = 16
    widest: float = 190
    replaced: float = 0.55
    packaged: float = 0.12
    extra: float = 0.35
    squashed: float = 0.4
    distracted: float = 0.3
    neutral: float = 0.45
    brighter: float = 0.12
    smallest: tuple[float, float] = (9, 4)


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture and its exact labels.

    Attributes:
        picture: (side, side, 3) uint8 RGB.
        boxes: (N, 4) float64 xyxy of the plates to find.
        ignored: (M, 4) likewise: too small or too much cut off to count either way.
    """

    picture: Picture
    boxes: Boxes
    ignored: Boxes


class SampleMaker:
    """Makes samples; the same generator state gives the same sample.

    Args:
        photographs: Labelled ones.
        packaged: Photographs without plates.
        fonts: The faces to draw with.
        recipe: Shares and sizes.
        bank: How many plates are drawn beforehand; 0 draws each anew.
        seed: Of the bank.
    """

    def __init__(
        self,
        photographs: Sequence[Photograph],
        packaged: Sequence[Photograph],
        fonts: FontBook,
        recipe: Recipe,
        *,
        bank: int = 0,
        seed: int = 0,
    ) -> None:
        self._photographs, self._packaged, self._recipe = photographs, packaged, recipe
        self._renderer, self._fonts = PlateRenderer(fonts), fonts
        source = np.random.default_rng(seed)
        self._bank = [self._renderer.draw(source).picture for _ in range(bank)]

    def make(self, random: np.random.Generator) -> Sample:
        """One sample."""
        recipe = self._recipe
        generic = bool(self._packaged) and random.random() < recipe.packaged
        photograph = _one_of(self._packaged if generic else self._photographs, random)
        canvas, boxes, unsure = cut(photograph, recipe, random)
        whole = boxes.copy()
        if len(boxes) and random.random() < recipe.replaced:
            whole = self._replace(canvas, boxes, random)
        if generic or random.random() < recipe.extra:
            whole = np.concatenate((whole, self._scatter(canvas, whole, random)))
        if random.random() < recipe.distracted:
            distract(canvas, np.concatenate((whole, unsure)), self._fonts, random)
        if random.random() < 0.3:
            canvas, whole, unsure = canvas[:, ::-1].copy(), *(_mirrored(one, recipe.side) for one in (whole, unsure))
        wanted, ignored = _sorted_out(whole, recipe)
        return Sample(expose(canvas, recipe, random), wanted, np.concatenate((ignored, unsure.clip(0, recipe.side))))

    def _plate(self, random: np.random.Generator) -> Picture:
        return _one_of(self._bank, random) if self._bank else self._renderer.draw(random).picture

    def _replace(self, canvas: Picture, boxes: Boxes, random: np.random.Generator) -> Boxes:
        drawn = []
        for box in boxes:
            light = _light_of(canvas, box)
            paint_out(canvas, box, random)
            drawn.append(self._hang(canvas, box, light, random))
        return np.array(drawn).reshape(-1, 4)

    def _hang(
        self, canvas: Picture, box: NDArray[np.float64], light: NDArray[np.float32], random: np.random.Generator
    ) -> Boxes:
        """A drawn plate where `box` was, about its size, in its light."""
        plate = _lit(self._plate(random), light * random.uniform(0.7, 1.15))
        aspect = plate.shape[1] / plate.shape[0]
        width, height = box[2] - box[0], box[3] - box[1]
        squash = np.clip(width / max(height, 1) / 4.2, 0.4, 2.5)  # the sample's own scaling, or a slanted view
        size = np.sqrt(width * height) * random.uniform(0.85, 1.25) * np.sqrt(max(1.0, 4.2 / aspect)) ** 0.5
        shape = np.sqrt(aspect * squash)
        centre = (box[:2] + box[2:]) / 2 + random.normal(0, 0.08, 2) * (width, height)
        quad = quad_of((centre[0], centre[1]), size * shape, size / shape, random, tilt=0.6)
        paste(canvas, plate, quad, random)
        return np.concatenate((quad.min(axis=0), quad.max(axis=0)))

    def _scatter(self, canvas: Picture, taken: Boxes, random: np.random.Generator) -> Boxes:
        """One to three plates on body panels at free places."""
        placed: list[NDArray[np.float64]] = []
        for _ in range(int(random.integers(1, 4))):
            plate = self._plate(random)
            width = _log_uniform(self._recipe.narrowest, self._recipe.widest, random)
            height = width * plate.shape[0] / plate.shape[1]
            if random.random() < self._recipe.squashed:
                height *= random.uniform(0.8, 2.0)
            centre = random.uniform(0, self._recipe.side, 2)
            quad = quad_of((centre[0], centre[1]), width, height, random)
            box = np.concatenate((quad.min(axis=0), quad.max(axis=0)))
            if any(_touch(box, other) for other in [*taken, *placed]):
                continue
            brightness = _panel(canvas, box, [*taken, *placed], random)
            paste(
                canvas,
                _lit(plate, np.full(3, brightness, np.float32) * random.uniform(0.9, 1.1, 3).astype(np.float32)),
                quad,
                random,
            )
            placed.append(box)
        return np.array(placed).reshape(-1, 4)


def cut(photograph: Photograph, recipe: Recipe, random: np.random.Generator) -> tuple[Picture, Boxes, Boxes]:
    """A square cut of a photograph in which one of its plates, if it has any, has a wanted width.

    Returns:
        (side, side, 3) uint8, writable, and (N, 4) and (M, 4) boxes, the labelled and the unsure ones, that may reach
        over its borders.
    """
    rows, columns = photograph.picture.shape[:2]
    side, scale, focus = recipe.side, _log_uniform(0.3, 1.5, random), random.uniform(0, 1, 2) * (columns, rows)
    if len(photograph.boxes) and random.random() < 0.9:
        box = _one_of(photograph.boxes, random)
        scale = _log_uniform(recipe.narrowest, recipe.widest, random) / (box[2] - box[0])
        focus = (box[:2] + box[2:]) / 2
    scale = float(np.clip(scale, 0.25, 5))
    squash = np.exp(random.normal(0, 0.3)) if random.random() < recipe.squashed else 1.0
    scales = np.array([scale, scale * squash])
    span = side / scales
    corner = focus - span * random.uniform(0.12, 0.88, 2)
    # A cut stays inside the photograph as far as the photograph is large enough; beyond it is grey, as in a letter box.
    corner = np.where(span < (columns, rows), corner.clip(0, np.maximum((columns, rows) - span, 0)), corner)
    canvas = _resized(photograph.picture, corner, span, side, random)
    placed = [_visible((boxes - np.tile(corner, 2)) * np.tile(scales, 2), side) for boxes in _boxes_of(photograph)]
    return canvas, placed[0], placed[1]


def _boxes_of(photograph: Photograph) -> tuple[Boxes, Boxes]:
    return photograph.boxes, photograph.unsure


def _visible(boxes: Boxes, side: int) -> Boxes:
    return boxes[(boxes[:, 2:] > 0).all(axis=1) & (boxes[:, :2] < side).all(axis=1)]


def _resized(
    picture: Picture, corner: NDArray[np.float64], span: NDArray[np.float64], side: int, random: np.random.Generator
) -> Picture:
    rows, columns = picture.shape[:2]
    low = np.maximum(corner, 0)
    high = np.minimum(corner + span, (columns, rows))
    start = np.round((low - corner) / span * side).astype(int)
    stop = np.round((high - corner) / span * side).astype(int)
    canvas = np.full((side, side, 3), random.integers(0, 140), np.uint8)
    size = stop - start
    if (size < 1).any():
        return canvas
    box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    method = Image.Resampling.BILINEAR if random.random() < 0.7 else Image.Resampling.BICUBIC
    part = Image.fromarray(picture).resize((int(size[0]), int(size[1])), method, box=box)
    canvas[start[1] : stop[1], start[0] : stop[0]] = np.asarray(part)
    return canvas


def paint_out(canvas: Picture, box: NDArray[np.float64], random: np.random.Generator) -> None:
    """Cover a plate with what lies above and below it, in place."""
    side = canvas.shape[0]
    grown = box + np.array([-0.08, -0.2, 0.08, 0.2]) * np.tile(box[2:] - box[:2], 2)
    left, top, right, bottom = np.round(grown).astype(int).clip(0, side)
    if right <= left or bottom <= top:
        return
    above = canvas[max(top - 1, 0), left:right].astype(np.float32)
    below = canvas[min(bottom, side - 1), left:right].astype(np.float32)
    weight = np.linspace(0, 1, bottom - top, dtype=np.float32)[:, None, None]
    filled = above * (1 - weight) + below * weight + random.normal(0, 2, (bottom - top, right - left, 1))
    canvas[top:bottom, left:right] = filled.clip(0, 255).astype(np.uint8)


def _light_of(canvas: Picture, box: NDArray[np.float64]) -> NDArray[np.float32]:
    """How bright a white plate is at this place: (3,) float32, 1 for full white."""
    left, top, right, bottom = np.round(box).astype(int).clip(0, canvas.shape[0])
    region = canvas[top:bottom, left:right].reshape(-1, 3)
    if not len(region):
        return np.full(3, 0.6, np.float32)
    bright = np.percentile(region, 75, axis=0) / 238
    return bright.clip(0.08, 1.05).astype(np.float32)


def _lit(plate: Picture, light: NDArray[np.float32]) -> Picture:
    colours = (plate[..., :3] * light).clip(0, 255).astype(np.uint8)
    return np.dstack((colours, plate[..., 3]))


def _panel(
    canvas: Picture, box: NDArray[np.float64], taken: Sequence[NDArray[np.float64]], random: np.random.Generator
) -> float:
    """Often a piece of body work behind a plate, in place; gives the brightness that fits the place, 1 for full."""
    rows, columns = canvas.shape[:2]
    width, height = box[2:] - box[:2]
    near = np.round(box).astype(int).clip(0, rows)
    region = canvas[near[1] : near[3], near[0] : near[2]]
    brightness = float(np.clip(region.mean() / 110 if region.size else 0.8, 0.15, 1.0))
    spread = random.uniform(0.1, 1.6, 4) * (width, height, width, height)
    area = (*(box[:2] - spread[:2]), *(box[2:] + spread[2:]))
    hides = any(_touch(np.array(area), other) for other in taken)
    if random.random() < 0.65 and not hides:
        colour = np.array(random.uniform(0, 230, 3)) if random.random() < 0.4 else np.full(3, random.uniform(5, 240))
        layer = Image.fromarray(canvas)
        mask = Image.new("L", layer.size)
        ImageDraw.Draw(mask).rounded_rectangle(area, radius=float(height * random.uniform(0, 0.6)), fill=255)
        shade = (0.6 + 0.6 * smooth_field((rows, columns), (3, 3), random))[..., None] * colour * brightness
        layer.paste(Image.fromarray(shade.clip(0, 255).astype(np.uint8)), (0, 0), mask)
        canvas[:] = np.asarray(layer)
    return float(np.clip(brightness * random.uniform(0.7, 1.3), 0.12, 1.05))


def distract(canvas: Picture, taken: Boxes, fonts: FontBook, random: np.random.Generator) -> None:
    """Put in what looks like a plate and is none: writing, boards, badges, signs, lamps, grilles; in place."""
    rows, columns = canvas.shape[:2]
    layer = Image.fromarray(canvas)
    draw = ImageDraw.Draw(layer)
    for _ in range(int(random.integers(1, 6))):
        width = _log_uniform(12, 0.7 * columns, random)
        height = width * random.uniform(0.12, 0.9)
        x, y = random.uniform(-0.2 * width, columns), random.uniform(0, rows)
        box = np.array([x, y, x + width, y + height])
        if any(_touch(box, other) for other in taken):
            continue
        _DISTRACTIONS[int(random.integers(len(_DISTRACTIONS)))](draw, (x, y, x + width, y + height), fonts, random)
    canvas[:] = np.asarray(layer)


_Area = tuple[float, float, float, float]
_Fill = tuple[int, ...]
_LETTERS = np.array(list("ABCDEFGHIJKLMNOPRSTUVWXYZabcdefghiklmnoprstuvwxyz0123456789:/-. "))


def _writing(draw: ImageDraw.ImageDraw, box: _Area, fonts: FontBook, random: np.random.Generator) -> None:
    """Words as on shops and lorries: one to four lines, longer or more than a plate has."""
    lines = int(random.integers(1, 5))
    colour = (235, 235, 235) if random.random() < 0.4 else _colour(random)
    size = max(6, int((box[3] - box[1]) / lines * 0.8))
    for line in range(lines):
        words = "".join(random.choice(_LETTERS, int(random.integers(4, 22))))
        draw.text((box[0], box[1] + line * size * 1.1), words, fill=colour, font=_face(fonts, size, random))


def _board(draw: ImageDraw.ImageDraw, box: _Area, fonts: FontBook, random: np.random.Generator) -> None:
    """A board or a sticker, empty or with small writing of many lines."""
    height = box[3] - box[1]
    _plane(draw, box, round_by=random.uniform(0, 0.3), fill=_colour(random))
    if random.random() < 0.5:
        lines = int(random.integers(3, 7))
        size = max(5, int(height / lines * 0.7))
        for line in range(lines):
            words = "".join(random.choice(_LETTERS, max(2, int((box[2] - box[0]) / size * 1.5))))
            at = (box[0] + 2, box[1] + line * height / lines)
            draw.text(at, words, fill=_colour(random), font=_face(fonts, size, random))


def _badge(draw: ImageDraw.ImageDraw, box: _Area, fonts: FontBook, random: np.random.Generator) -> None:
    """A model's name in bright or dark metal straight on the body, its letters wide apart."""
    shine = int(random.choice([random.integers(10, 60), random.integers(170, 255)]))
    size = max(6, int(min(box[3] - box[1], (box[2] - box[0]) / 4)))
    letters = random.choice(_LETTERS[:35], int(random.integers(2, 8)))
    face, x = _face(fonts, size, random), box[0]
    for letter in letters:
        draw.text((x, box[1]), str(letter), fill=(shine, shine, shine), font=face)
        x += size * random.uniform(0.7, 1.0)


def _sign(draw: ImageDraw.ImageDraw, box: _Area, fonts: FontBook, random: np.random.Generator) -> None:
    """A round sign with a number."""
    side = min(box[2] - box[0], box[3] - box[1])
    area = (box[0], box[1], box[0] + side, box[1] + side)
    draw.ellipse(area, fill=(245, 245, 245), outline=(210, 20, 30), width=max(1, int(side / 9)))
    number = str(int(random.integers(3, 13) * 10))
    middle = (box[0] + side / 2, box[1] + side / 2)
    if side >= 12:  # a built-in face without anchors is never that large
        draw.text(middle, number, fill=(15, 15, 15), font=_face(fonts, max(6, int(side * 0.45)), random), anchor="mm")


def _lamp(draw: ImageDraw.ImageDraw, box: _Area, _: FontBook, random: np.random.Generator) -> None:
    shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
    colours = ((255, 250, 235), (220, 20, 20), (245, 150, 20), (230, 235, 240))
    shape(box, fill=colours[int(random.integers(len(colours)))])


def _grille(draw: ImageDraw.ImageDraw, box: _Area, _: FontBook, random: np.random.Generator) -> None:
    """Slats or a mesh, bright on dark or dark on bright, often in a frame."""
    dark, bright = ((int(value),) * 3 for value in (random.integers(0, 60), random.integers(90, 240)))
    ground, slat = (dark, bright) if random.random() < 0.7 else (bright, dark)
    _plane(draw, box, round_by=random.uniform(0, 0.5), fill=ground, outline=slat)
    kind, count = int(random.integers(3)), int(random.integers(3, 14))
    thick = max(1, int((box[3] - box[1]) / (count * random.uniform(2, 4))))
    for share in (np.arange(count) + 0.5) / count:
        if kind != 1:
            y = box[1] + share * (box[3] - box[1])
            draw.line((box[0], y, box[2], y), fill=slat, width=thick)
        if kind != 0:
            x = box[0] + share * (box[2] - box[0])
            draw.line((x, box[1], x, box[3]), fill=slat, width=thick)


def _plane(
    draw: ImageDraw.ImageDraw, box: _Area, *, round_by: float, fill: _Fill, outline: _Fill | None = None
) -> None:
    """A rectangle, its corners rounded by a share of its height; Pillow cannot round those of a few pixels."""
    if min(box[2] - box[0], box[3] - box[1]) < 6:
        draw.rectangle(box, fill=fill, outline=outline)
    else:
        draw.rounded_rectangle(box, radius=(box[3] - box[1]) * min(round_by, 0.45), fill=fill, outline=outline)


_DISTRACTIONS = (_writing, _board, _badge, _sign, _lamp, _grille)


def _colour(random: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in random.integers(0, 256, 3))
    return red, green, blue


def _face(fonts: FontBook, size: int, random: np.random.Generator) -> Any:
    role = "latin" if random.random() < 0.6 else "small"
    return fonts.face(role, int(random.integers(fonts.faces(role))), size)


def expose(canvas: Picture, recipe: Recipe, random: np.random.Generator) -> Picture:
    """What light, lens, sensor and compression do to a picture."""
    picture = _lighted(_coloured(canvas.astype(np.float32), recipe, random), recipe, random)
    blurred = _blurred(picture.clip(0, 255).astype(np.uint8), random)
    if random.random() < 0.5:
        grain = random.normal(0, random.uniform(1, 14), blurred.shape).astype(np.float32)
        blurred = (blurred + grain).clip(0, 255).astype(np.uint8)
    return _compressed(blurred, random) if random.random() < 0.35 else blurred


def _coloured(picture: NDArray[np.float32], recipe: Recipe, random: np.random.Generator) -> NDArray[np.float32]:
    if random.random() < recipe.neutral:  # the labelled set's cameras see everything in magenta: other cameras do not
        mean = picture.mean(axis=(0, 1)) + 1
        picture = (picture * (mean.mean() / mean) ** random.uniform(0.3, 1.0)).astype(np.float32)
    if random.random() < 0.12:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    if random.random() < 0.5:
        picture = picture * random.uniform(0.85, 1.18, 3).astype(np.float32)
    return picture


def _lighted(picture: NDArray[np.float32], recipe: Recipe, random: np.random.Generator) -> NDArray[np.float32]:
    gain = np.float32(np.exp(random.normal(recipe.brighter, 0.35)))
    gamma = np.float32(np.exp(random.normal(0, 0.25)))
    lighted = (255 * (picture.clip(0, 255) / 255) ** gamma * gain).astype(np.float32)
    if random.random() < 0.4:
        middle = lighted.mean()
        lighted = (lighted - middle) * np.float32(random.uniform(0.6, 1.4)) + middle
    return lighted


def _blurred(picture: Picture, random: np.random.Generator) -> Picture:
    chance = random.random()
    if chance < 0.25:
        return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(random.uniform(0.3, 1.6))))
    if chance < 0.4:
        length = int(random.integers(2, 7))
        axis = int(random.integers(2))
        moved = [np.roll(picture, shift, axis=axis).astype(np.float32) for shift in range(length)]
        streak: Picture = (np.sum(moved, axis=0) / length).astype(np.uint8)
        return streak
    return picture


def _compressed(picture: Picture, random: np.random.Generator) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=int(random.integers(25, 90)))
    with Image.open(buffer) as decoded:
        return np.asarray(decoded.convert("RGB"))


def _sorted_out(whole: Boxes, recipe: Recipe) -> tuple[Boxes, Boxes]:
    """Boxes cut at the borders, those to find apart from those that do not count."""
    side = recipe.side
    inside = np.array([bounds_of(box.reshape(2, 2), side, side) for box in whole]).reshape(-1, 4)
    area = (whole[:, 2] - whole[:, 0]) * (whole[:, 3] - whole[:, 1])
    size = inside[:, 2:] - inside[:, :2]
    present = size.min(axis=1, initial=np.inf) > 0
    counts = (size >= recipe.smallest).all(axis=1) & (size.prod(axis=1) > 0.45 * np.maximum(area, 1e-6)) & present
    return inside[counts], inside[~counts & present]


def _mirrored(boxes: Boxes, side: int) -> Boxes:
    mirrored = boxes.copy()
    mirrored[:, [0, 2]] = side - boxes[:, [2, 0]]
    return mirrored


def _touch(box: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return bool((box[:2] < other[2:]).all() and (other[:2] < box[2:]).all())


def _log_uniform(low: float, high: float, random: np.random.Generator) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _one_of(values: Any, random: np.random.Generator) -> Any:
    return values[int(random.integers(len(values)))]
