"""What real tools put into files besides their pixels, without touching these: one function for each kind of leak."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from footage_workshop import tool
from PIL import Image
from PIL.ExifTags import IFD

# In every leak; also within compressed ones.
MARK = "pLaNtEd7"
GPS = ("-GPSLatitude=52.52", "-GPSLatitudeRef=N", "-GPSLongitude=13.4", "-GPSLongitudeRef=E")
XMP = (f"-XMP:Creator={MARK}", "-XMP:GPSLatitude=52.52")
Leak = Callable[[Path], None]


def portrait(side: int = 256) -> Image.Image:
    """The astronaut's face, public domain."""
    from skimage import data  # noqa: PLC0415 - slow to import

    return Image.fromarray(cast("Any", data).astronaut()[20:276, 96:352]).resize((side, side))


def _exiftool(*arguments: str) -> Leak:
    def leak(path: Path) -> None:
        tool("exiftool", "-q", "-overwrite_original", *arguments, path)

    return leak


def _thumbnail(path: Path) -> None:
    """The unblurred face, as cameras put it into their EXIF data."""
    small = path.with_name("thumb.jpg")
    portrait(64).save(small, comment=MARK)
    tool("exiftool", "-q", "-overwrite_original", f"-ThumbnailImage<={small}", path)
    small.unlink()
    with Image.open(path) as image:
        assert image.getexif().get_ifd(IFD.IFD1), "no thumbnail"


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def _maker_notes(path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x927C] = b"Nikon\0\2" + MARK.encode()
    content = path.read_bytes()
    path.write_bytes(content[:2] + _segment(0xE1, exif.tobytes()) + content[2:])


def _chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def _png_texts(path: Path) -> None:
    """Plain, compressed, international, and a chunk of nobody's."""
    words = _chunk(b"tEXt", b"Comment\0" + MARK.encode()) + _chunk(b"prVt", MARK.encode())
    words += _chunk(b"zTXt", b"Author\0\0" + zlib.compress(MARK.encode() * 9))
    words += _chunk(b"iTXt", b"Title\0\0\0\0\0" + MARK.encode())
    content = path.read_bytes()
    path.write_bytes(content[:33] + words + content[33:])


