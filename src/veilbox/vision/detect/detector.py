"""A detector: one verified model that looks at one picture at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from veilbox.core.detections import MAX_DETECTIONS, Detections
from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, ProtocolError
from veilbox.core.policy import Recall
from veilbox.vision.detect.candidates import Candidates
from veilbox.vision.detect.card import ModelCard
from veilbox.vision.detect.card_file import read_card, read_file
from veilbox.vision.detect.decoding import decoder_named
from veilbox.vision.detect.glance import Glance
from veilbox.vision.detect.looks import Look, looks
from veilbox.vision.detect.nms import suppress
from veilbox.vision.detect.onnx import Session
from veilbox.vision.detect.parts import Place, parts
from veilbox.vision.detect.scaling import shrunk

# Boxes before suppression for every box that may stay after it. It bounds the time that a picture of pure noise
# takes; CenterFace gave 22 a face on the labelled photographs at a longer side of 960 pixels and the lowest scores.
_MAX_CANDIDATES = 22 * MAX_DETECTIONS
# The grey that YOLO's own training fills pictures up with; others do not mind.
_FILLING = 114
# Two sizes see what one misses: CenterFace's recall of 591 labelled faces at precision 0.7 was 0.931 at one size and
# 0.937 at this pair (2026-11).
_SHARES: Mapping[Recall, tuple[float, ...]] = MappingProxyType(
    {Recall.FAST: (1.0,), Recall.BALANCED: (1.0,), Recall.HIGH: (1.0, 0.7)}
)


class Detector:
    """Finds what one model knows.

    Args:
        card: The model's card.
        session: The loaded model.
        threshold: The score from which a detection counts.
        floor: The lowest score that is handed on.
        shares: Of the picture's size, those at which the whole is looked at.

    Attributes:
        card: As given.
        threshold: As given.
        floor: As given.
    """

    def __init__(
        self, card: ModelCard, session: Session, *, threshold: float, floor: float, shares: Sequence[float] = (1.0,)
    ) -> None:
        self.card = card
        self.threshold = threshold
        self.floor = floor
        self._session = session
        self._shares = shares
        self._decode = decoder_named(card.decoding)

    @property
    def nms_iou(self) -> float:
        """From which overlap on two boxes are one."""
        return self.card.nms_iou

    def detect(self, picture: NDArray[np.uint8], places: Sequence[Place] | None = None) -> Detections:
        """Everything with a score of at least `floor`.

        Args:
            picture: (h, w, 3) uint8 RGB, upright, sides multiples of the card's stride.
            places: Where to look, in pixels of the picture; None looks everywhere.

        Returns:
            Best first, in pixels of the picture; the best `MAX_DETECTIONS` if there are more.

        Raises:
            ProtocolError: The picture has another shape or type.
            ImageError: The model's outputs are not what the card says.
        """
        self._require_picture(picture)
        height, width, _ = picture.shape
        chosen = None if places is None else self._parts(width, height, places)
        if chosen is None:
            chosen = looks(width, height, stride=self.card.stride, longest=self.card.largest, shares=self._shares)
        return self._best([_those(seen, look.owns(seen.boxes)) for look, seen in self._looked(picture, chosen)])

    def glance(self, picture: NDArray[np.uint8], places: Sequence[Place]) -> Glance | None:
        """What is at some places, and what a part's border may have cut there.

        Args:
            picture: As for `detect`.
            places: Where to look, in pixels of the picture.

        Returns:
            None, without a look, where a look at the whole is as cheap or this model does not look at parts.

        Raises:
            ProtocolError: The picture has another shape or type.
            ImageError: The model's outputs are not what the card says.
        """
        self._require_picture(picture)
        height, width, _ = picture.shape
        chosen = self._parts(width, height, places)
        if chosen is None:
            return None
        looked = list(self._looked(picture, chosen))
        return Glance(
            found=self._best([_those(seen, look.owns(seen.boxes)) for look, seen in looked]),
            cut=self._best([_those(seen, look.cuts(seen.boxes)) for look, seen in looked]),
        )

    def _parts(self, width: int, height: int, places: Sequence[Place]) -> tuple[Look, ...] | None:
        # A picture that the model would see at another size is not cut into parts.
        own_size = max(width, height) <= (self.card.largest or math.inf)
        if self.card.square is not None or self._shares != (1.0,) or not own_size:
            return None
        return parts(width, height, places, stride=self.card.stride)

    def _best(self, seen: list[Candidates]) -> Detections:
        if not seen:
            return Detections.empty()
        strongest = _strongest(_joined(seen))
        kept = suppress(strongest, iou=self.card.nms_iou, limit=MAX_DETECTIONS)
        return Detections(strongest.boxes[kept], strongest.scores[kept], strongest.classes[kept])

    def _looked(self, picture: NDArray[np.uint8], chosen: Sequence[Look]) -> Iterator[tuple[Look, Candidates]]:
        for look in chosen:
            yield look, self._look(picture, look)

    def _look(self, picture: NDArray[np.uint8], look: Look) -> Candidates:
        part = picture[look.top : look.top + look.height, look.left : look.left + look.width]
        seen = self._filled(shrunk(part, look.seen_width, look.seen_height))
        height, width, _ = seen.shape
        found = self._decode(
            self._session.run(seen), width=width, height=height, floor=self.floor, classes=len(self.card.classes)
        )
        return Candidates(look.placed(found.boxes), found.scores, found.classes)

    def _filled(self, seen: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture in the corner of the one square that the graph takes."""
        side = self.card.square
        if side is None:
            return seen
        square = np.full((side, side, 3), _FILLING, np.uint8)
        square[: len(seen), : len(seen[0])] = seen
        return square

    def _require_picture(self, picture: NDArray[np.uint8]) -> None:
        stride = self.card.stride
        sides = picture.shape[:2]
        if picture.dtype != np.uint8 or picture.shape[2:] != (3,) or not all(s and s % stride == 0 for s in sides):
            raise ProtocolError(
                "the analysis picture does not fit the model",
                expected=f"(rows, columns, 3) uint8, sides multiples of {stride}",
                actual=f"{picture.shape} {picture.dtype}",
            )


