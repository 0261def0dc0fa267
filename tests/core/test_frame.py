"""Layouts agree with FFmpeg's own sizes, at odd sizes too."""

from __future__ import annotations

import av
import pytest

from veilbox.core.errors import SourceUnsupported
from veilbox.core.frame import MAX_PIXELS, PIXEL_FORMATS, FrameLayout


@pytest.mark.parametrize("name", PIXEL_FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (641, 451), (640, 480), (3, 2)])
def test_planes_have_ffmpegs_sizes(name: str, size: tuple[int, int]) -> None:
    layout = FrameLayout(*size, name)
    frame = av.VideoFrame(*size, name)
    assert len(frame.planes) == len(layout.format.planes)
    for index, plane in enumerate(frame.planes):
        rows, columns, components = layout.plane_shape(index)
        assert (columns, rows) == (plane.width, plane.height)
        assert columns * components * layout.format.sample_bytes <= plane.line_size


@pytest.mark.parametrize("name", PIXEL_FORMATS)
def test_planes_follow_each_other_without_padding(name: str) -> None:
    layout = FrameLayout(641, 451, name)
    end = 0
    for index in range(len(layout.format.planes)):
        assert layout.plane_offset(index) == end
        end += layout.plane_nbytes(index)
    assert layout.nbytes == end


@pytest.mark.parametrize(
    "size", [(0, 1), (1, 0), (-1, 5), (65_536, 1), (16_384, 16_384), (1 << 14, (MAX_PIXELS >> 14) + 1)]
)
def test_sizes_out_of_bounds_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(SourceUnsupported, match="size out of bounds"):
        FrameLayout(*size, "rgb24")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(SourceUnsupported, match="pixel format"):
        FrameLayout(1, 1, "bayer_rggb8")
