"""Every part of a file has a reason, whatever its bytes are; what cameras, editors and people add has none."""

from __future__ import annotations

import io
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_workshop import make, needs_ffmpeg, run
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from veilbox.core.metadata import MetadataField
from veilbox.core.policy import Encoding
from veilbox.core.stream import Kind, StreamInfo
from veilbox.media.colour_profile import rebuilt_profile
from veilbox.media.encoder import open_encoder
from veilbox.media.source import AudioPacket, open_source
from veilbox.media.structure import Allowed, examine

SIZE = (64, 48)
NOTHING = Allowed()


def flaws(content: bytes, suffix: str, allowed: Allowed = NOTHING) -> list[str]:
    """Path and word of each flaw."""
    return [f"{flaw.path}: {flaw.what}" for flaw in examine(io.BytesIO(content), suffix, allowed)]


def picture(suffix: str, pixel_format: str = "rgb24") -> bytes:
    """A picture as export writes it."""
    info = StreamInfo(kind=Kind.IMAGE, width=SIZE[0], height=SIZE[1], pixel_format=pixel_format, frames=1)
    written = io.BytesIO()
    samples = np.random.default_rng(0).integers(0, 256, info.layout.nbytes).astype(np.uint8)
    with open_encoder(written, suffix, info) as encoder:
        encoder.write(memoryview(samples.tobytes()), 0, 1)
    return written.getvalue()


def photograph() -> Image.Image:
    """For what is added to it."""
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (*SIZE[::-1], 3)).astype(np.uint8))


def thumbnail() -> bytes:
    """A small JPEG, as cameras put it into their EXIF data."""
    written = io.BytesIO()
    photograph().save(written, "JPEG")
    return written.getvalue()


def saved(suffix: str, **extra: object) -> bytes:
    """A picture saved by Pillow with more than pixels."""
    written = io.BytesIO()
    photograph().save(written, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix), **extra)
    return written.getvalue()


def exif() -> bytes:
    """Place, serial number and a maker's notes."""
    made = Image.Exif()
    made[0x0110] = "Camera One"
    made.get_ifd(0x8769).update({0x927C: b"notes", 0xA431: "serial 1234"})
    made.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0)})
    return made.tobytes()


EXIF = exif()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'
ICC = rebuilt_profile(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), "RGB")


def words() -> PngInfo:
    info = PngInfo()
    info.add_text("Author", "somebody")
    return info


def packed() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("original.jpg", thumbnail())
    return archive.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """Of a PNG file."""
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def segment(marker: int, body: bytes) -> bytes:
    """Of a JPEG file."""
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def after(content: bytes, at: int, added: bytes) -> bytes:
    return content[:at] + added + content[at:]


