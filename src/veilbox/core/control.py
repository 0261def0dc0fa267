"""What the supervisor and a component say to each other.

Messages hold numbers and short words, never pixels, file names or contents. Descriptors travel beside a message,
in the order that its docstring gives.
"""

from __future__ import annotations

from dataclasses import field

from veilbox.core.claim import Claim
from veilbox.core.errors import Failure
from veilbox.core.exposure import Exposure
from veilbox.core.findings import Finding
from veilbox.core.frozen import frozen
from veilbox.core.isolation import Gate
from veilbox.core.linking import LinkRate
from veilbox.core.metadata import MetadataField
from veilbox.core.policy import Policy
from veilbox.core.stream import Kind


@frozen
class EdgeEnd:
    """One end of an edge as a component holds it.

    Attributes:
        edge: The edge's name: `raw`, `analysis`, `boxes`, `clean`, `regions`, `second`, `audio`.
        peer: The component at the other end.
        producer: Whether this component sends frames or boxes; else it receives them.
        ring: Directory inside the container in which the ring's file lies; empty if the edge has none.
    """

    edge: str
    peer: str
    producer: bool
    ring: str = ""


@frozen
class Canaries:
    """Things on the host that a sealed component must not reach.

    Attributes:
        path: A readable file on the host.
        tcp_port: A listening port on the host's loopback address.
        abstract_socket: Name of a listening abstract Unix socket on the host, without the leading NUL.
        volumes: Destinations of the pod's volumes that this component must not see.
        kernel: Release and version of the host's kernel, as uname tells them.
        boot_id: Of the host's kernel.
    """

    path: str
    tcp_port: int
    abstract_socket: str
    volumes: tuple[str, ...] = ()
    kernel: str = ""
    boot_id: str = ""


@frozen
class Configure:
    """To a component: its settings and edges. Descriptors: one socket for each edge end, in order.

    Attributes:
        clock_ns: From the supervisor's CLOCK_MONOTONIC to CLOCK_REALTIME; 0 if the component reads the same clock.
    """

    policy: Policy
    ends: tuple[EdgeEnd, ...]
    canaries: Canaries
    ring_bytes: int
    clock_ns: int = 0


@frozen
class OpenItem:
    """To ingest, with a read-only descriptor of the source, or to export, with a writable one of the output.

    Where the policy has zones also to anonymize, before the others and without a descriptor.

    Attributes:
        item: Counts from 0 in the job's order.
        suffix: The output's lower-case suffix without the dot (`mp4`, `jpg`). Ingest goes by content and needs it
            only to know which audio the output can carry.
        analysis_stride: For ingest: sides of the analysis picture are multiples of it (every detector's stride
            divides it).
        zones: For anonymize: which of the policy's zones are for this source.
    """

    item: int
    suffix: str = ""
    analysis_stride: int = 1
    zones: tuple[int, ...] = ()


@frozen
class OpenOutput:
    """To verify, with a read-only descriptor of an output that export has closed.

    Attributes:
        item: As in `OpenItem`.
        suffix: Likewise.
        kind: What ingest announced of the source, here and below.
        width: Columns before rotation.
        height: Rows before rotation.
        rotation: As in `StreamInfo`.
        frames: How many every witness passed on.
        times: When the frames show, as `core.timing` condenses it.
        metadata: What it says about itself, as `core.metadata` condenses it.
        analysis_stride: Sides of the picture for the second look are multiples of it.
        zones: Which of the policy's zones are for the source.
    """

    item: int
    suffix: str
    kind: Kind
    width: int
    height: int
    rotation: int
    frames: int
    times: str
    metadata: str
    analysis_stride: int = 1
    zones: tuple[int, ...] = ()


@frozen
class OpenClaim:
    """To claim. Descriptors: an output that export has closed, read-only; an empty file for it with its manifest.

    Attributes:
        item: As in `OpenItem`.
        suffix: Likewise.
        claim: What the manifest says.
        algorithm: How its signatures are made, in C2PA's words: `es256`.
        signature_bytes: How long they are.
        chain: Certificates, PEM, the signer's first.
    """

    item: int
    suffix: str
    claim: Claim
    algorithm: str
    signature_bytes: int
    chain: str


@frozen
class Signature:
    """To claim: the answer to `ToSign`."""

    item: int
    signature: bytes


@frozen
class OpenLog:
    """To audit, before its first entry. Descriptors: the segment's entries, the tree, the checkpoints, the key.

    Attributes:
        first: Index of the segment's first entry.
    """

    first: int


@frozen
class Append:
    """To audit: entries for the log, all or none; each is canonical JSON."""

    entries: tuple[str, ...]


@frozen
class Seal:
    """To audit, after a job's last entry. Descriptor: an empty file for the job's attestation."""


@frozen
class Link:
    """To anonymize in an attack: how often are redacted faces linked to their originals?

    Attributes:
        items: Pictures that count.
        people: Who is in each.
        whole: Whether each picture is one face, so that nothing needs to be found in it.
    """

    items: tuple[int, ...]
    people: tuple[int, ...]
    whole: bool


@frozen
class Finish:
    """To a component: no more items follow."""


@frozen
class Hello:
    """From a component: its program runs.

    Attributes:
        first_ns: CLOCK_MONOTONIC at the first instruction of ours.
        imported_ns: The same after every import.
        clock_ns: From that clock to CLOCK_REALTIME; 0 if it is the supervisor's.
    """

    component: str
    first_ns: int
    imported_ns: int
    clock_ns: int = 0


