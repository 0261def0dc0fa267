from __future__ import annotations

import gzip
import io

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.compression import CompressedTar, Compression, InflatedTar

BOTH = pytest.mark.parametrize("compression", list(Compression))


def compressed(pieces: list[bytes], compression: Compression) -> tuple[bytes, Digest]:
    file = io.BytesIO()
    tar = CompressedTar(file, compression)
    for piece in pieces:
        tar.write(piece)
    digest = tar.finish()
    return file.getvalue(), digest


@BOTH
@given(pieces=st.lists(st.binary(max_size=3000), max_size=8))
def test_what_goes_in_comes_out_and_pieces_leave_no_trace(compression: Compression, pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    blob, digest = compressed(pieces, compression)
    assert (blob, digest) == compressed([whole], compression)
    inflated = InflatedTar(io.BytesIO(blob), compression, len(whole))
    assert inflated.read_exactly(len(whole) + 1) == whole
    assert inflated.finish() == digest == Digest.of(whole)


@BOTH
def test_large_pieces_leave_no_trace_either(compression: Compression) -> None:
    content = bytes(range(256)) * 20_000
    pieces = [content[start : start + 70_001] for start in range(0, len(content), 70_001)]
    assert compressed(pieces, compression) == compressed([content], compression)


def test_others_read_it() -> None:
    assert gzip.decompress(compressed([b"tar"], Compression.GZIP)[0]) == b"tar"
    blob = compressed([b"tar"], Compression.ZSTD)[0]
    assert zstandard.ZstdDecompressor().decompressobj().decompress(blob) == b"tar"


@BOTH
def test_a_bomb_is_stopped_by_its_size(compression: Compression) -> None:
    blob, _ = compressed([bytes(64 << 20)], compression)
    assert len(blob) < 100_000
    with pytest.raises(ImageError, match="too large"):
        InflatedTar(io.BytesIO(blob), compression, 1 << 20).finish()


@BOTH
@pytest.mark.parametrize("more", [b"x", None])
def test_nothing_may_follow(compression: Compression, more: bytes | None) -> None:
    blob, _ = compressed([b"tar" * 5000], compression)
    with pytest.raises(ImageError, match="after its"):
        InflatedTar(io.BytesIO(blob + (more or blob)), compression, 1 << 20).finish()


@BOTH
def test_an_early_end_is_an_error(compression: Compression) -> None:
    blob, _ = compressed([b"tar" * 5000], compression)
    for end in range(len(blob)):
        with pytest.raises(ImageError):
            InflatedTar(io.BytesIO(blob[:end]), compression, 1 << 20).finish()


def test_a_window_that_a_stranger_chose_is_refused() -> None:
    huge = zstandard.ZstdCompressionParameters.from_level(3, window_log=27, write_content_size=False)
    blob = zstandard.ZstdCompressor(compression_params=huge).compressobj()
    stream = blob.compress(b"x" * 300_000) + blob.flush()
    with pytest.raises(ImageError, match="not zstd"):
        InflatedTar(io.BytesIO(stream), Compression.ZSTD, 1 << 20).finish()


def test_other_kinds_of_layers_are_unknown() -> None:
    with pytest.raises(ImageError, match="kind of layer"):
        Compression.of("application/vnd.docker.image.rootfs.diff.tar.gzip")
