"""Quality outside the boxes: our output and a plain transcode of the same source, each against the source.

What lies outside is known to the sample: the same job, written without loss, hands out what the encoder gets, and where
that is the source's nothing was hidden. Around what was hidden whole blocks and their neighbours are left out. PSNR is
of all samples together. SSIM is that of Wang et al. 2004 as scikit-image computes it (Gaussian window of 11 x 11
samples, sigma 1.5, mean of the map).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import contenders
import numpy as np
from contenders import WORK, say, timed
from figures import Figure
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity
from transcode import transcode

Samples = NDArray[np.uint8]
Planes = Sequence[Samples]
Mask = NDArray[np.bool_]

PLANES = ("Y", "U", "V")
# Macroblocks of H.264 (clause 6.3) and the largest MCU of JPEG (4:2:0) have 16 luma samples a side. The neighbours
# cover what a changed block reaches: three samples by deblocking (H.264 clause 8.7), three by interpolation (8.4.2.2),
# five by the window of SSIM.
BLOCK = 16
# A loss of less is none: plain transcodes of one film by one thread and by four are 0.18 dB and 0.0003 apart (90 frames
# of the demo film, 2026-11), which every run prints beside (`noise`).
NO_LOSS_DB, NO_LOSS_SSIM = 0.1, 0.001
THREADS = (1, 4)
# SSIM costs many times what PSNR does; it is taken of every sixth frame.
SSIM_STRIDE = 6


@dataclass(slots=True)
class Loss:
    """What an output differs from its source by, over many pictures.

    Attributes:
        squares: Sum of squared differences.
        samples: That were compared.
        alike: Sum of the map of SSIM.
        windows: Of the map.
    """

    squares: float = 0.0
    samples: int = 0
    alike: float = 0.0
    windows: int = 0

    def add(self, source: Samples, output: Samples, outside: Mask, *, ssim: bool) -> None:
        """Compare one plane."""
        difference = source[outside].astype(np.float64) - output[outside]
        self.squares += float(difference @ difference)
        self.samples += difference.size
        if ssim:
            similar = _similarity(source, output)[outside]
            self.alike += float(similar.sum())
            self.windows += similar.size

    @property
    def psnr(self) -> float:
        """Decibels; infinite if nothing differs."""
        return 10 * math.log10(255**2 * self.samples / self.squares) if self.squares else math.inf

    @property
    def ssim(self) -> float:
        """1 if nothing differs."""
        return self.alike / self.windows


Losses = dict[str, Loss]


def of_film(film: Path) -> Iterator[Figure]:
    """A film with the default encoder, beside plain transcodes by several numbers of threads."""
    say("outside the boxes: a film")
    lossless, alone = WORK / "outside-lossless.mp4", WORK / "outside-alone.mp4"
    sealed, plain = WORK / f"outside{film.suffix}", WORK / "outside-plain.mp4"
    timed(contenders.sealed(film, name="outside"))
    timed(contenders.sealed(film, "--crf", "0", name="outside-lossless"))
    transcode(film, plain)
    transcode(lossless, alone)
    others = {count: WORK / f"outside-{count}.mp4" for count in THREADS}
    for count, path in others.items():
        transcode(film, path, threads=count)
    losses = _of_films(film, lossless, [sealed, plain, *others.values()])
    yield from _compared("film, 1280x720", losses[sealed], losses[plain], NO_LOSS_DB, NO_LOSS_SSIM)
    yield from _noise([losses[path] for path in others.values()])
    yield Figure(
        name="film: bytes that differ from a plain transcode of the frames with the boxes",
        unit="bytes",
        values=(_bytes_apart(sealed, alone),),
        goal="<= 0",
    )


def of_photograph(photograph: Path) -> Iterator[Figure]:
    """A JPEG photograph whose coefficients pass, and one that is encoded anew."""
    say("outside the boxes: a photograph")
    redacted = WORK / "outside.png"
    command = contenders.sealed(photograph, name="outside-redacted")
    command[command.index("-o") + 1] = redacted
    timed(command)
    timed(contenders.sealed(photograph, name="outside-passed"))
    timed(contenders.sealed(photograph, "--re-encode", name="outside-anew"))
    plain = WORK / "outside-plain.jpg"
    transcode(photograph, plain)
    changed = (_rgb(photograph) != _rgb(redacted)).any(axis=2)
    for beyond in (changed[changed.shape[0] // BLOCK * BLOCK :], changed[:, changed.shape[1] // BLOCK * BLOCK :]):
        beyond[:] = True  # blocks that reach over the edge are coded anew (docs/adr/0030)
    outside = away_from(changed)
    source = _planes_of_photograph(photograph)
    passed = _planes_of_photograph(WORK / f"outside-passed{photograph.suffix}")
    apart = sum(int((a[outside] != b[outside]).sum()) for a, b in zip(source, passed, strict=True))
    yield Figure(
        name="photograph: samples outside the boxes that are not the source's",
        unit="samples",
        values=(apart,),
        goal="<= 0",
        note=f"of {3 * int(outside.sum())}; PSNR is infinite then. Without blocks that reach over the picture's edge",
    )
    anew = _added(source, _planes_of_photograph(WORK / f"outside-anew{photograph.suffix}"), outside)
    floor = _added(source, _planes_of_photograph(plain), outside)
    yield from _compared("photograph, --re-encode", anew, floor, 0.0, 0.0)


def away_from(changed: Mask) -> Mask:
    """Where neither a sample's block nor a neighbour of it has changed, (h, w)."""
    height, width = changed.shape
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    whole = np.zeros((rows * BLOCK, columns * BLOCK), np.bool_)
    whole[:height, :width] = changed
    blocks = np.pad(whole.reshape(rows, BLOCK, columns, BLOCK).any(axis=(1, 3)), 1)
    near = np.zeros((rows, columns), np.bool_)
    for down in range(3):
        for across in range(3):
            near |= blocks[down : down + rows, across : across + columns]
    return np.asarray(~near.repeat(BLOCK, 0).repeat(BLOCK, 1)[:height, :width])


