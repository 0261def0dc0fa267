"""The strict reader of tar, held to Python's own reader where both accept, and to a refusal where readers disagree."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.errors import ImageError
from veilbox.oci.image.tar import Entry, Kind, TarReader


def read_all(tar: bytes) -> list[tuple[Entry, bytes]]:
    reader = TarReader(io.BytesIO(tar).read)
    return [(entry, b"".join(reader.content())) for entry in reader]


def header(
    name: bytes = b"f", kind: bytes = b"0", size: bytes = b"00000000000", magic: bytes = b"ustar\x0000"
) -> bytes:
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = size.ljust(12, b"\0")
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[257:265] = magic
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def sized(content: bytes, kind: bytes, name: bytes = b"f") -> bytes:
    return header(name, kind, b"%011o" % len(content)) + padded(content)


def record(key: str, value: str) -> bytes:
    said = f" {key}={value}\n".encode()
    length = next(length for length in range(len(said), len(said) + 9) if len(str(length)) + len(said) == length)
    return str(length).encode() + said


END = bytes(1024)
PAX = header(kind=b"x", size=b"00000000000")


def test_names_come_from_pax_headers() -> None:
    tar = sized(record("path", "long/é") + record("mtime", "1.5"), b"x") + sized(b"abc", b"0") + END
    assert read_all(tar) == [(Entry(name="long/é", kind=Kind.FILE, size=3, mode=0o644, link=""), b"abc")]


def test_names_come_from_gnu_headers() -> None:
    tar = sized(b"n" * 200 + b"\0", b"L") + sized(b"t" * 150 + b"\0", b"K") + header(kind=b"2") + END
    [(entry, _)] = read_all(tar)
    assert (entry.name, entry.link, entry.kind) == ("n" * 200, "t" * 150, Kind.SYMLINK)


def test_content_that_nobody_wants_is_passed_over() -> None:
    tar = sized(b"x" * 1000, b"0", b"a") + sized(b"y", b"0", b"b") + END
    assert [entry.name for entry in TarReader(io.BytesIO(tar).read)] == ["a", "b"]


REFUSED = [
    ("nothing", b""),
    ("no end mark", sized(b"x", b"0")),
    ("half a header", header()[:300]),
    ("content cut", header(size=b"00000002000") + bytes(512)),
    ("something after the end mark", header() + END + header()),
    ("wrong checksum", header()[:10] + b"x" + header()[11:] + END),
    ("no magic", header(magic=bytes(8)) + END),
    ("base-256 size", header(size=b"\x80" + bytes(10) + b"\1") + END),
    ("size that is no number", header(size=b"-1") + END),
    ("huge pax header", header(kind=b"x", size=b"77777777777") + END),
    ("huge GNU name", header(kind=b"L", size=b"00000020000") + bytes(8192) + END),
    ("pax header for all that follows", sized(record("path", "x"), b"g") + header() + END),
    ("pax header at the end", sized(record("path", "x"), b"x") + END),
    ("two pax headers", sized(record("path", "x"), b"x") * 2 + header() + END),
    ("GNU and pax name", sized(record("path", "x"), b"x") + sized(b"y\0", b"L") + header() + END),
    ("pax says a thing twice", sized(record("path", "x") + record("path", "y"), b"x") + header() + END),
    ("pax says another size", sized(record("size", "512"), b"x") + header() + END),
    ("pax says a character set", sized(record("hdrcharset", "BINARY"), b"x") + header() + END),
    ("pax sparse file", sized(record("GNU.sparse.major", "1"), b"x") + header() + END),
    ("pax attribute", sized(record("SCHILY.xattr.user.a", "1"), b"x") + header() + END),
    ("pax length too long", sized(b"99 path=x\n", b"x") + header() + END),
    ("pax length zero", sized(b"0 path=x\n", b"x") + header() + END),
    ("pax length too short", sized(b"5 path=x\n", b"x") + header() + END),
    ("pax without a length", sized(b"path=x\n", b"x") + header() + END),
    ("GNU sparse file", header(kind=b"S") + END),
    ("folder with content", sized(header(b"hidden"), b"5") + END),
    ("hard link with content", sized(header(b"hidden"), b"1") + END),
    ("file with a folder's name", header(b"f/", b"\0") + END),
    ("name that is not UTF-8", header(b"\xff") + END),
    ("name that goes on after its end", header(b"a\0b") + END),
]  # fmt: skip


@pytest.mark.parametrize("tar", [tar for _, tar in REFUSED], ids=[name for name, _ in REFUSED])
def test_what_readers_disagree_about_is_refused(tar: bytes) -> None:
    with pytest.raises(ImageError):
        read_all(tar)


def test_a_huge_header_is_refused_before_it_is_read() -> None:
    asked: list[int] = []
    source = io.BytesIO(header(kind=b"x", size=b"77777777777") + bytes(1 << 20))

    def read(wanted: int) -> bytes:
        asked.append(wanted)
        return source.read(wanted)

    with pytest.raises(ImageError, match="extended header"):
        list(TarReader(read))
    assert asked == [512]


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=150)
FORMATS = st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])


@given(entries=st.lists(st.tuples(NAMES, st.binary(max_size=1100)), max_size=5), form=FORMATS)
def test_archives_of_other_writers_are_read(entries: Sequence[tuple[str, bytes]], form: int) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    assert [(entry.name, content) for entry, content in read_all(file.getvalue())] == list(entries)


@given(
    tar=st.lists(st.sampled_from([header(), PAX, END[:512], b"x" * 512, sized(record("path", "y"), b"x")])).map(
        b"".join
    )
)
def test_whatever_it_accepts_python_s_reader_lists_the_same(tar: bytes) -> None:
    try:
        ours = [entry.name for entry, _ in read_all(tar)]
    except ImageError:
        return
    with tarfile.open(fileobj=io.BytesIO(tar)) as theirs:
        assert theirs.getnames() == ours
