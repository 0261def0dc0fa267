"""Twelve films: what each of them tries, its people, their ways, camera, light and noise; all by seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from filmset.people import PEOPLE, VIEWS, person
from filmset.stage import MARGIN, Actor, Box, Pose, Scene, View
from portraits import packaged

RATE = 25
FRAMES = 50
_BACKDROPS = ("motorcycle_left.png", "rocket.jpg", "coffee.png", "motorcycle_right.png", "gravel.png", "brick.png")
# Amplitude of a walk in heights of the face, and steps a second.
_BOB, _STEPS_HZ = 0.06, 1.8

Path = Callable[[float], Pose | None]
Camera = Callable[[float], View]
Light = Callable[[float], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """One film.

    Attributes:
        name: What it tries.
        size: Columns and rows.
        scenes: One, or several with cuts between them.
        crf: How coarsely it is encoded.
    """

    name: str
    size: tuple[int, int]
    scenes: Sequence[Scene]
    crf: int = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cast:
    """How the people of a film move: bounds of what the seed chooses.

    Attributes:
        count: How many.
        sizes: Height of a face, least and most, in shares of the picture's height.
        speeds: Heights of the face a second.
        swing: How far people lean, degrees.
        turning: Views a second.
    """

    count: int
    sizes: tuple[float, float]
    speeds: tuple[float, float]
    swing: float = 4.0
    turning: float = 0.0


def scripts(seed: int = 1) -> list[Script]:
    """The films of a seed, the same every time."""
    return [
        make(name, np.random.default_rng((seed, number)))
        for number, (name, make) in enumerate(
            (
                ("crossing", _crossing),
                ("running", _running),
                ("far", _far),
                ("near", _near),
                ("borders", _borders),
                ("posts", _posts),
                ("night", _night),
                ("flicker", _flicker),
                ("cuts", _cuts),
                ("handheld", _handheld),
                ("turning", _turning),
                ("coarse", _coarse),
            )
        )
    ]


def _crossing(name: str, rng: np.random.Generator) -> Script:
    cast = _Cast(count=8, sizes=(0.07, 0.2), speeds=(0.5, 2.0))
    return _single(name, rng, (854, 480), cast)


def _running(name: str, rng: np.random.Generator) -> Script:
    # A face height in a fifth of a second: 25 centimetres at 1.2 m/s is a walk, this is a sprint, seen from near.
    cast = _Cast(count=9, sizes=(0.08, 0.2), speeds=(4.0, 9.0), swing=8.0)
    return _single(name, rng, (854, 480), cast, shutter=0.7)


def _far(name: str, rng: np.random.Generator) -> Script:
    return _single(name, rng, (1280, 720), _Cast(count=12, sizes=(0.025, 0.05), speeds=(0.5, 3.0)))


def _near(name: str, rng: np.random.Generator) -> Script:
    return _single(name, rng, (854, 480), _Cast(count=5, sizes=(0.3, 0.6), speeds=(0.3, 1.5)), fine=True)


def _borders(name: str, rng: np.random.Generator) -> Script:
    size = (854, 480)
    actors = [
        Actor(track=track, views=person(who), pose=_peeping(rng, size, side=track % 4))
        for track, who in enumerate(_people(rng, 8), 1)
    ]
    return Script(name=name, size=size, scenes=[Scene(frames=FRAMES, backdrop=_wall(rng, size), actors=actors)])


def _posts(name: str, rng: np.random.Generator) -> Script:
    size = (854, 480)
    posts: list[tuple[Box, int]] = [
        ((x, -480, x + 60, 960), 70) for x in np.linspace(60, 780, 5).round().astype(int).tolist()
    ]
    cast = _Cast(count=8, sizes=(0.08, 0.16), speeds=(1.0, 3.0))
    return _single(name, rng, size, cast, posts=posts)


def _night(name: str, rng: np.random.Generator) -> Script:
    size = (854, 480)
    cast = _Cast(count=8, sizes=(0.09, 0.22), speeds=(0.5, 2.0))
    return _single(name, rng, size, cast, light=_lamp(size), noise=9.0, shutter=0.9)


def _flicker(name: str, rng: np.random.Generator) -> Script:
    levels = rng.choice([0.35, 0.6, 1.0, 1.0, 1.5, 2.0], size=FRAMES)

    def light(t: float) -> NDArray[np.float32]:
        level = levels[min(round(t * RATE), FRAMES - 1) // 3 * 3]
        return np.array([level * 1.05, level, level * 0.9], np.float32)

    return _single(name, rng, (854, 480), _Cast(count=8, sizes=(0.08, 0.2), speeds=(0.5, 2.0)), light=light)


def _cuts(name: str, rng: np.random.Generator) -> Script:
    """The same people elsewhere every ten frames, now and then for three frames only."""
    size = (854, 480)
    who = _people(rng, 7)
    cast = _Cast(count=len(who), sizes=(0.08, 0.25), speeds=(0.5, 2.0))
    scenes = [
        Scene(frames=frames, backdrop=_wall(rng, size), actors=_walking(rng, size, cast, who))
        for frames in (10, 9, 3, 10, 6, 3, 9)
    ]
    return Script(name=name, size=size, scenes=scenes)


def _handheld(name: str, rng: np.random.Generator) -> Script:
    size = (854, 480)
    cast = _Cast(count=8, sizes=(0.08, 0.2), speeds=(0.3, 1.5))
    return _single(name, rng, size, cast, camera=_shaken(rng), shutter=0.8)


def _turning(name: str, rng: np.random.Generator) -> Script:
    cast = _Cast(count=8, sizes=(0.09, 0.2), speeds=(0.2, 1.0), swing=20.0, turning=3.0)
    return _single(name, rng, (854, 480), cast)


def _coarse(name: str, rng: np.random.Generator) -> Script:
    cast = _Cast(count=9, sizes=(0.07, 0.16), speeds=(0.5, 2.0))
    script = _single(name, rng, (640, 360), cast, noise=6.0)
    return Script(name=name, size=script.size, scenes=script.scenes, crf=38)


def _single(
    name: str,
    rng: np.random.Generator,
    size: tuple[int, int],
    cast: _Cast,
    *,
    fine: bool = False,
    posts: Sequence[tuple[Box, int]] = (),
    camera: Camera = lambda _: View(),
    light: Light = lambda _: np.ones(3, np.float32),
    noise: float = 3.0,
    shutter: float = 0.5,
) -> Script:
    who = _people(rng, cast.count, fine=fine)
    scene = Scene(
        frames=FRAMES,
        backdrop=_wall(rng, size),
        actors=_walking(rng, size, cast, who),
        posts=posts,
        camera=camera,
        light=light,
        noise=noise,
        shutter=shutter,
        exposures=5 if shutter > 0.5 else 3,
    )
    return Script(name=name, size=size, scenes=[scene])


def _people(rng: np.random.Generator, count: int, *, fine: bool = False) -> list[int]:
    """Who plays; the two of finer photographs where faces are large."""
    drawn: list[int] = rng.permutation(PEOPLE)[:count].tolist()
    return [PEOPLE, PEOPLE + 1, *drawn[2:]] if fine else drawn


def _walking(rng: np.random.Generator, size: tuple[int, int], cast: _Cast, who: Sequence[int]) -> list[Actor]:
    return [
        Actor(track=track, views=person(number), pose=_walk(rng, size, cast)) for track, number in enumerate(who, 1)
    ]


def _walk(rng: np.random.Generator, size: tuple[int, int], cast: _Cast) -> Path:
    """Straight across at one speed, in steps; whoever leaves on one side comes in again on the other."""
    width, height = size
    tall = height * cast.sizes[0] * (cast.sizes[1] / cast.sizes[0]) ** rng.uniform()
    speed = tall * rng.uniform(*cast.speeds) * rng.choice([-1, 1])
    lap = width + 4 * tall
    start, level = rng.uniform(0, lap), rng.uniform(0.15, 0.7) * height
    growth, phase, view = rng.uniform(-0.15, 0.15), rng.uniform(0, 2 * math.pi), int(rng.integers(VIEWS))

    def pose(t: float) -> Pose:
        step = math.pi * _STEPS_HZ * t + phase
        return Pose(
            x=(start + speed * t) % lap - 2 * tall,
            y=level - _BOB * tall * abs(math.sin(step)),
            size=tall * (1 + growth) ** t,
            lean=math.radians(cast.swing) * math.sin(step),
            view=view + math.floor(cast.turning * t),
        )

    return pose


def _peeping(rng: np.random.Generator, size: tuple[int, int], *, side: int) -> Path:
    """In at a border, half of the face or all of it, and out again."""
    tall = size[1] * rng.uniform(0.1, 0.25)
    along, depth = rng.uniform(0.15, 0.85), rng.uniform(0.05, 0.9) * tall
    period, phase, view = rng.uniform(1.0, 2.5), rng.uniform(0, 2 * math.pi), int(rng.integers(VIEWS))

    def pose(t: float) -> Pose:
        inward = depth * math.sin(2 * math.pi * t / period + phase)
        x, y = ((inward, along * size[1]), (along * size[0], inward))[side % 2]
        if side >= 2:
            x, y = (size[0] - x, y) if side == 2 else (x, size[1] - y)
        return Pose(x=x, y=y, size=tall, view=view)

    return pose


def _lamp(size: tuple[int, int]) -> Light:
    """Dark, with a lamp that wanders from one side to the other."""
    columns, rows = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))

    def light(t: float) -> NDArray[np.float32]:
        near = np.exp(-(((columns - 0.2 - 0.2 * t) / 0.3) ** 2) - ((rows - 0.4) / 0.5) ** 2)
        level = 0.22 + 0.6 * near
        return np.stack([level * 1.1, level, level * 0.75], axis=2).astype(np.float32)

    return light


def _shaken(rng: np.random.Generator) -> Camera:
    """Hands tremble in several frequencies at once, and a zoom breathes."""
    rates, phases = rng.uniform(0.5, 6, (2, 4)), rng.uniform(0, 2 * math.pi, (2, 4))
    strengths = 24 / rates

    def camera(t: float) -> View:
        dx, dy = (strengths * np.sin(2 * math.pi * rates * t + phases)).sum(axis=1).tolist()
        return View(dx=dx, dy=dy, zoom=1.1 + 0.08 * math.sin(t * 2))

    return camera


def _wall(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    return _backdrop(_BACKDROPS[int(rng.integers(len(_BACKDROPS)))], size)


@cache
def _backdrop(name: str, size: tuple[int, int]) -> Image.Image:
    picture = Image.open(packaged("skimage", "data", name)).convert("RGB")
    width, height = (round(side * (1 + 2 * MARGIN)) for side in size)
    scale = max(width / picture.width, height / picture.height)
    grown = picture.resize(
        (math.ceil(picture.width * scale), math.ceil(picture.height * scale)), Image.Resampling.BICUBIC
    )
    return grown.crop((0, 0, width, height))
