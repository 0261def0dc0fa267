"""C2PA manifest stores: boxes of JUMBF (ISO/IEC 19566-5, A.2 and A.3; C2PA 2.2, 11.1 "Use of JUMBF").

One manifest, of the parts that veilbox's have and of no others: no thumbnail, no manifest of a source, no room beside
them. What the parts say is signed, and is not read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from veilbox.core.claim import ASSERTION
from veilbox.media.structure.flaws import Allowed, Flaws, Unreadable
from veilbox.media.structure.window import Window

# The library reserves 11 kB for certificates; more than this does not fit the one segment that a JPEG file has for it.
MOST_MANIFEST = 60 << 10
_MOST_DESCRIPTION = 128
# Behind the four letters of every kind of box that C2PA and JUMBF name.
_KINDS = bytes.fromhex("00110010800000aa00389b71")
_STORE, _MANIFEST, _ASSERTIONS, _CLAIM, _SIGNATURE, _CBOR = b"c2pa", b"c2ma", b"c2as", b"c2cl", b"c2cs", b"cbor"
_MANIFEST_LABEL = re.compile(rb"urn:c2pa:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
# Labels of what is in a manifest, with their kinds; each of the first three must be there.
_PARTS = {b"c2pa.assertions": _ASSERTIONS, b"c2pa.claim.v2": _CLAIM, b"c2pa.signature": _SIGNATURE}
_ASSERTION_LABELS = frozenset(
    {b"c2pa.ingredient.v3", b"c2pa.actions.v2", b"c2pa.hash.data", b"c2pa.hash.bmff.v3", ASSERTION.encode()}
)


class Manifests:
    """The manifest store of one file: one where the policy wants one, else none."""

    def __init__(self, allowed: Allowed, flaws: Flaws) -> None:
        self._allowed = allowed
        self._flaws = flaws
        self._seen = False

    def take(self, body: Window, *, before: bytes = b"", early: bool = True) -> None:
        """Look at what a format has for a store.

        Args:
            body: All of it.
            before: What must stand before the store.
            early: Whether it lies where C2PA puts it.
        """
        known = len(body) >= len(before) and body.read(0, len(before)) == before
        if self._seen or not (self._allowed.c2pa and known and early):
            self._flaws.add(body.path, "not allowed")
            return
        self._seen = True
        store = Window(body.file, body.start + len(before), body.end, body.path)
        if len(store) > MOST_MANIFEST:
            self._flaws.add(body.path, "larger than a manifest")
            return
        self._store(store)

    def finish(self) -> None:
        """Say that one is missing, if it is."""
        self._flaws.unless(self._seen or not self._allowed.c2pa, "", "no C2PA manifest")

    def _store(self, window: Window) -> None:
        stores = list(_boxes(window))
        manifests = [
            one for kind, label, inner in stores for one in _boxes(inner) if (kind, label) == (_STORE, b"c2pa")
        ]
        if len(stores) != 1 or len(manifests) != 1:
            self._flaws.add(window.path, "not one manifest")
            return
        kind, label, inner = manifests[0]
        self._flaws.unless(kind == _MANIFEST and bool(_MANIFEST_LABEL.match(label)), window.path, "not one manifest")
        parts = list(_boxes(inner))
        good = len(parts) == len(_PARTS) and {name: kind for kind, name, _ in parts} == _PARTS
        self._flaws.unless(good, window.path, "other parts than a manifest has")
        for kind, _, part in parts:
            if kind == _ASSERTIONS:
                self._assertions(part)
            else:
                self._content(part)

    def _assertions(self, window: Window) -> None:
        seen: set[bytes] = set()
        for kind, label, part in _boxes(window):
            good = kind == _CBOR and label in _ASSERTION_LABELS - seen
            self._flaws.unless(good, window.path, "an assertion that is not allowed")
            seen.add(label)
            self._content(part)

    def _content(self, window: Window) -> None:
        """One box of CBOR and nothing else."""
        head = window.read(0, 8)
        good = int.from_bytes(head[:4], "big") == len(window) and head[4:] == _CBOR
        self._flaws.unless(good, window.path, "not a box of CBOR")


def _boxes(window: Window) -> Iterator[tuple[bytes, bytes, Window]]:
    """The superboxes side by side in a window: kind, label, and what stands behind the description.

    Raises:
        Unreadable: They are none.
    """
    at = 0
    while at < len(window):
        length = int.from_bytes(window.read(at, 4), "big")
        if length < 16 or window.read(at + 4, 4) != b"jumb":
            raise Unreadable(window.path, "no JUMBF box where one must be")
        part = window.part(at + 8, length - 8, "jumb")
        yield _described(part, window.path)
        at += length


def _described(part: Window, path: str) -> tuple[bytes, bytes, Window]:
    length = int.from_bytes(part.read(0, 4), "big")
    if not 25 < length <= _MOST_DESCRIPTION or part.read(4, 4) != b"jumd":
        raise Unreadable(path, "no description of a JUMBF box")
    described = part.read(8, length - 8)
    kind, rest = described[:4], described[17:]
    if described[4:16] != _KINDS or b"\0" not in rest:
        raise Unreadable(path, "no description of a JUMBF box")
    return kind, rest.partition(b"\0")[0], Window(part.file, part.start + length, part.end, path)