def _those(seen: Candidates, which: NDArray[np.bool_]) -> Candidates:
    return Candidates(seen.boxes[which], seen.scores[which], seen.classes[which])


def _joined(parts: list[Candidates]) -> Candidates:
    if len(parts) == 1:
        return parts[0]
    return Candidates(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.classes for part in parts]),
    )


def _strongest(candidates: Candidates) -> Candidates:
    if len(candidates.scores) <= _MAX_CANDIDATES:
        return candidates
    kept = np.argsort(-candidates.scores, kind="stable")[:_MAX_CANDIDATES]
    return Candidates(candidates.boxes[kept], candidates.scores[kept], candidates.classes[kept])


def load_detector(
    directory: Path,
    *,
    threads: int,
    threshold: float | None = None,
    floor: float | None = None,
    recall: Recall = Recall.BALANCED,
) -> Detector:
    """The model in a directory, after its digest was compared with its card's.

    Args:
        directory: Holds `model.onnx` and `card.json`.
        threads: Threads of one inference, at least 1.
        threshold: The score from which a detection counts; None takes the card's.
        floor: The lowest score that is handed on; None takes the card's, but never more than the threshold.
        recall: How much is worth finding.

    Raises:
        ImageError: A file is missing, the card is malformed, the digest is another, or the model cannot be loaded.
    """
    card = read_card(directory)
    model = read_file(directory / "model.onnx")
    _require_digest(model, card.digest)
    counts = card.counting(recall) if threshold is None else threshold
    lowest = min(card.floor if floor is None else floor, counts)
    session = Session(model, card, threads=threads)
    return Detector(card, session, threshold=counts, floor=lowest, shares=card.looked_at(_SHARES[recall], recall))


def _require_digest(model: bytes, expected: Digest) -> None:
    actual = Digest.of(model)
    if actual != expected:
        raise ImageError(
            "the model is not the one that its card names",
            where="model.onnx",
            expected=str(expected),
            actual=str(actual),
            advice="Build the detector's image again",
        )
