"""What a policy lets a film say about itself comes through as typed values; a stranger sees whatever was added."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_workshop import flaws, make, needs_ffmpeg, through, told

from veilbox.core.metadata import PRESETS, TAGS, Metadata, MetadataField, NotOurs, Preset, Value, fields_of
from veilbox.media.film_tags import ISO_ZERO, parsed_user_data, since, user_data, values_of, words_for

pytestmark = needs_ffmpeg
SUFFIXES = ("mp4", "mov", "mkv", "webm")
ENCODERS = {"webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime")}
SECRET = b"nobody may read this"
WORDS = {
    "creation_time": "2024-05-06T07:08:09.5Z",
    "com.apple.quicktime.make": "Maker",
    "model": "One é",
    "title": "a title",
    "artist": "A. Person",
    "copyright": "somebody",
    "software": "Editor 3",
    "comment": SECRET.decode(),
    "location": "+52.5204+013.4050/",
    "com.apple.quicktime.location.ISO6709": "+52.5204+013.4050/",
    "serial": SECRET.decode(),
}
RESEARCH: dict[str, Value] = {
    "Make": "Maker",
    "Model": "One é",
    "DateTimeOriginal": "2024:05:06 07:00:00",
    "OffsetTimeOriginal": "+00:00",
}
ALL: dict[str, Value] = RESEARCH | {
    "DateTimeOriginal": "2024:05:06 07:08:09",
    "ImageDescription": "a title",
    "Software": "Editor 3",
    "Artist": "A. Person",
    "Copyright": "somebody",
}
EXPECTED: dict[Preset, dict[str, Value]] = {
    Preset.NONE: {},
    Preset.ORIENTATION_AND_COLOUR: {},
    Preset.RESEARCH: RESEARCH,
    Preset.KEEP: ALL,
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Films that say a lot about themselves, of FFmpeg's own program."""
    folder = tmp_path_factory.mktemp("said")
    words = [part for name, text in WORDS.items() for part in ("-metadata", f"{name}={text}")]
    mdta = ("-movflags", "use_metadata_tags")
    return {
        suffix: make(
            folder / f"film.{suffix}",
            *ENCODERS.get(suffix, ("-c:v", "libx264")),
            *words,
            *(mdta if suffix in ("mp4", "mov") else ()),
            size="64x48",
            seconds="0.2",
        ).read_bytes()
        for suffix in SUFFIXES
    }


@pytest.fixture(scope="module")
def kept(sources: dict[str, bytes]) -> dict[str, bytes]:
    """What export makes of them under `keep`."""
    return {suffix: through(sources[suffix], suffix, PRESETS[Preset.KEEP])[1] for suffix in SUFFIXES}


@pytest.mark.parametrize("preset", Preset)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_preset_keeps_its_fields_and_nothing_else(sources: dict[str, bytes], suffix: str, preset: Preset) -> None:
    allowed = fields_of(preset)
    info, made = through(sources[suffix], suffix, allowed)
    assert dict(info.metadata.tags) == EXPECTED[preset]
    assert told(made).word == info.metadata.word
    assert flaws(made, suffix, allowed) == []
    assert SECRET not in made
    assert b"52.5204" not in made


def test_quicktimes_own_words_are_read(tmp_path: Path) -> None:
    """A MOV without keys: text boxes of the user data."""
    path = make(tmp_path / "a.mov", "-metadata", "make=Maker", "-metadata", "model=One", size="64x48", seconds="0.1")
    assert b"\xa9mak" in path.read_bytes()
    info, made = through(path.read_bytes(), "mkv", PRESETS[Preset.RESEARCH])
    assert dict(info.metadata.tags) == {"Make": "Maker", "Model": "One"} == dict(told(made).tags)
    assert flaws(made, "mkv", PRESETS[Preset.RESEARCH]) == []


def test_a_time_alone_needs_no_words(sources: dict[str, bytes]) -> None:
    info, made = through(sources["mkv"], "mp4", [MetadataField.CAPTURE_HOUR])
    assert info.metadata.tags == tuple(since(ISO_ZERO, _seconds(7)).items()) == told(made).tags
    assert flaws(made, "mp4", [MetadataField.CAPTURE_HOUR]) == []
    assert b"creation_time" not in made


def test_avi_keeps_nothing(sources: dict[str, bytes]) -> None:
    info, made = through(sources["mp4"], "avi", PRESETS[Preset.KEEP])
    assert not info.metadata
    assert flaws(made, "avi", PRESETS[Preset.KEEP]) == []


@pytest.mark.parametrize("preset", [Preset.NONE, Preset.ORIENTATION_AND_COLOUR, Preset.RESEARCH])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_more_than_the_policy_lets_stay_is_found(kept: dict[str, bytes], suffix: str, preset: Preset) -> None:
    assert flaws(kept[suffix], suffix, fields_of(preset))


def _seconds(hour: int, minute: int = 0, second: int = 0) -> int:
    return int((datetime(2024, 5, 6, hour, minute, second, tzinfo=UTC) - ISO_ZERO).total_seconds())


