"""EXIF blocks and colour profiles: nothing but allowed values, in the one form that export gives them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from veilbox.core.metadata import MOST_PROFILE, Metadata, NotOurs, Value
from veilbox.media.colour_profile import rebuilt_profile
from veilbox.media.exif import parsed_block
from veilbox.media.structure.flaws import Allowed, Flaws
from veilbox.media.structure.window import Window

# A block of all tags with the longest texts has 4 kB.
_MOST_BLOCK = 16 << 10
# Pillow's name for it, no byte of which is free, and the only method of compression (PNG, 11.3.2.3).
_PNG_NAME = b"ICC Profile\0\0"


def check_exif(body: Window, allowed: Allowed, flaws: Flaws) -> None:
    """Hold an EXIF block against the allowed fields."""
    if not allowed.exif or len(body) > _MOST_BLOCK:
        flaws.add(body.path, "not allowed")
        return
    try:
        values = parsed_block(body.all())
    except NotOurs:
        flaws.add(body.path, "more than allowed values")
        return
    check_values(values.items(), body.path, allowed, flaws)


def check_values(values: Iterable[tuple[str, Value]], path: str, allowed: Allowed, flaws: Flaws) -> None:
    """Hold values against the allowed fields; a time of which the hour may stay must have been cut to it."""
    for name, value in values:
        kept = dict(Metadata(tags=((name, value),)).only(allowed.metadata).tags)
        flaws.unless(name in kept, f"{path}/{name}", "not allowed")
        flaws.unless(kept.get(name, value) == value, f"{path}/{name}", "finer than the hour")


def check_profile(body: Window, allowed: Allowed, flaws: Flaws) -> None:
    """Hold a colour profile against what changes colours."""
    if not allowed.profile or len(body) > MOST_PROFILE:
        flaws.add(body.path, "not allowed")
        return
    _check_profile(body.all(), body.path, flaws)


def check_packed_profile(body: Window, allowed: Allowed, flaws: Flaws) -> None:
    """Likewise one in a PNG chunk, under a name and compressed."""
    if not allowed.profile or len(body) > MOST_PROFILE + len(_PNG_NAME) or body.read(0, 13) != _PNG_NAME:
        flaws.add(body.path, "not allowed")
        return
    state = zlib.decompressobj()
    try:
        profile = state.decompress(body.all()[len(_PNG_NAME) :], MOST_PROFILE)
    except zlib.error:
        profile = b""
    flaws.unless(state.eof and not state.unused_data, body.path, "no zlib stream")
    _check_profile(profile, body.path, flaws)


def _check_profile(profile: bytes, path: str, flaws: Flaws) -> None:
    good = profile in (rebuilt_profile(profile, "RGB"), rebuilt_profile(profile, "GRAY"))
    flaws.unless(bool(profile) and good, path, "a profile with more than colours")
