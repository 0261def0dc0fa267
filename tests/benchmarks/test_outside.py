"""What counts as outside of the boxes, and how far two pictures are apart there."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
from outside import Loss, away_from
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

# Shape, changed samples (row, column), rows and columns of blocks that are then not outside.
NEAR = {
    "nothing": ((64, 64), [], []),
    "one sample of a corner": ((64, 64), [(0, 0)], [(0, 0), (0, 1), (1, 0), (1, 1)]),
    "inside": ((80, 80), [(40, 47)], [(row, column) for row in (1, 2, 3) for column in (1, 2, 3)]),
    "in a block that is cut": ((72, 40), [(70, 38)], [(3, 1), (3, 2), (4, 1), (4, 2)]),
}


@pytest.mark.parametrize("name", NEAR)
def test_a_changed_block_and_its_neighbours_are_not_outside(name: str) -> None:
    shape, changed, blocks = NEAR[name]
    mask = np.zeros(shape, np.bool_)
    for at in changed:
        mask[at] = True
    wanted = np.ones(shape, np.bool_)
    for row, column in blocks:
        wanted[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = False
    assert np.array_equal(away_from(mask), wanted)


def test_loss_of_a_whole_picture_is_the_library_s() -> None:
    rng = np.random.default_rng(3)
    source = rng.integers(0, 256, (48, 64), np.uint8)
    output = np.clip(source + rng.integers(-6, 7, source.shape), 0, 255).astype(np.uint8)
    loss = Loss()
    loss.add(source, output, np.ones(source.shape, np.bool_), ssim=True)
    assert loss.psnr == pytest.approx(cast("Any", peak_signal_noise_ratio)(source, output, data_range=255))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    _, similar = cast("Any", structural_similarity)(source, output, full=True, **options)
    assert loss.ssim == pytest.approx(similar.mean())


def test_what_lies_in_the_boxes_does_not_count() -> None:
    source = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    output = source.copy()
    output[:16, :16] = 0
    outside = np.ones(source.shape, np.bool_)
    outside[:32, :32] = False
    loss = Loss()
    loss.add(source, output, outside, ssim=False)
    assert loss.psnr == math.inf
    output[40, 40] += 1
    loss.add(source, output, outside, ssim=False)
    assert loss.psnr < math.inf
