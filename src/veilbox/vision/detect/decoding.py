"""The decoders by the name that a model card gives."""

from __future__ import annotations

from collections.abc import Mapping

from veilbox.core.errors import ImageError
from veilbox.vision.detect.candidates import Decoder
from veilbox.vision.detect.centerface import decode_centerface
from veilbox.vision.detect.detr import decode_detr, decode_rtdetr
from veilbox.vision.detect.nanodet import decode_nanodet, decode_nanodetv0
from veilbox.vision.detect.points import decode_points
from veilbox.vision.detect.retinaface import decode_retinaface
from veilbox.vision.detect.scrfd import decode_scrfd
from veilbox.vision.detect.yolo import decode_yolov5, decode_yolov8, decode_yolov10, decode_yolox
from veilbox.vision.detect.yunet import decode_yunet

DECODERS: Mapping[str, Decoder] = {
    "centerface": decode_centerface,
    "points": decode_points,
    "scrfd": decode_scrfd,
    "retinaface": decode_retinaface,
    "yunet": decode_yunet,
    "yolox": decode_yolox,
    "yolov5": decode_yolov5,
    "yolov8": decode_yolov8,
    "yolov10": decode_yolov10,
    "nanodet": decode_nanodet,
    "nanodetv0": decode_nanodetv0,
    "detr": decode_detr,
    "rtdetr": decode_rtdetr,
}


def decoder_named(name: str) -> Decoder:
    """The decoder that a card asks for.

    Raises:
        ImageError: There is none of that name.
    """
    if name not in DECODERS:
        raise ImageError(
            "no decoder of that name",
            where="card.json decoding",
            expected=", ".join(DECODERS),
            actual=name,
            advice="Use a model of a known family, or a newer veilbox",
        )
    return DECODERS[name]
