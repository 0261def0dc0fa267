"""How push, pull and copy say what they did."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from veilbox.oci.registry.transfer import Moved

COLUMNS = {
    "image": "name",
    "digest": "digest",
    "sent": "sent",
    "there": "there",
    "mounted": "mounted",
    "bytes": "bytes",
}


def moved_row(name: str, reference: str, moved: Moved) -> dict[str, object]:
    """One image's line: blobs that went over the wire, that were there, that the registry mounted; bytes sent."""
    return {
        "name": name,
        "reference": reference,
        "digest": moved.root.digest.text,
        **{way.value: count for way, count in moved.blobs.items()},
        "bytes": moved.sent,
        "referrers": moved.referrers,
    }
