"""Pictures through source and encoder: every format and mode, upright, bare, and bad ones refused."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from veilbox.core.errors import InputError, OutputError, SourceCorrupt, SourceUnsupported, UsageError
from veilbox.core.stream import AnalysisView, StreamInfo
from veilbox.media.encoder import open_encoder
from veilbox.media.picture import AudioPacket
from veilbox.media.source import open_source

RANDOM = np.random.default_rng(7)


def _photo(width: int = 163, height: int = 121) -> Image.Image:
    """Smooth shapes with a little grain, as a camera's picture has."""
    rows, columns = np.mgrid[0:height, 0:width]
    shapes = np.stack([np.sin(columns / 20) + np.cos(rows / 15), np.sin(rows / 30), np.cos(columns / 40)], axis=-1)
    return Image.fromarray((120 + 50 * shapes + RANDOM.normal(0, 2, shapes.shape)).clip(0, 255).astype(np.uint8))


PHOTO = _photo()
VEILED = PHOTO.copy()
VEILED.putalpha(Image.fromarray(RANDOM.integers(0, 256, (121, 163), dtype=np.uint8)))
DEEP = Image.fromarray(RANDOM.integers(0, 65536, (45, 64), dtype=np.uint16))


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _through(content: bytes, suffix: str) -> tuple[StreamInfo, bytes]:
    made = io.BytesIO()
    with open_source(io.BytesIO(content)) as source, open_encoder(made, suffix, source.info) as encoder:
        buffer = memoryview(bytearray(source.info.layout.nbytes))
        for picture in source.read():
            assert not isinstance(picture, AudioPacket)
            picture.copy_into(buffer)
            encoder.write(buffer, picture.pts, picture.duration)
        return source.info, made.getvalue()


def _pixels(content: bytes, mode: str) -> np.ndarray[Any, Any]:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    return np.asarray(image if image.mode == mode else image.convert(mode)).astype(int)


EXACT: dict[str, tuple[Image.Image, str, str, dict[str, Any], str, str]] = {
    "png rgb": (PHOTO, "PNG", "png", {}, "rgb24", "RGB"),
    "png rgba": (VEILED, "PNG", "png", {}, "rgba", "RGBA"),
    "png gray": (PHOTO.convert("L"), "PNG", "png", {}, "gray", "L"),
    "png gray and alpha": (VEILED.convert("LA"), "PNG", "png", {}, "ya8", "LA"),
    "png 1 bit": (PHOTO.convert("1"), "PNG", "png", {}, "gray", "L"),
    "png palette": (PHOTO.convert("P"), "PNG", "png", {}, "rgb24", "RGB"),
    "png palette with a hole": (PHOTO.convert("P"), "PNG", "png", {"transparency": 3}, "rgba", "RGBA"),
    "png 16 bit gray": (DEEP, "PNG", "png", {}, "gray16le", "I;16"),
    "tiff rgb": (PHOTO, "TIFF", "tif", {}, "rgb24", "RGB"),
    "tiff rgba": (VEILED, "TIFF", "tiff", {}, "rgba", "RGBA"),
    "tiff cmyk": (PHOTO.convert("CMYK"), "TIFF", "tif", {}, "rgb24", "RGB"),
    "tiff 16 bit gray": (DEEP, "TIFF", "tif", {}, "gray16le", "I;16"),
    "bmp rgb": (PHOTO, "BMP", "bmp", {}, "rgb24", "RGB"),
    "bmp palette": (PHOTO.convert("P"), "BMP", "bmp", {}, "rgb24", "RGB"),
    "webp lossless": (PHOTO, "WEBP", "webp", {"lossless": True}, "rgb24", "RGB"),
    "webp lossless alpha": (VEILED, "WEBP", "webp", {"lossless": True, "exact": True}, "rgba", "RGBA"),
    "1x1": (Image.new("RGB", (1, 1), (9, 8, 7)), "PNG", "png", {}, "rgb24", "RGB"),
}


@pytest.mark.parametrize("name", EXACT)
def test_lossless_pictures_stay_bit_equal(name: str) -> None:
    image, kind, suffix, options, ring, mode = EXACT[name]
    content = _saved(image, kind, **options)
    info, made = _through(content, suffix)
    assert info.pixel_format == ring
    assert info.lossless
    assert np.array_equal(_pixels(made, mode), _pixels(content, mode))


LOSSY: dict[str, tuple[Image.Image, str, str, dict[str, Any], float]] = {
    "jpeg 4:2:0": (PHOTO, "JPEG", "jpg", {"quality": 80}, 0.6),
    "jpeg 4:2:2": (PHOTO, "JPEG", "jpg", {"quality": 80, "subsampling": 1}, 0.6),
    "jpeg 4:4:4": (PHOTO, "JPEG", "jpeg", {"quality": 80, "subsampling": 0}, 0.6),
    "jpeg progressive": (PHOTO, "JPEG", "jpg", {"quality": 80, "progressive": True}, 0.6),
    "jpeg gray": (PHOTO.convert("L"), "JPEG", "jpg", {"quality": 60}, 0.1),
    "jpeg cmyk": (PHOTO.convert("CMYK"), "JPEG", "jpg", {"quality": 90}, 2.0),
    "webp": (PHOTO, "WEBP", "webp", {"quality": 80}, 2.0),
    "webp alpha": (VEILED, "WEBP", "webp", {"quality": 80}, 2.0),
}


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_pictures_change_by_little_more_than_rounding(name: str) -> None:
    image, kind, suffix, options, mean = LOSSY[name]
    content = _saved(image, kind, **options)
    info, made = _through(content, suffix)
    mode = "RGBA" if info.layout.format.alpha else "RGB"
    assert not info.lossless
    assert abs(_pixels(made, mode) - _pixels(content, mode)).mean() < mean


