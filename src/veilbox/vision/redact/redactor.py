"""Hides the regions of one frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from veilbox.core.frame import FrameLayout, PixelFormat, Plane
from veilbox.core.policy import Redaction, Shape, Style
from veilbox.core.regions import Regions
from veilbox.vision.redact.area import Area, Window, ellipse_mask, joined, whole_pixels
from veilbox.vision.redact.cells import SMALLEST_CELL, cell_edges, cell_means, cell_side, flat, smooth
from veilbox.vision.redact.feather import blend, border_pixels, box_fade, ellipse_fade, padded, ring
from veilbox.vision.redact.planes import Samples, require_planes

_Surface = Callable[[NDArray[np.uint64], NDArray[np.intp], NDArray[np.intp]], NDArray[np.uint64] | NDArray[np.float32]]
_SURFACES: dict[Style, _Surface] = {Style.PIXELATE: flat, Style.BLUR: smooth}


class Redactor:
    """Hides regions in the planes of a frame, in place.

    Every sample that a region with its margin touches is replaced, subsampled chroma included; opacity stays. What
    pixelation and blur leave of a region depends on at most `cells` x `cells` means for each component.

    Args:
        redaction: Style, strength, shape and margin.
    """

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction

    def redact(self, planes: list[Samples], layout: FrameLayout, regions: Regions, *, full_range: bool) -> None:
        """Hide the regions.

        Args:
            planes: As from `planes_of`, writable.
            layout: The frame's layout.
            regions: In pixels of the frame, without margin; they may reach outside.
            full_range: Whether luma's black is 0 and not 16 (at 8 bits); means nothing for RGB.

        Raises:
            ProtocolError: The planes do not fit the layout, or a region is not finite. Nothing was changed.
        """
        require_planes(planes, layout)
        cores = self._cores(regions, layout)
        for index, samples in enumerate(planes):
            self._redact_plane(samples, cores, index, layout, full_range=full_range)

    def redact_first(self, samples: Samples, layout: FrameLayout, regions: Regions, *, full_range: bool) -> None:
        """Hide the regions in the first plane only, for who asks what that would change.

        Args:
            samples: The first of the planes, as in `redact`.
            layout: As in `redact`, here and below.
            regions: Likewise.
            full_range: Likewise.
        """
        self._redact_plane(samples, self._cores(regions, layout), 0, layout, full_range=full_range)

    def _redact_plane(
        self, samples: Samples, cores: list[Area], index: int, layout: FrameLayout, *, full_range: bool
    ) -> None:
        for core in cores:
            self._hide(samples, core, index, layout, full_range=full_range)
        if self._redaction.feather and cores:
            self._soften(samples, cores, index, layout, full_range=full_range)

    def _cores(self, regions: Regions, layout: FrameLayout) -> list[Area]:
        solid = self._redaction.style is Style.SOLID
        boxes = whole_pixels(regions.boxes, margin=self._redaction.margin, smallest=1 if solid else SMALLEST_CELL)
        areas = [Area(*row) for row in boxes.tolist()]
        seen = [self._outline(area).touches(layout) for area in areas]
        if solid:
            return [area for area, touches in zip(areas, seen, strict=True) if touches]
        return [Area(*row) for row in joined(boxes[np.array(seen, np.bool_)]).tolist()]

    def _outline(self, core: Area) -> Area:
        return core.circumscribed if self._redaction.shape is Shape.ELLIPSE else core

    def _hide(self, samples: Samples, core: Area, index: int, layout: FrameLayout, *, full_range: bool) -> None:
        plane = layout.format.planes[index]
        outline = self._outline(core)
        window = outline.window(plane, layout)
        target = samples[window.slices][..., : colour_count(layout.format, index)]
        if self._redaction.style is Style.SOLID:
            cover: Samples | int = black(layout.format, index, full_range=full_range)
        else:
            cover = self._surface(target, outline, plane)
        if self._redaction.shape is Shape.BOX:
            target[...] = cover
        else:
            np.copyto(target, cover, where=ellipse_mask(core, window, plane)[..., None])

    def _soften(
        self, samples: Samples, cores: list[Area], index: int, layout: FrameLayout, *, full_range: bool
    ) -> None:
        """Fade the covers out into what is around them; samples of no core are left to change."""
        plane = layout.format.planes[index]
        free = np.ones(samples.shape[:2], np.bool_)
        for core in cores:
            window = self._outline(core).window(plane, layout)
            free[window.slices] &= ~self._hidden(core, window, plane)
        for core in cores:
            outline, pixels = self._outline(core), border_pixels(core, self._redaction.feather)
            inner, outer = outline.window(plane, layout), ring(outline, pixels).window(plane, layout)
            colours = colour_count(layout.format, index)
            cover: Samples | int = black(layout.format, index, full_range=full_range)
            if self._redaction.style is not Style.SOLID:
                cover = padded(self._surface(samples[inner.slices][..., :colours], outline, plane), inner, outer)
            fade = (box_fade if self._redaction.shape is Shape.BOX else ellipse_fade)(outline, outer, plane, pixels)
            blend(samples[outer.slices][..., :colours], cover, fade, free[outer.slices])

    def _hidden(self, core: Area, window: Window, plane: Plane) -> NDArray[np.bool_]:
        """Which samples of its window a core hides."""
        if self._redaction.shape is Shape.ELLIPSE:
            return ellipse_mask(core, window, plane)
        rows, columns = window.slices
        return np.ones((rows.stop - rows.start, columns.stop - columns.start), np.bool_)

    def _surface(self, target: Samples, outline: Area, plane: Plane) -> Samples:
        cells = self._redaction.cells
        side = cell_side(outline.longer_side, cells)
        rows = cell_edges(target.shape[0], plane.y_shift, side=side, cells=cells)
        columns = cell_edges(target.shape[1], plane.x_shift, side=side, cells=cells)
        surface = _SURFACES[self._redaction.style](cell_means(target, rows, columns), rows, columns)
        return surface.astype(np.uint8) if target.dtype == np.uint8 else surface.astype(np.uint16)


def colour_count(pixel_format: PixelFormat, index: int) -> int:
    """Components of a plane without opacity."""
    last = index == len(pixel_format.planes) - 1
    return pixel_format.planes[index].components - int(pixel_format.alpha and last)


def black(pixel_format: PixelFormat, index: int, *, full_range: bool) -> int:
    """The sample value of black in one plane.

    Source: ITU-R BT.601-7 and BT.709-6: luma's black is 16 and chroma's zero is 128, both at 8 bits and shifted
    left for more; ITU-T T.871 (JFIF) for full range, where luma's black is 0.
    """
    if pixel_format.rgb:
        return 0
    if index > 0:
        return 128 << (pixel_format.depth - 8)
    return 0 if full_range else 16 << (pixel_format.depth - 8)
