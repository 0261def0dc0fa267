"""What a policy may let a file say about itself besides its pixels: named fields of bounded, typed values.

Nothing of a source's metadata is copied: ingest reads the values of the fields that the policy names, export writes
them anew, and verify holds the output against them. What has no name here (thumbnails, maker notes, XMP, IPTC, PNG
text) never passes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from types import MappingProxyType

from veilbox.core.frozen import frozen


class MetadataField(StrEnum):
    """One thing that a policy may let stay, by name."""

    COLOUR_PROFILE = "colour-profile"
    """A picture's ICC profile, made anew of the parts that change colours."""
    CAPTURE_HOUR = "capture-hour"
    """When it was taken, cut to the hour."""
    CAPTURE_TIME = "capture-time"
    """Likewise, to the second."""
    CAMERA = "camera"
    """Maker and model; no serial number."""
    LENS = "lens"
    """Likewise of the lens."""
    EXPOSURE = "exposure"
    """Exposure time and bias, aperture, sensitivity, focal length."""
    DESCRIPTION = "description"
    """The picture's title."""
    AUTHOR = "author"
    """Artist and copyright."""
    SOFTWARE = "software"
    """The program that made it."""
    SERIAL_NUMBER = "serial-number"
    """Of camera and lens."""
    POSITION = "position"
    """Where it was taken, by satellite."""


class Preset(StrEnum):
    """Fields that go together."""

    NONE = "none"
    ORIENTATION_AND_COLOUR = "orientation-and-colour"
    RESEARCH = "research"
    KEEP = "keep"


# An EXIF orientation is no field: it is carried out on the pixels under every preset.
PRESETS: Mapping[Preset, tuple[MetadataField, ...]] = MappingProxyType(
    {
        Preset.NONE: (),
        Preset.ORIENTATION_AND_COLOUR: (MetadataField.COLOUR_PROFILE,),
        Preset.RESEARCH: (MetadataField.COLOUR_PROFILE, MetadataField.CAPTURE_HOUR, MetadataField.CAMERA),
        Preset.KEEP: tuple(field for field in MetadataField if field is not MetadataField.CAPTURE_HOUR),
    }
)
# What says where, when or by whom a picture was taken; a job that keeps one of these says so in report and log.
REVEALING = frozenset(
    {
        MetadataField.CAPTURE_TIME,
        MetadataField.DESCRIPTION,
        MetadataField.AUTHOR,
        MetadataField.SERIAL_NUMBER,
        MetadataField.POSITION,
    }
)

Allowance = Preset | tuple[MetadataField, ...]


def fields_of(allowance: Allowance) -> tuple[MetadataField, ...]:
    """The fields that a policy names, or that its preset stands for, in the order of `MetadataField`."""
    named = PRESETS[allowance] if isinstance(allowance, Preset) else allowance
    return tuple(field for field in MetadataField if field in named)


# A text's most bytes, as UTF-8. Exif asks for no bound; makers and models in use have fewer than 40.
MOST_TEXT = 200
# A profile's most bytes. Matrix profiles of cameras and screens have 0.5 to 4 kB; those made of tables that are larger
# do not pass.
MOST_PROFILE = 32 << 10


class ValueKind(StrEnum):
    """How a value is written, in the words of Exif 2.32 (4.6.2)."""

    TEXT = "ASCII"
    MOMENT = "moment"
    BYTE = "BYTE"
    SHORT = "SHORT"
    RATIONAL = "RATIONAL"
    SIGNED_RATIONAL = "SRATIONAL"


RATIONALS = frozenset({ValueKind.RATIONAL, ValueKind.SIGNED_RATIONAL})
_BOUNDS = {
    ValueKind.BYTE: (0, (1 << 8) - 1),
    ValueKind.SHORT: (0, (1 << 16) - 1),
    ValueKind.RATIONAL: (0, (1 << 32) - 1),
    ValueKind.SIGNED_RATIONAL: (-(1 << 31), (1 << 31) - 1),
}
_MOMENT = re.compile(r"\d{4}:[01]\d:[0-3]\d [0-2]\d:[0-5]\d:[0-6]\d", re.ASCII)

# A text, whole numbers, or the numerators and denominators of rationals in turn.
Value = str | tuple[int, ...]


class Directory(StrEnum):
    """Which list of an EXIF block a tag stands in."""

    PICTURE = "IFD0"
    EXIF = "Exif"
    GPS = "GPS"


@frozen
class Tag:
    """One EXIF tag that may be written.

    Attributes:
        number: Of the tag.
        count: Values; of a text, the most bytes without its terminator. Rationals are pairs of numbers.
    """

    name: str
    field: MetadataField
    directory: Directory
    number: int
    kind: ValueKind
    count: int = 1

    def takes(self, value: Value) -> bool:
        """Whether a value is one that the tag may have."""
        if isinstance(value, str):
            return self._takes_text(value)
        rational = self.kind in RATIONALS
        low, high = _BOUNDS.get(self.kind, (0, -1))
        inside = len(value) == self.count * (1 + rational) and all(low <= number <= high for number in value)
        pairs = zip(value[::2], value[1::2], strict=True) if inside and rational else ()
        return inside and all(below > 0 and math.gcd(above, below) == 1 for above, below in pairs)

    def _takes_text(self, value: str) -> bool:
        if self.kind is ValueKind.MOMENT:
            return _MOMENT.fullmatch(value) is not None
        fits = self.kind is ValueKind.TEXT and 0 < len(value.encode("utf-8", "replace")) <= self.count
        return fits and value.isprintable() and value == value.rstrip(" ")


