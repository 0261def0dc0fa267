"""What an output's C2PA manifest says of how it was made: no names, no counts, nothing of what the source showed."""

from __future__ import annotations

from dataclasses import field

from veilbox.core.errors import UsageError
from veilbox.core.frozen import frozen

# By suffix: the formats that C2PA puts a manifest into and that verify knows the place in.
# Source: C2PA 2.2, A.2 "Embedding manifests into non-BMFF-based assets" and A.5 "... into BMFF-based assets".
MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "mov": "video/quicktime",
}
# Label of the assertion that only veilbox makes.
ASSERTION = "veilbox.redaction"


@frozen
class Claim:
    """Facts of a job, the same in each of its outputs.

    Attributes:
        veilbox: Its version.
        hidden: Classes of what was to be hidden.
        style: How it was hidden.
        policy: The policy's digest, as the audit log has it.
        models: Digests of the models that looked, by component.
        job: The job's name in the audit log.
        log: The log's origin.
        entry: Index of the entry that says that the job was accepted. The entry of the release comes later: it holds
            the digest of the output, and with it of the manifest.
        leaf: That entry's leaf hash.
    """

    veilbox: str
    hidden: tuple[str, ...]
    style: str
    policy: str
    job: str
    log: str
    entry: int
    leaf: str
    models: dict[str, str] = field(default_factory=dict)


def media_type(suffix: str) -> str:
    """The media type of a format that carries a manifest.

    Raises:
        UsageError: It carries none.
    """
    if suffix not in MEDIA_TYPES:
        raise UsageError(
            "this format carries no C2PA manifest",
            where="--c2pa",
            expected=", ".join(MEDIA_TYPES),
            actual=suffix,
            advice="Name an output of one of these formats, or leave --c2pa out",
        )
    return MEDIA_TYPES[suffix]
