"""Outputs as export writes them, and manifests in them as the claim component puts them there."""

from __future__ import annotations

import io
import os
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from veilbox.c2pa.library import validation_state, write_manifest
from veilbox.c2pa.manifest import definition
from veilbox.c2pa.signing import put_signature, to_be_signed
from veilbox.core.claim import Claim, media_type
from veilbox.core.stream import Kind, StreamInfo
from veilbox.media.encoder import open_encoder
from veilbox.vault.signing_credential import SigningCredential

SUFFIXES = ("jpg", "png", "webp", "mp4", "mov")
CLAIM = Claim(
    veilbox="1.2.3",
    hidden=("face", "plate"),
    style="solid",
    policy=f"sha256:{'01' * 32}",
    job="1234abcd",
    log="veilbox/audit/0123456789abcdef",
    entry=7,
    leaf=f"sha256:{'02' * 32}",
    models={"detect-centerface": f"sha256:{'03' * 32}"},
)


@cache
def written(suffix: str) -> bytes:
    """A small output."""
    kind = Kind.FILM if suffix in ("mp4", "mov") else Kind.IMAGE
    pixel_format = "yuv420p" if kind is Kind.FILM else "rgb24"
    info = StreamInfo(kind=kind, width=64, height=48, pixel_format=pixel_format, frames=1)
    samples = np.random.default_rng(0).integers(0, 256, info.layout.nbytes).astype(np.uint8)
    file = io.BytesIO()
    with open_encoder(file, suffix, info) as encoder:
        encoder.write(memoryview(samples.tobytes()), 0, 1)
    return file.getvalue()


@cache
def credential() -> SigningCredential:
    """One as veilbox makes it."""
    with tempfile.TemporaryDirectory() as folder:
        return SigningCredential.of(Path(folder))


def claimed(content: bytes, suffix: str, signer: SigningCredential | None = None) -> bytes:
    """A file with a manifest in it."""
    signer, kind = signer or credential(), media_type(suffix)
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
        source.write(content)
        source.flush()
        store = write_manifest(
            source.fileno(),
            target.fileno(),
            media_type=kind,
            definition=definition(CLAIM, kind),
            algorithm=signer.algorithm,
            chain=signer.chain,
            signature_bytes=signer.signature_bytes,
        )
        put_signature(target.fileno(), store, signer.sign(to_be_signed(store)))
        assert validation_state(target.fileno(), kind) == "Valid"
        return os.pread(target.fileno(), 1 << 20, 0)


def store_in(content: bytes) -> bytes:
    """The manifest store of a file."""
    start = content.index(b"jumb") - 4
    return content[start : start + int.from_bytes(content[start : start + 4], "big")]
