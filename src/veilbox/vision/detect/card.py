"""The model card: what a model file does not say about itself."""

from __future__ import annotations

from typing import Literal

from veilbox.core import policy
from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.core.frozen import frozen

# Each look costs a run of the model.
_MOST_SMALLER = 4


@frozen
class Input:
    """How a picture enters the model.

    Attributes:
        name: The input's name in the ONNX graph.
        layout: `nhwc`, a picture's own order, or `nchw`, planes; the batch is one picture.
        dtype: `uint8` if the graph takes samples as they are, else `float32`.
        colour: Order of the components.
        mean: Taken from each component, in samples of 0 to 255; for `float32` only.
        scale: Multiplied with each component afterwards; for `float32` only.
    """

    name: str
    layout: Literal["nhwc", "nchw"]
    dtype: Literal["uint8", "float32"]
    colour: Literal["rgb", "bgr"]
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        plain = self.mean == (0.0, 0.0, 0.0) and self.scale == (1.0, 1.0, 1.0)
        if self.dtype == "uint8" and not plain:
            raise _refused("input", expected="mean 0 and scale 1 with uint8", actual=f"{self.mean} and {self.scale}")


@frozen
class Recall:
    """How much of a class the model was measured to find.

    Attributes:
        of: The class.
        value: Share of labelled objects that were found, 0 to 1.
        on: Which pictures, how many objects, at what score and overlap.
    """

    of: str
    value: float
    on: str

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1 or not self.on:
            raise _refused("recall", expected="a share of 0 to 1 and what it was measured on", actual=str(self.value))


@frozen
class ModelCard:
    """One model, as its image carries it.

    Attributes:
        name: The model's name, for reports.
        classes: Class names; a detection's class is an index into them.
        licence: SPDX identifier of the weights' licence.
        source: Where the weights come from.
        digest: Of `model.onnx`.
        input: How a picture enters.
        outputs: The graph's output names, in the order that the decoder reads them.
        stride: Sides of the picture must be multiples of it, pixels.
        decoding: Name of the decoder.
        threshold: The score from which a detection counts when the policy does not say.
        floor: The lowest score that is handed on; what lies between it and the threshold only keeps tracks alive.
        nms_iou: Of two boxes of one class that overlap by this much or more, the better one stays.
        longest: Longer side, pixels, to which larger pictures are made smaller first, for a model that does not gain
            from more; None for one that does.
        square: Side of the one square, pixels, that the graph takes; smaller pictures are filled up with grey. None
            for a graph that takes any size.
        smaller: Shares of the size at which it looks, 0 to 1, at which it looks too unless the policy wants it fast:
            for a model that never learnt things as large as they get in a picture.
        threshold_high: The score from which a detection counts when the policy wants high recall; None is `threshold`.
        training_data: What the weights were trained on, for people; empty if nobody says.
        recall: What was measured, for people; empty if nothing was.
    """

    name: str
    classes: tuple[str, ...]
    licence: str
    source: str
    digest: Digest
    input: Input
    outputs: tuple[str, ...]
    stride: int
    decoding: str
    threshold: float
    floor: float
    nms_iou: float
    longest: int | None = None
    threshold_high: float | None = None
    square: int | None = None
    smaller: tuple[float, ...] = ()
    training_data: str = ""
    recall: tuple[Recall, ...] = ()

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise _refused("classes", expected="one or more different names", actual=repr(self.classes))
        if not 1 <= self.stride <= 256:
            raise _refused("stride", expected="1 to 256 pixels", actual=str(self.stride))
        if not 0 < self.floor <= self.threshold < 1:
            raise _refused("threshold", expected="0 < floor <= threshold < 1", actual=f"{self.floor}, {self.threshold}")
        if self.longest is not None and not self.stride <= self.longest <= 4096:
            raise _refused("longest", expected=f"the stride, {self.stride}, to 4096 pixels", actual=str(self.longest))
        if self.square is not None and not (self.stride <= self.square <= 4096 and self.square % self.stride == 0):
            raise _refused(
                "square", expected=f"a multiple of {self.stride}, at most 4096 pixels", actual=str(self.square)
            )
        if self.threshold_high is not None and not self.floor <= self.threshold_high <= self.threshold:
            raise _refused(
                "threshold_high", expected=f"{self.floor} to {self.threshold}", actual=str(self.threshold_high)
            )
        if not all(0 < share < 1 for share in self.smaller) or len(self.smaller) > _MOST_SMALLER:
            raise _refused(
                "smaller", expected=f"at most {_MOST_SMALLER} shares between 0 and 1", actual=str(self.smaller)
            )
        foreign = sorted({one.of for one in self.recall} - {*self.classes})
        if foreign:
            raise _refused("recall", expected=f"of {', '.join(self.classes)}", actual=", ".join(foreign))
        if not 0 < self.nms_iou <= 1:
            raise _refused("nms_iou", expected="above 0, at most 1", actual=str(self.nms_iou))

    def looked_at(self, shares: tuple[float, ...], wanted: policy.Recall) -> tuple[float, ...]:
        """Shares of the size at which it looks: those of the policy and, unless it wants it fast, its own."""
        return shares if wanted is policy.Recall.FAST else tuple(dict.fromkeys((*shares, *self.smaller)))

    def counting(self, wanted: policy.Recall) -> float:
        """The score from which a detection counts when the policy does not say, by the recall that it wants."""
        if wanted is policy.Recall.HIGH and self.threshold_high is not None:
            return self.threshold_high
        return self.threshold

    @property
    def largest(self) -> int | None:
        """The longer side, pixels, beyond which a picture is made smaller first; None if none is too large."""
        return min((side for side in (self.longest, self.square) if side is not None), default=None)


def _refused(field: str, *, expected: str, actual: str) -> ImageError:
    return ImageError("the model card is not usable", where=f"card.json {field}", expected=expected, actual=actual)
