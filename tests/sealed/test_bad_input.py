"""Every bad file that the main job must survive: a correct result, or an error that names the file and the reason."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from footage_workshop import X264, digest, files_below, film, frame_times, needs_ffmpeg, probe, tool
from PIL import Image
from sealed_workshop import VEILBOX, RunVeilbox

from veilbox.core.errors import printable

pytestmark = [pytest.mark.sealed, needs_ffmpeg]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount or to drop a capability")

B_FRAMES = (*X264, "-bf", "2", "-g", "12")
SHORT = "0.4"  # ten frames


@dataclass(frozen=True, kw_only=True)
class Case:
    """One file of a mixed folder.

    Attributes:
        make: Writes the file.
        error: The error's class in the report; empty if an output is due.
        says: What the error's message must say, a regular expression.
        holds: What the output must be: facts of the report, and of Pillow or ffprobe.
    """

    make: Callable[[Path], object]
    error: str = ""
    says: str = ""
    holds: dict[str, object] = field(default_factory=dict)


def _gradient(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A picture without a face."""
    ramp = np.add.outer(np.arange(height), np.arange(width)) % 256
    return Image.fromarray(ramp.astype(np.uint8)).convert(mode)


def _still(width: int, height: int, mode: str = "RGB", **options: Any) -> Callable[[Path], object]:
    return lambda path: _gradient(width, height, mode).save(path, **options)


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _film(*arguments: str, size: str = "320x240", seconds: str = SHORT) -> Callable[[Path], object]:
    return lambda path: film(path, *arguments, size=size, seconds=seconds)


