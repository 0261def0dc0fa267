"""One scene of a film: who is where at what time, and what a camera with a shutter sees of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from portraits import Portrait

Box = tuple[float, float, float, float]
# Less of a face than this in the picture, or not behind something, is nobody's to find.
LEAST_VISIBLE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """Where a face is, in pixels of the scene.

    Attributes:
        x: Of its middle.
        y: Likewise.
        size: Its height.
        lean: How far it leans, radians.
        view: Which of the person's views is seen.
    """

    x: float
    y: float
    size: float
    lean: float = 0.0
    view: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """One person in a film.

    Attributes:
        track: The same number for the same person through the film.
        views: The person.
        pose: By time in seconds; None while off stage.
    """

    track: int
    views: Sequence[Portrait]
    pose: Callable[[float], Pose | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """Where the camera looks: scene pixels are moved, then enlarged around the picture's middle."""

    dx: float = 0.0
    dy: float = 0.0
    zoom: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What happens between two cuts.

    Attributes:
        frames: How many.
        backdrop: Larger than the picture by `MARGIN` on each side.
        actors: Who plays.
        posts: Things nearer than everybody: left, top, right, bottom in scene pixels, and a grey.
        camera: By time.
        light: By time: (3,) factors, or (rows, columns, 3).
        noise: Of the sensor, standard deviation in steps of 255.
        shutter: Share of a frame's time for which it is open.
        exposures: Pictures that the open shutter is made of; odd, for the truth is the middle one.
    """

    frames: int
    backdrop: Image.Image
    actors: Sequence[Actor]
    posts: Sequence[tuple[Box, int]] = ()
    camera: Callable[[float], View] = lambda _: View()
    light: Callable[[float], NDArray[np.float32]] = lambda _: np.ones(3, np.float32)
    noise: float = 3.0
    shutter: float = 0.5
    exposures: int = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Face:
    """The truth about one face in one frame.

    Attributes:
        track: Whose.
        box: xyxy in pixels, half-open, cut at the picture's borders.
        visible: Share of it that is in the picture and not behind something.
    """

    track: int
    box: Box
    visible: float

    @property
    def counts(self) -> bool:
        """Whether it has to be hidden."""
        return self.visible >= LEAST_VISIBLE


# Of a backdrop beyond the picture on each side, as a share of the picture: a camera turns.
MARGIN = 0.2


def shot(
    scene: Scene, frame: int, *, size: tuple[int, int], rate: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[Face]]:
    """One frame.

    Args:
        scene: The scene.
        frame: From the scene's beginning.
        size: Columns and rows.
        rate: Frames a second.
        rng: For the sensor's noise.

    Returns:
        (rows, columns, 3) uint8 RGB and the faces in it, where they are when the shutter is half-way.
    """
    light = np.zeros((size[1], size[0], 3), np.float32)
    faces: list[Face] = []
    for part in range(scene.exposures):
        t = (frame + scene.shutter * ((part + 0.5) / scene.exposures - 0.5)) / rate
        canvas, seen, covers = _still(scene, t, size)
        light += np.asarray(canvas, np.float32)
        if part == scene.exposures // 2:
            faces = _faces(seen, covers, size)
    light *= scene.light(frame / rate) / scene.exposures
    light += rng.standard_normal(light.shape, np.float32) * scene.noise
    return np.clip(light, 0, 255).astype(np.uint8), faces


def _still(
    scene: Scene, t: float, size: tuple[int, int]
) -> tuple[Image.Image, list[tuple[Actor, Pose]], list[NDArray[np.bool_]]]:
    """An instant without blur; who is seen, the farthest first, and what each of them and each post covers."""
    view = scene.camera(t)
    canvas = _backdrop(scene.backdrop, view, size)
    seen = [(actor, _seen(pose, view, size)) for actor in scene.actors if (pose := actor.pose(t))]
    # Who has the larger face is nearer, and is painted over the others.
    seen.sort(key=lambda one: one[1].size)
    covers = [_paint(canvas, _figure(actor, pose), pose) for actor, pose in seen]
    covers += [_post(canvas, post, view) for post in scene.posts]
    return canvas, seen, covers


def _faces(
    seen: Sequence[tuple[Actor, Pose]], covers: Sequence[NDArray[np.bool_]], size: tuple[int, int]
) -> list[Face]:
    told = [_truth(actor, pose, covers[place + 1 :], size) for place, (actor, pose) in enumerate(seen)]
    return sorted((face for face in told if face is not None), key=lambda face: face.track)


def _figure(actor: Actor, pose: Pose) -> Portrait:
    return actor.views[pose.view % len(actor.views)]


def _seen(pose: Pose, view: View, size: tuple[int, int]) -> Pose:
    x, y = _onto(pose.x, pose.y, view, size)
    return Pose(x=x, y=y, size=pose.size * view.zoom, lean=pose.lean, view=pose.view)


def _onto(x: float, y: float, view: View, size: tuple[int, int]) -> tuple[float, float]:
    middle = size[0] / 2, size[1] / 2
    return (x + view.dx - middle[0]) * view.zoom + middle[0], (y + view.dy - middle[1]) * view.zoom + middle[1]


def _backdrop(picture: Image.Image, view: View, size: tuple[int, int]) -> Image.Image:
    scale = 1 / view.zoom
    x, y = (part / 2 * (1 - scale) for part in size)
    left, top = size[0] * MARGIN + x - view.dx, size[1] * MARGIN + y - view.dy
    if view == View():
        return picture.crop((round(left), round(top), round(left) + size[0], round(top) + size[1]))
    matrix = (scale, 0.0, left, 0.0, scale, top)
    return picture.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _paint(canvas: Image.Image, figure: Portrait, pose: Pose) -> NDArray[np.bool_]:
    """Put a person into the picture; the answer is true where it covers what is behind."""
    index = min(max(0, math.floor(-math.log2(pose.size / figure.face_height))), len(figure.levels) - 1)
    level = figure.levels[index]
    per_pixel = figure.face_height / pose.size / 2**index
    cosine, sine = math.cos(pose.lean) * per_pixel, math.sin(pose.lean) * per_pixel
    x, y = (value / 2**index for value in figure.middle)
    left, top, right, bottom = _extent(level, (x, y), pose, per_pixel, canvas.size)
    covered = np.zeros(canvas.size[::-1], np.bool_)
    if left >= right or top >= bottom:
        return covered
    across, down = left - pose.x, top - pose.y
    # In Pillow's order: x' = ax + by + c and y' = dx + ey + f.
    inverse = (cosine, sine, x + cosine * across + sine * down, -sine, cosine, y - sine * across + cosine * down)
    layer = level.transform((right - left, bottom - top), Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)
    alpha = layer.getchannel("A")
    canvas.paste(layer.convert("RGB"), (left, top), alpha)
    covered[top:bottom, left:right] = np.asarray(alpha) >= 128
    return covered


def _extent(
    level: Image.Image, middle: tuple[float, float], pose: Pose, per_pixel: float, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The part of the picture in which a person can be; empty if outside."""
    corners = [(x - middle[0], y - middle[1]) for x in (0, level.width) for y in (0, level.height)]
    cosine, sine = math.cos(pose.lean) / per_pixel, math.sin(pose.lean) / per_pixel
    xs = [pose.x + cosine * x - sine * y for x, y in corners]
    ys = [pose.y + sine * x + cosine * y for x, y in corners]
    return (
        max(0, math.floor(min(xs))), max(0, math.floor(min(ys))),
        min(size[0], math.ceil(max(xs))), min(size[1], math.ceil(max(ys))),
    )  # fmt: skip


