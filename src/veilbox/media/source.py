"""The one door to sources: content decides what opens a file, never its name."""

from __future__ import annotations

from collections.abc import Collection
from typing import BinaryIO

from veilbox.core.errors import SourceMissing
from veilbox.core.metadata import MetadataField
from veilbox.media.film_source import FilmSource
from veilbox.media.formats import holds
from veilbox.media.picture import AudioPacket, Picture, Source
from veilbox.media.sniff import Family, sniff

__all__ = ["AudioPacket", "Picture", "Source", "open_source"]


def open_source(
    file: BinaryIO,
    *,
    keep_audio: bool = False,
    output_suffix: str = "",
    metadata: Collection[MetadataField] = (),
) -> Source:
    """Open a picture or a film.

    Args:
        file: Opened for reading in binary mode, seekable. Nothing else is ever opened on its behalf.
        keep_audio: Whether `read` also gives the packets of one audio stream.
        output_suffix: What kept audio and metadata must fit into, a suffix without dot; empty if any will do.
        metadata: Fields that `Source.info` may hold.

    Raises:
        SourceMissing: The file system cannot read it.
        SourceUnsupported: The content is no picture or film that veilbox handles.
        SourceCorrupt: It is cut short or broken before its first frame.
    """
    try:
        family = sniff(file)
        if family in (Family.ISO, Family.MATROSKA, Family.AVI):
            return FilmSource(file, family, keep_audio=keep_audio, output_suffix=output_suffix)
        from veilbox.media.image_source import ImageSource  # noqa: PLC0415 - Pillow, for pictures only

        return ImageSource(file, family, metadata=[field for field in metadata if holds(output_suffix, field)])
    except OSError as error:  # a bad sector or a lost share; what decoders raise was translated nearer by
        raise SourceMissing(
            "cannot be read", actual=error.strerror or type(error).__name__, advice="Check the disk or the share"
        ) from error
