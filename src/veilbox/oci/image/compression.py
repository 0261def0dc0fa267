"""Layers are compressed tars: gzip, which every tool reads, and zstd, which is smaller and faster.

What is read is foreign input: output comes in bounded pieces, one stream per layer, nothing after it. Source: OCI
image-spec 1.1.1, layer.md; RFC 1952 (gzip), RFC 8878 (zstd).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import IO, Any, Protocol, cast

import zstandard

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.spec import LAYER_TYPE, ZSTD_LAYER_TYPE

# zlib's own default; 9 takes three times as long for 1 % on these layers.
_GZIP_LEVEL = 6
_GZIP = zlib.MAX_WBITS | 16  # a gzip header with time 0 and no name
# The last level that is as fast as gzip's 6 here; 19 makes layers another 10 % smaller and takes ten times as long.
_ZSTD_LEVEL = 9
# RFC 8878, 3.1.1.1.2: every decoder should manage windows of 8 MiB; more is memory that a stranger would choose.
_ZSTD_WINDOW = 8 << 20
# A zstd block of 4 bytes stands for up to 128 KiB (RFC 8878, 3.1.1.2), so so much input gives at most 16 MiB at once.
_ZSTD_FED = 512

# zstd promises equal bytes for equal calls only, so the pieces are always cut in the same way.
_PIECE = 1 << 20


class Compression(StrEnum):
    """How a layer's tar is compressed."""

    GZIP = "gzip"
    ZSTD = "zstd"

    @property
    def media_type(self) -> str:
        """The layer's media type."""
        return LAYER_TYPE if self is Compression.GZIP else ZSTD_LAYER_TYPE

    @classmethod
    def of(cls, media_type: str) -> Compression:
        """The compression of a layer of that media type.

        Raises:
            ImageError: Layers of that type are not read here.
        """
        for compression in cls:
            if compression.media_type == media_type:
                return compression
        raise ImageError("unknown kind of layer", expected=f"{LAYER_TYPE} or {ZSTD_LAYER_TYPE}", actual=media_type)


class _Deflater(Protocol):
    def compress(self, chunk: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


_DEFLATERS: Mapping[Compression, Callable[[], _Deflater]] = MappingProxyType(
    {
        Compression.GZIP: lambda: zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP),
        # A checksum of its own would be a third one; the size of the content is not known when it begins.
        Compression.ZSTD: lambda: cast("_Deflater", zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()),
    }
)


class CompressedTar:
    """The file that a tar is written to: hashes the tar, and hands it on compressed.

    Args:
        blob: Has `write`.
        compression: How.
    """

    def __init__(self, blob: Any, compression: Compression) -> None:
        self._blob = blob
        self._hash = hashlib.sha256()
        self._deflater = _DEFLATERS[compression]()
        self._waiting = bytearray()

    def write(self, chunk: bytes) -> int:
        """Append to the tar; in what pieces does not matter to the result."""
        self._hash.update(chunk)
        self._waiting += chunk
        while len(self._waiting) >= _PIECE:
            self._blob.write(self._deflater.compress(bytes(self._waiting[:_PIECE])))
            del self._waiting[:_PIECE]
        return len(chunk)

    def finish(self) -> Digest:
        """End the stream.

        Returns:
            The digest of the tar.
        """
        self._blob.write(self._deflater.compress(bytes(self._waiting)))
        self._blob.write(self._deflater.flush())
        return Digest(f"sha256:{self._hash.hexdigest()}")


class InflatedTar:
    """The tar inside a compressed blob; counts and hashes it, refuses what follows the one stream.

    Args:
        blob: Where the compressed bytes come from.
        compression: How they are compressed.
        limit: Bytes that the tar may at most have.
    """

    def __init__(self, blob: IO[bytes] | Any, compression: Compression, limit: int) -> None:
        self._blob = blob
        self._limit = limit
        self._name = compression.value
        self._steps = _gzip_step() if compression is Compression.GZIP else _zstd_step()
        self._hash = hashlib.sha256()
        self._count = 0
        self._ready = b""
        self._ended = False

    def read(self, wanted: int) -> bytes:
        """The next bytes of the tar: at most `wanted`, none only at the end.

        Raises:
            ImageError: The stream is damaged, or the tar is larger than its limit.
        """
        while not self._ready and not self._ended:
            self._advance()
        chunk, self._ready = self._ready[:wanted], self._ready[wanted:]
        return chunk

    def read_exactly(self, wanted: int) -> bytes:
        """So many bytes; fewer at the end."""
        parts = []
        while wanted and (part := self.read(wanted)):
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)

    def finish(self) -> Digest:
        """Read what is left.

        Returns:
            The digest of the whole tar.
        """
        while self.read(1 << 20):
            pass
        return Digest(f"sha256:{self._hash.hexdigest()}")

    def _advance(self) -> None:
        try:
            chunk, fed, ended, trailing = self._steps(self._blob)
        except (zlib.error, zstandard.ZstdError) as error:
            raise ImageError(f"layer is not {self._name}", actual=str(error)) from error
        if ended and (trailing or self._blob.read(1)):
            raise ImageError(f"layer has bytes after its {self._name} stream")
        if not ended and not fed and not chunk:
            raise ImageError(f"layer ends inside its {self._name} stream")
        self._ended = ended
        self._hash.update(chunk)
        self._count += len(chunk)
        if self._count > self._limit:
            raise ImageError("layer is too large when unpacked", expected=f"at most {self._limit} bytes")
        self._ready = chunk


_Step = Callable[[Any], tuple[bytes, bool, bool, bool]]
_GZIP_OUT = 1 << 20
_GZIP_FED = 1 << 17


def _gzip_step() -> _Step:
    """One step of inflating: what came out, whether input went in, whether the stream ended, whether more follows."""
    inflater = zlib.decompressobj(_GZIP)

    def step(blob: Any) -> tuple[bytes, bool, bool, bool]:
        fed = inflater.unconsumed_tail or blob.read(_GZIP_FED) or b""
        chunk = inflater.decompress(fed, _GZIP_OUT)
        return chunk, bool(fed), inflater.eof, bool(inflater.unused_data)

    return step


def _zstd_step() -> _Step:
    inflater = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
    waiting = b""

    def step(blob: Any) -> tuple[bytes, bool, bool, bool]:
        nonlocal waiting
        waiting = waiting or blob.read(_GZIP_FED) or b""
        fed, waiting = waiting[:_ZSTD_FED], waiting[_ZSTD_FED:]
        chunk = inflater.decompress(fed) if fed else b""
        return chunk, bool(fed), inflater.eof, bool(inflater.unused_data or (inflater.eof and waiting))

    return step
