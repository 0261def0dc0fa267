"""What else a file can carry is planted everywhere, and none of it comes out."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from footage_workshop import files_below, needs_exiftool, needs_ffmpeg, probe, tool
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from sealed_workshop import RunVeilbox

pytestmark = [pytest.mark.sealed, needs_ffmpeg]

# In every field of every kind; short enough for all of them.
MARK = "pLaNtEd7"
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")
TAGS = ("title", "comment", "artist", "album", "copyright", "description", "creation_time", "location", "encoder")
TRACK_TAGS = ("handler_name", "title", "vendor_id", "encoder", "timecode_note")
# A user's own SEI message (H.264 clause D.1.6, 16 bytes of identifier and text).
SEI = f"h264_metadata=sei_user_data=086f3693-b7b3-4f2c-9653-21492feee5b8+{MARK}"

GPS, EXIF, THUMBNAIL = 0x8825, 0x8769, 0x0201


def _photograph(mode: str = "RGB") -> Image.Image:
    ramp = np.add.outer(np.arange(96), np.arange(128)) % 256
    return Image.fromarray(ramp.astype(np.uint8)).convert(mode)


def _exif() -> Image.Exif:
    """Words, place, and a thumbnail that is no thumbnail."""
    exif = Image.Exif()
    for tag in (0x010E, 0x010F, 0x0110, 0x0131, 0x013B, 0x8298):
        exif[tag] = MARK
    exif.get_ifd(EXIF).update({0x9003: MARK, 0x9286: MARK.encode(), 0xA430: MARK, 0xA431: MARK, 0x927C: MARK.encode()})
    exif.get_ifd(GPS).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 36.0), 27: MARK.encode()})
    return exif


XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>{MARK}</rdf:RDF></x:xmpmeta>'.encode()
PROFILE = bytes(36) + b"acsp" + bytes(88) + MARK.encode()


def _jpeg(path: Path) -> None:
    _photograph().save(path, exif=_exif(), xmp=XMP, icc_profile=PROFILE, comment=MARK)
    content = path.read_bytes()
    # IPTC in Photoshop's segment (APP13), and what some telephones write behind the picture: a film.
    iptc = b"\x1c\x02\x78" + len(MARK).to_bytes(2, "big") + MARK.encode()
    resource = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00" + len(iptc).to_bytes(4, "big") + iptc
    segment = b"\xff\xed" + (len(resource) + 2).to_bytes(2, "big") + resource
    path.write_bytes(content[:2] + segment + content[2:] + b"ftypmp42" + MARK.encode())


def _png(path: Path) -> None:
    info = PngInfo()
    info.add_text("Comment", MARK)
    info.add_text("Author", MARK * 20, zip=True)
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    info.add_itxt("Title", MARK, zip=True)
    info.add(b"prVt", MARK.encode(), after_idat=True)
    _photograph("RGBA").save(path, pnginfo=info, exif=_exif(), icc_profile=PROFILE, dpi=(72, 72))
    path.write_bytes(path.read_bytes() + MARK.encode())


def _webp(path: Path) -> None:
    _photograph().save(path, exif=_exif(), xmp=XMP, icc_profile=PROFILE)


def _tiff(path: Path) -> None:
    words = ImageFileDirectory_v2()
    for tag in (0x010E, 0x010F, 0x0110, 0x0131, 0x013B, 0x013C, 0x8298):
        words[tag] = MARK
    words[700], words.tagtype[700] = XMP, 1
    _photograph().save(path, tiffinfo=words, icc_profile=PROFILE)
    path.write_bytes(path.read_bytes() + MARK.encode())


def _bmp(path: Path) -> None:
    _photograph().save(path)
    path.write_bytes(path.read_bytes() + MARK.encode())


def _film(coding: tuple[str, ...], *extra: str) -> Callable[[Path], None]:
    """Sound, subtitles, chapters, a cover, and words about each."""

    def make(path: Path) -> None:
        folder = path.with_name(f".{path.name}")
        folder.mkdir()
        (folder / "s.srt").write_text(f"1\n00:00:00,000 --> 00:00:01,000\n{MARK}\n")
        (folder / "c.txt").write_text(f";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle={MARK}\n")
        titles = [] if path.suffix == ".avi" else ["-map", "2"]
        words = [part for tag in TAGS for part in ("-metadata", f"{tag}={MARK}")]
        track = [part for tag in TRACK_TAGS for kind in "vas" for part in (f"-metadata:s:{kind}", f"{tag}={MARK}")]
        tool(
            *("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=1"),
            *("-f", "lavfi", "-i", "sine=duration=1"),
            *("-i", folder / "s.srt"),
            *("-i", folder / "c.txt"),
            *("-map", "0", "-map", "1", *titles, "-map_chapters", "3"),
            *("-pix_fmt", "yuv420p", *coding, *words, *track, *extra),
            path,
        )
        shutil.rmtree(folder)

    return make


def _with_cover(coding: tuple[str, ...]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        plain, cover = path.with_name(f".plain{path.suffix}"), path.with_name(".cover.jpg")
        _film(coding)(plain)
        _photograph().save(cover, comment=MARK)
        attached: tuple[str | Path, ...] = (
            "-attach",
            cover,
            "-metadata:s:t",
            "mimetype=image/jpeg",
            "-metadata:s:t",
            f"title={MARK}",
        )
        picture = ("-i", cover, "-map", "0", "-map", "1", "-disposition:v:1", "attached_pic")
        more: tuple[str | Path, ...] = attached if path.suffix == ".mkv" else picture
        if path.suffix == ".mkv":
            tool("ffmpeg", "-v", "error", "-i", plain, "-map", "0", "-c", "copy", *more, path)
        else:
            tool("ffmpeg", "-v", "error", "-i", plain, *more, "-c", "copy", path)
        plain.unlink()
        cover.unlink()

    return make


SOURCES: dict[str, Callable[[Path], None]] = {
    "a.jpg": _jpeg,
    "a.png": _png,
    "a.webp": _webp,
    "a.tiff": _tiff,
    "a.bmp": _bmp,
    "a.mp4": _film((*X264, "-c:a", "aac", "-c:s", "mov_text"), "-movflags", "use_metadata_tags", "-bsf:v", SEI),
    "a.mov": _film((*X264, "-c:a", "aac", "-c:s", "mov_text"), "-timecode", "01:02:03:04"),
    "a.mkv": _with_cover((*X264, "-c:a", "libvorbis", "-c:s", "srt", "-bsf:v", SEI)),
    "cover.mp4": _with_cover((*X264, "-c:a", "aac", "-c:s", "mov_text")),
    "a.webm": _film((*VP9, "-c:a", "libopus", "-c:s", "webvtt")),
    "a.avi": _film(("-c:v", "mpeg4", "-c:a", "mp3")),
}
FILMS = [name for name in SOURCES if name.split(".")[1] in ("mp4", "mov", "mkv", "webm", "avi")]


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory, veilbox: RunVeilbox) -> Iterator[tuple[Path, Path]]:
    root = tmp_path_factory.mktemp("planted")
    folder = root / MARK
    folder.mkdir()
    for name, make in SOURCES.items():
        make(folder / name)
    run = veilbox("anonymize", folder, "-o", root / "out", "--film-side", "64")
    assert run.status == 0, run.stdout + run.stderr
    yield folder, root / "out"
    shutil.rmtree(root)


def _holds(content: bytes) -> bool:
    """Whether the mark is in the bytes, as it is, in two bytes a letter, or in a zlib stream."""
    spellings = (MARK.encode(), MARK.encode("utf-16-le"), MARK.encode("utf-16-be"))
    streams = [content] + [_inflated(content[at:]) for at in _zlib_starts(content)]
    return any(word in stream for stream in streams for word in spellings)


def _zlib_starts(content: bytes) -> list[int]:
    return [at for at in range(len(content) - 1) if content[at] == 0x78 and content[at + 1] in (0x01, 0x5E, 0x9C, 0xDA)]


def _inflated(content: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(content, 1 << 20)
    except zlib.error:
        return b""


@pytest.mark.parametrize("name", SOURCES)
def test_no_planted_word_comes_out(hidden: tuple[Path, Path], name: str) -> None:
    folder, output = hidden
    assert _holds((folder / name).read_bytes()), "the word was not planted"
    assert not _holds((output / name).read_bytes())


@pytest.mark.parametrize("name", FILMS)
def test_one_stream_of_pictures_is_all_that_a_film_keeps(hidden: tuple[Path, Path], name: str) -> None:
    folder, output = hidden
    assert len(probe(folder / name, "-show_streams")["streams"]) > 1, "nothing was added"
    seen = probe(output / name, "-show_streams", "-show_format", "-show_chapters", "-show_programs")
    assert [stream["codec_type"] for stream in seen["streams"]] == ["video"]
    assert seen["chapters"] == seen["programs"] == []
    assert set(seen["format"].get("tags", {})) <= {"major_brand", "minor_version", "compatible_brands", "encoder"}
    tags = seen["streams"][0].get("tags", {})
    assert set(tags) <= {"handler_name", "vendor_id", "language", "ENCODER", "DURATION"}
    assert tags.get("handler_name", "VideoHandler") == "VideoHandler"
    # FFmpeg's own name may stand where the container asks for one, but no version and no date.
    assert seen["format"].get("tags", {}).get("encoder", "Lavf") == "Lavf"


# Groups of exiftool in which a picture's structure is told; every other group is metadata.
STRUCTURE = {"ExifTool", "System", "File", "JFIF", "PNG", "RIFF", "Composite", "SourceFile", "IFD0"}
# TIFF 6.0: what a picture cannot be decoded without.
TIFF_STRUCTURE = {
    *("ImageWidth", "ImageHeight", "BitsPerSample", "Compression", "PhotometricInterpretation", "StripOffsets"),
    *("SamplesPerPixel", "RowsPerStrip", "StripByteCounts", "PlanarConfiguration", "Predictor", "ExtraSamples"),
    *("SampleFormat", "FillOrder", "Orientation", "XResolution", "YResolution", "ResolutionUnit"),
}


@needs_exiftool
@pytest.mark.parametrize("name", [name for name in SOURCES if name not in FILMS])
def test_a_picture_keeps_nothing_but_its_structure(hidden: tuple[Path, Path], name: str) -> None:
    folder, output = hidden
    if name not in ("a.bmp", "a.tiff"):  # a TIFF file's words lie among its structure, a BMP file's behind it
        assert set(_groups(folder / name)) - STRUCTURE, "nothing was added"
    seen = _groups(output / name)
    assert set(seen) <= STRUCTURE
    assert seen.get("IFD0", set()) <= TIFF_STRUCTURE
    assert not seen["File"] & {"Comment", "CurrentIPTCDigest", "ExifByteOrder"} or name == "a.tiff"
    assert not seen["ExifTool"] & {"Warning", "Error"}
    with Image.open(output / name) as image:
        assert not image.getexif() or name == "a.tiff"
        assert not {"icc_profile", "xmp", "exif", "comment", "dpi", "photoshop"} & set(image.info) - (
            {"dpi"} if name in ("a.tiff", "a.jpg", "a.bmp") else set()
        )


@needs_exiftool
@pytest.mark.parametrize("name", FILMS)
def test_exiftool_finds_no_words_and_no_dates_in_a_film(hidden: tuple[Path, Path], name: str) -> None:
    _, output = hidden
    text = tool("exiftool", "-j", "-G1", "-a", "-u", "-ee", output / name)
    (told,) = json.loads(text)
    assert MARK not in "".join(
        str(value) for field, value in told.items() if "System:" not in field and field != "SourceFile"
    )
    dates = {field: value for field, value in told.items() if "Date" in field and "System:" not in field}
    assert set(dates.values()) <= {"0000:00:00 00:00:00"}
    assert not [field for field in told if "GPS" in field or "Location" in field]


def _groups(path: Path) -> dict[str, set[str]]:
    (told,) = json.loads(tool("exiftool", "-j", "-G1", "-a", "-u", path))
    groups: dict[str, set[str]] = {}
    for field in told:
        group, _, tag = field.partition(":")
        groups.setdefault(group, set()).add(tag)
    return groups


def test_nothing_beside_the_outputs(hidden: tuple[Path, Path]) -> None:
    _, output = hidden
    assert files_below(output) == {output / name for name in SOURCES}
