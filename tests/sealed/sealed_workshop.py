"""The program as a user runs it, and films to give it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.stream import VideoStream

VEILBOX = Path(sys.executable).with_name("veilbox")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished run of the program."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.stdout)


RunVeilbox = Callable[..., Run]


def make_film(path: Path, *, frames: int, size: tuple[int, int] = (640, 360), encoder: str = "libx264") -> None:
    """A film with one large face that moves."""
    from skimage import data  # noqa: PLC0415 - slow to import

    face = cast("Any", data).astronaut()[20:276, 96:352]
    width, height = size
    with av.open(str(path), "w") as container:
        stream = cast("VideoStream", container.add_stream(encoder, rate=25))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            picture = np.full((height, width, 3), 96, np.uint8)
            left = 20 + 4 * index % max(1, width - 300)
            picture[40 : 40 + 256, left : left + 256] = face
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
