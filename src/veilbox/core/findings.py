"""What looking at an output again found."""

from __future__ import annotations

from enum import StrEnum

from veilbox.core.frozen import frozen

# A finding names at most so many of its frames, and an output at most so many findings: the rest is counted. Both
# together stay far below a control message's bound (256 KiB).
MOST_FRAMES = 20
MOST_FINDINGS = 200


class FindingKind(StrEnum):
    """Which question an output did not answer well."""

    STRUCTURE = "structure"
    """A part of the file is on no allow-list, or is not as its format says."""
    CONTENT = "content"
    """It does not decode to its end, or to other frames than the source's."""
    UNCOVERED = "uncovered"
    """What was to be hidden in a frame is not hidden there."""
    RESIDUAL = "residual"
    """A second look found what nobody had found before."""


@frozen
class Look:
    """One frame of a finding.

    Attributes:
        frame: From 0.
        score: 0 to 1.
    """

    frame: int
    score: float


@frozen
class Finding:
    """One thing that verify found.

    Attributes:
        kind: The question.
        what: A short word: what is wrong, or the class that was seen.
        where: Place in the file's structure (`moov/udta`), or the track; never a file's content.
        count: How often: parts, or frames in which it was seen.
        score: The highest, 0 to 1; None where nothing is measured.
        first: The first frame, from 0; None where no frame is meant.
        last: The last one.
        looks: The frames with the highest scores, in order of frames.
    """

    kind: FindingKind
    what: str
    where: str = ""
    count: int = 1
    score: float | None = None
    first: int | None = None
    last: int | None = None
    looks: tuple[Look, ...] = ()
