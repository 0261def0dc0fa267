"""The one door to sources: content decides what opens a file, never its name."""

from __future__ import annotations

from collections.abc import Collection
from typing import BinaryIO

from veilbox.core.errors import SourceMissing
from veilbox.core.metadata import MetadataField
from veilbox.media.film_source import FilmSource
from veilbox.media.formats import holds
from veilbox.media.picture import AudioPacket, CodedSide, Picture, Source
from veilbox.media.sniff import Family, sniff

_JPEG_SUFFIXES = frozenset({"jpg", "jpeg"})

__all__ = ["AudioPacket", "Picture", "Source", "open_source"]


def open_source(
    file: BinaryIO,
    *,
    keep_audio: bool = False,
    output_suffix: str = "",
    metadata: Collection[MetadataField] = (),
    coded_side: CodedSide | None = None,
) -> Source:
    """Open a picture or a film.

    Args:
        file: Opened for reading in binary mode, seekable. Nothing else is ever opened on its behalf.
        keep_audio: Whether `read` also gives the packets of one audio stream.
        output_suffix: What kept audio and metadata must fit into, a suffix without dot; empty if any will do.
        metadata: Fields that `Source.info` may hold.
        coded_side: Asks for a JPEG picture's coefficients in place of its samples, where the output is a JPEG file and
            they have a place in the ring. Tells the longer side of the analysis picture for a width and a height.

    Raises:
        SourceMissing: The file system cannot read it.
        SourceUnsupported: The content is no picture or film that veilbox handles.
        SourceCorrupt: It is cut short or broken before its first frame.
    """
    try:
        family = sniff(file)
        fields = [field for field in metadata if holds(output_suffix, field)]
        if family in (Family.ISO, Family.MATROSKA, Family.AVI):
            return FilmSource(file, family, keep_audio=keep_audio, output_suffix=output_suffix, metadata=fields)
        from veilbox.media.image_source import ImageSource  # noqa: PLC0415 - Pillow, for pictures only

        coded = coded_side if output_suffix in _JPEG_SUFFIXES else None
        return ImageSource(file, family, metadata=fields, coded_side=coded)
    except OSError as error:  # a bad sector or a lost share; what decoders raise was translated nearer by
        raise SourceMissing(
            "cannot be read", actual=error.strerror or type(error).__name__, advice="Check the disk or the share"
        ) from error
