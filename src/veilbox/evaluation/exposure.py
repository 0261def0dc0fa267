"""How many identities were to be seen, and how sure that number is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from veilbox.evaluation.coverage import EXPOSED

# Bisection halves an interval of one; after so many halvings it is below the resolution of a double.
_HALVINGS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Exposure:
    """Identities of a film, or of several.

    Attributes:
        identities: How many there were.
        exposed: How many were less than half covered in at least one frame.
        low: Lower end of the share's confidence interval.
        high: Upper end.
        frames: Of all frames in which an identity was to be hidden, how many exposed it.
    """

    identities: int
    exposed: int
    low: float
    high: float
    frames: int


def exposure(seen: Iterable[tuple[object, float]], *, confidence: float = 0.95) -> Exposure:
    """Count the exposed.

    Args:
        seen: For every frame and identity in it, whose it is and the share of the box that is hidden.
        confidence: Of the interval.
    """
    exposed: dict[object, int] = {}
    for identity, share in seen:
        exposed[identity] = exposed.get(identity, 0) + int(share < EXPOSED)
    count = sum(frames > 0 for frames in exposed.values())
    low, high = clopper_pearson(count, len(exposed), confidence=confidence)
    return Exposure(identities=len(exposed), exposed=count, low=low, high=high, frames=sum(exposed.values()))


def clopper_pearson(hits: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact confidence interval of a share.

    Args:
        hits: 0 to `trials`.
        trials: 0 or more; with none, nothing is known.
        confidence: Between 0 and 1.

    Source: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26, 1934.
    """
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else _solved(lambda share: _at_least(hits, trials, share) < tail)
    high = 1.0 if hits == trials else _solved(lambda share: 1 - _at_least(hits + 1, trials, share) > tail)
    return low, high


def _at_least(hits: int, trials: int, share: float) -> float:
    """The probability of `hits` or more."""
    if not 0 < share < 1:
        return float(share >= 1 or hits <= 0)
    logs = (math.log(share), math.log1p(-share))
    return math.fsum(
        math.exp(_log_choose(trials, count) + count * logs[0] + (trials - count) * logs[1])
        for count in range(hits, trials + 1)
    )


def _log_choose(trials: int, count: int) -> float:
    return math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)


def _solved(below: Callable[[float], bool]) -> float:
    """Where a condition that holds from 0 on ceases to."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2
