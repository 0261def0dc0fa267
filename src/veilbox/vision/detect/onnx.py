"""The one door to ONNX Runtime; nothing passes it that `structure` has not looked at."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilbox.core.errors import ImageError
from veilbox.vision.detect.card import Input, ModelCard
from veilbox.vision.detect.structure import check_structure

# The packages from 1.29 on write a device id and open a connection when they are imported; nothing later stops it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# 3 is ERROR: warnings speak of unused weights, and a component's standard error is no place for them.
_ERROR_SEVERITY = 3


class Session:
    """A loaded model.

    Args:
        model: The bytes of `model.onnx`, already compared with the card's digest.
        card: Its card.
        threads: Threads of one inference, at least 1.

    Raises:
        ImageError: The model must not be loaded, ONNX Runtime cannot load it, or it lacks an input or output that the
            card names.
    """

    def __init__(self, model: bytes, card: ModelCard, *, threads: int) -> None:
        check_structure(model, card)
        self._input = card.input
        self._outputs = list(card.outputs)
        import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415 - after the variable above; it ships no types

        options = _options(onnxruntime.SessionOptions(), threads)
        try:
            self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base class below this one
            raise ImageError("the model cannot be loaded", where="model.onnx", actual=str(error)) from error
        self._require_names()

    def _require_names(self) -> None:
        inputs = [value.name for value in self._session.get_inputs()]
        outputs = [value.name for value in self._session.get_outputs()]
        if inputs != [self._input.name] or not set(self._outputs) <= set(outputs):
            raise ImageError(
                "the model and its card disagree",
                where="card.json",
                expected=f"{inputs} -> {outputs}",
                actual=f"{[self._input.name]} -> {self._outputs}",
            )

    def run(self, picture: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The model's outputs for one picture.

        Args:
            picture: (h, w, 3) uint8 RGB.

        Returns:
            The arrays that the card names, in its order, each with a batch of one.

        Raises:
            ImageError: The model does not take a picture of this kind, or answers with something that is no number:
                a heat that is NaN would otherwise read as "nobody here".
        """
        try:
            outputs: list[NDArray[np.float32]] = self._session.run(
                self._outputs, {self._input.name: batch_of(picture, self._input)}
            )
        except Exception as error:
            raise ImageError("the model failed on a picture", where="model.onnx", actual=str(error)) from error
        if not all(np.isfinite(output).all() for output in outputs):
            raise ImageError("the model's output is not finite", where="model.onnx")
        return outputs


def _options(options: Any, threads: int) -> Any:
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERROR_SEVERITY
    # Idle workers that spin take the processor from the decoder and encoder beside them; measured on two cores,
    # letting them sleep costs at most 2 % of an inference.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Planned memory serves pictures of one size no faster (CenterFace at 640x384: 46 ms of processor time with and
    # without, 2026-11), and the plan's block lies beside the arena: 9 MB of 135.
    options.enable_mem_pattern = False
    return options


def batch_of(picture: NDArray[np.uint8], spec: Input) -> NDArray[np.uint8] | NDArray[np.float32]:
    """The picture as the model wants it, with a batch of one in front.

    Args:
        picture: (h, w, 3) uint8 RGB.
        spec: The card's input.

    Returns:
        (1, h, w, 3) or (1, 3, h, w), contiguous.
    """
    ordered = picture if spec.colour == "rgb" else picture[:, :, ::-1]
    if spec.layout == "nchw":
        ordered = ordered.transpose(2, 0, 1)
    if spec.dtype == "uint8":
        return np.ascontiguousarray(ordered)[None]
    shape = (3, 1, 1) if spec.layout == "nchw" else (3,)
    mean, scale = (np.array(values, np.float32).reshape(shape) for values in (spec.mean, spec.scale))
    return np.ascontiguousarray((ordered.astype(np.float32) - mean) * scale)[None]