def _text(name: str, field: MetadataField, directory: Directory, number: int, most: int = MOST_TEXT) -> Tag:
    return Tag(name=name, field=field, directory=directory, number=number, kind=ValueKind.TEXT, count=most)


def _exposure(name: str, number: int, kind: ValueKind) -> Tag:
    return Tag(name=name, field=MetadataField.EXPOSURE, directory=Directory.EXIF, number=number, kind=kind)


def _position(name: str, number: int, kind: ValueKind, count: int = 1) -> Tag:
    return Tag(name=name, field=MetadataField.POSITION, directory=Directory.GPS, number=number, kind=kind, count=count)


# Source: Exif 2.32 (CIPA DC-008-2019), tables 4, 7, 8 and 15. Capture time stands under its exact field; the hour is
# the same tag with other values.
TAGS: Mapping[str, Tag] = MappingProxyType(
    {
        tag.name: tag
        for tag in (
            _text("ImageDescription", MetadataField.DESCRIPTION, Directory.PICTURE, 0x010E),
            _text("Make", MetadataField.CAMERA, Directory.PICTURE, 0x010F),
            _text("Model", MetadataField.CAMERA, Directory.PICTURE, 0x0110),
            _text("Software", MetadataField.SOFTWARE, Directory.PICTURE, 0x0131),
            _text("Artist", MetadataField.AUTHOR, Directory.PICTURE, 0x013B),
            _text("Copyright", MetadataField.AUTHOR, Directory.PICTURE, 0x8298),
            _exposure("ExposureTime", 0x829A, ValueKind.RATIONAL),
            _exposure("FNumber", 0x829D, ValueKind.RATIONAL),
            _exposure("PhotographicSensitivity", 0x8827, ValueKind.SHORT),
            Tag(
                name="DateTimeOriginal",
                field=MetadataField.CAPTURE_TIME,
                directory=Directory.EXIF,
                number=0x9003,
                kind=ValueKind.MOMENT,
                count=19,
            ),
            _text("OffsetTimeOriginal", MetadataField.CAPTURE_TIME, Directory.EXIF, 0x9011, 6),
            _exposure("ExposureBiasValue", 0x9204, ValueKind.SIGNED_RATIONAL),
            _exposure("FocalLength", 0x920A, ValueKind.RATIONAL),
            _exposure("FocalLengthIn35mmFilm", 0xA405, ValueKind.SHORT),
            _text("BodySerialNumber", MetadataField.SERIAL_NUMBER, Directory.EXIF, 0xA431),
            _text("LensMake", MetadataField.LENS, Directory.EXIF, 0xA433),
            _text("LensModel", MetadataField.LENS, Directory.EXIF, 0xA434),
            _text("LensSerialNumber", MetadataField.SERIAL_NUMBER, Directory.EXIF, 0xA435),
            _position("GPSLatitudeRef", 1, ValueKind.TEXT),
            _position("GPSLatitude", 2, ValueKind.RATIONAL, 3),
            _position("GPSLongitudeRef", 3, ValueKind.TEXT),
            _position("GPSLongitude", 4, ValueKind.RATIONAL, 3),
            _position("GPSAltitudeRef", 5, ValueKind.BYTE),
            _position("GPSAltitude", 6, ValueKind.RATIONAL),
        )
    }
)


def allowing(tag: Tag, allowed: Collection[MetadataField]) -> MetadataField | None:
    """The allowed field under which a tag may stay; None if there is none."""
    if tag.field in allowed:
        return tag.field
    if tag.field is MetadataField.CAPTURE_TIME and MetadataField.CAPTURE_HOUR in allowed:
        return MetadataField.CAPTURE_HOUR
    return None


class NotOurs(ValueError):
    """Bytes of a file that no values make."""


@frozen
class Metadata:
    """The values of the allowed fields that a source has.

    Attributes:
        tags: By a name of `TAGS`, in its order.
        profile: The colour profile, base64; empty if there is none.
    """

    tags: tuple[tuple[str, Value], ...] = ()
    profile: str = ""

    def __bool__(self) -> bool:
        return bool(self.tags or self.profile)

    def only(self, allowed: Collection[MetadataField]) -> Metadata:
        """What of it may stay; a time of which only the hour may stay is cut to it."""
        tags = tuple(
            (name, _cut(name, value, allowed)) for name, value in self.tags if allowing(TAGS[name], allowed) is not None
        )
        return Metadata(tags=tags, profile=self.profile if MetadataField.COLOUR_PROFILE in allowed else "")

    def fields(self, allowed: Collection[MetadataField]) -> tuple[MetadataField, ...]:
        """Which of the allowed fields have a value."""
        seen = {allowing(TAGS[name], allowed) for name, _ in self.tags}
        if self.profile:
            seen.add(MetadataField.COLOUR_PROFILE)
        return tuple(field for field in MetadataField if field in seen)

    @property
    def word(self) -> str:
        """`sha256:` and 64 hexadecimal digits: two sources with the same values have the same word."""
        import hashlib  # noqa: PLC0415 - OpenSSL and the JSON library, once in an item and not in every component
        import json  # noqa: PLC0415

        canonical = json.dumps([self.profile, self.tags], separators=(",", ":"), ensure_ascii=True)
        return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _cut(name: str, value: Value, allowed: Collection[MetadataField]) -> Value:
    hour = allowing(TAGS[name], allowed) is MetadataField.CAPTURE_HOUR
    if hour and TAGS[name].kind is ValueKind.MOMENT and isinstance(value, str):
        return f"{value[:13]}:00:00"
    return value
