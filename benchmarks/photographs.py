"""The images row: a folder of photographs of 12 megapixels, against decoding and encoding them alone.

The pictures are the demo film's frames, enlarged and grained as a sensor does: without grain JPEG would have less to
do than a camera gives it, and both sides would be timed on pictures that nobody takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import contenders
import films
import numpy as np
from contenders import WORK, interleaved
from figures import Figure
from PIL import Image

# 12 megapixels in the shape of most phone cameras.
SIZE = (4000, 3000)
# Standard deviation of the grain, of 255; the files then have some 4 MB, as a phone's have.
GRAIN = 4.0
QUALITY = 90


def figures(count: int, rounds: int) -> Iterator[Figure]:
    """Measure a folder of some pictures."""
    folder = made(WORK / f"photographs-{count}", count)
    told = interleaved(
        {
            "sealed": lambda: contenders.sealed(folder, name="photographs-clean"),
            "transcode": lambda: contenders.transcode(folder),
        },
        rounds,
        "photographs",
    )
    yield Figure(
        name="photographs of 12 megapixels: sealed / decode + encode, seconds",
        unit="ratio",
        values=told.ratio("sealed", "transcode"),
        goal="<= 1.5",
        note=f"{count} photographs, not 1,000: the pod's start weighs more in fewer",
    )
    for name in told.runs:
        values = tuple(count / seconds for seconds in told.seconds(name))
        yield Figure(name=f"{name}, photographs of 12 megapixels", unit="1/s", values=values)


def made(folder: Path, count: int) -> Path:
    """The folder of pictures; a second call finds it done."""
    if folder.is_dir():
        return folder
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    grain = rng.normal(0, GRAIN, (SIZE[1], SIZE[0], 1)).astype(np.float32)
    with av.open(str(films.DEMO)) as film:
        for index, frame in enumerate(film.decode(video=0)):
            if index == count:
                break
            picture = frame.reformat(*SIZE, format="rgb24").to_ndarray().astype(np.float32)
            noisy = np.clip(picture + np.roll(grain, index * 97, axis=0), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(partial / f"{index:04}.jpg", quality=QUALITY)
    partial.rename(folder)
    return folder
