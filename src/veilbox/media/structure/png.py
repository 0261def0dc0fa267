"""PNG: chunks (W3C PNG, third edition, clauses 5 and 11)."""

from __future__ import annotations

import zlib

from veilbox.core.frame import MAX_PIXELS
from veilbox.media.structure.flaws import Allowed, Flaws, Unreadable, named
from veilbox.media.structure.jumbf import Manifests
from veilbox.media.structure.told import check_exif, check_packed_profile
from veilbox.media.structure.window import Window

_SIGNATURE = 8
_READ = 1 << 20
_PLAIN = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
# Four components of 16 bits, and a filter byte a row.
_MOST_BYTES = MAX_PIXELS * 9


def examine_png(file: Window, allowed: Allowed, flaws: Flaws) -> None:
    """Every chunk, the end of the pixels' zlib stream, and nothing behind the last chunk."""
    at, stream, manifests = _SIGNATURE, _Pixels(flaws), Manifests(allowed, flaws)
    while True:
        head = file.read(at, 8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        flaws.part("chunk")
        body = file.part(at + 8, length, named(kind))
        file.part(at + 8 + length, 4, named(kind))  # its checksum
        if kind == b"IDAT":
            stream.feed(body)
        elif kind == b"caBX":
            manifests.take(body, early=not stream.begun)
        else:
            _check(kind, body, allowed, flaws)
        at += length + 12
        if kind == b"IEND":
            break
    stream.finish()
    manifests.finish()
    flaws.unless(at == len(file), "after IEND", "trailing bytes")


def _check(kind: bytes, body: Window, allowed: Allowed, flaws: Flaws) -> None:
    if kind == b"iCCP":
        check_packed_profile(body, allowed, flaws)
    elif kind == b"eXIf":
        check_exif(body, allowed, flaws)
    else:
        flaws.unless(kind in _PLAIN, body.path, "not allowed")


class _Pixels:
    """The zlib stream that all IDAT chunks make up: what stands behind its end is no picture."""

    def __init__(self, flaws: Flaws) -> None:
        self._state = zlib.decompressobj()
        self._flaws = flaws
        self._made = 0

    @property
    def begun(self) -> bool:
        """Whether there were any."""
        return self._made > 0

    def feed(self, body: Window) -> None:
        for at in range(0, len(body), _READ):
            rest = body.read(at, min(_READ, len(body) - at))
            while rest and not self._state.eof:
                try:
                    self._made += len(self._state.decompress(rest, _READ))
                except zlib.error as error:
                    raise Unreadable(body.path, "no zlib stream") from error
                if self._made > _MOST_BYTES:
                    raise Unreadable(body.path, "more than a picture")
                rest = self._state.unconsumed_tail
            if self._state.unused_data or rest:
                self._flaws.add(body.path, "bytes behind the pixels")
                return

    def finish(self) -> None:
        self._flaws.unless(self._state.eof, "IDAT", "cut short")
