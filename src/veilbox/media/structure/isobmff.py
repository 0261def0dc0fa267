"""MP4 and QuickTime: boxes (ISO/IEC 14496-12, 14496-14, 14496-15; QuickTime File Format)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from veilbox.core.metadata import NotOurs
from veilbox.media.film_tags import ISO_ZERO, MOMENT_NAMES, parsed_user_data, since
from veilbox.media.structure.bitstream import Coding, check_configuration, check_packet
from veilbox.media.structure.flaws import Allowed, Flaws, Unreadable, named
from veilbox.media.structure.jumbf import Manifests
from veilbox.media.structure.sample_table import SampleTable
from veilbox.media.structure.told import check_values
from veilbox.media.structure.window import Window

_TREE: dict[str, frozenset[bytes]] = {
    "": frozenset({b"ftyp", b"free", b"wide", b"mdat", b"moov"}),
    "moov": frozenset({b"mvhd", b"trak", b"udta"}),
    "moov/trak": frozenset({b"tkhd", b"edts", b"mdia"}),
    "moov/trak/edts": frozenset({b"elst"}),
    "moov/trak/mdia": frozenset({b"mdhd", b"hdlr", b"minf"}),
    "moov/trak/mdia/minf": frozenset({b"vmhd", b"smhd", b"hdlr", b"dinf", b"stbl"}),
    "moov/trak/mdia/minf/dinf": frozenset({b"dref"}),
    "moov/trak/mdia/minf/stbl": frozenset(
        {b"stsd", b"stts", b"ctts", b"stss", b"stsc", b"stsz", b"stco", b"co64", b"sdtp", b"sgpd", b"sbgp", b"cslg"}
    ),
}
# Before a manifest: its user type, version and flags, purpose, and no further box (C2PA 2.2, A.5.1).
_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec48100000000") + b"manifest\0" + bytes(8)
# A box of these is walked; every other one is looked at as a whole.
_NESTED = frozenset(path for path in _TREE if path)
_BRANDS = frozenset(
    {b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"avc1", b"av01", b"mp41", b"mp42", b"qt  ", b"hvc1", b"M4V "}
)
# FFmpeg's MP4 muxer writes an item list without an item, in bit-exact mode too.
_EMPTY_UDTA = bytes.fromhex(
    "000000356d657461000000000000002168646c7200000000000000006d6469726170706c00000000000000000000000008696c7374"
)
# Six texts of the longest, with their keys, have 1.6 kB.
_MOST_UDTA = 4 << 10
_NAMES = frozenset({b"", b"VideoHandler", b"SoundHandler", b"DataHandler"})
_CODINGS = {
    b"avc1": Coding.H264,
    b"hvc1": Coding.HEVC,
    b"hev1": Coding.HEVC,
    b"av01": Coding.AV1,
    b"vp09": Coding.VP9,
    b"mp4v": Coding.MPEG4,
}
_SETUP = {b"avcC": Coding.H264, b"hvcC": Coding.HEVC, b"av1C": Coding.AV1, b"vpcC": Coding.VP9}
# Aspect, colour, bit rate, interlacing, cropping: numbers of a fixed size.
_PICTURE_NUMBERS = {b"pasp": 8, b"colr": 11, b"btrt": 12, b"fiel": 2, b"clap": 32, b"glbl": 0, b"chrm": 2}
# What FFmpeg writes into the field for the encoder's name (QuickTime, "Video sample description").
_COMPRESSORS = frozenset(
    {bytes(32)}
    | {
        bytes([len(name)]) + name + bytes(31 - len(name))
        for name in (
            b"Lavc libx264",
            b"Lavc libx265",
            b"Lavc libsvtav1",
            b"Lavc libvpx-vp9",
            b"Lavc mpeg4",
            b"H.264",
            b"HEVC",
            b"MPEG-4",
        )
    }
)
_SOUND_BOXES = frozenset({b"esds", b"dOps", b"dac3", b"dec3", b"alac", b"dfLa", b"chan", b"btrt", b"wave", b"chnl"})
_MOST_SOUND_SETUP = 1024
_PICTURE_ENTRY, _SOUND_ENTRY = 78, 28


def examine_isobmff(file: Window, allowed: Allowed, flaws: Flaws) -> None:
    """Every box, every sample of the video track, and that no byte of the media data belongs to no sample."""
    _Iso(file, allowed, flaws).run()


class _Track:
    def __init__(self) -> None:
        self.handler = b""
        self.coding: Coding | None = None
        self.length_bytes = 4
        self.table = SampleTable()


class _Iso:
    def __init__(self, file: Window, allowed: Allowed, flaws: Flaws) -> None:
        self._file = file
        self._allowed = allowed
        self._flaws = flaws
        self._tracks: list[_Track] = []
        self._media: list[Window] = []
        self._manifests = Manifests(allowed, flaws)
        self._behind_brands = -1
        # Times as the values that they make; the empty set of a field that is not set is one of them, too.
        self._times: set[tuple[tuple[str, str], ...]] = set()

    def run(self) -> None:
        self._walk(self._file, "")
        kinds = [track.handler for track in self._tracks]
        permitted = [[b"vide"], *([[b"vide", b"soun"]] if self._allowed.audio else [])]
        self._flaws.unless(kinds in permitted, "moov/trak", f"tracks {', '.join(map(named, kinds))}"[:60])
        self._flaws.unless(len(self._times) <= 1, "moov", "dates that differ")
        self._check_samples()
        self._manifests.finish()

    def _walk(self, window: Window, path: str) -> None:
        for kind, body in self._boxes(window):
            inner = f"{path}/{named(kind)}" if path else named(kind)
            if inner == "uuid":
                self._manifests.take(body, before=_C2PA, early=body.start == self._behind_brands + 8)
                continue
            if kind not in _TREE[path]:
                self._flaws.add(inner, "not allowed")
                continue
            if inner == "moov/trak":
                self._tracks.append(_Track())
            if inner in _NESTED:
                self._walk(body, inner)
            else:
                self._leaf(kind, body)

    def _boxes(self, window: Window) -> Iterator[tuple[bytes, Window]]:
        at = 0
        while at < len(window):
            head = window.read(at, 8)
            length, kind, skip = int.from_bytes(head[:4], "big"), head[4:], 8
            if length == 1:
                length, skip = int.from_bytes(window.read(at + 8, 8), "big"), 16
            if length < skip:
                raise Unreadable(window.path, "a box of impossible length")
            body = window.part(at + skip, length - skip, named(kind))
            self._flaws.part(body.path)
            yield kind, body
            at += length

    def _leaf(self, kind: bytes, body: Window) -> None:
        checks = {
            b"ftyp": self._brands,
            b"free": self._padding,
            b"wide": self._padding,
            b"mdat": self._media.append,
            b"udta": self._user_data,
            b"mvhd": self._dates,
            b"tkhd": self._dates,
            b"mdhd": self._dates,
            b"hdlr": self._handler,
            b"dref": self._references,
            b"stsd": self._description,
        }
        check = checks.get(kind)
        if check is not None:
            check(body)
        elif self._tracks and body.path.startswith("moov/trak/mdia/minf/stbl"):
            self._tracks[-1].table.take(kind, body)
        else:
            self._flaws.unless(len(body) <= 1 << 20, body.path, "impossible length")

    def _brands(self, body: Window) -> None:
        content = body.read(0, len(body)) if len(body) <= 64 else b"?"
        brands = {content[:4], *(content[at : at + 4] for at in range(8, len(content), 4))}
        self._flaws.unless(brands <= _BRANDS, body.path, "unknown brand")
        self._behind_brands = body.end

    def _padding(self, body: Window) -> None:
        self._flaws.unless(body.is_zero(), body.path, "padding that is not zero")

    def _user_data(self, body: Window) -> None:
        content = body.all() if len(body) <= _MOST_UDTA else b""
        if content == _EMPTY_UDTA:
            return
        if not self._allowed.exif:
            self._flaws.add(body.path, "not allowed")
            return
        try:
            values = parsed_user_data(content)
        except NotOurs:
            self._flaws.add(body.path, "more than allowed values")
            return
        check_values(values, body.path, self._allowed, self._flaws)
        self._times.add(tuple((name, str(value)) for name, value in values if name in MOMENT_NAMES))

    def _dates(self, body: Window) -> None:
        """When it was made and when it was changed: never, or both in the one moment that may stay."""
        size = 8 if body.read(0, 1) == b"\1" else 4
        made, changed = (int.from_bytes(body.read(4 + at, size), "big") for at in (0, size))
        values = since(ISO_ZERO, made) if self._allowed.exif else {}
        self._times.add(tuple(values.items()))
        self._flaws.unless(made == changed and bool(made) == bool(values), body.path, "a date")
        check_values(values.items(), body.path, self._allowed, self._flaws)
        self._flaws.unless(len(body) <= 120, body.path, "impossible length")

    def _handler(self, body: Window) -> None:
        content = body.read(0, len(body)) if 24 <= len(body) <= 64 else b""
        if not content:
            raise Unreadable(body.path, "impossible length")
        name = content[24:].rstrip(b"\0")
        pascal = name[1:] if name and name[0] == len(name) - 1 else name
        self._flaws.unless({name, pascal} & _NAMES != set() and not any(content[12:24]), body.path, "a name")
        if self._tracks and body.path.endswith("mdia/hdlr"):
            self._tracks[-1].handler = content[8:12]

    def _references(self, body: Window) -> None:
        good = body.all() == struct.pack(">III", 0, 1, 12) + b"url \0\0\0\1" if len(body) == 20 else False
        self._flaws.unless(good, body.path, "refers to another file")

    def _description(self, body: Window) -> None:
        (_, count) = struct.unpack(">II", body.read(0, 8))
        self._flaws.unless(count == 1, body.path, "several sample descriptions")
        for kind, entry in self._boxes(body.part(8, len(body) - 8, "entry")):
            if self._tracks and self._tracks[-1].handler == b"soun":
                self._sound(entry)
            else:
                self._picture(kind, entry)

    def _picture(self, kind: bytes, entry: Window) -> None:
        coding = _CODINGS.get(kind)
        self._flaws.unless(coding is not None, entry.path, "not allowed")
        self._flaws.unless(entry.read(42, 32) in _COMPRESSORS, entry.path, "an encoder's name")
        track = self._tracks[-1] if self._tracks else _Track()
        track.coding = coding
        for name, part in self._boxes(self._rest(entry, _PICTURE_ENTRY)):
            if name in _SETUP:
                self._flaws.unless(_SETUP[name] is coding, part.path, "not allowed")
                setup = part.part(4, len(part) - 4, "set-up") if name == b"vpcC" else part
                track.length_bytes = check_configuration(coding, setup, self._flaws)
            elif name == b"esds":
                self._decoder_specific(part)
            elif name == b"colr":
                self._flaws.unless(part.read(0, 4) in (b"nclx", b"nclc"), part.path, "a colour profile")
            else:
                self._flaws.unless(len(part) <= _PICTURE_NUMBERS.get(name, -1), part.path, "not allowed")

    def _rest(self, entry: Window, skip: int) -> Window:
        if len(entry) < skip:
            raise Unreadable(entry.path, "cut short")
        rest = Window(entry.file, entry.start + skip, entry.end, entry.path)
        if len(rest) == 4 and rest.is_zero():  # QuickTime ends a list of extensions with an empty one
            return Window(entry.file, entry.end, entry.end, entry.path)
        return rest

    def _decoder_specific(self, body: Window) -> None:
        """ISO/IEC 14496-1, 7.2.6: nested descriptors; only the decoder's set-up is of any length."""
        content = body.read(0, len(body)) if len(body) <= _MOST_SOUND_SETUP else b""
        self._flaws.unless(bool(content), body.path, "impossible length")
        at = content.find(b"\0\0\1")
        if at >= 0 and self._tracks and self._tracks[-1].coding is Coding.MPEG4:
            start = Window(body.file, body.start + at, body.end, body.path)
            check_configuration(Coding.MPEG4, start, self._flaws)

    def _sound(self, entry: Window) -> None:
        version = int.from_bytes(entry.read(8, 2), "big")
        skip = _SOUND_ENTRY + {1: 16, 2: 36}.get(version, 0)
        for name, part in self._boxes(self._rest(entry, skip)):
            good = name in _SOUND_BOXES and len(part) <= _MOST_SOUND_SETUP
            self._flaws.unless(good, part.path, "not allowed")

    def _check_samples(self) -> None:
        parts: list[tuple[int, int]] = []
        for track in self._tracks:
            parts += track.table.chunks(len(self._file))
            if track.coding is not None and track.handler == b"vide":
                for start, size in track.table.samples(len(self._file)):
                    packet = Window(self._file.file, start, start + size, "mdat/sample")
                    self._flaws.part(packet.path)
                    check_packet(track.coding, packet, self._flaws, length_bytes=track.length_bytes)
        self._check_covered(sorted(parts))

    def _check_covered(self, parts: list[tuple[int, int]]) -> None:
        """Chunks of the tracks fill the media data without a gap."""
        media = sorted((window.start, window.end) for window in self._media)
        flat = iter(parts)
        chunk = next(flat, None)
        for start, end in media:
            at = start
            while chunk is not None and chunk[0] <= at < end:
                at = max(at, chunk[1])
                chunk = next(flat, None)
            self._flaws.unless(at == end, "mdat", "bytes that belong to no sample")
        self._flaws.unless(chunk is None, "mdat", "samples outside the media data")
