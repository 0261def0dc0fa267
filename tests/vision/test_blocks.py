"""Redaction in a JPEG picture's blocks: what a cover touches is coded anew, all other coefficients stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from veilbox.core.coefficients import BLOCK, Coefficients
from veilbox.core.frame import FrameLayout
from veilbox.core.policy import Redaction, Shape, Style
from veilbox.core.regions import Regions
from veilbox.vision.redact import Redactor, coefficient_planes, redact_blocks
from veilbox.vision.redact.area import Window

FORMATS = ("gray", "yuv420p", "yuv422p", "yuv444p")
SIZES = ((96, 80), (93, 75), (8, 8), (1, 1), (17, 100))
_RANDOM = np.random.default_rng(5)

Box = tuple[float, float, float, float]
Planes = list[NDArray[np.int16]]


def _kind(pixel_format: str, step: int = 3) -> Coefficients:
    return Coefficients(pixel_format=pixel_format, tables=((step,) * BLOCK,) * (1 if pixel_format == "gray" else 3))


def _picture(layout: FrameLayout, kind: Coefficients) -> Planes:
    """Random blocks, most of them of samples within their range."""
    buffer = bytearray(kind.nbytes(layout))
    planes = coefficient_planes(memoryview(buffer), layout, kind)
    for plane in planes:
        plane[...] = _RANDOM.integers(-9, 10, plane.shape)
        plane[..., 0] = _RANDOM.integers(-200, 200, plane.shape[:2])
    return planes


def _regions(*boxes: Box) -> Regions:
    numbers = np.arange(len(boxes), dtype=np.int32)
    return Regions(np.array(boxes, np.float32).reshape(-1, 4), numbers, numbers * 0, numbers * 0)


def _redacted(
    planes: Planes, layout: FrameLayout, kind: Coefficients, redaction: Redaction, *boxes: Box
) -> tuple[Planes, int]:
    made, redactor, regions = [plane.copy() for plane in planes], Redactor(redaction), _regions(*boxes)
    touched = [[(window, None) for window in windows] for windows in redactor.reach(layout, regions)]
    count = redact_blocks(
        made, layout, kind, touched, lambda samples: redactor.redact(samples, layout, regions, full_range=True)
    )
    return made, count


def _changed(before: Planes, after: Planes) -> list[NDArray[np.bool_]]:
    return [np.asarray((old != new).any(axis=2), np.bool_) for old, new in zip(before, after, strict=True)]


def _touched(layout: FrameLayout, plane: int, box: Box) -> NDArray[np.bool_]:
    """Blocks of a plane of which a sample lies in a box of whole pixels, by asking each sample."""
    rows, columns, _ = layout.plane_shape(plane)
    down, across = layout.format.planes[plane].y_shift, layout.format.planes[plane].x_shift
    blocks = np.zeros((-(-rows // 8), -(-columns // 8)), np.bool_)
    for row in range(rows):
        for column in range(columns):
            left, top = column << across, row << down
            if left < box[2] and left + (1 << across) > box[0] and top < box[3] and top + (1 << down) > box[1]:
                blocks[row // 8, column // 8] = True
    return blocks


def _over_edge(layout: FrameLayout, plane: int) -> NDArray[np.bool_]:
    rows, columns, _ = layout.plane_shape(plane)
    blocks = np.zeros((-(-rows // 8), -(-columns // 8)), np.bool_)
    blocks[:, -1] |= columns % 8 > 0
    blocks[-1] |= rows % 8 > 0
    return blocks


BOXES: dict[str, Box] = {
    "in the middle": (30, 20, 51, 44),
    "one pixel": (40, 40, 41, 41),
    "one pixel before a block of chroma": (47, 31, 48, 32),
    "one pixel behind it": (48, 32, 49, 33),
    "over the first corner": (-10, -10, 5, 5),
    "over the last corner": (70, 60, 500, 500),
    "all": (-5, -5, 500, 500),
    "outside": (500, 500, 600, 600),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize("box", BOXES)
def test_untouched_blocks_keep_every_coefficient(box: str, pixel_format: str, size: tuple[int, int]) -> None:
    layout, kind = FrameLayout(*size, pixel_format), _kind(pixel_format)
    before = _picture(layout, kind)
    after, count = _redacted(before, layout, kind, Redaction(margin=0), BOXES[box])
    allowed = [_touched(layout, at, BOXES[box]) | _over_edge(layout, at) for at in range(len(before))]
    assert not any((changed & ~may).any() for changed, may in zip(_changed(before, after), allowed, strict=True))
    assert count == sum(int(may.sum()) for may in allowed)


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("box", ["in the middle", "over the last corner", "all"])
def test_what_was_below_a_solid_cover_leaves_no_trace(box: str, shape: Shape, pixel_format: str) -> None:
    """Two pictures that differ only in blocks wholly below the cover, beyond the range of samples too, become one."""
    layout, kind = FrameLayout(93, 75, pixel_format), _kind(pixel_format)
    redaction = Redaction(margin=0.15, shape=shape)
    one = _picture(layout, kind)
    covered = _covered(layout, redaction, BOXES[box])
    other = [plane.copy() for plane in one]
    for plane, below in zip(other, covered, strict=True):
        plane[below] = _RANDOM.integers(-1023, 1024, (int(below.sum()), BLOCK))
    made = [_redacted(planes, layout, kind, redaction, BOXES[box])[0] for planes in (one, other)]
    assert all(np.array_equal(first, second) for first, second in zip(*made, strict=True))
    assert sum(int(below.sum()) for below in covered) >= 4


def _covered(layout: FrameLayout, redaction: Redaction, box: Box) -> list[NDArray[np.bool_]]:
    """Blocks of each plane of which the cover hides every sample inside the picture."""
    samples: list[Any] = [np.full(layout.plane_shape(at), 77, np.uint8) for at in range(len(layout.format.planes))]
    Redactor(redaction).redact(samples, layout, _regions(box), full_range=True)
    blocks = []
    for plane in samples:
        rows, columns, _ = plane.shape
        whole = np.ones((-(-rows // 8) * 8, -(-columns // 8) * 8), np.bool_)
        whole[:rows, :columns] = plane[..., 0] != 77
        parts = whole.reshape(-(-rows // 8), 8, -(-columns // 8), 8)
        blocks.append(np.asarray(parts.all(axis=(1, 3)), np.bool_))
    return blocks


def _samples(plane: NDArray[np.int16], kind: Coefficients, index: int) -> NDArray[np.float64]:
    place, frequency = np.mgrid[0:8, 0:8]
    basis = np.cos((2 * place + 1) * frequency * np.pi / 16) / 2
    basis[:, 0] /= np.sqrt(2)
    blocks = plane.reshape(*plane.shape[:2], 8, 8) * np.array(kind.tables[index], float).reshape(8, 8)
    shown: NDArray[np.float64] = (basis @ blocks @ basis.T + 128).transpose(0, 2, 1, 3)
    return shown.reshape(plane.shape[0] * 8, plane.shape[1] * 8)


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("more", [{}, {"shape": Shape.ELLIPSE}, {"feather": 0.4}])
def test_what_shows_is_what_redaction_of_samples_gives(style: Style, more: dict[str, Any], pixel_format: str) -> None:
    """In every style a decoder sees the redacted samples, but for the rounding of steps of one."""
    layout, kind = FrameLayout(93, 75, pixel_format), _kind(pixel_format, step=1)
    redaction, box = Redaction(style=style, **more), BOXES["in the middle"]
    before = _picture(layout, kind)
    after, _ = _redacted(before, layout, kind, redaction, box)
    shown: list[NDArray[Any]] = []
    for index, plane in enumerate(before):
        rows, columns, _ = layout.plane_shape(index)
        samples = np.clip(np.rint(_samples(plane, kind, index)), 0, 255).astype(np.uint8)
        shown.append(np.ascontiguousarray(samples[:rows, :columns, None]))
    Redactor(redaction).redact(shown, layout, _regions(box), full_range=True)
    for index, (plane, expected) in enumerate(zip(after, shown, strict=True)):
        rows, columns, _ = layout.plane_shape(index)
        actual = _samples(plane, kind, index)[:rows, :columns].clip(0, 255)
        assert np.abs(actual - expected[..., 0]).max() < 3.0


def test_what_lay_beyond_the_edge_does_not_pass() -> None:
    """Samples that no viewer shows and no detector saw."""
    layout, kind = FrameLayout(90, 75, "yuv420p"), _kind("yuv420p", step=1)
    after, _ = _redacted(_picture(layout, kind), layout, kind, Redaction())
    for index, plane in enumerate(after):
        rows, columns, _ = layout.plane_shape(index)
        shown = _samples(plane, kind, index)
        assert np.abs(shown[:rows, columns:] - shown[:rows, columns - 1 : columns]).max() < 4.0
        assert np.abs(shown[rows:, :columns] - shown[rows - 1 : rows, :columns]).max() < 4.0


def test_nothing_to_hide_changes_nothing() -> None:
    layout, kind = FrameLayout(96, 80, "yuv420p"), _kind("yuv420p")
    before = _picture(layout, kind)
    after, count = _redacted(before, layout, kind, Redaction())
    assert count == 0
    assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))


def test_a_mask_touches_no_more_than_its_samples() -> None:
    layout, kind = FrameLayout(96, 80, "gray"), _kind("gray")
    before = _picture(layout, kind)
    mask = np.zeros((40, 40), np.bool_)
    mask[0, 0] = mask[39, 39] = True
    touched: Sequence[Any] = [[(Window(columns=(8, 48), rows=(16, 56)), mask)]]
    after = [plane.copy() for plane in before]
    assert redact_blocks(after, layout, kind, touched, lambda planes: planes[0].fill(0)) == 2
    assert np.argwhere(_changed(before, after)[0]).tolist() == [[2, 1], [6, 5]]
