"""What a policy lets stay comes through as typed values; nothing else does, and a stranger sees whatever was added."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_workshop import flaws, through, told
from PIL import Image, ImageCms
from PIL.ExifTags import IFD

from veilbox.core.metadata import (
    PRESETS,
    TAGS,
    Metadata,
    MetadataField,
    NotOurs,
    Preset,
    Tag,
    Value,
    ValueKind,
    fields_of,
)
from veilbox.media.colour_profile import rebuilt_profile
from veilbox.media.exif import exif_block, parsed_block

KINDS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP"}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SECRET_WORD = "sRGB".encode("utf-16-be")
SECRET = b"nobody may read this"


def photograph(mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(3).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    return Image.fromarray(noise).convert(mode)


def camera_exif() -> Image.Exif:
    """What a camera writes: place, time, serial number, notes of its maker, and a thumbnail."""
    exif = Image.Exif()
    exif.update({0x010E: "a title", 0x010F: "Maker", 0x0110: "One é".encode(), 0x0131: "Editor 3"})
    exif.update({0x013B: "A. Person", 0x0112: 6})
    exif.get_ifd(0x8769).update(
        {0x9003: "2024:05:06 07:08:09", 0x9011: "+02:00", 0x829A: 0.008, 0x8827: 400, 0x9204: -1 / 3}
        | {0xA431: "SN 1", 0xA434: "Lens 50", 0x927C: SECRET, 0x9286: SECRET.decode()}
    )
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.25), 3: "E", 4: (13.0, 1.0, 2.0), 5: b"\0", 6: 35.5})
    return exif


def saved(suffix: str, **extra: Any) -> bytes:
    written = io.BytesIO()
    photograph().save(written, KINDS[suffix], **extra)
    return written.getvalue()


@pytest.fixture(scope="module")
def sources() -> dict[str, bytes]:
    extra: dict[str, dict[str, Any]] = {kind: {"exif": camera_exif(), "icc_profile": SRGB} for kind in KINDS}
    return {suffix: saved(suffix, **extra[suffix]) for suffix in KINDS if suffix != "bmp"}


RESEARCH: dict[str, Value] = {
    "Make": "Maker",
    "Model": "One é",
    "DateTimeOriginal": "2024:05:06 07:00:00",
    "OffsetTimeOriginal": "+02:00",
}
ALL: dict[str, Value] = RESEARCH | {
    "DateTimeOriginal": "2024:05:06 07:08:09",
    "ImageDescription": "a title",
    "Software": "Editor 3",
    "Artist": "A. Person",
    "ExposureTime": (1, 125),
    "PhotographicSensitivity": (400,),
    "ExposureBiasValue": (-1, 3),
    "BodySerialNumber": "SN 1",
    "LensModel": "Lens 50",
    "GPSLatitudeRef": "N",
    "GPSLatitude": (52, 1, 31, 1, 49, 4),
    "GPSLongitudeRef": "E",
    "GPSLongitude": (13, 1, 1, 1, 2, 1),
    "GPSAltitudeRef": (0,),
    "GPSAltitude": (71, 2),
}
EXPECTED: dict[Preset, dict[str, Value]] = {
    Preset.NONE: {},
    Preset.ORIENTATION_AND_COLOUR: {},
    Preset.RESEARCH: dict(RESEARCH),
    Preset.KEEP: ALL,
}


@pytest.mark.parametrize("preset", Preset)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_preset_keeps_its_fields_and_nothing_else(sources: dict[str, bytes], suffix: str, preset: Preset) -> None:
    allowed = fields_of(preset)
    info, made = through(sources[suffix], suffix, allowed)
    assert (info.width, info.height) == (48, 64), "the orientation was not carried out"
    seen = told(made)
    assert dict(seen.tags) == EXPECTED[preset]
    assert seen == info.metadata
    assert bool(seen.profile) == (preset is not Preset.NONE)
    assert seen.fields(allowed) == allowed
    assert flaws(made, suffix, allowed) == []
    assert SECRET not in made
    with Image.open(io.BytesIO(made)) as image:
        assert 0x0112 not in image.getexif()
        assert not image.getexif().get_ifd(IFD.IFD1), "a thumbnail"


def test_tiff_keeps_what_its_own_tags_hold(sources: dict[str, bytes]) -> None:
    allowed = fields_of(Preset.KEEP)
    _, made = through(sources["tif"], "tif", allowed)
    names = ("ImageDescription", "Make", "Model", "Software", "Artist")
    assert dict(told(made).tags) == {name: ALL[name] for name in names}
    assert flaws(made, "tif", allowed) == []
    assert set(flaws(made, "tif", fields_of(Preset.RESEARCH))) == {
        f"tag {TAGS[name].number}: not allowed" for name in ("ImageDescription", "Software", "Artist")
    }


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_time_to_the_second_is_found_where_the_hour_may_stay(sources: dict[str, bytes], suffix: str) -> None:
    _, made = through(sources[suffix], suffix, [MetadataField.CAPTURE_TIME])
    (flaw,) = flaws(made, suffix, [MetadataField.CAPTURE_HOUR])
    assert flaw.endswith("DateTimeOriginal: finer than the hour")


def test_bmp_keeps_nothing(sources: dict[str, bytes]) -> None:
    info, made = through(sources["jpg"], "bmp", fields_of(Preset.KEEP))
    assert not info.metadata
    assert flaws(made, "bmp", fields_of(Preset.KEEP)) == []


def test_each_field_by_name(sources: dict[str, bytes]) -> None:
    for field in MetadataField:
        _, made = through(sources["jpg"], "jpg", (field,))
        seen = told(made, (field,))
        assert seen.fields((field,)) == (field,)
        assert flaws(made, "jpg", (field,)) == []
        assert flaws(made, "jpg", ()) != []
        others = [other for other in MetadataField if other is not field]
        if field not in (MetadataField.CAPTURE_HOUR, MetadataField.CAPTURE_TIME):  # the same tag
            assert flaws(made, "jpg", others) != []


def test_presets_leave_out_what_the_issue_of_each_is() -> None:
    revealing = {MetadataField.SERIAL_NUMBER, MetadataField.POSITION, MetadataField.CAPTURE_TIME}
    assert not revealing & set(PRESETS[Preset.RESEARCH])
    assert PRESETS[Preset.NONE] == ()
    assert set(MetadataField) - set(PRESETS[Preset.KEEP]) == {MetadataField.CAPTURE_HOUR}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_what_a_camera_wrote_is_no_block_of_ours(sources: dict[str, bytes], suffix: str) -> None:
    """Under `keep` too: notes of the maker, a thumbnail, or a tag without a name."""
    found = flaws(sources[suffix], suffix, fields_of(Preset.KEEP))
    assert any("more than allowed values" in flaw for flaw in found)
    assert any("a profile with more than colours" in flaw for flaw in found)


def _with_block(block: bytes) -> bytes:
    return saved("jpg", exif=b"Exif\0\0" + block)


BLOCK = exif_block({"Make": "Maker", "DateTimeOriginal": "2024:05:06 07:00:00"})
# What is hidden in a block of allowed values.
HIDDEN: dict[str, Callable[[], bytes]] = {
    "behind the last value": lambda: BLOCK + SECRET,
    "behind a text's end": lambda: BLOCK.replace(b"Maker\0", b"Ma\0er\0"),
    "a second directory": lambda: BLOCK[: 8 + 2 + 24] + struct.pack("<I", 8) + BLOCK[8 + 2 + 24 + 4 :],
    "another order of bytes": lambda: b"MM" + BLOCK[2:],
    "a tag without a name": lambda: BLOCK.replace(struct.pack("<H", 0x010F), struct.pack("<H", 0x0111)),
    "a text as bytes": lambda: BLOCK.replace(struct.pack("<HH", 0x010F, 2), struct.pack("<HH", 0x010F, 7)),
    "minutes": lambda: BLOCK.replace(b"07:00:00", b"07:61:00"),
    "nothing": bytes,
}


@pytest.mark.parametrize("what", HIDDEN)
def test_what_is_hidden_in_an_exif_block_is_found(what: str) -> None:
    assert flaws(_with_block(BLOCK), "jpg", fields_of(Preset.RESEARCH)) == []
    found = flaws(_with_block(HIDDEN[what]()), "jpg", fields_of(Preset.RESEARCH))
    assert found == ["APP1: more than allowed values"]


def _values(tag: Tag) -> st.SearchStrategy[Value]:
    match tag.kind:
        case ValueKind.MOMENT:
            return st.datetimes().map(lambda one: one.strftime("%Y:%m:%d %H:%M:%S").zfill(19))
        case ValueKind.TEXT:
            letters = st.characters(categories=("L", "N", "P"), include_characters=" ")
            return st.text(letters, min_size=1, max_size=max(1, tag.count // 4))
        case _:
            many = tag.count * (2 if "RATIONAL" in tag.kind else 1)
            return st.lists(st.integers(-(1 << 33), 1 << 33), min_size=many, max_size=many).map(tuple)


@st.composite
def metadata(draw: st.DrawFn) -> dict[str, Value]:
    chosen = draw(st.sets(st.sampled_from(sorted(TAGS))))
    drawn = {name: draw(_values(TAGS[name])) for name in TAGS if name in chosen}
    return {name: value for name, value in drawn.items() if TAGS[name].takes(value)}


@settings(deadline=None)
@given(metadata())
def test_any_values_make_a_block_that_says_them(values: dict[str, Value]) -> None:
    block = exif_block(values)
    if values:
        assert parsed_block(block) == values
        assert flaws(_with_block(block), "jpg", tuple(MetadataField)) == []
    else:
        assert block == b""


@settings(deadline=None)
@given(st.data())
def test_a_block_of_which_bytes_are_changed_is_another_or_none(data: st.DataObject) -> None:
    block = bytearray(exif_block(dict(ALL)))
    for at in data.draw(st.lists(st.integers(0, len(block) - 1), min_size=1, max_size=4)):
        block[at] = data.draw(st.integers(0, 255))
    try:
        values = parsed_block(bytes(block))
    except NotOurs:
        return
    assert exif_block(values) == bytes(block)


class TestProfiles:
    def test_colours_stay_and_words_go(self) -> None:
        made = rebuilt_profile(SRGB, "RGB")
        assert rebuilt_profile(made, "RGB") == made
        assert SECRET_WORD not in made
        assert SECRET_WORD in SRGB
        picture = photograph()
        old = ImageCms.profileToProfile(picture, ImageCms.ImageCmsProfile(io.BytesIO(SRGB)), _lab(), outputMode="LAB")
        new = ImageCms.profileToProfile(picture, ImageCms.ImageCmsProfile(io.BytesIO(made)), _lab(), outputMode="LAB")
        assert old is not None
        assert new is not None
        assert old.tobytes() == new.tobytes()

    @pytest.mark.parametrize(
        "spoilt",
        [
            b"",
            SRGB[:100],
            SRGB[:36] + b"none" + SRGB[40:],
            SRGB[:16] + b"CMYK" + SRGB[20:],
            SRGB[:128] + struct.pack(">I", 1 << 31) + SRGB[132:],
            SRGB[:12] + b"link" + SRGB[16:],
        ],
        ids=["nothing", "cut off", "no signature", "another space", "too many tags", "a link"],
    )
    def test_a_profile_that_is_none(self, spoilt: bytes) -> None:
        assert rebuilt_profile(spoilt, "RGB") == b""

    def test_one_of_other_samples_does_not_pass(self) -> None:
        assert rebuilt_profile(SRGB, "GRAY") == b""
        grey = io.BytesIO()
        photograph("L").save(grey, "JPEG", icc_profile=SRGB)
        assert told(grey.getvalue()).profile == ""

    def test_a_large_table_does_not_pass(self) -> None:
        table = b"mft1" + bytes(40_000)
        head = SRGB[:128] + struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
        assert rebuilt_profile(head + table, "RGB") == b""

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
    def test_a_tag_of_anybodys_own_is_found(self, suffix: str) -> None:
        assert flaws(saved(suffix, icc_profile=rebuilt_profile(SRGB, "RGB")), suffix, tuple(MetadataField)) == []
        (found,) = flaws(saved(suffix, icc_profile=SRGB), suffix, tuple(MetadataField))
        assert found.endswith("a profile with more than colours")

    def test_bytes_behind_a_packed_profile_are_found(self) -> None:
        png = saved("png", icc_profile=rebuilt_profile(SRGB, "RGB"))
        at = png.index(b"iCCP") - 4
        length = int.from_bytes(png[at : at + 4], "big")
        body = png[at + 4 : at + 8 + length] + SECRET
        grown = png[:at] + struct.pack(">I", length + len(SECRET)) + body + struct.pack(">I", zlib.crc32(body))
        assert "iCCP: no zlib stream" in flaws(grown + png[at + 12 + length :], "png", tuple(MetadataField))


def _lab() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))


def test_only_cuts_the_time_and_drops_the_rest() -> None:
    whole = Metadata(tags=tuple(ALL.items()), profile=base64.b64encode(SRGB).decode())
    assert whole.only(()) == Metadata()
    hour = whole.only((MetadataField.CAPTURE_HOUR,))
    assert dict(hour.tags) == {"DateTimeOriginal": "2024:05:06 07:00:00", "OffsetTimeOriginal": "+02:00"}
    assert whole.only(tuple(MetadataField)) == whole
    assert hour.word != whole.word
