"""A JPEG photograph through source and encoder as its coefficients: lossless, upright, bare; and when it cannot."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from media_workshop import coefficients
from PIL import Image, ImageOps

from veilbox.core.errors import SourceCorrupt, UsageError
from veilbox.core.metadata import MetadataField
from veilbox.core.stream import AnalysisView, StreamInfo
from veilbox.media.encoder import open_encoder
from veilbox.media.libjpeg import CodedPicture
from veilbox.media.picture import AudioPacket
from veilbox.media.source import open_source

_ORIENTATION = 0x0112
_TRANSPOSED = frozenset({5, 6, 7, 8})


def _scene(width: int, height: int) -> Image.Image:
    """Not the same whichever way it is turned."""
    rows, columns = np.mgrid[0:height, 0:width]
    samples = np.stack([columns * 255 / width, rows * 255 / height, (columns * rows) % 251], axis=-1)
    return Image.fromarray(samples.astype(np.uint8))


def _coded(size: tuple[int, int] = (160, 96), orientation: int = 1, mode: str = "RGB", **options: Any) -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    exif[_ORIENTATION] = orientation
    _scene(*size).convert(mode).save(file, "JPEG", exif=exif, **{"quality": 90, "subsampling": 2} | options)
    return file.getvalue()


def _side(width: int, height: int) -> int:
    del width, height
    return 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Passed:
    """What became of a picture."""

    info: StreamInfo
    analysis: np.ndarray[Any, Any]
    output: bytes

    @property
    def picture(self) -> CodedPicture:
        return coefficients(self.output)


def _through(content: bytes, suffix: str = "jpg", fields: tuple[MetadataField, ...] = ()) -> Passed:
    made = io.BytesIO()
    with (
        open_source(io.BytesIO(content), output_suffix=suffix, coded_side=_side, metadata=fields) as source,
        open_encoder(made, suffix, source.info) as encoder,
    ):
        buffer = memoryview(bytearray(source.info.frame_nbytes))
        (picture,) = source.read()
        assert not isinstance(picture, AudioPacket)
        analysis = picture.analysis(AnalysisView.fit(source.info, long_side=64, stride=32))
        picture.copy_into(buffer)
        encoder.write(buffer, picture.pts, picture.duration)
        return Passed(info=source.info, analysis=analysis, output=made.getvalue())


def _shown(content: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))).astype(int)


@pytest.mark.parametrize("size", [(160, 96), (161, 93), (1, 1)])
@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"mode": "L"}, {"quality": 100}]
)
def test_every_coefficient_passes(size: tuple[int, int], options: dict[str, Any]) -> None:
    content = _coded(size, **options)
    passed = _through(content)
    source = coefficients(content)
    assert passed.info.coefficients == source.kind
    assert (passed.info.width, passed.info.height) == size
    assert all(np.array_equal(a, b) for a, b in zip(source.planes, passed.picture.planes, strict=True))
    assert _through(passed.output).output == passed.output


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"mode": "L"}, {"progressive": True}])
def test_orientation_is_carried_out_without_loss(orientation: int, options: dict[str, Any]) -> None:
    content = _coded(orientation=orientation, **options)
    passed = _through(content)
    assert passed.info.coefficients is not None
    assert Image.open(io.BytesIO(passed.output)).getexif() == {}
    # The decoder rounds a turned block otherwise, by one step at most in each of three conversions.
    assert np.abs(_shown(passed.output) - _shown(content)).max() <= 6
    # Turning back what was turned gives the source's coefficients, whatever rounds.
    back = {6: 8, 8: 6}.get(orientation, orientation)
    file, exif = io.BytesIO(passed.output), Image.Exif()
    exif[_ORIENTATION] = back
    again = _through(file.getvalue()[:2] + _exif_segment(exif) + file.getvalue()[2:])
    source = coefficients(content)
    assert all(np.array_equal(a, b) for a, b in zip(source.planes, again.picture.planes, strict=True))
    assert again.picture.kind == source.kind


def _exif_segment(exif: Image.Exif) -> bytes:
    body = exif.tobytes()
    return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body


_TURNED_EDGES = {
    # Which sides end within a block, and the orientations that would mirror along one of them.
    (152, 96): {2, 3, 7, 8},  # columns are mirrored, or become rows that are
    (160, 88): {3, 4, 6, 7},
    (161, 93): {2, 3, 4, 6, 7, 8},
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", _TURNED_EDGES)
def test_what_cannot_be_turned_without_loss_passes_as_samples(size: tuple[int, int], orientation: int) -> None:
    passed = _through(_coded(size, orientation))
    assert (passed.info.coefficients is None) is (orientation in _TURNED_EDGES[size])
    assert (passed.info.width, passed.info.height) == (size[::-1] if orientation in _TRANSPOSED else size)


SAMPLES: dict[str, bytes] = {
    "CMYK": _coded(mode="CMYK"),
    "RGB": _coded(keep_rgb=True, subsampling=0),
    "4:2:2 transposed": _coded(orientation=6, subsampling=1),
    "bits that are no code": _coded()[:-400] + b"\x7f" * 398 + b"\xff\xd9",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_what_has_no_place_passes_as_samples(name: str) -> None:
    passed = _through(SAMPLES[name])
    assert passed.info.coefficients is None
    with Image.open(io.BytesIO(passed.output)) as output:
        assert output.size == (passed.info.width, passed.info.height)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "bmp"])
def test_other_outputs_are_made_of_samples(suffix: str) -> None:
    assert _through(_coded(), suffix).info.coefficients is None


def test_nobody_who_does_not_ask_getscoefficients() -> None:
    with open_source(io.BytesIO(_coded()), output_suffix="jpg") as source:
        assert source.info.coefficients is None


def test_coefficients_go_into_jpeg_files_only() -> None:
    info = _through(_coded()).info
    with pytest.raises(UsageError, match="JPEG files only"):
        open_encoder(io.BytesIO(), "png", info)


def test_a_picture_that_is_cut_short_is_corrupt() -> None:
    content = _coded((640, 480))
    with pytest.raises(SourceCorrupt, match="does not decode to its end"):
        _through(content[: len(content) // 2])


def test_detectors_see_the_picture_that_passes() -> None:
    content = _coded((640, 480), orientation=3)
    passed = _through(content)
    small = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).resize(passed.analysis.shape[1::-1])
    assert np.abs(passed.analysis.astype(int) - np.asarray(small)).mean() < 4


def test_only_what_the_policy_names_is_told() -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x010F], exif[0x0131] = "Maker", "Program of a secret"
    _scene(160, 96).save(file, "JPEG", exif=exif, comment=b"a secret")
    kept = _through(file.getvalue(), fields=(MetadataField.CAMERA,))
    assert kept.info.coefficients is not None
    assert b"secret" not in kept.output
    assert dict(Image.open(io.BytesIO(kept.output)).getexif()) == {0x010F: "Maker"}
    assert dict(Image.open(io.BytesIO(_through(file.getvalue()).output)).getexif()) == {}