def _archive(path: Path) -> None:
    """A ZIP archive behind the end, which archivers open and viewers do not see."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("original.txt", MARK)
    path.write_bytes(path.read_bytes() + packed.getvalue())


def _second_picture(path: Path) -> None:
    """What telephones write behind a picture: another one."""
    whole = io.BytesIO()
    portrait().save(whole, "JPEG", comment=MARK)
    path.write_bytes(path.read_bytes() + whole.getvalue())


def _remux(*arguments: str, beside: tuple[tuple[str, str | None], ...] = ()) -> Leak:
    """FFmpeg, without coding the film anew; files `beside` it are inputs, a cover where their text is None."""

    def leak(path: Path) -> None:
        made, inputs = path.with_name(f"made{path.suffix}"), []
        for name, text in beside:
            extra = path.with_name(name)
            if text is None:
                portrait(64).save(extra, comment=MARK)
            else:
                extra.write_text(text)
            inputs.append(extra)
        shown = [part for extra in inputs if "-attach" not in arguments for part in ("-i", extra)]
        here = [str(path.with_name(part)) if part in dict(beside) else part for part in arguments]
        exact = ("-fflags", "+bitexact", "-flags:v", "+bitexact")
        tool("ffmpeg", "-v", "error", "-y", "-i", path, *shown, "-map", "0:v:0", "-c", "copy", *exact, *here, made)
        made.replace(path)
        for extra in inputs:
            extra.unlink()

    return leak


SUBTITLES = (("s.srt", f"1\n00:00:00,000 --> 00:00:00,300\n{MARK}\n"),)
CHAPTERS = (("c.txt", f";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=300\ntitle={MARK}\n"),)
WORDS = tuple(part for tag in ("title", "comment", "artist", "location") for part in ("-metadata", f"{tag}={MARK}"))
DATE = ("-metadata", "creation_time=2026-01-02T03:04:05Z")
# A user's own SEI message (H.264, D.1.6).
SEI = ("-bsf:v", f"h264_metadata=sei_user_data=086f3693-b7b3-4f2c-9653-21492feee5b8+{MARK}")


def _box(name: bytes, body: bytes) -> bytes:
    return (len(body) + 8).to_bytes(4, "big") + name + body


def _in_moov(added: bytes) -> Leak:
    """A box more in the last one of an MP4 file, which is moov."""

    def leak(path: Path) -> None:
        film = path.read_bytes()
        at = film.rindex(b"moov") - 4
        length = int.from_bytes(film[at : at + 4], "big")
        assert at + length == len(film)
        path.write_bytes(film[:at] + (length + len(added)).to_bytes(4, "big") + film[at + 4 :] + added)

    return leak


def _position_track(path: Path) -> None:
    """A track of positions, as action cameras write it: made of one of subtitles, as to its kind and its samples."""
    _remux("-map", "1", "-c:s", "mov_text", beside=SUBTITLES)(path)
    film = path.read_bytes()
    for was, becomes in ((b"sbtl", b"meta"), (b"tx3g", b"gpmd")):
        assert was in film
        film = film.replace(was, becomes)
    path.write_bytes(film)


def _behind(added: bytes) -> Leak:
    def leak(path: Path) -> None:
        path.write_bytes(path.read_bytes() + added)

    return leak


# By kind of file and name.
LEAKS: dict[str, dict[str, Leak]] = {
    "jpg": {
        "thumbnail": _thumbnail,
        "gps": _exiftool(*GPS),
        "xmp": _exiftool(*XMP),
        "iptc": _exiftool(f"-IPTC:By-line={MARK}", "-IPTC:City=Berlin"),
        "serial": _exiftool(f"-SerialNumber={MARK}"),
        "notes": _maker_notes,
        "comment": _exiftool(f"-Comment={MARK}"),
        "zip": _archive,
        "second": _second_picture,
    },
    "png": {"text": _png_texts, "gps": _exiftool(*GPS), "xmp": _exiftool(*XMP), "zip": _archive},
    "webp": {"gps": _exiftool(*GPS), "xmp": _exiftool(*XMP), "zip": _archive},
    "tif": {
        "gps": _exiftool(*GPS),
        "xmp": _exiftool(*XMP),
        "iptc": _exiftool(f"-IPTC:By-line={MARK}"),
        "words": _exiftool(f"-ImageDescription={MARK}"),
        "zip": _archive,
    },
    "mp4": {
        "words": _remux(*WORDS),
        "date": _remux(*DATE),
        "place": _in_moov(_box(b"udta", _box(b"\xa9xyz", b"\0\x12\x15\xc7+52.5+013.4/" + MARK.encode()))),
        "positions": _position_track,
        "subtitles": _remux("-map", "1", "-c:s", "mov_text", beside=SUBTITLES),
        "chapters": _remux("-map_chapters", "1", beside=CHAPTERS),
        "cover": _remux("-map", "1", "-disposition:v:1", "attached_pic", beside=(("cover.jpg", None),)),
        "sei": _remux(*SEI),
        "uuid": _in_moov(_box(b"uuid", bytes(16) + MARK.encode())),
        "free": _behind(_box(b"free", MARK.encode())),
        "mdat": _behind(_box(b"mdat", MARK.encode())),
        "zip": _archive,
    },
    "mov": {"timecode": _remux("-timecode", "01:02:03:04"), "words": _remux(*WORDS)},
    "mkv": {
        "words": _remux(*WORDS),
        "date": _remux(*DATE),
        "subtitles": _remux("-map", "1", "-c:s", "srt", beside=SUBTITLES),
        "chapters": _remux("-map_chapters", "1", beside=CHAPTERS),
        "attachment": _remux(
            "-attach", "cover.jpg", "-metadata:s:t", "mimetype=image/jpeg", beside=(("cover.jpg", None),)
        ),
        "sei": _remux(*SEI),
        "zip": _archive,
    },
    "avi": {"words": _remux(*WORDS), "zip": _archive},
}
NAMES = [f"{leak}.{suffix}" for suffix, leaks in LEAKS.items() for leak in leaks]


def plain(folder: Path) -> None:
    """One file of each kind that says nothing besides its pixels: a face over noise."""
    for suffix in LEAKS:
        path = folder / f"plain.{suffix}"
        if suffix in ("jpg", "png", "webp", "tif"):
            portrait(192).save(path)
            continue
        still = folder / "still.png"
        portrait(192).save(still)
        coding = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-pix_fmt", "yuv420p")
        exact = ("-fflags", "+bitexact", "-flags:v", "+bitexact")
        shown = ("-loop", "1", "-framerate", "25", "-i", still, "-frames:v", "8")
        tool("ffmpeg", "-v", "error", "-y", *shown, *coding, *exact, path)
        still.unlink()


def leaking(origin: Path, folder: Path, prefix: str = "plain") -> None:
    """For each leak a copy of the file of its kind with it."""
    for name in NAMES:
        leak, _, suffix = name.partition(".")
        path = folder / name
        path.write_bytes((origin / f"{prefix}.{suffix}").read_bytes())
        LEAKS[suffix][leak](path)
        assert path.read_bytes() != (origin / f"{prefix}.{suffix}").read_bytes(), name
