"""A policy that exists is a policy that was checked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from veilbox.core.errors import UsageError
from veilbox.core.policy import Detection, Policy, Recall, Redaction, Tracking
from veilbox.core.stream import Kind


@pytest.mark.parametrize(
    "make",
    [
        lambda: Redaction(cells=0),
        lambda: Redaction(cells=9),
        lambda: Redaction(margin=-0.1),
        lambda: Redaction(feather=-0.1),
        lambda: Redaction(feather=1.1),
        lambda: Detection(film_side=32),
        lambda: Detection(image_side=10_000),
        lambda: Detection(stride=0),
        lambda: Detection(threshold=0.0),
        lambda: Detection(threshold=1.0),
        lambda: Detection(floor=0.0),
        lambda: Tracking(lookahead=61),
        lambda: Policy(deadline_s=0.5),
        lambda: Policy(minimum_isolation=7),
        lambda: Policy(minimum_isolation=-1),
    ],
)
def test_values_out_of_bounds_name_their_option(make: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match="--"):
        make()


@pytest.mark.parametrize(
    ("kind", "size", "side"),
    [
        (Kind.FILM, (3840, 2160), 640),
        (Kind.FILM, (320, 240), 640),
        (Kind.IMAGE, (400, 300), 960),
        (Kind.IMAGE, (800, 1000), 1000),
        (Kind.IMAGE, (4000, 3000), 1280),
    ],
)
def test_the_side_that_is_searched(kind: Kind, size: tuple[int, int], side: int) -> None:
    assert Detection().long_side(kind, *size) == side


@pytest.mark.parametrize(
    ("recall", "kind", "size", "side"),
    [
        (Recall.FAST, Kind.FILM, (1920, 1080), 416),
        (Recall.FAST, Kind.IMAGE, (1920, 1080), 640),
        (Recall.HIGH, Kind.FILM, (1920, 1080), 1280),
        (Recall.HIGH, Kind.IMAGE, (400, 300), 1344),
        (Recall.HIGH, Kind.IMAGE, (1000, 800), 1400),
        (Recall.HIGH, Kind.IMAGE, (4000, 3000), 1792),
    ],
)
def test_more_recall_looks_at_more(recall: Recall, kind: Kind, size: tuple[int, int], side: int) -> None:
    assert Detection(recall=recall).long_side(kind, *size) == side
    # What is said outright counts.
    own = Detection(recall=recall, film_side=320, image_side=320)
    assert own.long_side(kind, *size) == 320
