"""What is hidden is hidden to the last sample, what is not stays as it was."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from veilbox.core.errors import ProtocolError
from veilbox.core.frame import PIXEL_FORMATS, FrameLayout
from veilbox.core.policy import MAX_CELLS, Redaction, Shape, Style
from veilbox.core.regions import Regions
from veilbox.vision.redact import UNCOVERED, Noise, Redactor, Samples, planes_of, uncovered
from veilbox.vision.redact.cells import SMALLEST_CELL

Box = tuple[float, float, float, float]

# Odd sizes, so that the last chroma sample covers half a pixel pair.
WIDTH, HEIGHT = 97, 75
FORMATS = sorted(PIXEL_FORMATS)
# Black at full and at limited range, for every format: luma or red first. Written out, not computed.
BLACK = {
    "yuv420p": ((0, 128, 128), (16, 128, 128)),
    "yuv422p": ((0, 128, 128), (16, 128, 128)),
    "yuv444p": ((0, 128, 128), (16, 128, 128)),
    "yuv420p10le": ((0, 512, 512), (64, 512, 512)),
    "yuv422p10le": ((0, 512, 512), (64, 512, 512)),
    "yuv444p10le": ((0, 512, 512), (64, 512, 512)),
    "gray": ((0,), (16,)),
    "gray16le": ((0,), (4096,)),
    "ya8": ((0,), (16,)),
    "rgb24": ((0,), (0,)),
    "rgba": ((0,), (0,)),
}
CORNERS: dict[str, Box] = {
    "upper left": (0, 0, 20, 20),
    "upper right": (WIDTH - 20.5, 0, WIDTH, 20),
    "lower left": (0, HEIGHT - 20.5, 20, HEIGHT),
    "lower right": (WIDTH - 20, HEIGHT - 20, WIDTH, HEIGHT),
    "half outside, left": (-15, 20, 15, 50),
    "half outside, top": (20, -15, 50, 15),
    "half outside, right": (WIDTH - 15, 20, WIDTH + 15, 50),
    "half outside, bottom": (20, HEIGHT - 15, 50, HEIGHT + 15),
    "last pixel": (WIDTH - 0.5, HEIGHT - 0.5, WIDTH, HEIGHT),
    "first pixel": (0, 0, 0.25, 0.25),
    "a tiny one": (50.4, 30.4, 51.6, 31.6),
    "without extent": (33, 33, 33, 33),
    "without width": (33.5, 20, 33.5, 40),
    "the whole frame": (0, 0, WIDTH, HEIGHT),
    "more than the frame": (-500, -500, 500, 500),
}


def regions(boxes: Sequence[Box], track: int = 0) -> Regions:
    none = np.zeros(len(boxes), np.int32)
    return Regions(np.array(boxes, np.float32).reshape(-1, 4), none + track, none, none)


class Picture:
    """A frame of noise of which no sample is one of the values that hide."""

    def __init__(self, pixel_format: str, width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> None:
        self.layout = FrameLayout(width, height, pixel_format)
        self.slot = bytearray(self.layout.nbytes)
        self.planes = planes_of(memoryview(self.slot), self.layout)
        generator = np.random.default_rng(seed)
        for plane in self.planes:
            low, high = (200, 256) if plane.dtype == np.uint8 else (800, 1024)
            plane[...] = generator.integers(low, high, plane.shape)
        self.before = [plane.copy() for plane in self.planes]

    def redact(
        self, *boxes: Box, full_range: bool = False, redaction: Redaction, noise: Noise | None = None, track: int = 0
    ) -> None:
        hidden = regions(boxes, track)
        Redactor(redaction, noise).redact(self.planes, self.layout, hidden, full_range=full_range)

    def colours(self, index: int) -> slice:
        alpha = self.layout.format.alpha and index == len(self.planes) - 1
        return slice(0, self.planes[index].shape[2] - int(alpha))


def touched(layout: FrameLayout, index: int, box: Box) -> NDArray[np.bool_]:
    """Samples of a plane whose square meets the half-open box; a box without extent means its pixel.

    Of the last sample of an odd row or column, what lies beyond the picture is nobody's.
    """
    plane = layout.format.planes[index]
    rows, columns, _ = layout.plane_shape(index)
    x1, y1, x2, y2 = box
    x2, y2 = (x2 if x2 > x1 else math.floor(x1) + 1), (y2 if y2 > y1 else math.floor(y1) + 1)

    def meets(count: int, extent: int, shift: int, low: float, high: float) -> NDArray[np.bool_]:
        start = np.arange(count) << shift
        end = np.minimum(start + (1 << shift), extent)
        met: NDArray[np.bool_] = (start < high) & (end > low)
        return met

    tall = meets(rows, layout.height, plane.y_shift, y1, y2)
    return tall[:, None] & meets(columns, layout.width, plane.x_shift, x1, x2)[None]


def solid(margin: float = 0.0, shape: Shape = Shape.BOX) -> Redaction:
    return Redaction(style=Style.SOLID, margin=margin, shape=shape)


@pytest.mark.parametrize("name", FORMATS)
def test_planes_are_views_in_the_formats_order(name: str) -> None:
    layout = FrameLayout(WIDTH, HEIGHT, name)
    slot = bytearray(layout.nbytes + 10)
    planes = planes_of(memoryview(slot), layout)
    assert [plane.shape for plane in planes] == [layout.plane_shape(i) for i in range(len(planes))]
    for index, plane in enumerate(planes):
        plane[0, 0, 0] = index + 1
        assert slot[layout.plane_offset(index)] == index + 1
    assert not any(plane.flags.writeable for plane in planes_of(memoryview(bytes(slot)), layout))


def test_a_slot_that_is_too_small_is_refused() -> None:
    layout = FrameLayout(WIDTH, HEIGHT, "yuv420p")
    with pytest.raises(ProtocolError, match="smaller than its frame"):
        planes_of(memoryview(bytes(layout.nbytes - 1)), layout)


@pytest.mark.parametrize("where", CORNERS)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("full_range", [True, False], ids=["full", "limited"])
def test_solid_is_black_in_every_touched_sample_and_nowhere_else(name: str, where: str, *, full_range: bool) -> None:
    picture, box = Picture(name), CORNERS[where]
    picture.redact(box, full_range=full_range, redaction=solid())
    whole = (math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3]))
    for index, (plane, before) in enumerate(zip(picture.planes, picture.before, strict=True)):
        colours = picture.colours(index)
        expected = BLACK[name][0 if full_range else 1][index]
        assert (plane[touched(picture.layout, index, box)][:, colours] == expected).all()
        outside = ~touched(picture.layout, index, whole)
        assert np.array_equal(plane[outside], before[outside])


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("name", [name for name in FORMATS if PIXEL_FORMATS[name].alpha])
def test_opacity_stays(name: str, style: Style) -> None:
    picture = Picture(name)
    picture.redact((10, 10, 60, 60), redaction=Redaction(style=style))
    assert np.array_equal(picture.planes[-1][..., -1], picture.before[-1][..., -1])


BOXES = st.tuples(
    st.floats(-40, WIDTH + 20, width=32), st.floats(-40, HEIGHT + 20, width=32), st.floats(0, 60), st.floats(0, 60)
).map(lambda r: (r[0], r[1], float(np.float32(r[0] + r[2])), float(np.float32(r[1] + r[3]))))


@settings(deadline=None)
@given(
    name=st.sampled_from(FORMATS),
    boxes=st.lists(BOXES, max_size=4),
    margin=st.sampled_from([0.0, 0.15, 1.0]),
    shape=st.sampled_from(Shape),
)
@example(name="yuv420p", boxes=[(WIDTH, 0, WIDTH, 0)], margin=0.0, shape=Shape.BOX)  # beside the picture
def test_solid_covers_any_boxes_with_their_margin(name: str, boxes: list[Box], margin: float, shape: Shape) -> None:
    picture = Picture(name)
    picture.redact(*boxes, redaction=solid(margin, shape))
    for x1, y1, x2, y2 in boxes:
        x, y = (x2 - x1) * margin, (y2 - y1) * margin
        for index, plane in enumerate(picture.planes):
            inside = touched(picture.layout, index, (x1 - x, y1 - y, x2 + x, y2 + y))
            assert (plane[inside][:, picture.colours(index)] == BLACK[name][1][index]).all()


def test_an_ellipse_leaves_its_corners() -> None:
    picture = Picture("gray", 400, 400)
    picture.redact((100, 100, 300, 300), redaction=solid(shape=Shape.ELLIPSE))
    changed = (picture.planes[0] != picture.before[0])[..., 0]
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (58, 341, 58, 341)
    assert changed[100:300, 100:300].all()
    assert not changed[59:80, 59:80].any()
    assert changed.sum() == pytest.approx(math.pi * 2 * 100**2, rel=0.01)


@pytest.mark.parametrize("style", [Style.PIXELATE, Style.BLUR])
@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("where", CORNERS)
def test_no_sample_of_a_region_with_neighbours_stays(name: str, where: str, style: Style, shape: Shape) -> None:
    """Every second column is dark: a mean is neither, so a sample that kept its value would show."""
    picture, box = Picture(name), CORNERS[where]
    for plane in picture.planes:
        plane[:, ::2] = 0
        plane[:, 1::2] = 255
    picture.redact(box, redaction=Redaction(style=style, shape=shape, margin=0.5))
    for index, plane in enumerate(picture.planes):
        inside = touched(picture.layout, index, box)
        assert not np.isin(plane[inside][:, picture.colours(index)], [0, 255]).any()


def mean_cells(plane: Samples, top: int, left: int, cell: int, cells: int) -> NDArray[np.float64]:
    part = plane[top : top + cell * cells, left : left + cell * cells, 0].astype(np.float64)
    means: NDArray[np.float64] = part.reshape(cells, cell, cells, cell).mean(axis=(1, 3))
    return means


@pytest.mark.parametrize("cells", range(1, MAX_CELLS + 1))
def test_pixelation_is_the_mean_of_each_cell(cells: int) -> None:
    side = cells * 10
    picture = Picture("gray", 120, 120)
    picture.redact((20, 20, 20 + side, 20 + side), redaction=Redaction(style=Style.PIXELATE, cells=cells, margin=0))
    means = mean_cells(picture.before[0], 20, 20, 10, cells)
    shown = picture.planes[0][20 : 20 + side, 20 : 20 + side, 0]
    assert np.abs(shown - means.repeat(10, axis=0).repeat(10, axis=1)).max() <= 0.5


@pytest.mark.parametrize("cells", range(1, MAX_CELLS + 1))
def test_blur_meets_the_means_at_the_centres_and_is_smooth_between(cells: int) -> None:
    side = cells * 11
    picture = Picture("gray16le", 120, 120)
    picture.redact((20, 20, 20 + side, 20 + side), redaction=Redaction(style=Style.BLUR, cells=cells, margin=0))
    means = mean_cells(picture.before[0], 20, 20, 11, cells)
    shown = picture.planes[0][20 : 20 + side, 20 : 20 + side, 0].astype(np.float64)
    assert np.abs(shown[5::11, 5::11] - means).max() <= 1
    steps = np.abs(np.diff(shown, axis=0))
    assert steps.max() <= np.ptp(means) / 11 + 1


@settings(deadline=None)
@given(
    style=st.sampled_from([Style.PIXELATE, Style.BLUR]),
    name=st.sampled_from(FORMATS),
    cells=st.integers(1, MAX_CELLS),
    cell=st.sampled_from([4, 6, 8]),
    seed=st.integers(0, 99),
)
def test_only_the_means_of_at_most_cells_times_cells_cells_are_left(
    style: Style, name: str, cells: int, cell: int, seed: int
) -> None:
    """Another picture with the same means gives the same result, in every plane."""
    side = cells * cell
    redaction = Redaction(style=style, cells=cells, margin=0)
    first, second = (Picture(name, 80, 80) for _ in range(2))
    generator = np.random.default_rng(seed)
    for plane, description in zip(second.planes, second.layout.format.planes, strict=True):
        height, width = cell >> description.y_shift, cell >> description.x_shift
        top, left = 8 >> description.y_shift, 8 >> description.x_shift
        for row, column in np.ndindex(cells, cells):
            y, x = top + row * height, left + column * width
            block = plane[y : y + height, x : x + width]
            block[...] = generator.permuted(block.reshape(-1, block.shape[2]), axis=0).reshape(block.shape)
    for picture in (first, second):
        picture.redact((8, 8, 8 + side, 8 + side), redaction=redaction)
    for index in range(len(first.planes)):
        colours = first.colours(index)
        assert np.array_equal(first.planes[index][..., colours], second.planes[index][..., colours])


@settings(deadline=None)
@given(box=BOXES, cells=st.integers(1, MAX_CELLS), margin=st.sampled_from([0.0, 0.15]), name=st.sampled_from(FORMATS))
def test_pixelation_shows_at_most_cells_times_cells_values(box: Box, cells: int, margin: float, name: str) -> None:
    picture = Picture(name)
    picture.redact(box, redaction=Redaction(style=Style.PIXELATE, cells=cells, margin=margin))
    for index, plane in enumerate(picture.planes):
        inside = touched(picture.layout, index, box)
        for component in range(*picture.colours(index).indices(plane.shape[2])):
            assert len(np.unique(plane[inside][:, component])) <= cells**2


@pytest.mark.parametrize("style", [Style.PIXELATE, Style.BLUR])
def test_a_large_face_keeps_no_more_than_a_small_one(style: Style) -> None:
    picture = Picture("gray16le", 1600, 1600)
    picture.redact((0, 0, 1600, 1600), redaction=Redaction(style=style, cells=8))
    shown = picture.planes[0][..., 0].astype(np.float64)
    strength = np.linalg.svd(shown[::8, ::8], compute_uv=False)
    assert (strength[8:] < 1e-3 * strength[0]).all()


def test_a_small_face_has_fewer_cells() -> None:
    picture = Picture("gray")
    box: Box = (10, 10, 10 + 2 * SMALLEST_CELL, 10 + 2 * SMALLEST_CELL)
    picture.redact(box, redaction=Redaction(style=Style.PIXELATE, cells=8, margin=0))
    assert len(np.unique(picture.planes[0][touched(picture.layout, 0, box)])) <= 4


class TestFeather:
    @settings(deadline=None)
    @given(
        name=st.sampled_from(FORMATS),
        boxes=st.lists(BOXES, min_size=1, max_size=4),
        style=st.sampled_from(Style),
        shape=st.sampled_from(Shape),
        feather=st.sampled_from([0.1, 0.5, 1.0]),
    )
    def test_it_changes_no_sample_of_any_core(
        self, name: str, boxes: list[Box], style: Style, shape: Shape, feather: float
    ) -> None:
        hard, soft = Picture(name), Picture(name)
        hard.redact(*boxes, redaction=Redaction(style=style, shape=shape))
        soft.redact(*boxes, redaction=Redaction(style=style, shape=shape, feather=feather))
        for index, (plane, other) in enumerate(zip(hard.planes, soft.planes, strict=True)):
            for x1, y1, x2, y2 in boxes:
                x, y = (x2 - x1) * 0.15, (y2 - y1) * 0.15
                inside = touched(hard.layout, index, (x1 - x, y1 - y, x2 + x, y2 + y))
                assert np.array_equal(plane[inside], other[inside])
            hidden = plane != hard.before[index]
            assert np.array_equal(plane[hidden], other[hidden])

    @pytest.mark.parametrize("shape", Shape)
    def test_black_fades_into_what_is_around_it(self, shape: Shape) -> None:
        picture = Picture("gray", 400, 400)
        picture.planes[0][...] = 200
        picture.redact((150, 150, 250, 250), redaction=Redaction(shape=shape, margin=0, feather=0.3), full_range=True)
        row = picture.planes[0][200, 250:, 0].astype(int)
        start = 0 if shape is Shape.BOX else 21  # the ellipse around the box goes so far beyond it
        fading = row[start : start + 30]
        assert (np.diff(fading) > 0).all()
        assert (fading[0] < 15, fading[-1] > 185) == (True, True)
        assert (row[start + 31 :] == 200).all()

    @pytest.mark.parametrize("style", [Style.PIXELATE, Style.BLUR])
    def test_what_is_around_meets_the_cover(self, style: Style) -> None:
        picture = Picture("gray", 200, 200)
        picture.planes[0][...] = 100
        picture.planes[0][80:120, 80:120] = 220
        picture.redact((80, 80, 120, 120), redaction=Redaction(style=style, margin=0, feather=0.5))
        row = picture.planes[0][100, 120:, 0].astype(int)
        assert row[0] > 210
        assert (np.diff(row) <= 0).all()
        assert (row[21:] == 100).all()

    def test_opacity_stays(self) -> None:
        picture = Picture("rgba")
        picture.redact((30, 30, 60, 60), redaction=Redaction(feather=0.5))
        assert np.array_equal(picture.planes[0][..., -1], picture.before[0][..., -1])


FACE: Box = (10, 10, 74, 58)
KEY, OTHER = Noise(bytes(32)), Noise(bytes(31) + b"1")


class TestNoise:
    def hidden(self, noise: Noise | None, *, style: Style, seed: int = 0, track: int = 0) -> NDArray[np.int64]:
        picture = Picture("rgb24", seed=seed)
        picture.planes[0][...] = 100 + 30 * (np.indices(picture.planes[0].shape).sum(axis=0) % 3)
        picture.planes[0][:30] += np.uint8(seed)
        picture.redact(FACE, redaction=Redaction(style=style, margin=0), noise=noise, track=track)
        return picture.planes[0].astype(np.int64)

    @pytest.mark.parametrize("style", [Style.PIXELATE, Style.BLUR])
    def test_it_is_within_a_sixteenth_and_only_in_the_region(self, style: Style) -> None:
        difference = self.hidden(KEY, style=style) - self.hidden(None, style=style)
        assert np.abs(difference).max() in (15, 16)
        assert len(np.unique(difference)) > 10
        outside = ~touched(Picture("rgb24").layout, 0, FACE)
        assert not difference[outside].any()

    @pytest.mark.parametrize("style", [Style.PIXELATE, Style.BLUR])
    def test_it_is_the_keys_and_the_tracks_and_never_the_pictures(self, style: Style) -> None:
        added = self.hidden(KEY, style=style) - self.hidden(None, style=style)
        brighter = self.hidden(KEY, style=style, seed=40) - self.hidden(None, style=style, seed=40)
        assert np.abs(added - brighter).max() <= 1  # a surface between means is rounded
        assert not np.array_equal(added, self.hidden(OTHER, style=style) - self.hidden(None, style=style))
        assert not np.array_equal(added, self.hidden(KEY, style=style, track=1) - self.hidden(None, style=style))

    def test_a_fresh_key_is_another_each_time(self) -> None:
        drawn = [Noise.fresh().offsets(0, 0, (6, 6, 3), 255) for _ in range(8)]
        assert len({offsets.tobytes() for offsets in drawn}) == 8

    def test_offsets_are_even_and_of_no_direction(self) -> None:
        offsets = np.concatenate([KEY.offsets(track, 0, (8, 8, 3), 255).ravel() for track in range(200)])
        values, counts = np.unique(offsets, return_counts=True)
        assert values.tolist() == list(range(-16, 17))
        assert abs(offsets.mean()) < 0.5
        assert counts.min() > 0.8 * counts.mean()

    def test_many_frames_of_a_track_say_no_more_than_one(self) -> None:
        first = self.hidden(KEY, style=Style.PIXELATE, track=3)
        assert all(np.array_equal(first, self.hidden(KEY, style=Style.PIXELATE, track=3)) for _ in range(3))

    def test_solid_has_none(self) -> None:
        assert np.array_equal(self.hidden(KEY, style=Style.SOLID), self.hidden(None, style=Style.SOLID))

    @pytest.mark.parametrize("shape", Shape)
    @pytest.mark.parametrize("style", Style)
    def test_who_does_not_know_the_key_tells_hidden_from_not(self, style: Style, shape: Shape) -> None:
        redaction = Redaction(style=style, shape=shape)
        picture = Picture("rgb24", 200, 200)
        rows, columns = np.indices((200, 200))
        picture.planes[0][...] = (128 + 60 * np.sin(rows / 9) + 60 * np.cos(columns / 7))[..., None].astype(np.uint8)
        told = [uncovered(picture.planes, picture.layout, regions([(60, 60, 140, 140)]), redaction, full_range=True)]
        picture.redact((60, 60, 140, 140), redaction=redaction, noise=Noise.fresh(), full_range=True)
        told.append(
            uncovered(picture.planes, picture.layout, regions([(60, 60, 140, 140)]), redaction, full_range=True)
        )
        assert told[0][0] > UNCOVERED[style] > told[1][0]


class TestOverlaps:
    @pytest.mark.parametrize("style", [Style.PIXELATE, Style.BLUR])
    def test_boxes_of_one_face_are_redacted_as_one(self, style: Style) -> None:
        redaction = Redaction(style=style, margin=0)
        apart, joined = Picture("yuv420p"), Picture("yuv420p")
        apart.redact((10, 10, 50, 50), (14, 12, 54, 52), (20, 20, 30, 30), redaction=redaction)
        joined.redact((10, 10, 54, 52), redaction=redaction)
        assert all(np.array_equal(a, b) for a, b in zip(apart.planes, joined.planes, strict=True))

    @settings(deadline=None)
    @given(boxes=st.lists(BOXES, min_size=2, max_size=5), style=st.sampled_from([Style.PIXELATE, Style.BLUR]))
    def test_nothing_of_the_source_shows_through(self, boxes: list[Box], style: Style) -> None:
        picture = Picture("gray")
        picture.planes[0][:, ::2] = 0
        picture.planes[0][:, 1::2] = 255
        picture.redact(*boxes, redaction=Redaction(style=style, margin=0))
        for box in boxes:
            inside = touched(picture.layout, 0, box)
            wide = math.ceil(box[2]) - math.floor(box[0]) >= SMALLEST_CELL
            if wide and inside.any(axis=0).sum() == 1:
                continue  # it reaches one column into the picture, which has one value: its mean
            assert not np.isin(picture.planes[0][inside], [0, 255]).any()


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("name", FORMATS)
def test_a_frame_of_one_pixel(name: str, style: Style, shape: Shape) -> None:
    picture = Picture(name, 1, 1)
    picture.redact((0, 0, 1, 1), redaction=Redaction(style=style, shape=shape))
    assert [plane.shape for plane in picture.planes] == [plane.shape for plane in picture.before]


@pytest.mark.parametrize("style", Style)
def test_boxes_beside_the_frame_change_nothing(style: Style) -> None:
    picture = Picture("yuv420p")
    beside: list[Box] = [(-50, 0, 0, 20), (0, -50, 20, 0), (WIDTH, 0, WIDTH + 9, 20), (0, HEIGHT + 9, 20, 1e30)]
    picture.redact(*beside, redaction=Redaction(style=style, margin=0))
    picture.redact(redaction=Redaction(style=style))
    assert all(np.array_equal(a, b) for a, b in zip(picture.planes, picture.before, strict=True))


def test_a_region_that_is_no_number_is_refused() -> None:
    picture = Picture("yuv420p")
    with pytest.raises(ProtocolError, match="not finite"):
        picture.redact((0, 0, 10, 10), (math.nan, 0, 1, 1), redaction=solid())
    assert all(np.array_equal(a, b) for a, b in zip(picture.planes, picture.before, strict=True))


def test_planes_of_another_frame_are_refused() -> None:
    picture = Picture("yuv420p")
    redactor = Redactor(solid())
    read_only = planes_of(memoryview(bytes(picture.slot)), picture.layout)
    for planes in (picture.planes[:2], read_only, Picture("yuv444p").planes, Picture("yuv420p10le").planes):
        with pytest.raises(ProtocolError, match="do not fit"):
            redactor.redact(planes, picture.layout, regions([(0, 0, 9, 9)]), full_range=True)
