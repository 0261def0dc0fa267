"""verify lets one manifest pass where the policy wants one, and none where it does not."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from claim_workshop import SUFFIXES, claimed, store_in, written
from hypothesis import given, settings
from hypothesis import strategies as st

from veilbox.media.structure import Allowed, examine
from veilbox.media.structure.jumbf import MOST_MANIFEST

WANTED, UNWANTED = Allowed(c2pa=True), Allowed()
FILES = {suffix: claimed(written(suffix), suffix) for suffix in SUFFIXES}
STORE = store_in(FILES["png"])
CARRIERS = {"jpg": "APP11", "png": "caBX", "webp": "RIFF/C2PA", "mp4": "uuid", "mov": "uuid"}


def flaws(content: bytes, suffix: str, allowed: Allowed = WANTED) -> list[str]:
    """Path and word of each flaw."""
    return [f"{flaw.path}: {flaw.what}" for flaw in examine(io.BytesIO(content), suffix, allowed)]


def chunk(store: bytes) -> bytes:
    """A PNG chunk with a store."""
    return struct.pack(">I", len(store)) + b"caBX" + store + struct.pack(">I", zlib.crc32(b"caBX" + store))


def with_store(store: bytes, times: int = 1) -> bytes:
    """A PNG picture with a store."""
    source = written("png")
    return source[:33] + chunk(store) * times + source[33:]


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def superbox(kind: bytes, label: bytes, content: bytes) -> bytes:
    described = kind + bytes.fromhex("00110010800000aa00389b71") + b"\3" + label + b"\0"
    return box(b"jumb", box(b"jumd", described) + content)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_manifest_passes_where_it_is_wanted_and_nowhere_else(suffix: str) -> None:
    assert flaws(FILES[suffix], suffix) == []
    assert flaws(FILES[suffix], suffix, UNWANTED) == [f"{CARRIERS[suffix]}: not allowed"]
    assert flaws(written(suffix), suffix) == [": no C2PA manifest"]
    assert flaws(written(suffix), suffix, UNWANTED) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_second_one_does_not_pass(suffix: str) -> None:
    content = FILES[suffix]
    start = content.index(store_in(content)) - {"jpg": 12, "png": 8, "webp": 8}.get(suffix, 45)
    end = content.index(store_in(content)) + len(store_in(content)) + (4 if suffix == "png" else 0)
    end += (end - start) % 2 if suffix == "webp" else 0
    twice = bytearray(content[:end] + content[start:end] + content[end:])
    if suffix == "webp":
        twice[4:8] = (len(twice) - 8).to_bytes(4, "little")
    found = flaws(bytes(twice), suffix)
    assert f"{CARRIERS[suffix]}: not allowed" in found


def test_the_store_that_the_tests_change_passes_as_it_is() -> None:
    assert flaws(with_store(STORE), "png") == []


ASSERTIONS = superbox(b"c2as", b"c2pa.assertions", superbox(b"cbor", b"c2pa.hash.data", box(b"cbor", b"\xa0")))
PARTS = (
    ASSERTIONS,
    superbox(b"c2cl", b"c2pa.claim.v2", box(b"cbor", b"\xa0")),
    superbox(b"c2cs", b"c2pa.signature", box(b"cbor", b"\xa0")),
)
LABEL = b"urn:c2pa:01234567-89ab-cdef-0123-456789abcdef"


def store(*parts: bytes, label: bytes = LABEL, kind: bytes = b"c2ma", beside: bytes = b"") -> bytes:
    return superbox(b"c2pa", b"c2pa", superbox(kind, label, b"".join(parts)) + beside)


def assertion(kind: bytes, label: bytes, content: bytes) -> bytes:
    return superbox(b"c2as", b"c2pa.assertions", superbox(kind, label, content))


THUMBNAIL = superbox(b"\x40\xcb\x0c\x32", b"c2pa.thumbnail.claim", box(b"bfdb", b"\0image/jpeg\0") + box(b"bidb", b"x"))

# What is wrong -> the store, and the word for it.
BAD: list[tuple[str, Callable[[], bytes], str]] = [
    ("too large", lambda: STORE + bytes(MOST_MANIFEST), "larger than a manifest"),
    ("bytes behind it", lambda: STORE + bytes(9), "no JUMBF box"),
    ("two stores", lambda: STORE * 2, "not one manifest"),
    ("a source's manifest", lambda: store(*PARTS, beside=superbox(b"c2ma", LABEL, b"".join(PARTS))), "not one man"),
    ("no manifest", lambda: superbox(b"c2pa", b"c2pa", b""), "not one manifest"),
    ("another store", lambda: STORE.replace(b"c2pa\0", b"c2pb\0", 1), "not one manifest"),
    ("another label", lambda: store(*PARTS, label=b"urn:c2pa:street.mp4"), "not one manifest"),
    ("an update", lambda: store(*PARTS, kind=b"c2um"), "not one manifest"),
    ("a fourth part", lambda: store(*PARTS, superbox(b"c2vs", b"c2pa.credentials", b"")), "other parts"),
    ("a part twice", lambda: store(*PARTS, PARTS[1]), "other parts"),
    ("no signature", lambda: store(*PARTS[:2]), "other parts"),
    ("a thumbnail", lambda: store(superbox(b"c2as", b"c2pa.assertions", THUMBNAIL), *PARTS[1:]), "an assertion"),
    ("EXIF", lambda: store(assertion(b"json", b"stds.exif", box(b"json", b"{}")), *PARTS[1:]), "an assertion"),
    (
        "a file as an assertion",
        lambda: store(assertion(b"cbor", b"c2pa.hash.data", box(b"bidb", b"x")), *PARTS[1:]),
        "not a box of CBOR",
    ),
    (
        "a box behind the CBOR",
        lambda: store(assertion(b"cbor", b"c2pa.hash.data", box(b"cbor", b"x") + box(b"free", b"x")), *PARTS[1:]),
        "not a box of CBOR",
    ),
    ("no boxes", lambda: b"x" * 100, "no JUMBF box"),
    ("empty", lambda: b"", "not one manifest"),
]


def test_the_parts_that_the_tests_change_pass_as_they_are() -> None:
    assert flaws(with_store(store(*PARTS)), "png") == []


@pytest.mark.parametrize(("what", "made", "word"), BAD, ids=[one[0] for one in BAD])
def test_nothing_else_passes_in_its_place(what: str, made: Callable[[], bytes], word: str) -> None:
    del what
    found = flaws(with_store(made()), "png")
    assert word in found[0]
    assert all(one.startswith("caBX") for one in found)


def test_it_stands_where_c2pa_puts_it() -> None:
    jpg, png, mp4 = FILES["jpg"], written("png"), FILES["mp4"]
    inner = store_in(jpg)
    segment = jpg[jpg.index(inner) - 12 : jpg.index(inner) + len(inner)]
    assert flaws(written("jpg")[:-2] + segment + b"\xff\xd9", "jpg")[0] == "APP11: not allowed"
    assert flaws(png[:-12] + chunk(STORE) + png[-12:], "png")[0] == "caBX: not allowed"
    start = mp4.index(store_in(mp4)) - 45
    moved = mp4[:start] + mp4[start + 45 + len(store_in(mp4)) :] + mp4[start : start + 45 + len(store_in(mp4))]
    assert "uuid: not allowed" in flaws(moved, "mp4")


def test_a_box_of_another_user_type_is_none() -> None:
    at = FILES["mp4"].index(b"uuid") + 4
    changed = bytearray(FILES["mp4"])
    changed[at] ^= 1
    assert flaws(bytes(changed), "mp4") == ["uuid: not allowed", ": no C2PA manifest"]


@settings(max_examples=200)
@given(st.integers(0, len(STORE) - 1), st.binary(max_size=40))
def test_whatever_stands_there_raises_nothing(at: int, content: bytes) -> None:
    flaws(with_store(STORE[:at] + content + STORE[at + len(content) :]), "png")
