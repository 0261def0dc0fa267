"""An adversary who knows the style and links what is left of a face to the faces of a gallery. Pure; numpy only.

The vectors are the redacted pixels themselves, shrunk; or eigenfaces (Turk and Pentland, "Eigenfaces for Recognition",
1991), learned from the gallery. Every picture of the gallery is redacted as the probes were before it is compared:
so styles that leave much are broken (McPherson and others, "Defeating Image Obfuscation with Deep Learning", 2016).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from veilbox.core.frame import FrameLayout

Vectors = NDArray[np.float32]
Samples = NDArray[np.uint8] | NDArray[np.uint16]

# Twice the most cells that a style leaves along a side, so that no information of a redacted face is lost.
SIDE = 16
# Beyond some dozens, eigenfaces of a few hundred pictures describe noise.
_EIGENFACES = 48
# Some hundred times the resolution of float32.
_ROUNDING = 1e-5
# BT.601-7, 2.5.1 and 2.5.2: luma and colour differences of red, green and blue.
_TO_YUV = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], np.float32)


def face_vector(planes: Sequence[Samples], layout: FrameLayout, box: tuple[float, float, float, float]) -> Vectors:
    """What an adversary sees of a box: `SIDE` x `SIDE` means of luma and both colour differences.

    Args:
        planes: Of a frame.
        layout: Its layout.
        box: xyxy in pixels of the frame; the part inside the frame counts.

    Returns:
        (3 * SIDE * SIDE,) float32, in shares of the full scale.
    """
    scale = float((1 << layout.format.depth) - 1)
    parts = []
    for samples, plane in zip(planes, layout.format.planes, strict=True):
        rows = _borders(box[1], box[3], samples.shape[0], plane.y_shift)
        columns = _borders(box[0], box[2], samples.shape[1], plane.x_shift)
        parts.append(_shrunk(samples, rows, columns) / scale)
    whole = np.concatenate(parts, axis=2)
    if layout.format.rgb:
        whole = whole[..., :3] @ _TO_YUV.T
    vector = np.zeros((SIDE, SIDE, 3), np.float32)
    colours = whole.shape[2] - int(layout.format.alpha and not layout.format.rgb)
    vector[..., : min(colours, 3)] = whole[..., : min(colours, 3)]
    return vector.reshape(-1)


def link(
    probes: Vectors, gallery: Vectors, truth: NDArray[np.int64], people: NDArray[np.int64]
) -> tuple[float, int, float]:
    """Give each probe the person of its nearest neighbour.

    Args:
        probes: (P, D).
        gallery: (G, D).
        truth: (P,), who each probe is.
        people: (G,), who each of the gallery is.

    Returns:
        Hits (of neighbours that are equally near each counts by its share), trials, and the rate of a guess.
    """
    known = np.isin(truth, people)
    hits = chance = 0.0
    # Equal vectors come out of a matrix product with other roundings in other rows; that must not tell them apart.
    tolerance = _ROUNDING * max(1.0, float(np.abs(gallery).max(initial=0.0))) * np.sqrt(gallery.shape[1])
    for probe, person in zip(probes[known], truth[known], strict=True):
        distances = np.linalg.norm(gallery - probe, axis=1)
        nearest = distances <= distances.min() + tolerance
        hits += float((people[nearest] == person).mean())
        chance += float((people == person).mean())
    trials = int(known.sum())
    return hits, trials, chance / max(trials, 1)


def eigenfaces(originals: Vectors) -> tuple[Vectors, Vectors]:
    """The mean face, and directions in which faces differ, each divided by how much they do.

    Args:
        originals: (G, D), not redacted, at least two.

    Returns:
        (D,) and (K, D).
    """
    mean = originals.mean(axis=0)
    _, sizes, directions = np.linalg.svd(originals - mean, full_matrices=False)
    kept = min(_EIGENFACES, len(originals) - 1)
    spread = np.maximum(sizes[:kept] / np.sqrt(len(originals)), 1e-3)
    return mean, (directions[:kept] / spread[:, None]).astype(np.float32)


def _borders(low: float, high: float, count: int, shift: int) -> NDArray[np.intp]:
    """Borders of `SIDE` parts of the samples that a side of a box touches, half-open pairs, none empty."""
    first = min(max(int(low) >> shift, 0), count - 1)
    last = min(max(-(-int(np.ceil(high)) >> shift), first + 1), count)
    return first + np.arange(SIDE + 1) * (last - first) // SIDE


def _shrunk(samples: Samples, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Vectors:
    """Means of the parts between borders; an empty part takes the sample at its border."""
    window = samples[rows[0] : rows[-1], columns[0] : columns[-1]].astype(np.float32)
    for axis, borders in ((0, rows - rows[0]), (1, columns - columns[0])):
        # reduceat gives the sample itself where a part is empty.
        sums = np.add.reduceat(window, np.minimum(borders[:-1], window.shape[axis] - 1), axis=axis)
        counts = np.maximum(np.diff(borders), 1).astype(np.float32)
        window = sums / counts.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    return window