def _truncated(make: Callable[[Path], object], share: float = 0.6) -> Callable[[Path], object]:
    def cut(path: Path) -> None:
        make(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return cut


def _corrupt_middle(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def spoil(path: Path) -> None:
        make(path)
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 200] = random.Random(5).randbytes(200)  # noqa: S311
        path.write_bytes(content)

    return spoil


def _without_frames(path: Path) -> None:
    film(path, *X264, "-movflags", "+frag_keyframe+empty_moov")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moof") - 4])


def _duration_lies(path: Path) -> None:
    """Ten times the film's length in every header that tells it (ISO/IEC 14496-12, version 0 of each box)."""
    film(path, *X264, seconds=SHORT)
    content = bytearray(path.read_bytes())
    for box, offset in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        at = content.index(box) + offset
        (told,) = struct.unpack(">I", content[at : at + 4])
        content[at : at + 4] = struct.pack(">I", told * 10)
    path.write_bytes(content)


def _frame_count_lies(path: Path) -> None:
    """AVIMAINHEADER.dwTotalFrames and AVISTREAMHEADER.dwLength say 9999."""
    film(path, "-c:v", "mpeg4", seconds=SHORT)
    content = bytearray(path.read_bytes())
    for chunk, offset in ((b"avih", 24), (b"strh", 40)):
        at = content.index(chunk) + offset
        content[at : at + 4] = struct.pack("<I", 9999)
    path.write_bytes(content)


def _size_lies(path: Path) -> None:
    """A JPEG's frame header (SOF0) says 16384x16384, its data holds 64x64."""
    written = io.BytesIO()
    _gradient(64, 64).save(written, "JPEG")
    content = bytearray(written.getvalue())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", 16384, 16384)
    path.write_bytes(content)


def _changing_resolution(path: Path) -> None:
    parts = []
    for index, size in enumerate(("320x240", "160x120")):
        part = path.with_name(f".{path.stem}{index}.h264")
        film(part, *X264, "-bf", "0", size=size, seconds=SHORT)
        parts.append(part)
    joined = path.with_name(f".{path.stem}.h264")
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    tool("ffmpeg", "-v", "error", "-y", "-i", joined, "-c", "copy", path)
    for part in (*parts, joined):
        part.unlink()


def _huge_png(width: int, height: int) -> Callable[[Path], object]:
    """All black, one bit a pixel: large when decoded only."""

    def write(path: Path) -> None:
        def chunk(kind: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        rows = zlib.compress(bytes((width // 8 + 1) * height), 1)
        header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
        parts = (chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b""))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))

    return write


def _animated_webp(path: Path) -> None:
    first, second = _gradient(64, 64), _gradient(64, 64).rotate(90)
    first.save(path, save_all=True, append_images=[second], duration=100)


def _exif_rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    _gradient(96, 64).save(path, exif=exif)


def _sixteen_bit(path: Path) -> None:
    ramp = np.add.outer(np.arange(64), np.arange(96)).astype("<u2") * 257
    Image.fromarray(ramp).save(path)


def _film_named_picture(path: Path) -> None:
    made = path.with_suffix(".mp4")
    film(made, *X264, seconds=SHORT)
    made.rename(path)


TEN_FRAMES: dict[str, object] = {"kind": "film", "frames": 10, "width": 320, "height": 240}

CASES: dict[str, Case] = {
    "good.png": Case(make=_still(96, 64), holds={"size": (96, 64), "mode": "RGB"}),
    "good.mp4": Case(make=_film(*B_FRAMES), holds=TEN_FRAMES),
    "empty.mp4": Case(make=_bytes(b""), error="SourceUnsupported", says="the file is empty"),
    "empty.jpg": Case(make=_bytes(b""), error="SourceUnsupported", says="the file is empty"),
    "text.mp4": Case(make=_bytes(b"not a film\n" * 99), error="SourceUnsupported", says="got text"),
    "playlist.mp4": Case(
        make=_bytes(b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n"), error="SourceUnsupported", says="got text"
    ),
    "truncated.mp4": Case(
        make=_truncated(_film(*B_FRAMES, "-movflags", "+faststart")), error="SourceCorrupt", says="cut short"
    ),
    "no-index.mp4": Case(make=_truncated(_film(*B_FRAMES)), error="SourceCorrupt", says="cut short|no index"),
    "truncated.mkv": Case(make=_truncated(_film(*B_FRAMES)), error="SourceCorrupt", says="cut short"),
    "truncated.avi": Case(make=_truncated(_film("-c:v", "mpeg4")), error="SourceCorrupt", says="cut short"),
    "truncated.webm": Case(
        make=_truncated(_film("-c:v", "libvpx-vp9", "-deadline", "realtime")), error="SourceCorrupt", says="cut short"
    ),
    "truncated.jpg": Case(make=_truncated(_still(320, 240)), error="SourceCorrupt", says="does not decode|broken"),
    "truncated.png": Case(make=_truncated(_still(320, 240)), error="SourceCorrupt", says="does not decode|broken"),
    "truncated.webp": Case(make=_truncated(_still(320, 240)), error="SourceCorrupt", says="does not decode|broken"),
    "truncated.tiff": Case(make=_truncated(_still(320, 240)), error="SourceCorrupt", says="does not decode|broken"),
    "truncated.bmp": Case(make=_truncated(_still(320, 240)), error="SourceCorrupt", says="does not decode|broken"),
    "corrupt-middle.mp4": Case(
        make=_corrupt_middle(_film(*B_FRAMES)), error="SourceCorrupt", says=r"does not decode at frame \d+"
    ),
    "corrupt-middle.mkv": Case(
        make=_corrupt_middle(_film(*B_FRAMES)), error="SourceCorrupt", says=r"does not decode at frame \d+|structure"
    ),
    "corrupt-middle.png": Case(make=_corrupt_middle(_still(320, 240)), error="SourceCorrupt", says="broken"),
    "one.png": Case(make=_still(1, 1), holds={"size": (1, 1), "mode": "RGB"}),
    "one.jpg": Case(make=_still(1, 1), holds={"size": (1, 1), "mode": "RGB"}),
    "line.png": Case(make=_still(4000, 1), holds={"size": (4000, 1)}),
    "huge.png": Case(
        make=_huge_png(16384, 16384), error="SourceUnsupported", says="picture size out of bounds.*got 16384x16384"
    ),
    "odd.png": Case(make=_still(641, 451), holds={"size": (641, 451)}),
    "odd.jpg": Case(make=_still(641, 451), holds={"size": (641, 451)}),
    "odd.webp": Case(make=_still(641, 451, lossless=True), holds={"size": (641, 451)}),
    "odd.mp4": Case(
        make=_film(*X264, "-pix_fmt", "yuv444p", size="641x451"), holds={"width": 641, "height": 451, "frames": 10}
    ),
    "odd.webm": Case(
        make=_film("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", size="641x451"),
        holds={"width": 641, "height": 451, "frames": 10},
    ),
    "tiny.mp4": Case(make=_film(*X264, "-pix_fmt", "yuv444p", size="2x2"), holds={"width": 2, "height": 2}),
    "ten-bit.mp4": Case(
        make=_film("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le"),
        holds={**TEN_FRAMES, "pix_fmt": "yuv420p10le"},
    ),
    "444.mp4": Case(make=_film(*X264, "-pix_fmt", "yuv444p"), holds={**TEN_FRAMES, "pix_fmt": "yuv444p"}),
    "422.mkv": Case(make=_film(*X264, "-pix_fmt", "yuv422p"), holds={**TEN_FRAMES, "pix_fmt": "yuv422p"}),
    "gray.mp4": Case(make=_film(*X264, "-pix_fmt", "gray"), holds=TEN_FRAMES),
    "gray.png": Case(make=_still(96, 64, "L"), holds={"size": (96, 64), "mode": "L"}),
    "gray.jpg": Case(make=_still(96, 64, "L"), holds={"size": (96, 64), "mode": "L"}),
    "16-bit.png": Case(make=_sixteen_bit, holds={"size": (96, 64), "mode": "I;16"}),
    "alpha.png": Case(make=_still(96, 64, "RGBA"), holds={"size": (96, 64), "mode": "RGBA"}),
    "alpha.webp": Case(make=_still(96, 64, "RGBA"), holds={"size": (96, 64)}),
    "palette.png": Case(make=_still(96, 64, "P"), holds={"size": (96, 64)}),
    "cmyk.jpg": Case(make=_still(96, 64, "CMYK"), holds={"size": (96, 64), "mode": "RGB"}),
    "animated.webp": Case(
        make=_animated_webp, error="SourceUnsupported", says="several pictures.*got 2 frames.*Convert the animation"
    ),
    "rotated.jpg": Case(make=_exif_rotated, holds={"size": (64, 96)}),
    "zero-frames.mp4": Case(make=_without_frames, error="SourceUnsupported", says="no frames|no video"),
    "duration-lies.mp4": Case(make=_duration_lies, holds=TEN_FRAMES),
    "count-lies.avi": Case(make=_frame_count_lies, holds=TEN_FRAMES),
    "size-lies.jpg": Case(make=_size_lies, error="SourceUnsupported", says="picture size out of bounds"),
    "changing.mkv": Case(
        make=_changing_resolution,
        error="SourceUnsupported",
        says="changes its resolution at frame 10.*expected 320x240, got 160x120",
    ),
    "film.png": Case(make=_film_named_picture, error="UsageError", says="cannot be written as a picture"),
    " spaced name .png": Case(make=_still(96, 64), holds={"size": (96, 64)}),
    "new\nline.png": Case(make=_still(96, 64), holds={"size": (96, 64)}),
    "bad\nname.png": Case(make=_bytes(b""), error="SourceUnsupported", says=r"bad\\nname\.png: the file is empty"),
    "-o.png": Case(make=_still(96, 64), holds={"size": (96, 64)}),
    "--help.mp4": Case(make=_film(*X264), holds=TEN_FRAMES),
    os.fsdecode(b"latin-\xe9\xff.png"): Case(make=_still(96, 64), holds={"size": (96, 64)}),
    os.fsdecode(b"bad-\xe9\xff.png"): Case(
        make=_bytes(b""), error="SourceUnsupported", says=r"bad-\\xe9\\xff\.png: the file is empty"
    ),
    "%s{0}$(id);'\".png": Case(make=_still(96, 64), holds={"size": (96, 64)}),
    "UPPER.PNG": Case(make=_still(96, 64), holds={"size": (96, 64)}),
}
# What a folder holds besides; none of it is a source, and none of it may stop the job or be followed.
SKIPPED = {"notes.txt", "pipe.mp4", "socket.mp4", "link.png", "dangling.png"}


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """A folder of good and bad files after its job."""

    folder: Path
    output: Path
    status: int
    stderr: str
    report: dict[str, Any]
    before: dict[Path, str]

    @property
    def failures(self) -> dict[str, dict[str, Any]]:
        """By the file's name."""
        return {os.path.basename(failure["source"]): failure for failure in self.report["failures"]}  # noqa: PTH119

    @property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """By the file's name."""
        return {os.path.basename(output["source"]): output for output in self.report["outputs"]}  # noqa: PTH119


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, veilbox: RunVeilbox) -> Iterator[Mixed]:
    root = tmp_path_factory.mktemp("mixed")
    folder, output = root / "sources", root / "hidden"
    (folder / "deep" / "folder.mp4").mkdir(parents=True)
    for name, case in CASES.items():
        case.make(folder / name)
    _gradient(32, 32).save(folder / "deep" / "folder.mp4" / "inner.png")
    (folder / "notes.txt").write_text("no media")
    os.mkfifo(folder / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "socket.mp4"))
    (folder / "link.png").symlink_to(folder / "good.png")
    (folder / "dangling.png").symlink_to(root / "nowhere.png")
    before = _digests(folder)
    run = veilbox("anonymize", folder, "-o", output, "--film-side", "64", "--json", timeout_s=170)
    yield Mixed(
        folder=folder, output=output, status=run.status, stderr=run.stderr, report=json.loads(run.stdout), before=before
    )
    shutil.rmtree(root)


def _digests(folder: Path) -> dict[Path, str]:
    return {path: digest(path) for path in files_below(folder) if path.is_file() and not path.is_symlink()}


FAILING = [name for name, case in CASES.items() if case.error]
WORKING = [name for name, case in CASES.items() if not case.error]


@pytest.mark.parametrize("name", FAILING, ids=ascii)
def test_a_bad_file_fails_with_its_name_and_reason(mixed: Mixed, name: str) -> None:
    failure = mixed.failures[name]
    assert failure["error"] == CASES[name].error
    assert re.search(CASES[name].says, failure["message"])
    assert failure["message"].isprintable()
    assert printable(name) in failure["message"]
    assert not os.path.lexists(mixed.output / name)


@pytest.mark.parametrize("name", WORKING, ids=ascii)
def test_a_strange_file_gives_a_correct_result(mixed: Mixed, name: str) -> None:
    assert name not in mixed.failures
    output, path = mixed.outputs[name], mixed.output / name
    assert output["digest"] == digest(path)
    assert output["bytes"] == path.stat().st_size
    actual = {**output, **(_film_facts(path) if output["kind"] == "film" else _image_facts(path))}
    assert {fact: actual[fact] for fact in CASES[name].holds} == CASES[name].holds


def _film_facts(path: Path) -> dict[str, object]:
    stream = probe(path, "-show_streams")["streams"][0]
    facts: dict[str, object] = {fact: stream[fact] for fact in ("width", "height", "pix_fmt")}
    return {**facts, "frames": len(frame_times(path))}


def _image_facts(path: Path) -> dict[str, object]:
    with Image.open(path) as image:
        image.load()
        return {"size": image.size, "mode": image.mode}


def test_the_others_go_on_and_the_end_counts_them(mixed: Mixed) -> None:
    assert mixed.status == 9
    assert set(mixed.failures) == set(FAILING)
    assert set(mixed.outputs) == {*WORKING, "inner.png"}
    assert f"{len(FAILING)} of {len(CASES) + 1} sources gave no output" in mixed.stderr
    assert mixed.report["skipped"] == len(SKIPPED)


def test_nothing_but_the_outputs_is_there(mixed: Mixed) -> None:
    wanted = {mixed.output / name for name in WORKING} | {mixed.output / "deep" / "folder.mp4" / "inner.png"}
    assert files_below(mixed.output) == wanted


def test_the_sources_are_unchanged(mixed: Mixed) -> None:
    assert _digests(mixed.folder) == mixed.before


def test_pixels_of_a_rotated_photograph_stand_upright(mixed: Mixed) -> None:
    with Image.open(mixed.folder / "rotated.jpg") as source, Image.open(mixed.output / "rotated.jpg") as output:
        upright = np.asarray(source.transpose(Image.Transpose.ROTATE_270)).astype(int)
        assert np.abs(np.asarray(output).astype(int) - upright).max() <= 4
        assert not output.getexif()


def test_opacity_and_depth_stay(mixed: Mixed) -> None:
    for name in ("alpha.png", "16-bit.png", "gray.png", "one.png", "line.png", "odd.png", "odd.webp"):
        with Image.open(mixed.folder / name) as source, Image.open(mixed.output / name) as output:
            assert np.array_equal(np.asarray(source), np.asarray(output)), name


# One file, one run: what the exit status says, and that nothing appears. Placeholders are files of `desk`.
@dataclass(frozen=True, kw_only=True)
class Refusal:
    """One run with one input that must fail."""

    source: str
    output: str = "out/new.png"
    options: tuple[str, ...] = ()
    status: int
    says: str


REFUSALS: dict[str, Refusal] = {
    "empty": Refusal(source="empty.mp4", output="out/new.mp4", status=3, says="empty.mp4: the file is empty"),
    "truncated film": Refusal(source="cut.mp4", output="out/new.mp4", status=3, says="cut.mp4: the film is cut short"),
    "corrupt middle": Refusal(
        source="spoilt.mp4", output="out/new.mp4", status=3, says="spoilt.mp4: the film does not decode at frame"
    ),
    "missing file": Refusal(source="nowhere.png", status=3, says="nowhere.png: no such file or folder"),
    "missing folder": Refusal(source="nowhere/a.png", status=3, says="nowhere/a.png: no such file or folder"),
    "link to nowhere": Refusal(source="dangling.png", status=3, says="dangling.png: no such file or folder"),
    "link to itself": Refusal(source="loop.png", status=3, says="loop.png: no such file or folder"),
    "name too long": Refusal(
        source="n" * 300 + ".png", status=3, says="nnn.*: cannot be looked up.*File name too long"
    ),
    "folder without media": Refusal(source="nothing", output="out", status=3, says="nothing: holds no image or film"),
    "fifo": Refusal(source="pipe.mp4", output="out/new.mp4", status=3, says="pipe.mp4: is no regular file"),
    "socket": Refusal(source="socket.mp4", output="out/new.mp4", status=3, says="socket.mp4: is no regular file"),
    "device": Refusal(source="/dev/zero", output="out/new.mp4", status=3, says="/dev/zero: is no regular file"),
    "unreadable content": Refusal(
        source="/proc/self/mem", status=3, says="/proc/self/mem: cannot be read.*Input/output"
    ),
    "output folder missing": Refusal(
        source="good.png", output="nowhere/new.png", status=4, says="nowhere: the folder does not exist"
    ),
    "a file for the output folder": Refusal(
        source="good.png", output="taken.png/new.png", status=4, says="taken.png: the folder does not exist"
    ),
    "output name too long": Refusal(
        source="good.png", output="out/" + "n" * 300 + ".png", status=4, says="nnn.*: cannot be looked up.*too long"
    ),
    "output exists": Refusal(
        source="good.png", output="taken.png", status=2, says="taken.png: exists already.*--overw"
    ),
    "output is the input": Refusal(source="good.png", output="good.png", status=2, says="the output is one of the inp"),
    "output is the input by another way": Refusal(
        source="good.png", output="out/../good.png", status=2, says="the output is one of the inputs"
    ),
    "output is a hard link to the input": Refusal(
        source="good.png", output="hard.png", status=2, says="hard.png: the output is one of the inputs"
    ),
    "output is a symbolic link to the input": Refusal(
        source="good.png", output="soft.png", status=2, says="soft.png: the output is one of the inputs"
    ),
    "input is a symbolic link to the output": Refusal(
        source="soft.png", output="good.png", status=2, says="good.png: the output is one of the inputs"
    ),
    "output folder holds the input": Refusal(
        source="good.png", output=".", status=2, says="good.png: the output is one of the inputs"
    ),
    "folder into itself": Refusal(source="folder", output="folder", status=2, says="the output is one of the inputs"),
    "output of an unknown kind": Refusal(
        source="good.png", output="out/new.txt", status=2, says="new.txt: output suff"
    ),
    "output without a suffix": Refusal(
        source="good.png", output="out/new", status=2, says="new: output suffix not han"
    ),
    "picture as film": Refusal(source="good.png", output="out/new.mp4", status=2, says="cannot be written as a film"),
    "film as picture": Refusal(source="good.mp4", status=2, says="cannot be written as a picture"),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with one of everything."""
    root = tmp_path_factory.mktemp("desk")
    for name in ("out", "nothing", "folder"):
        (root / name).mkdir()
    for name in ("good.png", "taken.png", "folder/inner.png"):
        _gradient(96, 64).save(root / name)
    for name, make in (
        ("good.mp4", _film(*B_FRAMES)),
        ("empty.mp4", _bytes(b"")),
        ("cut.mp4", _truncated(_film(*B_FRAMES, "-movflags", "+faststart"))),
        ("spoilt.mp4", _corrupt_middle(_film(*B_FRAMES))),
    ):
        make(root / name)
    (root / "hard.png").hardlink_to(root / "good.png")
    (root / "soft.png").symlink_to("good.png")
    (root / "dangling.png").symlink_to("nowhere.png")
    (root / "loop.png").symlink_to("loop.png")
    os.mkfifo(root / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(root / "socket.mp4"))
    yield root
    shutil.rmtree(root)


@pytest.mark.parametrize("name", REFUSALS)
def test_one_bad_file_is_refused_with_its_status(veilbox: RunVeilbox, desk: Path, name: str) -> None:
    _assert_refused(veilbox, desk, REFUSALS[name])


@pytest.mark.parametrize("name", [name for name in REFUSALS if "output is" in name or "into itself" in name])
def test_an_input_is_never_overwritten(veilbox: RunVeilbox, desk: Path, name: str) -> None:
    _assert_refused(veilbox, desk, REFUSALS[name], "--overwrite")


def _assert_refused(veilbox: RunVeilbox, desk: Path, case: Refusal, *options: str) -> None:
    listed, before = files_below(desk), _digests(desk)
    run = veilbox("anonymize", desk / case.source, "-o", f"{desk}/{case.output}", "--quiet", *options)
    assert run.status == case.status, run.stderr
    assert re.search(case.says, run.stderr)
    assert len(run.stderr.splitlines()) == 1
    assert files_below(desk) == listed
    assert _digests(desk) == before


def _bare(script: str, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a mount namespace of its own; `$veilbox` is the program."""
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, env={**os.environ, "veilbox": str(VEILBOX)}
    )


@needs_root
@pytest.mark.usefixtures("sealed")
def test_a_read_only_output_folder(desk: Path, tmp_path: Path) -> None:
    run = _bare(
        'mount -t tmpfs -o ro none "$1" && "$veilbox" anonymize "$2" -o "$1/new.png"', tmp_path, desk / "good.png"
    )
    assert run.returncode == 4
    assert "new.png: cannot write the output (got Read-only file system). Choose a folder on a writable" in run.stderr


# By the disk itself, or by the bound that was drawn from what was free when the job began.
FULL = tuple(
    f"the disk is full (got {reason}). Free some space and start again."
    for reason in ("No space left on device", "File too large")
)


@needs_root
@pytest.mark.usefixtures("sealed")
def test_a_full_disk_fails_what_does_not_fit(tmp_path: Path) -> None:
    folder, output, report = tmp_path / "in", tmp_path / "out", tmp_path / "report.json"
    folder.mkdir()
    output.mkdir()
    noise = np.random.default_rng(5).integers(0, 256, (600, 800, 3), np.uint8)
    Image.fromarray(noise).save(folder / "a-large.png")
    film(folder / "b-large.mp4", *X264, "-qp", "1", size="640x480")
    _gradient(96, 64).save(folder / "c-small.png")
    run = _bare(
        'mount -t tmpfs -o size=256k none "$2" && "$veilbox" anonymize "$1" -o "$2" --crf 0 --report "$3"; '
        'status=$?; ls -A "$2" >&2; "$veilbox" anonymize "$1/a-large.png" -o "$2/single.png" >&2; '
        'echo "single $?" >&2; ls -A "$2" >&2; exit $status',
        folder,
        output,
        report,
    )
    assert run.returncode == 9, run.stderr
    document = json.loads(report.read_text())
    assert [Path(released["path"]).name for released in document["outputs"]] == ["c-small.png"]
    failures = {Path(failure["source"]).name: failure for failure in document["failures"]}
    assert set(failures) == {"a-large.png", "b-large.mp4"}
    for name, failure in failures.items():
        assert failure["error"] == "OutputError"
        assert failure["message"] in {f"{output}/{name}: {full}" for full in FULL}
    first, said, *rest = run.stderr.splitlines()[1:]
    assert said in {f"veilbox: {output}/single.png: {full}" for full in FULL}
    assert [first, *rest] == ["c-small.png", "single 4", "c-small.png"]


# Root reads everything, so it lays down the capability to do so.
_AS_ANYBODY = "exec setpriv --bounding-set=-dac_override,-dac_read_search "


@needs_root
@pytest.mark.usefixtures("sealed")
def test_folders_that_cannot_be_listed_are_told_before_anything_runs(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "shut").mkdir(parents=True)
    _gradient(96, 64).save(folder / "good.png")
    _gradient(96, 64).save(folder / "shut" / "inner.png")
    (folder / "shut").chmod(0)
    for source in (folder / "shut" / "inner.png", folder):
        run = _bare(_AS_ANYBODY + '"$veilbox" anonymize "$1" -o "$2"', source, tmp_path / "new.png")
        assert run.returncode == 3, run.stderr
        assert re.search(r"shut(/inner\.png)?: cannot be looked up \(got Permission denied\)", run.stderr)
        assert files_below(tmp_path) == {folder / "good.png", folder / "shut" / "inner.png"}


@needs_root
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.touch(mode=0)
    script = (
        "import sys, pathlib; from veilbox.orchestrate.source import open_source_file as opened; "
        "opened(pathlib.Path(sys.argv[1]), sys.argv[1]).__enter__()"
    )
    run = _bare(_AS_ANYBODY + '"$1" -c "$2" "$3"', sys.executable, script, path)
    assert f"SourceMissing: {path}: cannot be read (got Permission denied)." in run.stderr


@pytest.mark.usefixtures("sealed")
def test_names_given_one_by_one(tmp_path: Path) -> None:
    names = [" spaced .png", "new\nline.png", "-o.png", "--help.png", os.fsdecode(b"\xe9\xff.png")]
    for name in names:
        _gradient(96, 64).save(tmp_path / name)
    (tmp_path / "out").mkdir()
    run = _bare('exec "$veilbox" anonymize -o out -- "$@"', *names, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert {path.name for path in files_below(tmp_path / "out")} == set(names)
    run = _bare('exec "$veilbox" anonymize --output=-o.webp -- "$1"', "-o.png", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "-o.webp").exists()


def test_the_same_file_twice_is_refused(veilbox: RunVeilbox, desk: Path) -> None:
    run = veilbox("anonymize", desk / "good.png", desk / "good.png", "-o", desk / "out")
    assert run.status == 2
    assert "two inputs would have the same output" in run.stderr
    assert not files_below(desk / "out")


def test_overwriting_replaces_the_file_whole_or_not_at_all(veilbox: RunVeilbox, desk: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.png"
    target.write_bytes(b"old")
    assert veilbox("anonymize", desk / "spoilt.mp4", "-o", target.with_suffix(".mp4"), "--overwrite").status == 3
    assert files_below(tmp_path) == {target}
    assert target.read_bytes() == b"old"
    assert veilbox("anonymize", desk / "good.png", "-o", target, "--overwrite").status == 0
    assert files_below(tmp_path) == {target}
    with Image.open(target) as image:
        assert image.size == (96, 64)
