"""Hides the regions of one frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from veilbox.core.frame import FrameLayout, PixelFormat, Plane
from veilbox.core.frozen import frozen
from veilbox.core.policy import Redaction, Shape, Style
from veilbox.core.regions import Regions
from veilbox.vision.redact.area import Area, Window, ellipse_mask, joined, whole_pixels
from veilbox.vision.redact.cells import SMALLEST_CELL, cell_edges, cell_means, cell_side, flat, smooth
from veilbox.vision.redact.feather import blend, border_pixels, box_fade, ellipse_fade, padded, ring
from veilbox.vision.redact.noise import Noise
from veilbox.vision.redact.planes import Samples, require_planes

_Surface = Callable[[NDArray[np.uint64], NDArray[np.intp], NDArray[np.intp]], NDArray[np.uint64] | NDArray[np.float32]]
_SURFACES: dict[Style, _Surface] = {Style.PIXELATE: flat, Style.BLUR: smooth}


class Redactor:
    """Hides regions in the planes of a frame, in place.

    Every sample that a region with its margin touches is replaced, subsampled chroma included; opacity stays. What
    pixelation and blur leave of a region depends on at most `cells` x `cells` means for each component.

    Args:
        redaction: Style, strength, shape and margin.
        noise: What is added to the means; None leaves them as they are.
    """

    def __init__(self, redaction: Redaction, noise: Noise | None = None) -> None:
        self._redaction = redaction
        self._noise = noise

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

    def reach(self, layout: FrameLayout, regions: Regions) -> list[list[Window]]:
        """For each plane, windows outside of which `redact` neither reads nor writes a sample.

        Args:
            layout: As in `redact`, here and below.
            regions: Likewise.
        """
        outlines = [self._reached(core) for core, _ in self._cores(regions, layout)]
        return [[outline.window(plane, layout) for outline in outlines] for plane in layout.format.planes]

    def _reached(self, core: Area) -> Area:
        outline = self._outline(core)
        return ring(outline, border_pixels(core, self._redaction.feather)) if self._redaction.feather else outline

    def _redact_plane(
        self, samples: Samples, tracked: list[tuple[Area, int]], index: int, layout: FrameLayout, *, full_range: bool
    ) -> None:
        for core, track in tracked:
            self._hide(samples, core, track, index, layout, full_range=full_range)
        cores = [core for core, _ in tracked]
        if self._redaction.feather and cores:
            self._soften(samples, cores, index, layout, full_range=full_range)

    def _cores(self, regions: Regions, layout: FrameLayout) -> list[tuple[Area, int]]:
        """What to hide, each with its track; of regions that are hidden as one the first track."""
        solid = self._redaction.style is Style.SOLID
        boxes = whole_pixels(regions.boxes, margin=self._redaction.margin, smallest=1 if solid else SMALLEST_CELL)
        areas = [Area(*row) for row in boxes.tolist()]
        seen = [self._outline(area).touches(layout) for area in areas]
        if solid:
            return [(area, 0) for area, touches in zip(areas, seen, strict=True) if touches]
        kept, tracks = boxes[np.array(seen, np.bool_)], regions.tracks[np.array(seen, np.bool_)]
        return [(Area(*hull.tolist()), int(tracks[_within(kept, hull)].min())) for hull in joined(kept)]

    def _outline(self, core: Area) -> Area:
        return core.circumscribed if self._redaction.shape is Shape.ELLIPSE else core

    def _hide(
        self, samples: Samples, core: Area, track: int, index: int, layout: FrameLayout, *, full_range: bool
    ) -> None:
        plane = layout.format.planes[index]
        outline = self._outline(core)
        window = outline.window(plane, layout)
        target = samples[window.slices][..., : colour_count(layout.format, index)]
        if self._redaction.style is Style.SOLID:
            cover: Samples | int = black(layout.format, index, full_range=full_range)
        else:
            cover = self._surface(target, outline, plane, _Place(track, index, (1 << layout.format.depth) - 1))
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

    def _surface(self, target: Samples, outline: Area, plane: Plane, place: _Place | None = None) -> Samples:
        """What is laid over samples; a place is given where they are the source's and not hidden yet."""
        cells = self._redaction.cells
        side = cell_side(outline.longer_side, cells)
        rows = cell_edges(target.shape[0], plane.y_shift, side=side, cells=cells)
        columns = cell_edges(target.shape[1], plane.x_shift, side=side, cells=cells)
        means = cell_means(target, rows, columns)
        if self._noise is not None and place is not None:
            offsets = self._noise.offsets(place.track, place.plane, means.shape, place.scale)
            means = np.clip(means.astype(np.int64) + offsets, 0, place.scale).astype(np.uint64)
        surface = _SURFACES[self._redaction.style](means, rows, columns)
        return surface.astype(np.uint8) if target.dtype == np.uint8 else surface.astype(np.uint16)


@frozen(kw_only=False)
class _Place:
    """Which offsets belong to a region's means: its track, the plane's index, and the largest sample value."""

    track: int
    plane: int
    scale: int


def _within(boxes: NDArray[np.int64], hull: NDArray[np.int64]) -> NDArray[np.bool_]:
    low, high = boxes[:, :2] >= hull[:2], boxes[:, 2:] <= hull[2:]
    return np.asarray(np.concatenate((low, high), axis=1).all(axis=1), np.bool_)


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
