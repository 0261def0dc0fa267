"""Which file suffix means which container, and what its encoders and audio codecs may be.

Names are FFmpeg's. What is not listed here is not opened and not written: an allow-list keeps the rarely used
demuxers and decoders, where most faults are found, out of a hostile file's reach.
"""

from __future__ import annotations

from veilbox.core.errors import UsageError
from veilbox.core.frozen import frozen
from veilbox.core.metadata import TAGS, Directory, MetadataField
from veilbox.core.stream import Kind


@frozen
class FilmFormat:
    """One container for films.

    Attributes:
        muxer: FFmpeg's muxer.
        encoders: Encoders whose streams the container carries; the first is the default.
        audio: Audio codecs that can be copied into it.
        options: The muxer's options.
        rotation: Whether the container can say that a player must turn the frames.
        millisecond: Whether it counts time in milliseconds and nothing else.
        reorders: Whether frames may be coded in another order than they show: AVI has one clock, and no place for two.
    """

    muxer: str
    encoders: tuple[str, ...]
    audio: frozenset[str]
    options: dict[str, str]
    rotation: bool = True
    millisecond: bool = False
    reorders: bool = True


_ISO_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
_PCM_AUDIO = frozenset(
    {f"pcm_{kind}" for kind in ("s16le", "s16be", "s24le", "s24be", "s32le", "u8", "f32le", "mulaw", "alaw")}
)
_MATROSKA_PCM = frozenset({"pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_u8", "pcm_f32le", "pcm_s16be", "pcm_s24be"})
_AVI_PCM = frozenset({"pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_u8", "pcm_f32le", "pcm_mulaw", "pcm_alaw"})

FILM_FORMATS: dict[str, FilmFormat] = {
    "mp4": FilmFormat(
        muxer="mp4", encoders=("libx264", "libx265", "libsvtav1", "libvpx-vp9", "mpeg4"), audio=_ISO_AUDIO, options={}
    ),
    "mov": FilmFormat(
        muxer="mov",
        encoders=("libx264", "libx265", "mpeg4"),
        audio=frozenset({"aac", "mp3", "ac3", "eac3", "alac"}) | _PCM_AUDIO,
        options={},
    ),
    "mkv": FilmFormat(
        muxer="matroska",
        encoders=("libx264", "libx265", "libsvtav1", "libvpx-vp9", "mpeg4"),
        audio=_ISO_AUDIO | _MATROSKA_PCM | {"vorbis", "mp2"},
        options={},
        millisecond=True,
    ),
    # VP9 plays everywhere WebM does and needs 290 MB at 1920x1080. SVT-AV1 gives half the bytes at the same quality and
    # speed (720p, 44 dB) but needs 410 MB, and takes no side below 8 pixels.
    "webm": FilmFormat(
        muxer="webm",
        encoders=("libvpx-vp9", "libsvtav1"),
        audio=frozenset({"opus", "vorbis"}),
        options={},
        millisecond=True,
    ),
    # H.264 without reordering took 0.42 MB at 43.2 dB where MPEG-4 part 2 took 1.64 MB at 44.5 dB (90 frames of 720p).
    "avi": FilmFormat(
        muxer="avi",
        encoders=("libx264", "mpeg4"),
        audio=frozenset({"mp3", "mp2", "ac3", "aac"}) | _AVI_PCM,
        options={},
        rotation=False,
        reorders=False,
    ),
}

FILM_SUFFIXES: frozenset[str] = frozenset(FILM_FORMATS) | {"m4v"}

# Suffix to Pillow's name of the format.
IMAGE_FORMATS: dict[str, str] = {
    "jpg": "JPEG",
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "tif": "TIFF",
    "tiff": "TIFF",
    "bmp": "BMP",
}

IMAGE_SUFFIXES: frozenset[str] = frozenset(IMAGE_FORMATS)

# Container as sniffed to FFmpeg's demuxer; a demuxer is named and never probed for.
DEMUXERS: dict[str, str] = {"iso": "mov", "matroska": "matroska", "avi": "avi"}

# FFmpeg's codec to the decoder used for it. libdav1d is the only software decoder of AV1 that is built in.
VIDEO_DECODERS: dict[str, str] = {
    "h264": "h264",
    "hevc": "hevc",
    "vp9": "vp9",
    "av1": "libdav1d",
    "mjpeg": "mjpeg",
    "mpeg4": "mpeg4",
}

# Audio is copied, never decoded, but the demuxer's parsers must know it.
AUDIO_CODECS: frozenset[str] = frozenset().union(*(fmt.audio for fmt in FILM_FORMATS.values()))


# What MP4, QuickTime and Matroska have words for; `veilbox.media.film_tags` has the words.
_FILM_FIELDS = frozenset(
    {
        MetadataField.CAPTURE_HOUR,
        MetadataField.CAPTURE_TIME,
        MetadataField.CAMERA,
        MetadataField.DESCRIPTION,
        MetadataField.AUTHOR,
        MetadataField.SOFTWARE,
    }
)


def is_handled(suffix: str) -> bool:
    """Whether files of a lower-case suffix without dot are pictures or films that veilbox writes."""
    return suffix in FILM_SUFFIXES or suffix in IMAGE_SUFFIXES


def holds(suffix: str, field: MetadataField) -> bool:
    """Whether files of a suffix can hold a field of metadata.

    BMP and AVI hold none, other films what their containers have words for, TIFF what needs no list of its own; a
    suffix that is not known rules out nothing.
    """
    if suffix in ("avi", "bmp"):
        return False
    if suffix in FILM_SUFFIXES:
        return field in _FILM_FIELDS
    if suffix not in ("tif", "tiff"):
        return True
    return all(tag.directory is Directory.PICTURE for tag in TAGS.values() if tag.field is field) and (
        field is not MetadataField.CAPTURE_HOUR
    )


def kind_of_suffix(suffix: str) -> Kind:
    """The kind of media of a lower-case suffix without dot.

    Raises:
        UsageError: The suffix is none that veilbox writes.
    """
    if suffix in IMAGE_SUFFIXES:
        return Kind.IMAGE
    if suffix in FILM_SUFFIXES:
        return Kind.FILM
    raise UsageError(
        "output suffix not handled",
        expected=", ".join(sorted(FILM_SUFFIXES | IMAGE_SUFFIXES)),
        actual=suffix or "none",
        advice="Give the output one of these suffixes",
    )


def film_format(suffix: str) -> FilmFormat:
    """The container of a film suffix.

    Raises:
        UsageError: The suffix is no film's.
    """
    if kind_of_suffix(suffix) is not Kind.FILM:
        raise UsageError(
            "a film cannot be written as a picture",
            expected=", ".join(sorted(FILM_SUFFIXES)),
            actual=suffix,
            advice="Give the output a film's suffix",
        )
    return FILM_FORMATS["mp4" if suffix == "m4v" else suffix]


def image_format(suffix: str) -> str:
    """Pillow's format name of a picture suffix.

    Raises:
        UsageError: The suffix is no picture's.
    """
    if kind_of_suffix(suffix) is not Kind.IMAGE:
        raise UsageError(
            "a picture cannot be written as a film",
            expected=", ".join(sorted(IMAGE_SUFFIXES)),
            actual=suffix,
            advice="Give the output a picture's suffix",
        )
    return IMAGE_FORMATS[suffix]
