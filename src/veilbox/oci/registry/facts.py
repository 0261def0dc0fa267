"""What an image says of itself, for people and programs to look at; nothing here is judged."""

from __future__ import annotations

import msgspec

from veilbox.core.errors import ImageError
from veilbox.oci.image.links import parse_links
from veilbox.oci.image.spec import CONFIG_TYPE, Descriptor
from veilbox.oci.image.wire import MAX_JSON_BYTES, descriptor_document
from veilbox.oci.registry.content import Check, Source


def image_facts(source: Source, root: Descriptor) -> dict[str, object]:
    """A manifest's or index's parts, its configuration and what speaks of it.

    Args:
        source: Where it is.
        root: It.

    Raises:
        ImageError: It is not there, or not what its digest says.
    """
    links = parse_links(source.document(root), root.media_type)
    facts: dict[str, object] = {
        "digest": root.digest.text,
        "mediaType": root.media_type,
        "size": root.size,
        "manifests": [descriptor_document(one) for one in links.manifests],
        "layers": [descriptor_document(blob) for blob in links.blobs[1:]],
        "total": sum(blob.size for blob in links.blobs),
        "referrers": [descriptor_document(one) for one in source.referrers(root.digest)],
        "signed": source.resolve(f"sha256-{root.digest.hex}.sig") is not None,
    }
    if links.blobs and links.blobs[0].media_type == CONFIG_TYPE:
        facts["config"] = _config(source, links.blobs[0])
    return facts


def _config(source: Source, descriptor: Descriptor) -> object:
    if descriptor.size > MAX_JSON_BYTES:
        raise ImageError("configuration is too large", where=descriptor.digest.text)
    check = Check(descriptor, descriptor.digest.text)
    raw = b"".join(check.feed(chunk) for chunk in source.blob(descriptor)[-1](0))
    check.finish()
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError("configuration is not JSON", where=descriptor.digest.text) from error
