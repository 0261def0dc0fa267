"""Another place is another scene; another light, a shake or a walker is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from veilbox.vision.track import Cuts

Samples = NDArray[np.uint8] | NDArray[np.uint16]


def place(seed: int) -> NDArray[np.uint8]:
    """(180, 320, 1): a place is patches of light."""
    patches = np.random.default_rng(seed).integers(40, 200, (9, 16), np.uint8)
    return np.kron(patches, np.ones((20, 20), np.uint8))[..., None]


def walked(samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    changed = samples.copy()
    changed[40:180, 100:160] = 20
    return changed


def noisy(samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    noise = np.random.default_rng(9).normal(0, 20, samples.shape)
    return np.clip(samples + noise, 0, 255).astype(np.uint8)


SECOND: dict[str, tuple[Callable[[NDArray[np.uint8]], Samples], bool]] = {
    "the same": (lambda one: one, False),
    "half as light": (lambda one: np.right_shift(one, 1, dtype=np.uint8), False),
    "the camera moved by a fortieth": (lambda one: np.roll(one, 8, axis=1), False),
    "noise": (noisy, False),
    "somebody before a tenth of it": (walked, False),
    "deeper samples": (lambda one: 4 * one.astype(np.uint16), False),
    "dark": (np.zeros_like, False),
    "another place": (lambda _: place(2), True),
    "its negative": (np.bitwise_not, True),
}


@pytest.mark.parametrize("name", SECOND)
def test_what_begins_a_scene(name: str) -> None:
    changed, expected = SECOND[name]
    cuts = Cuts()
    assert cuts.begins(place(1)) is False
    assert cuts.begins(changed(place(1))) is expected


def test_a_frame_that_shows_nothing_is_compared_with_nothing() -> None:
    cuts = Cuts()
    assert [cuts.begins(one) for one in (place(1), np.zeros_like(place(1)), place(2), place(2))] == [False] * 4


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4))
def test_every_size_has_an_outline(rows: int, columns: int, components: int) -> None:
    cuts = Cuts()
    frame = np.random.default_rng(0).integers(0, 255, (rows, columns, components), np.uint8)
    assert [cuts.begins(frame), cuts.begins(frame)] == [False, False]
