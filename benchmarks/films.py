"""Films to measure with, made from the demo film, and the model's folder for runs without images."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from veilbox.core.errors import ImageError
from veilbox.oci.admit import admit
from veilbox.oci.image.store import ImageStore

# Frames a second, the demo film's own.
RATE = 30
DEMO = Path(__file__).parents[1] / "build" / "demo" / "faces.mp4"


def at_720p(folder: Path, *, frames: int) -> Path:
    """The first frames of the demo film, 1280x720."""
    return _copied(folder / f"faces-720p-{frames}.mp4", DEMO, (1280, 720), frames)


def at_1080p(folder: Path, film: Path) -> Path:
    """A film enlarged to 1920x1080."""
    return _copied(folder / f"{film.stem}-1080p.mp4", film, (1920, 1080), frame_count(film))


def at_2160p(folder: Path, *, frames: int) -> Path:
    """The first frames of the demo film, enlarged to 3840x2160."""
    return _copied(folder / f"faces-2160p-{frames}.mp4", DEMO, (3840, 2160), frames)


def repeated(path: Path, *, size: tuple[int, int], frames: int) -> Path:
    """The demo film at another size, again and again until there are so many frames."""
    if not path.is_file():
        with av.open(str(DEMO)) as source:
            once = [
                frame.reformat(*size, format="yuv420p")
                for _, frame in zip(range(frames), source.decode(video=0), strict=False)
            ]
        _encoded(path, size, (once[index % len(once)] for index in range(frames)))
    return path


def written(path: Path, size: tuple[int, int], pictures: Iterable[NDArray[np.uint8]]) -> None:
    """A film of RGB pictures, (h, w, 3) each; it appears under its name when it is complete."""
    _encoded(path, size, (av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures))


def frame_count(film: Path) -> int:
    """Frames of a film, by its container's word; these films are our own."""
    with av.open(str(film)) as container:
        return container.streams.video[0].frames


def models() -> Path:
    """A `/models` folder as the detect image has it.

    Raises:
        ImageError: The image is not built.
    """
    for layer in admit(ImageStore.default(), "detect-centerface").layers:
        if (layer / "models").is_dir() and any((layer / "models").iterdir()):
            return layer / "models"
    raise ImageError("no model in the image", where="detect-centerface", advice="veilbox image build")


def _copied(path: Path, film: Path, size: tuple[int, int], frames: int) -> Path:
    if not path.is_file():
        with av.open(str(film)) as source:
            wanted = zip(range(frames), source.decode(video=0), strict=False)
            _encoded(path, size, (frame.reformat(*size) for _, frame in wanted))
    return path


def _encoded(path: Path, size: tuple[int, int], frames: Iterable[av.VideoFrame]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.mp4")
    with av.open(str(partial), "w") as target:
        stream = target.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index, frame in enumerate(frames):
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            frame.pict_type = PictureType.NONE
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    partial.replace(path)