IPTC = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x00\x00\x05\x1c\x02\x78\x00\x00"
CLEAN = [
    *(("jpg", pixels) for pixels in ("rgb24", "gray")),
    *(("png", pixels) for pixels in ("rgb24", "rgba", "gray", "ya8", "gray16le")),
    *(("webp", pixels) for pixels in ("rgb24", "rgba")),
    *(("tif", pixels) for pixels in ("rgb24", "rgba", "gray", "ya8", "gray16le")),
    *(("bmp", pixels) for pixels in ("rgb24", "gray")),
]
# Name, suffix, bytes, and what is found.
LEAKS: list[tuple[str, str, Callable[[], bytes], str]] = [
    ("EXIF with GPS, maker notes and thumbnail", "jpg", lambda: saved("jpg", exif=EXIF), "APP1: not allowed"),
    ("XMP", "jpg", lambda: saved("jpg", xmp=XMP), "APP1: not allowed"),
    ("colour profile", "jpg", lambda: saved("jpg", icc_profile=ICC), "APP2: not allowed"),
    ("comment", "jpg", lambda: saved("jpg", comment="made by"), "COM: not allowed"),
    ("IPTC", "jpg", lambda: after(picture("jpg"), 2, segment(0xED, IPTC)), "APP13: not allowed"),
    (
        "JFIF thumbnail",
        "jpg",
        lambda: after(picture("jpg"), 2, segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\1\1" + bytes(3))),
        "APP0: more than a JFIF header",
    ),
    ("trailing ZIP", "jpg", lambda: picture("jpg") + packed(), "after EOI: trailing bytes"),
    ("trailing picture", "jpg", lambda: picture("jpg") + thumbnail(), "after EOI: trailing bytes"),
    ("EXIF", "png", lambda: saved("png", exif=EXIF), "eXIf: not allowed"),
    ("text", "png", lambda: saved("png", pnginfo=words()), "tEXt: not allowed"),
    ("colour profile", "png", lambda: saved("png", icc_profile=ICC), "iCCP: not allowed"),
    ("unknown chunk", "png", lambda: after(picture("png"), 33, chunk(b"prVt", b"x")), "prVt: not allowed"),
    ("trailing ZIP", "png", lambda: picture("png") + packed(), "after IEND: trailing bytes"),
    (
        "bytes behind the pixels",
        "png",
        lambda: picture("png")[:-12] + chunk(b"IDAT", b"hidden") + chunk(b"IEND", b""),
        "IDAT: bytes behind the pixels",
    ),
    ("EXIF", "webp", lambda: saved("webp", exif=EXIF), "RIFF/EXIF: not allowed"),
    ("XMP", "webp", lambda: saved("webp", xmp=XMP), "RIFF/XMP: not allowed"),
    ("trailing ZIP", "webp", lambda: picture("webp") + packed(), "after RIFF: trailing bytes"),
    ("words", "tif", lambda: saved("tif", tiffinfo={270: "a street"}), "tag 270: not allowed"),
    ("trailing ZIP", "tif", lambda: picture("tif") + packed(), "after the last part: trailing bytes"),
    ("trailing ZIP", "bmp", lambda: picture("bmp") + packed(), "after rows: trailing bytes"),
    ("another format", "png", lambda: picture("jpg"), ": another format than its name says"),
    ("no format", "jpg", lambda: b"text", ": another format than its name says"),
]


@pytest.mark.parametrize(("suffix", "pixels"), CLEAN)
def test_what_export_writes_is_clean(suffix: str, pixels: str) -> None:
    assert flaws(picture(suffix, pixels), suffix) == []


@pytest.mark.parametrize(("suffix", "content", "found"), [row[1:] for row in LEAKS], ids=[row[0] for row in LEAKS])
def test_what_somebody_added_to_a_picture_is_found(suffix: str, content: Callable[[], bytes], found: str) -> None:
    assert found in flaws(content(), suffix)


needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs the exiftool program")
# What exiftool writes, and into which formats.
TAGGED = [
    (("-GPSLatitude=52.52", "-GPSLatitudeRef=N", "-GPSLongitude=13.4"), ("jpg", "png", "webp", "tif")),
    (("-XMP:Creator=somebody", "-XMP:Location=home"), ("jpg", "png", "webp", "tif")),
    (("-IPTC:City=Berlin", "-IPTC:By-line=somebody"), ("jpg", "tif")),
    (("-ThumbnailImage<=thumb.jpg",), ("jpg",)),
    (("-SerialNumber=1234", "-LensSerialNumber=5678"), ("jpg", "png", "webp", "tif")),
    (("-Comment=at home",), ("jpg", "png")),
    (("-ICC_Profile<=profile.icc",), ("jpg", "png", "webp", "tif")),
]


@needs_exiftool
@pytest.mark.parametrize(
    ("arguments", "suffix"), [(arguments, suffix) for arguments, suffixes in TAGGED for suffix in suffixes]
)
def test_what_exiftool_adds_is_found(tmp_path: Path, arguments: tuple[str, ...], suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(picture(suffix))
    (tmp_path / "thumb.jpg").write_bytes(thumbnail())
    (tmp_path / "profile.icc").write_bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    here = [argument.replace("<=", f"<={tmp_path}/") for argument in arguments]
    run("exiftool", "-q", "-overwrite_original", *here, str(path))
    assert path.read_bytes() != picture(suffix)
    assert flaws(path.read_bytes(), suffix)


def test_a_colour_profile_passes_where_the_policy_allows_it() -> None:
    allowed = Allowed(metadata=frozenset({MetadataField.COLOUR_PROFILE}))
    assert flaws(saved("jpg", icc_profile=ICC), "jpg", allowed) == []
    assert flaws(saved("png", icc_profile=ICC), "png", allowed) == []


ENCODERS = [
    *(("mp4", name) for name in ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "mpeg4")),
    *(("mov", name) for name in ("libx264", "libx265", "mpeg4")),
    *(("mkv", name) for name in ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "mpeg4")),
    *(("webm", name) for name in ("libvpx-vp9", "libsvtav1")),
    *(("avi", name) for name in ("libx264", "mpeg4")),
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A film with sound, for each container's sound."""
    folder = tmp_path_factory.mktemp("sources")
    sound = ("-f", "lavfi", "-i", "sine=duration=1", "-map", "0", "-map", "1", "-pix_fmt", "yuv420p")
    coded = {"webm": "libopus", "avi": "libmp3lame"}
    return {
        suffix: make(
            folder / f"{suffix}.{'avi' if suffix == 'avi' else 'mkv'}",
            *sound,
            "-c:v",
            "libx264",
            "-c:a",
            coded.get(suffix, "aac"),
        )
        for suffix in ("mp4", "mov", "mkv", "webm", "avi")
    }


def exported(source: Path, suffix: str, encoder: str | None = None, *, audio: bool = False) -> bytes:
    """A film as export writes it."""
    written = io.BytesIO()
    with source.open("rb") as file, open_source(file, keep_audio=audio, output_suffix=suffix) as opened:
        buffer = memoryview(bytearray(opened.info.layout.nbytes))
        with open_encoder(written, suffix, opened.info, Encoding(encoder=encoder), threads=1) as target:
            for part in opened.read():
                if isinstance(part, AudioPacket):
                    target.write_audio(part)
                else:
                    part.copy_into(buffer)
                    target.write(buffer, part.pts, part.duration)
    return written.getvalue()


@needs_ffmpeg
@pytest.mark.parametrize(("suffix", "encoder"), ENCODERS)
def test_a_film_that_export_writes_is_clean(sources: dict[str, Path], suffix: str, encoder: str) -> None:
    assert flaws(exported(sources[suffix], suffix, encoder), suffix) == []
    with_sound = exported(sources[suffix], suffix, encoder, audio=True)
    assert flaws(with_sound, suffix, Allowed(audio=True)) == []
    assert flaws(with_sound, suffix) != []


WORDS = ("-metadata", "title=Home", "-metadata", "location=+52.5+013.4/", "-metadata", "comment=by me")
EXACT = ("-fflags", "+bitexact", "-flags:v", "+bitexact")


def remuxed(tmp_path: Path, source: bytes, suffix: str, *arguments: str, inputs: tuple[str, ...] = ()) -> bytes:
    """What FFmpeg makes of a film without coding it anew."""
    before, behind = tmp_path / f"before.{suffix}", tmp_path / f"behind.{suffix}"
    before.write_bytes(source)
    run("ffmpeg", "-v", "error", "-y", "-i", str(before), *inputs, "-c", "copy", *EXACT, *arguments, str(behind))
    return behind.read_bytes()


def box(kind: bytes, body: bytes) -> bytes:
    return (len(body) + 8).to_bytes(4, "big") + kind + body


def grown(film: bytes, added: bytes) -> bytes:
    """An MP4 file with a box more in its moov box, which is its last."""
    at = film.rindex(b"moov") - 4
    length = int.from_bytes(film[at : at + 4], "big")
    return film[:at] + (length + len(added)).to_bytes(4, "big") + film[at + 4 :] + added


@pytest.fixture(scope="module")
def films(sources: dict[str, Path]) -> dict[str, bytes]:
    return {suffix: exported(sources[suffix], suffix) for suffix in ("mp4", "mkv", "avi")}


@needs_ffmpeg
class TestFilms:
    @pytest.fixture
    def texts(self, tmp_path: Path) -> dict[str, str]:
        (tmp_path / "s.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nname\n")
        (tmp_path / "c.txt").write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=name\n")
        photograph().save(tmp_path / "cover.jpg")
        return {name: str(tmp_path / name) for name in ("s.srt", "c.txt", "cover.jpg")}

    def test_remuxing_alone_changes_nothing(self, films: dict[str, bytes], tmp_path: Path) -> None:
        for suffix in ("mp4", "mkv"):
            assert flaws(remuxed(tmp_path, films[suffix], suffix), suffix) == []

    def test_words_and_place(self, films: dict[str, bytes], tmp_path: Path) -> None:
        assert "moov/udta: not allowed" in flaws(remuxed(tmp_path, films["mp4"], "mp4", *WORDS), "mp4")
        found = flaws(remuxed(tmp_path, films["mkv"], "mkv", *WORDS), "mkv")
        assert "Segment/Info/Title: not allowed" in found
        assert any("Tags" in flaw for flaw in found)
        assert "RIFF/LIST/INFO: not allowed" in flaws(remuxed(tmp_path, films["avi"], "avi", *WORDS), "avi")

    def test_date(self, films: dict[str, bytes], tmp_path: Path) -> None:
        date = ("-metadata", "creation_time=2026-01-02T03:04:05Z")
        assert "moov/mvhd: a date" in flaws(remuxed(tmp_path, films["mp4"], "mp4", *date), "mp4")
        assert "Segment/Info/DateUTC: not allowed" in flaws(remuxed(tmp_path, films["mkv"], "mkv", *date), "mkv")

    @pytest.mark.parametrize(("suffix", "codec"), [("mp4", "mov_text"), ("mkv", "srt")])
    def test_subtitles(
        self, films: dict[str, bytes], texts: dict[str, str], tmp_path: Path, suffix: str, codec: str
    ) -> None:
        titles = ("-map", "0", "-map", "1", "-c:s", codec)
        film = remuxed(tmp_path, films[suffix], suffix, *titles, inputs=("-i", texts["s.srt"]))
        found = flaws(film, suffix)
        assert any("tracks" in flaw or "stsd" in flaw for flaw in found)

    def test_chapters(self, films: dict[str, bytes], texts: dict[str, str], tmp_path: Path) -> None:
        inputs = ("-i", texts["c.txt"])
        chapters = ("-map", "0", "-map_chapters", "1")
        mp4 = flaws(remuxed(tmp_path, films["mp4"], "mp4", *chapters, inputs=inputs), "mp4")
        assert "moov/trak/tref: not allowed" in mp4
        mkv = flaws(remuxed(tmp_path, films["mkv"], "mkv", *chapters, inputs=inputs), "mkv")
        assert "Segment/Chapters: not allowed" in mkv

    def test_cover_and_attachment(self, films: dict[str, bytes], texts: dict[str, str], tmp_path: Path) -> None:
        cover = ("-map", "0", "-map", "1", "-disposition:v:1", "attached_pic")
        film = remuxed(tmp_path, films["mp4"], "mp4", *cover, inputs=("-i", texts["cover.jpg"]))
        assert "moov/udta: not allowed" in flaws(film, "mp4")
        attach = ("-attach", texts["cover.jpg"], "-metadata:s:t", "mimetype=image/jpeg")
        assert "Segment/Attachments: not allowed" in flaws(remuxed(tmp_path, films["mkv"], "mkv", *attach), "mkv")

    def test_words_in_the_coded_stream(self, films: dict[str, bytes], tmp_path: Path) -> None:
        sei = "h264_metadata=sei_user_data=086f3693-b7b3-4f2c-9653-21492feee5b8+name"
        for suffix, place in (("mp4", "mdat/sample"), ("mkv", "Segment/Cluster")):
            found = flaws(remuxed(tmp_path, films[suffix], suffix, "-bsf:v", sei), suffix)
            assert any(flaw.startswith(place) and "unit 6" in flaw for flaw in found)

    @pytest.mark.parametrize(
        ("added", "found"),
        [
            (box(b"uuid", bytes(16) + b"gps"), "moov/uuid: not allowed"),
            (box(b"gps ", b"52.5"), "moov/gps: not allowed"),
            (box(b"meta", bytes(4)), "moov/meta: not allowed"),
            (box(b"udta", box(b"\xa9xyz", b"\0\x12\x15\xc7+52.5+013.4/")), "moov/udta: not allowed"),
        ],
    )
    def test_boxes(self, films: dict[str, bytes], added: bytes, found: str) -> None:
        assert found in flaws(grown(films["mp4"], added), "mp4")

    @pytest.mark.parametrize(
        ("added", "found"),
        [
            (box(b"free", b"hidden"), "free: padding that is not zero"),
            (box(b"mdat", b"hidden"), "mdat: bytes that belong to no sample"),
            (box(b"moof", b""), "moof: not allowed"),
            (packed(), ""),
        ],
    )
    def test_behind_a_film(self, films: dict[str, bytes], added: bytes, found: str) -> None:
        there = flaws(films["mp4"] + added, "mp4")
        assert found in there if found else there
        assert flaws(films["mkv"] + packed(), "mkv")
        assert "after RIFF: trailing bytes" in flaws(films["avi"] + packed(), "avi")

    def test_zeros_are_padding_and_nothing_else_is(self, films: dict[str, bytes]) -> None:
        film = films["mkv"]
        at = film.index(b"\xec\xd3") if b"\xec\xd3" in film else film.index(b"\xec")
        filled = film[: at + 9] + b"x" + film[at + 10 :]
        assert any("padding" in flaw or "0x" in flaw for flaw in flaws(filled, "mkv"))


SUFFIXES = ["jpg", "png", "webp", "tif", "bmp", "mp4", "mkv", "avi"]
HEADS = {
    "jpg": b"\xff\xd8\xff",
    "png": b"\x89PNG\r\n\x1a\n",
    "webp": b"RIFF\x40\0\0\0WEBP",
    "tif": b"II*\0\x08\0\0\0",
    "bmp": b"BM",
    "mp4": b"\0\0\0\x10ftypisom\0\0\2\0",
    "mkv": b"\x1a\x45\xdf\xa3",
    "avi": b"RIFF\x40\0\0\0AVI ",
}


@given(suffix=st.sampled_from(SUFFIXES), body=st.binary(max_size=400))
@settings(max_examples=400, deadline=None)
def test_hostile_bytes_are_flaws_and_no_exceptions(suffix: str, body: bytes) -> None:
    assert flaws(HEADS[suffix] + body, suffix)


@needs_ffmpeg
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_film_of_which_bytes_are_changed_raises_nothing(small_films: dict[str, bytes], data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from(sorted(small_films)))
    film = bytearray(small_films[suffix])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(film) - 1))
        film[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(film)))
    flaws(bytes(film[:cut]), suffix)
    flaws(bytes(film), suffix)


@pytest.fixture(scope="module")
def small_films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("small")
    source = make(folder / "s.mp4", "-c:v", "libx264", size="32x32", seconds="0.2")
    return {suffix: exported(source, suffix) for suffix in ("mp4", "mov", "mkv", "avi")}


def test_a_table_that_announces_more_than_the_file_takes_no_memory() -> None:
    huge = box(b"stsz", struct.pack(">III", 0, 1, 0xFFFFFFFF))
    tree = huge
    for kind in (b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        tree = box(kind, tree)
    assert flaws(box(b"ftyp", b"isom\0\0\2\0") + tree, "mp4")
