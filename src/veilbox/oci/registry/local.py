"""The store's layout as a source and a target of transfers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, RegistryUnavailable
from veilbox.oci.image.layout import BlobWriter, Layout
from veilbox.oci.image.links import parse_links, referrer_entry
from veilbox.oci.image.spec import Descriptor
from veilbox.oci.registry.content import Bytes, Source, Way

_CHUNK = 1 << 20


class LayoutPlace:
    """A layout on disk.

    Args:
        layout: It.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def resolve(self, name: str) -> Descriptor | None:
        """See `Source.resolve`."""
        return self._layout.resolve(name)

    def document(self, descriptor: Descriptor) -> bytes:
        """See `Source.document`."""
        return self._layout.read(descriptor)

    def blob(self, descriptor: Descriptor) -> tuple[Bytes, ...]:
        """See `Source.blob`."""
        return (partial(self._read, descriptor),)

    def _read(self, descriptor: Descriptor, offset: int) -> Iterator[bytes]:
        with self._layout.open(descriptor) as reader:  # verified from its beginning, whatever is asked for
            skip = offset
            while chunk := reader.read(_CHUNK):
                yield chunk[skip:]
                skip = max(0, skip - len(chunk))

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """See `Source.referrers`."""
        return self._layout.referrers(subject)

    def has(self, descriptor: Descriptor) -> bool:
        """Whether a blob is there and is what it must be: it is read, so that fetching again mends a damaged one."""
        if not self._layout.has(descriptor):
            return False
        try:
            with self._layout.open(descriptor) as reader:
                reader.drain()
        except ImageError:
            self._layout.remove(descriptor.digest)
            return False
        return True

    def receive(self, descriptor: Descriptor, read: Bytes, source: Source) -> Way:
        """See `Target.receive`; an earlier attempt's bytes are taken up, and given up if they prove wrong."""
        del source
        if self.has(descriptor):
            return Way.THERE
        resumed = False
        try:
            with self._layout.receiving(descriptor) as blob:
                resumed = blob.size > 0
                self._fill(blob, read, descriptor)
        except RegistryUnavailable:
            raise
        except ImageError:
            if not resumed:
                raise
            with self._layout.receiving(descriptor) as blob:
                self._fill(blob, read, descriptor)
        return Way.SENT

    def _fill(self, blob: BlobWriter, read: Bytes, descriptor: Descriptor) -> None:
        if blob.size == descriptor.size > 0:
            return
        for chunk in read(blob.size):
            blob.write(chunk)
            if blob.size > descriptor.size:  # no more than one chunk of what may not be is ever on the disk
                return

    def put(self, descriptor: Descriptor, raw: bytes, name: str | None) -> None:
        """See `Target.put`; a manifest without name that speaks of another is listed as its referrer."""
        self._layout.write(raw, descriptor.media_type)
        subject = parse_links(raw, descriptor.media_type).subject
        if name is not None:
            self._layout.tag(name, descriptor)
        elif subject is not None:
            self._layout.attach(referrer_entry(descriptor, raw), subject.digest)
