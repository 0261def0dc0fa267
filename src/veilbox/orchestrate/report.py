"""What a run tells: outputs, failures, counts, and what every component cost and measured.

The published schema, `docs/reference/report.schema.json`, is generated from these classes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import msgspec

from veilbox.core.errors import VeilboxError
from veilbox.core.exposure import Exposure
from veilbox.core.findings import Finding
from veilbox.core.isolation import Gate, Measured
from veilbox.core.metadata import MetadataField
from veilbox.core.policy import Policy, Verdict
from veilbox.oci.trust.verify import Admission
from veilbox.orchestrate.launcher import Root

# Raised when a field changes its meaning or goes away; new fields do not raise it.
SCHEMA_VERSION = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What looking at an output again found.

    Attributes:
        verdict: What the policy makes of it: release, quarantine or fail.
        frames: Frames that decoded.
        regions: Hidden regions that were looked at, in all frames.
        searched: Frames that a detector searched again.
        side: Longer side of the picture that it searched, pixels.
        findings: What was found; empty if nothing was.
        omitted: Findings beyond these.
        metadata: Fields besides pixels that the output has, of those that the policy lets stay.
    """

    verdict: Verdict
    frames: int
    regions: int
    searched: int
    side: int
    findings: tuple[Finding, ...]
    omitted: int
    metadata: tuple[MetadataField, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """One released file.

    Attributes:
        counts: Tracks by class.
        covered: Boxes by what put them there: detected, interpolated, extended.
        seen: Frames by how much of them every detector looked at: whole, parts, not. What lies between two looks is
            covered by the tracks on both sides.
        lookahead: Frames that waited for what follows; less than the policy's where large frames left no room.
        audit_index: Index of the audit log's entry that vouches for the output.
        exposure: By what each track was covered; null where nobody told.
        kept: Detections that counted and stayed visible, for they lay in a zone that keeps.
        blocks: Blocks of 8 x 8 coefficients of a JPEG picture of which only those with something hidden in them, and
            those over its edge, were coded anew; 0 where the output was encoded as a whole.
        recoded: Those that were coded anew; all others are the source's.
        source_fate: What became of the source: kept, deleted, encrypted; or why it stayed although it should have
            gone: changed, linked, refused.
        verification: What looking at the output again found.
    """

    source: str
    path: str
    digest: str
    bytes: int
    kind: str
    frames: int
    width: int
    height: int
    counts: dict[str, int]
    covered: dict[str, int]
    lookahead: int
    audit_index: int
    source_fate: str
    exposure: Exposure | None = None
    kept: int = 0
    blocks: int = 0
    recoded: int = 0
    verification: Checked
    seen: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFailure:
    """One source that gave no output.

    Attributes:
        verification: What verify found in an output that was not released; null if it did not come so far.
        quarantine: Where such an output is kept, encrypted; empty if it is not.
    """

    source: str
    error: str
    message: str
    exit_code: int
    verification: Checked | None = None
    quarantine: str = ""

    @classmethod
    def of(cls, source: str, error: VeilboxError) -> SourceFailure:
        """The report's form of an error."""
        return cls(source=source, error=type(error).__name__, message=str(error), exit_code=error.exit_code)


@dataclass(frozen=True, kw_only=True, slots=True)
class LatencyMs:
    """Milliseconds of a frame from the end of its decoding to its hand-over to the encoder; 0 if no frame passed.

    Attributes:
        p50: The median.
        p95: What 95 % of the frames do not exceed.
        p99: Likewise.
        histogram: Upper end in milliseconds and number of frames of each part that is not empty, four parts an octave.
    """

    p50: float
    p95: float
    p99: float
    histogram: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Throughput:
    """Per second of the time between the first item's opening and the last one's release."""

    input_bytes_per_s: float
    output_bytes_per_s: float
    megapixels_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """The pod's figures.

    Attributes:
        fps: Frames a second between the first item's opening and the last one's release.
        wall_s: Seconds from the request to the report, start-up included.
        containers_started_ms: From the first runtime call to the first instruction in the last component.
        ready_ms: From the same moment until every component was ready and its walls were measured.
        first_clean_frame_ms: From the same moment to the first redacted frame at the encoder; 0 if none.
        memory_peak_bytes: The most that all components held at once; where the machine does not tell, the sum of their
            peaks, an upper bound of it.
    """

    fps: float
    wall_s: float
    latency_ms: LatencyMs
    throughput: Throughput
    containers_started_ms: float
    ready_ms: float
    first_clean_frame_ms: float
    memory_peak_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StartupMs:
    """Milliseconds of each phase, one after the other.

    Attributes:
        create: The runtime builds the container.
        start: From the runtime's start to the component's first instruction of ours.
        import_: From there until its modules are imported (`import` in JSON).
        ready: From there until it can take its first item, probing its walls and loading its model included.
    """

    create: float
    start: float
    import_: float
    ready: float


@dataclass(frozen=True, kw_only=True, slots=True)
class IoBytes:
    """Bytes that the component's calls read and wrote."""

    read: int
    written: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Isolation:
    """The measured level, the first gate that kept it from the next, and everything that was tried."""

    level: int
    label: str
    failed: str
    gates: tuple[Gate, ...]

    @classmethod
    def of(cls, measured: Measured) -> Isolation:
        """The report's form of a measurement."""
        return cls(level=int(measured.level), label=measured.level.label, failed=measured.failed, gates=measured.gates)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageAdmission:
    """Why a component's image was allowed to run.

    Attributes:
        version: The image's, as it says; a model's is the digest of its artifact.
        keys: Ids of the keys whose signatures counted: digests of their public halves.
        policy: The digest of the trust policy's file.
        clauses: What held, in the order in which it was asked.
    """

    version: str
    keys: tuple[str, ...]
    policy: str
    clauses: tuple[str, ...]

    @classmethod
    def of(cls, admission: Admission) -> ImageAdmission:
        """The report's form of an admission."""
        return cls(
            version=admission.version,
            keys=tuple(map(str, admission.keys)),
            policy=str(admission.policy),
            clauses=admission.clauses,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ComponentReport:
    """What one component cost and measured; a figure that the machine does not tell is null.

    Attributes:
        root: How its root file system was made: an overlay of the image's layers, or, where the kernel refuses those,
            one folder into which they were merged. Null where components run without images.
        admission: Null where nothing was admitted, because components run without images.
        model_admission: Why the model was allowed that took the place of the image's; null where none did.
    """

    image_digest: str
    root: Root | None
    admission: ImageAdmission | None
    model_digest: str
    startup_ms: StartupMs
    cpu_s: float | None
    memory_peak_bytes: int | None
    io_bytes: IoBytes | None
    isolation: Isolation
    model_admission: ImageAdmission | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditReference:
    """Where the audit log vouches for this run; who has the public key and the entry's line can check it.

    Attributes:
        origin: The log's name.
        key: Its public key, `name+id+key`.
        first: Index of the job's first entry.
        index: Of its last, which holds the digest of this report without this field.
        leaf: The last entry's leaf hash (RFC 9162).
        size: Entries that the checkpoint covers.
        checkpoint: A C2SP signed note. Keep it: no later log may contradict it.
        proof: Inclusion of the last entry in the checkpoint's tree, base64, nearest sibling first.
    """

    origin: str
    key: str
    first: int
    index: int
    leaf: str
    size: int
    checkpoint: str
    proof: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One run.

    Attributes:
        warnings: Codes of what the policy lets happen and a reader must know; `keeps-metadata`, `keeps-zones`,
            `sealed-processes`.
    """

    veilbox: str
    job: str
    outputs: tuple[Output, ...]
    failures: tuple[SourceFailure, ...]
    skipped: int
    counts: dict[str, int]
    covered: dict[str, int]
    metrics: Metrics
    components: dict[str, ComponentReport]
    runtime: str
    kernel: str
    policy: Policy
    audit: AuditReference | None
    warnings: tuple[str, ...] = ()
    schema_version: int = field(default=SCHEMA_VERSION)


def report_json(report: Report) -> dict[str, Any]:
    """The report as JSON values."""
    document: dict[str, Any] = msgspec.to_builtins(report)
    for component in document["components"].values():
        component["startup_ms"]["import"] = component["startup_ms"].pop("import_")
    return document


def report_digest_json(report: Report) -> bytes:
    """What the audit log keeps the digest of: the report's canonical JSON without its `audit` field."""
    document = {name: value for name, value in report_json(report).items() if name != "audit"}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def report_schema() -> dict[str, Any]:
    """The JSON Schema of `report_json`'s documents."""
    schema: dict[str, Any] = msgspec.json.schema(Report)
    startup = schema["$defs"]["StartupMs"]
    startup["properties"]["import"] = startup["properties"].pop("import_")
    startup["required"] = ["import" if name == "import_" else name for name in startup["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "veilbox report", **schema}