def _date(kind: bytes, seconds: int) -> Callable[[bytes], bytes]:
    """The first of two dates of a box becomes another."""

    def edit(film: bytes) -> bytes:
        at = film.index(kind) + 8
        return film[:at] + struct.pack(">I", seconds) + film[at + 4 :]

    return edit


def _swap(was: bytes, becomes: bytes) -> Callable[[bytes], bytes]:
    def edit(film: bytes) -> bytes:
        assert was in film
        return film.replace(was, becomes)

    return edit


def _nudged(film: bytes) -> bytes:
    at = film.index(bytes.fromhex("446188")) + 10
    return film[:at] + bytes([film[at] ^ 1]) + film[at + 1 :]


EDITS: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "a date that was changed": ("mp4", _date(b"mdhd", _seconds(7, 8, 10)), "moov/trak/mdia/mdhd: a date"),
    "dates of a track": ("mov", _date(b"tkhd", 0), "moov/trak/tkhd: a date"),
    "a time that contradicts": ("mp4", _swap(b"07:08:09.0", b"07:08:08.0"), "moov: dates that differ"),
    "a fraction of a second": ("mp4", _swap(b":09.000000Z", b":09.123456Z"), "moov/udta: more than allowed values"),
    "another key": ("mov", _swap(b"quicktime.make", b"quicktime.user"), "moov/udta: more than allowed values"),
    "a zero": ("mp4", _swap(b"A. Person", b"A. Perso\0"), "moov/udta: more than allowed values"),
    "another type": (
        "mov",
        _swap(b"\0\0\0\1\0\0\0\0Editor", b"\0\0\0\2\0\0\0\0Editor"),
        "moov/udta: more than allowed values",
    ),
    "a fraction, in Matroska": ("mkv", _nudged, "Segment/Info/DateUTC: a date"),
    "another tag": ("mkv", _swap(b"MODEL", b"MODEX"), "Segment/Tags/Tag/SimpleTag/0x45A3: not allowed"),
    "twice": ("webm", _swap(b"SOFTWARE", b"ARTIST\0\0"), "Segment/Tags/Tag/SimpleTag/0x4487: said twice"),
    "a title that ends early": (
        "mkv",
        _swap(b"a title", b"a tit\0e"),
        "Segment/Info/Title: a text that is no such value",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_what_is_hidden_in_words_is_found(kept: dict[str, bytes], name: str) -> None:
    suffix, edit, flaw = EDITS[name]
    assert flaws(kept[suffix], suffix, PRESETS[Preset.KEEP]) == []
    assert flaw in flaws(edit(kept[suffix]), suffix, PRESETS[Preset.KEEP])


def test_words_of_a_track_are_found(sources: dict[str, bytes]) -> None:
    """Who reads a film's words does not read its tracks': nobody would compare them."""
    _, made = through(sources["mkv"], "mkv", [MetadataField.CAMERA])
    planted = _swap(b"DURATION", b"ARTIST\0\0")(made)
    assert "Segment/Tags/Tag: a track's words" in flaws(planted, "mkv", PRESETS[Preset.KEEP])


def test_a_time_to_the_second_is_found_where_the_hour_may_stay(sources: dict[str, bytes]) -> None:
    for suffix in SUFFIXES:
        _, made = through(sources[suffix], suffix, [MetadataField.CAPTURE_TIME])
        assert any("finer than the hour" in flaw for flaw in flaws(made, suffix, [MetadataField.CAPTURE_HOUR])), suffix


NO_TIMES = [
    "",
    "2024",
    "2024-05-06 07:08:09",
    "1904-01-01T00:00:00Z",
    "2040-01-01T00:00:00Z",
    "9999-12-31T23:59:59-23:00",
]


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time_of_a_film_is_left_out(text: str) -> None:
    assert values_of({"creation_time": text}) == ()


def test_times_elsewhere_are_told_in_utc() -> None:
    assert dict(values_of({"creation_time": "2024-05-06T09:08:09+02:00"}))["DateTimeOriginal"] == "2024:05:06 07:08:09"


_texts = st.text(max_size=220).filter(TAGS["Make"].takes)


@settings(max_examples=100)
@given(
    st.dictionaries(st.sampled_from(("Make", "Model", "Artist", "Copyright", "Software")), _texts, min_size=1),
    st.none() | st.integers(_seconds(0) - 10**9, _seconds(0) + 10**8),
)
def test_a_box_gives_back_its_values(texts: dict[str, str], seconds: int | None) -> None:
    values = texts | (since(ISO_ZERO, seconds) if seconds is not None else {})
    metadata = Metadata(tags=tuple((name, values[name]) for name in TAGS if name in values))
    box = user_data(words_for("mp4", metadata))
    assert parsed_user_data(box) == metadata.tags
    with pytest.raises(NotOurs):
        parsed_user_data(box + b"\0")


@settings(max_examples=200)
@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_no_box_or_one_of_values(content: bytes, cut: int) -> None:
    box = user_data({"com.apple.quicktime.make": "Maker"})
    for one in (content, box[:cut] + content):
        try:
            values = parsed_user_data(one)
        except NotOurs:
            continue
        assert user_data(words_for("mp4", Metadata(tags=values))) == one