def _post(canvas: Image.Image, post: tuple[Box, int], view: View) -> NDArray[np.bool_]:
    (x1, y1, x2, y2), grey = post
    left, top = _onto(x1, y1, view, canvas.size)
    right, bottom = _onto(x2, y2, view, canvas.size)
    covered = np.zeros(canvas.size[::-1], np.bool_)
    place = (
        max(round(left), 0),
        max(round(top), 0),
        min(round(right), canvas.width),
        min(round(bottom), canvas.height),
    )
    if place[0] < place[2] and place[1] < place[3]:
        canvas.paste((grey, grey, grey), place)
        covered[place[1] : place[3], place[0] : place[2]] = True
    return covered


def _truth(actor: Actor, pose: Pose, nearer: Sequence[NDArray[np.bool_]], size: tuple[int, int]) -> Face | None:
    x1, y1, x2, y2 = _around(_figure(actor, pose), pose)
    cut = (max(x1, 0.0), max(y1, 0.0), min(x2, float(size[0])), min(y2, float(size[1])))
    if cut[2] - cut[0] < 1 or cut[3] - cut[1] < 1:
        return None
    inside = (cut[2] - cut[0]) * (cut[3] - cut[1]) / ((x2 - x1) * (y2 - y1))
    rows, columns = slice(round(cut[1]), round(cut[3])), slice(round(cut[0]), round(cut[2]))
    hidden = np.logical_or.reduce([cover[rows, columns] for cover in nearer]) if nearer else np.zeros(1)
    free = 1.0 - float(np.mean(hidden)) if np.size(hidden) else 0.0
    return Face(track=actor.track, box=cut, visible=inside * free)


def _around(figure: Portrait, pose: Pose) -> Box:
    """The box around the leaning ellipse that the face's box holds."""
    x1, y1, x2, y2 = figure.face
    scale = pose.size / figure.face_height
    a, b = (x2 - x1) / 2 * scale, (y2 - y1) / 2 * scale
    cosine, sine = math.cos(pose.lean), math.sin(pose.lean)
    across, down = math.hypot(a * cosine, b * sine), math.hypot(a * sine, b * cosine)
    return pose.x - across, pose.y - down, pose.x + across, pose.y + down
