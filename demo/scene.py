"""What happens in the demo film: who walks where, and with it the true place of every face in every frame."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from portraits import Name, Portrait, packaged, portrait

WIDTH, HEIGHT = 1280, 720
RATE = 30
SECONDS = 10
FRAMES = RATE * SECONDS

# Where the ground begins, in rows. The camera stands at the height of the eyes, so faces of any size are near it.
_HORIZON = 330
# The background is wider than the picture, and the camera turns over it.
_PAN = 160
# Less of a face than this in the picture, or not behind somebody, is nobody's to find: COCO calls it a crowd.
_LEAST_VISIBLE = 0.5
# Amplitude and frequency of a walk.
_BOB, _STEPS_HZ, _SWAY_DEGREES = 0.06, 1.8, 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """Where a face is at one moment.

    Attributes:
        t: Seconds.
        x: Of the face's middle, in pixels.
        y: Likewise.
        size: The face's height in pixels.
    """

    t: float
    x: float
    y: float
    size: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Walker:
    """One person of the film; in the picture from the first key's time to the last's.

    Attributes:
        track: The number of the face in the film, from 1.
        name: Which portrait.
        mirrored: Whether it looks the other way.
        tint: Factors for red, green and blue: light differs from place to place.
        keys: At least two, by time.
    """

    track: int
    name: Name
    mirrored: bool
    tint: tuple[float, float, float]
    keys: tuple[Key, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Face:
    """The truth about one face in one frame.

    Attributes:
        frame: From 0.
        track: The same number for the same person through the film.
        box: x1, y1, x2, y2 in pixels, half-open, cut at the picture's borders.
        visible: Share of the face that is in the picture and not behind somebody.
    """

    frame: int
    track: int
    box: tuple[float, float, float, float]
    visible: float

    @property
    def counts(self) -> bool:
        """Whether a detector has to find it."""
        return self.visible >= _LEAST_VISIBLE


WALKERS = (
    # Crosses the whole picture, near.
    Walker(track=1, name="astronaut", mirrored=False, tint=(1.0, 1.0, 1.0), keys=(
        Key(t=0.0, x=-110, y=330, size=165), Key(t=4.5, x=560, y=345, size=150), Key(t=8.0, x=1400, y=330, size=170),
    )),
    # Comes from afar and stays.
    Walker(track=2, name="admiral", mirrored=False, tint=(1.0, 1.0, 1.0), keys=(
        Key(t=0.0, x=820, y=322, size=34), Key(t=5.0, x=900, y=300, size=90), Key(t=10.0, x=1010, y=330, size=210),
    )),
    # Turns small.
    Walker(track=3, name="astronaut", mirrored=True, tint=(0.9, 0.95, 1.05), keys=(
        Key(t=0.0, x=1080, y=300, size=150), Key(t=3.0, x=960, y=322, size=70), Key(t=10.0, x=420, y=325, size=24),
    )),
    # Enters late on the right, leaves on the left.
    Walker(track=4, name="admiral", mirrored=True, tint=(0.85, 0.85, 0.9), keys=(
        Key(t=4.0, x=1340, y=285, size=80), Key(t=7.0, x=620, y=300, size=95), Key(t=9.3, x=-80, y=290, size=110),
    )),
    # Two far away.
    Walker(track=5, name="astronaut", mirrored=False, tint=(0.8, 0.8, 0.9), keys=(
        Key(t=0.0, x=250, y=318, size=40), Key(t=6.0, x=120, y=322, size=32), Key(t=10.0, x=330, y=320, size=44),
    )),
    Walker(track=6, name="admiral", mirrored=False, tint=(0.9, 0.85, 0.8), keys=(
        Key(t=0.0, x=380, y=322, size=36), Key(t=10.0, x=700, y=318, size=48),
    )),
    # Rises at the lower border and goes down again.
    Walker(track=7, name="astronaut", mirrored=True, tint=(1.05, 1.0, 0.95), keys=(
        Key(t=5.5, x=230, y=800, size=120), Key(t=7.0, x=260, y=560, size=120), Key(t=8.5, x=280, y=565, size=120),
        Key(t=9.8, x=300, y=800, size=120),
    )),
)  # fmt: skip


@cache
def _backdrop() -> Image.Image:
    """A launch pad at dusk above a brick pavement: SpaceX's photograph, public domain, and a CC0 texture."""
    width = WIDTH + _PAN
    sky = Image.open(packaged("skimage", "data", "rocket.jpg")).convert("RGB")
    sky = sky.resize((width, width * sky.height // sky.width), Image.Resampling.BICUBIC)
    bricks = Image.open(packaged("skimage", "data", "brick.png")).convert("L")
    ground = Image.merge("RGB", [bricks.point([round(v * tint) for v in range(256)]) for tint in (1.0, 0.85, 0.7)])
    whole = Image.new("RGB", (width, HEIGHT))
    whole.paste(sky, (0, _HORIZON + 60 - sky.height))
    whole.paste(ground.resize((width, HEIGHT - _HORIZON), Image.Resampling.BICUBIC), (0, _HORIZON))
    return whole


@dataclass(frozen=True, slots=True)
class _Pose:
    """A walker at one moment: where the face is, how large, how far it leans (radians)."""

    walker: Walker
    x: float
    y: float
    size: float
    lean: float

    @property
    def portrait(self) -> Portrait:
        return portrait(self.walker.name, mirrored=self.walker.mirrored)

    def box(self) -> tuple[float, float, float, float]:
        """The box around the leaning ellipse that the face's box holds."""
        x1, y1, x2, y2 = self.portrait.face
        scale = self.size / self.portrait.face_height
        a, b = (x2 - x1) / 2 * scale, (y2 - y1) / 2 * scale
        cosine, sine = math.cos(self.lean), math.sin(self.lean)
        half_width, half_height = math.hypot(a * cosine, b * sine), math.hypot(a * sine, b * cosine)
        return self.x - half_width, self.y - half_height, self.x + half_width, self.y + half_height


def _pose(walker: Walker, t: float) -> _Pose | None:
    times = [key.t for key in walker.keys]
    if not times[0] <= t <= times[-1]:
        return None
    index = min(bisect_right(times, t), len(times) - 1)
    before, after = walker.keys[index - 1], walker.keys[index]
    share = (t - before.t) / (after.t - before.t)
    phase = 2 * math.pi * _STEPS_HZ / 2 * t + walker.track
    # Sizes change by factors, as they do for one who walks at a steady pace towards a lens.
    size = before.size * (after.size / before.size) ** share
    bob = _BOB * size * abs(math.sin(phase))
    return _Pose(
        walker,
        before.x + (after.x - before.x) * share,
        before.y + (after.y - before.y) * share - bob,
        size,
        math.radians(_SWAY_DEGREES) * math.sin(phase),
    )


def compose(frame: int) -> tuple[NDArray[np.uint8], tuple[Face, ...]]:
    """A frame and the truth about it.

    Args:
        frame: From 0.

    Returns:
        The picture, (720, 1280, 3) uint8 RGB; its faces by track, whoever is wholly outside left out.
    """
    t = frame / RATE
    left = round(_PAN / 2 * (1 - math.cos(math.pi * t / SECONDS)))
    canvas = _backdrop().crop((left, 0, left + WIDTH, HEIGHT))
    # Who has the larger face is nearer, and is painted over the others.
    poses = sorted((pose for walker in WALKERS if (pose := _pose(walker, t))), key=lambda pose: pose.size)
    covers = {pose.walker.track: _paint(canvas, pose) for pose in poses}
    found = [_truth(frame, pose, [covers[other.walker.track] for other in poses[place + 1 :]])
             for place, pose in enumerate(poses)]  # fmt: skip
    return np.asarray(canvas), tuple(sorted((face for face in found if face), key=lambda face: face.track))


def _paint(canvas: Image.Image, pose: _Pose) -> NDArray[np.bool_]:
    """Put a walker into the picture; the answer is (720, 1280) and true where it covers what is behind."""
    level, (a, b, c, d, e, f) = _inverse(pose)
    left, top, right, bottom = _extent(pose)
    covered = np.zeros((HEIGHT, WIDTH), np.bool_)
    if left >= right or top >= bottom:
        return covered
    inverse = (a, b, c + a * left + b * top, d, e, f + d * left + e * top)
    size = (right - left, bottom - top)
    layer = level.transform(size, Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)
    alpha = layer.getchannel("A")
    canvas.paste(_lit(layer, pose.walker.tint), (left, top), alpha)
    covered[top:bottom, left:right] = np.asarray(alpha) >= 128
    return covered


def _lit(layer: Image.Image, tint: tuple[float, float, float]) -> Image.Image:
    table = [min(255, round(value * factor)) for factor in tint for value in range(256)]
    return layer.convert("RGB").point(table)


def _extent(pose: _Pose) -> tuple[int, int, int, int]:
    """The part of the picture in which a walker can be: left, top, right, bottom; empty if outside."""
    picture = pose.portrait.levels[0]
    middle_x, middle_y = pose.portrait.middle
    scale = pose.size / pose.portrait.face_height
    cosine, sine = math.cos(pose.lean) * scale, math.sin(pose.lean) * scale
    offsets = [(x - middle_x, y - middle_y) for x in (0, picture.width) for y in (0, picture.height)]
    xs = [pose.x + cosine * x - sine * y for x, y in offsets]
    ys = [pose.y + sine * x + cosine * y for x, y in offsets]
    return (
        max(0, math.floor(min(xs))), max(0, math.floor(min(ys))),
        min(WIDTH, math.ceil(max(xs))), min(HEIGHT, math.ceil(max(ys))),
    )  # fmt: skip


def _inverse(pose: _Pose) -> tuple[Image.Image, tuple[float, float, float, float, float, float]]:
    """The portrait's level that fits a pose, and the affine map from the film's pixels to the level's."""
    scale = pose.size / pose.portrait.face_height
    index = min(max(0, math.floor(-math.log2(scale))), len(pose.portrait.levels) - 1)
    level = pose.portrait.levels[index]
    per_pixel = 1 / scale / 2**index
    cosine, sine = math.cos(pose.lean) * per_pixel, math.sin(pose.lean) * per_pixel
    x, y = (value / 2**index for value in pose.portrait.middle)
    # In Pillow's order: a, b, c, d, e, f of x' = ax + by + c and y' = dx + ey + f.
    return level, (
        cosine, sine, x - cosine * pose.x - sine * pose.y,
        -sine, cosine, y + sine * pose.x - cosine * pose.y,
    )  # fmt: skip


def _truth(frame: int, pose: _Pose, nearer: list[NDArray[np.bool_]]) -> Face | None:
    x1, y1, x2, y2 = pose.box()
    cut = (max(x1, 0.0), max(y1, 0.0), min(x2, float(WIDTH)), min(y2, float(HEIGHT)))
    if cut[2] - cut[0] < 1 or cut[3] - cut[1] < 1:
        return None
    inside = (cut[2] - cut[0]) * (cut[3] - cut[1]) / ((x2 - x1) * (y2 - y1))
    rows, columns = slice(round(cut[1]), round(cut[3])), slice(round(cut[0]), round(cut[2]))
    free = 1.0
    if nearer:
        free = 1.0 - float(np.mean(np.logical_or.reduce([cover[rows, columns] for cover in nearer])))
    return Face(frame=frame, track=pose.walker.track, box=cut, visible=inside * free)


def coco(found: Mapping[int, tuple[Face, ...]], file_name: str) -> dict[str, object]:
    """The truth in COCO's instances format, one image for each frame, with `track_id` and `visible` beside each box.

    Args:
        found: Faces by frame.
        file_name: Of the film.

    Returns:
        `bbox` is x, y, width, height in pixels; `iscrowd` is 1 for a face less than half of which can be seen.
    """
    flat = [face for frame in sorted(found) for face in found[frame]]
    return {
        "info": {"description": "True faces of veilbox's demo film, known from its composition"},
        "categories": [{"id": 1, "name": "face"}],
        "images": [
            {"id": frame, "file_name": file_name, "frame": frame, "width": WIDTH, "height": HEIGHT}
            for frame in sorted(found)
        ],
        "annotations": [_annotation(number, face) for number, face in enumerate(flat, 1)],
    }


def _annotation(number: int, face: Face) -> dict[str, object]:
    x1, y1, x2, y2 = face.box
    return {
        "id": number,
        "image_id": face.frame,
        "category_id": 1,
        "track_id": face.track,
        "bbox": [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
        "area": round((x2 - x1) * (y2 - y1), 2),
        "visible": round(face.visible, 3),
        "iscrowd": 0 if face.counts else 1,
    }
