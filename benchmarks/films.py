"""Films to measure with, made from the demo film, and the model's folder for runs without images."""

from __future__ import annotations

from pathlib import Path

import av

from veilbox.core.errors import ImageError
from veilbox.oci.admit import admit
from veilbox.oci.image.store import ImageStore

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
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.mp4")
    with av.open(str(film)) as source, av.open(str(partial), "w") as target:
        stream = target.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index, frame in enumerate(source.decode(video=0)):
            if index == frames:
                break
            target.mux(stream.encode(frame.reformat(*size)))
        target.mux(stream.encode())
    partial.replace(path)
    return path