@frozen
class Probed:
    """From a component: what its attempts at its own walls found."""

    gates: tuple[Gate, ...]


@frozen
class Ready:
    """From a component: it can take its first item.

    Attributes:
        ready_ns: CLOCK_MONOTONIC.
        classes: A detector's class names in index order, else empty.
        model: A detector's model digest, else empty.
        stride: Sides of the analysis picture must be multiples of it; 0 from other components.
    """

    ready_ns: int
    classes: tuple[str, ...] = ()
    model: str = ""
    stride: int = 0


@frozen
class Heartbeat:
    """From a component, at least every second of its loop: how far it is."""

    item: int
    frames: int


@frozen
class ItemStarted:
    """From ingest: a source was opened.

    Attributes:
        first_sequence: Sequence number of the item's first frame; numbers run on from item to item.
        frames: Expected number of frames for the progress bar; 0 if unknown.
        metadata: What the output has to say besides pixels, as `core.metadata` condenses it.
    """

    item: int
    first_sequence: int
    kind: Kind
    width: int
    height: int
    frames: int
    rotation: int
    metadata: str = ""


@frozen
class ItemDone:
    """From any component that handles frames: it did its part of an item.

    Attributes:
        frames: Frames that passed.
        counts: For anonymize, tracks by class name.
        covered: For anonymize, boxes by origin: detected, interpolated, extended.
        seen: For anonymize, frames by how much of them every detector looked at: whole, parts, not.
        times: For ingest, when the frames show, as `core.timing` condenses it.
        lookahead: For anonymize, the frames that could wait for what follows; fewer than the policy's where the ring
            holds fewer frames of this size.
        exposure: For anonymize, by what each track was covered.
        kept: For anonymize, detections that counted and stayed visible, for they lay in a zone that keeps.
        blocks: For anonymize, blocks of coefficients of a JPEG picture; 0 where frames pass as samples.
        recoded: For anonymize, those of them that were coded anew.
        latency_us: For export, a packed `metrics.Histogram` of microseconds from the end of a frame's decoding to its
            hand-over to the encoder.
        first_frame_ns: For export, CLOCK_MONOTONIC when the item's first frame went to the encoder; 0 if none.
    """

    item: int
    frames: int
    counts: dict[str, int] = field(default_factory=dict)
    covered: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    times: str = ""
    lookahead: int = 0
    exposure: Exposure | None = None
    kept: int = 0
    blocks: int = 0
    recoded: int = 0
    latency_us: tuple[tuple[int, int], ...] = ()
    first_frame_ns: int = 0


@frozen
class ItemFailed:
    """From a component: the item cannot be finished and the fault lies in the source or the output file."""

    item: int
    failure: Failure


@frozen
class Verified:
    """From verify: it looked at an output.

    Attributes:
        frames: Frames that decoded.
        regions: Regions that it looked at, in all frames.
        searched: Frames that got the second look.
        side: Longer side of the picture for the second look, pixels; 0 if none was searched.
        findings: What it found, at most `core.findings.MOST_FINDINGS`.
        omitted: Findings beyond these.
        metadata: Fields that the output has.
    """

    item: int
    frames: int
    regions: int
    searched: int
    side: int
    findings: tuple[Finding, ...]
    omitted: int = 0
    metadata: tuple[MetadataField, ...] = ()


@frozen
class ToSign:
    """From claim, once for each output: what the manifest's signature is made over (RFC 9052, 4.4)."""

    item: int
    data: bytes


@frozen
class Claimed:
    """From claim: the output with its manifest is complete, and its manifest reads as valid."""

    item: int


@frozen
class LogOpened:
    """From audit: it holds the log and its key.

    Attributes:
        key: The public key as `name+id+key`; the name is the log's origin.
        size: Entries in the log.
        recovered_bytes: What a crash had left behind the last checkpoint, and was cut.
    """

    key: str
    size: int
    recovered_bytes: int


@frozen
class Appended:
    """From audit: the entries are on stable storage and a checkpoint covers them.

    Attributes:
        index: Of the last of them, from 0.
        digest: Its leaf hash.
    """

    index: int
    digest: str


@frozen
class Sealed:
    """From audit: the proof of the job's last entry.

    Attributes:
        origin: The log's name.
        first: Index of the job's first entry; those of other jobs may lie between.
        index: Of its last.
        leaf: The last one's leaf hash.
        size: Entries that the checkpoint covers.
        checkpoint: A signed note.
        proof: Inclusion of the last entry, base64, nearest sibling first.
    """

    origin: str
    first: int
    index: int
    leaf: str
    size: int
    checkpoint: str
    proof: tuple[str, ...]


@frozen
class Linked:
    """From anonymize in an attack.

    Attributes:
        rates: By strength and adversary; none if fewer than two faces were found.
        pictures: How many it has seen.
    """

    rates: tuple[LinkRate, ...]
    pictures: int


@frozen
class Finished:
    """From a component: its last item is done; it waits for the control socket to close."""


@frozen
class Faulted:
    """From a component: it cannot go on; the job must end."""

    failure: Failure


ToComponent = Configure | OpenItem | OpenOutput | OpenClaim | Signature | OpenLog | Append | Seal | Link | Finish
FromComponent = (
    Hello
    | Probed
    | Ready
    | Heartbeat
    | ItemStarted
    | ItemDone
    | ItemFailed
    | Verified
    | ToSign
    | Claimed
    | LogOpened
    | Appended
    | Sealed
    | Linked
    | Finished
    | Faulted
)
