"""Which blob a layer's inputs gave when it was made before. Nothing is trusted for being remembered here.

A blob is verified whenever it is read; what is missing or not readable is made again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.compression import Compression
from veilbox.oci.image.layer import Packed
from veilbox.oci.image.layout import Layout, durable_rename
from veilbox.oci.image.spec import Descriptor
from veilbox.oci.image.wire import canonical


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is remembered of a layer.

    Attributes:
        digest: Of the blob.
        diff_id: Of the tar in it.
        size: Of the blob, bytes.
        compression: How the blob is compressed.
        model: The digest of the model file in it; empty if there is none.
    """

    digest: str
    diff_id: str
    size: int
    compression: Compression
    model: str = ""

    @classmethod
    def of(cls, packed: Packed, *, model: str = "") -> Record:
        """A layer that was packed."""
        return cls(
            digest=packed.descriptor.digest.text,
            diff_id=packed.diff_id.text,
            size=packed.descriptor.size,
            compression=Compression.of(packed.descriptor.media_type),
            model=model,
        )

    def packed(self) -> Packed:
        """The layer as its packing gave it."""
        descriptor = Descriptor(media_type=self.compression.media_type, digest=Digest(self.digest), size=self.size)
        return Packed(descriptor=descriptor, diff_id=Digest(self.diff_id))


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerCache:
    """Records by the digest of what decides about a layer's content.

    Attributes:
        folder: Where they are.
        layout: Where their blobs are.
    """

    folder: Path
    layout: Layout

    def get(self, key: Digest, compression: Compression) -> Record | None:
        """The record of a layer whose blob is there."""
        try:
            record = msgspec.json.decode(self._path(key, compression).read_bytes(), type=Record)
            there = self.layout.has(record.packed().descriptor)
        except (FileNotFoundError, msgspec.DecodeError, ImageError):
            return None
        return record if there else None

    def put(self, key: Digest, record: Record) -> None:
        """Remember a layer."""
        path = self._path(key, record.compression)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".new")
        unfinished.write_bytes(canonical(record))
        durable_rename(unfinished, path)

    def _path(self, key: Digest, compression: Compression) -> Path:
        return self.folder / f"{key.hex}.{compression}.json"