def _of_films(source: Path, redacted: Path, outputs: Sequence[Path]) -> dict[Path, Losses]:
    losses: dict[Path, Losses] = {path: {} for path in outputs}
    films = [_frames(path) for path in (source, redacted, *outputs)]
    for index, (frame, hidden, *others) in enumerate(zip(*films, strict=True)):
        changed = frame[0] != hidden[0]
        for one, other in zip(frame[1:], hidden[1:], strict=True):
            changed = changed | (one != other).repeat(2, 0).repeat(2, 1)
        outside = away_from(changed)
        for path, output in zip(outputs, others, strict=True):
            _added(frame, output, outside, losses[path], ssim=index % SSIM_STRIDE == 0)
    return losses


def _added(source: Planes, output: Planes, outside: Mask, losses: Losses | None = None, *, ssim: bool = True) -> Losses:
    losses = {} if losses is None else losses
    for name, one, other in zip(PLANES, source, output, strict=True):
        step = outside.shape[0] // one.shape[0]
        losses.setdefault(name, Loss()).add(one, other, outside[::step, ::step], ssim=ssim)
    return losses


def _compared(what: str, ours: Losses, plain: Losses, decibels: float, similarity: float) -> Iterator[Figure]:
    """What we lose more than a transcode; below zero where we lose less."""
    for measure, unit, goal in (("PSNR", "dB", decibels), ("SSIM", "1/1000", 1000 * similarity)):
        sealed, transcoded = _measures(ours, measure), _measures(plain, measure)
        for name in ("Y", "mean"):
            yield Figure(
                name=f"{what}, outside the boxes: {measure} {name} lost above a transcode",
                unit=unit,
                values=(_above(transcoded[name], sealed[name]) * (1000 if measure == "SSIM" else 1),),
                goal=f"<= {goal:g}",
                note=f"sealed {sealed[name]:.5g}, transcode {transcoded[name]:.5g}",
            )


def _noise(transcodes: Sequence[Losses]) -> Iterator[Figure]:
    for measure, unit, factor in (("PSNR", "dB", 1), ("SSIM", "1/1000", 1000)):
        values = [_measures(one, measure)["Y"] for one in transcodes]
        yield Figure(
            name=f"noise: {measure} Y outside the boxes of plain transcodes by {THREADS[0]} and {THREADS[1]} threads",
            unit=unit,
            values=(factor * (max(values) - min(values)),),
        )


def _measures(losses: Losses, name: str) -> dict[str, float]:
    """PSNR or SSIM of each plane, and the mean of the three."""
    planes = {plane: loss.psnr if name == "PSNR" else loss.ssim for plane, loss in losses.items()}
    return {**planes, "mean": sum(planes.values()) / len(planes)}


def _above(one: float, other: float) -> float:
    """One minus the other; both may be infinite."""
    return 0.0 if one == other else one - other


def _similarity(one: Samples, other: Samples) -> NDArray[np.float64]:
    _, similar = cast("Any", structural_similarity)(
        one, other, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, full=True
    )
    return np.asarray(similar, np.float64)


def _frames(film: Path) -> Iterator[Planes]:
    """Planes of 4:2:0 frames with even sides, as the decoder gives them."""
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            packed = frame.to_ndarray(format="yuv420p").astype(np.uint8, copy=False)
            height, width = frame.height, frame.width
            luma, first, second = np.split(packed, [height, height + height // 4])
            yield luma, first.reshape(height // 2, width // 2), second.reshape(height // 2, width // 2)


def _planes_of_photograph(path: Path) -> Planes:
    """Luma and both chroma planes, these enlarged by the decoder to luma's size; no colour is converted."""
    with Image.open(path) as picture:
        picture.draft("YCbCr", picture.size)
        return [np.asarray(plane) for plane in picture.split()]


def _rgb(path: Path) -> Samples:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _bytes_apart(one: Path, other: Path) -> int:
    a, b = (np.fromfile(path, np.uint8) for path in (one, other))
    least = min(a.size, b.size)
    return int((a[:least] != b[:least]).sum()) + abs(a.size - b.size)