def test_jpeg_keeps_its_tables_and_subsampling() -> None:
    content = _saved(PHOTO, "JPEG", quality=71, subsampling=1)
    _, made = _through(content, "jpg")
    before: Any = Image.open(io.BytesIO(content))
    after: Any = Image.open(io.BytesIO(made))
    assert after.quantization == before.quantization
    assert after.layer == before.layer


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "suffix"), [("JPEG", "jpg"), ("PNG", "png"), ("TIFF", "tif")])
def test_orientation_is_carried_out_and_metadata_is_gone(orientation: int, kind: str, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "secret description"
    content = _saved(PHOTO, kind, exif=exif)
    assert b"secret" in content
    info, made = _through(content, suffix)
    assert b"secret" not in made
    after = Image.open(io.BytesIO(made))
    assert (info.width, info.height) == after.size == ImageOps.exif_transpose(Image.open(io.BytesIO(content))).size
    assert 0x0112 not in after.getexif()
    assert abs(_pixels(made, "RGB") - _pixels(content, "RGB")).mean() < 1.5
    assert set(after.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "compression", "dpi", "resolution"}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {"pnginfo": None, "icc_profile": b"secret profile"}),
        ("JPEG", {"comment": b"secret", "icc_profile": b"secret profile"}),
        ("WEBP", {"xmp": b"secret", "icc_profile": b"secret profile"}),
    ],
)
def test_comments_and_profiles_are_gone(kind: str, options: dict[str, Any]) -> None:
    _, made = _through(_saved(PHOTO, kind, **options), {"JPEG": "jpg"}.get(kind, kind.lower()))
    assert b"secret" not in made
    assert b"ICC" not in made


def test_the_first_picture_of_an_mpo_is_the_photograph() -> None:
    content = _saved(PHOTO, "MPO", save_all=True, append_images=[_photo(90, 40)])
    info, made = _through(content, "jpg")
    assert (info.width, info.height) == PHOTO.size
    assert len(made) < len(content)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF"])
def test_several_pictures_in_one_file_are_counted_and_refused(kind: str) -> None:
    content = _saved(PHOTO, kind, save_all=True, append_images=[_photo(), _photo()])
    with pytest.raises(SourceUnsupported, match="3 frames"):
        open_source(io.BytesIO(content))


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    content = _saved(Image.new("1", (16384, 16384)), "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("pixels were decoded"))
    with pytest.raises(SourceUnsupported, match=r"out of bounds.*16384x16384"):
        open_source(io.BytesIO(content))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_picture_cut_short_is_corrupt(kind: str, share: float) -> None:
    content = _saved(PHOTO, kind)
    with pytest.raises(SourceCorrupt):
        _through(content[: int(len(content) * share)], "png")


def test_a_corrupt_middle_of_a_png_is_noticed() -> None:
    content = bytearray(_saved(PHOTO, "PNG"))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(SourceCorrupt, match="broken"):
        _through(bytes(content), "png")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_that_no_ring_holds(mode: str) -> None:
    with pytest.raises(SourceUnsupported, match="samples not handled"):
        open_source(io.BytesIO(_saved(Image.new(mode, (9, 9)), "TIFF")))


CANNOT_HOLD = [(VEILED, "jpg"), (VEILED, "bmp"), (DEEP, "jpg"), (DEEP, "webp"), (PHOTO, "mp4")]


@pytest.mark.parametrize(("image", "suffix"), CANNOT_HOLD)
def test_what_the_output_cannot_hold(image: Image.Image, suffix: str) -> None:
    with pytest.raises(UsageError):
        _through(_saved(image, "PNG"), suffix)


def test_an_output_without_a_picture_is_an_error() -> None:
    with open_source(io.BytesIO(_saved(PHOTO, "PNG"))) as source:
        encoder = open_encoder(io.BytesIO(), "png", source.info)
        with pytest.raises(OutputError, match="no picture"):
            encoder.close()


@pytest.mark.parametrize("image", [PHOTO, VEILED, PHOTO.convert("L"), PHOTO.convert("P"), DEEP])
def test_the_analysis_picture(image: Image.Image) -> None:
    with open_source(io.BytesIO(_saved(image, "PNG"))) as source:
        view = AnalysisView.fit(source.info, long_side=96, stride=32)
        picture = next(iter(source.read()))
        assert not isinstance(picture, AudioPacket)
        seen = picture.analysis(view)
    assert seen.shape == (view.height, view.width, 3)
    assert seen.dtype == np.uint8
    assert seen.flags.c_contiguous
    if image is PHOTO:
        wanted = np.asarray(PHOTO.resize((view.width, view.height), Image.Resampling.BILINEAR)).astype(int)
        assert abs(seen - wanted).mean() < 4


HEADS = [_saved(PHOTO, kind)[:200] for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")]


@settings(max_examples=150, deadline=None)
@given(head=st.sampled_from(HEADS), keep=st.integers(4, 200), tail=st.binary(max_size=300))
def test_any_bytes_behind_a_picture_header_end_in_an_input_error(head: bytes, keep: int, tail: bytes) -> None:
    with contextlib.suppress(InputError):
        _through(head[:keep] + tail, "png")
