"""What the log may hold: typed entries of numbers, digests and short words.

A type has no field that could carry a pixel, a box, a plate or a file's content, and a line that is no entry is refused
by the component that holds the key. A file's name is a keyed digest, unless the policy lets the log hold names.

The JSON of an entry is canonical: sorted keys, no spaces, absent fields left out. The line's bytes are the tree's leaf.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from veilbox.core.errors import ProtocolError

# `^` and `\Z`: msgspec searches, and `$` would let a newline pass.
DigestText = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
KeyedName = Annotated[str, Meta(pattern=r"^hmac-sha256:[0-9a-f]{64}\Z")]
Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}\Z")]
Moment = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")]
Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Level = Annotated[int, Meta(ge=0, le=6)]
Score = Annotated[float, Meta(ge=0, le=1)]
# A name of the longest path that Linux takes, escaped.
Name = Annotated[str, Meta(max_length=4096 * 4)]
# An image has at most a few dozen classes and layers; a job a handful of components.
_FEW = Meta(max_length=256)
Counts = Annotated[dict[Word, Count], _FEW]


class Entry(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", omit_defaults=True
):
    """What every entry says.

    Attributes:
        job: The job's id.
        time: UTC, to the millisecond, by the supervisor's clock.
    """

    job: Word
    time: Moment


class JobAccepted(Entry, frozen=True, kw_only=True, tag="job"):
    """A job will run.

    Attributes:
        veilbox: The version.
        items: Sources.
        skipped: Files of folders that are neither images nor films.
    """

    veilbox: Word
    items: Count
    skipped: Count


class ImagesAdmitted(Entry, frozen=True, kw_only=True, tag="images"):
    """Manifest digests of the component images, digests of the models in them, and who signed them, by component.

    Attributes:
        signers: Ids of the keys whose signatures counted.
        sboms: Digests of the images' SBOMs.
        trust_policy: The digest of the policy by which the images were judged.
    """

    images: Annotated[dict[Word, DigestText], _FEW]
    models: Annotated[dict[Word, DigestText], _FEW]
    signers: Annotated[dict[Word, Annotated[tuple[DigestText, ...], _FEW]], _FEW] = {}
    trust_policy: DigestText | None = None
    sboms: Annotated[dict[Word, DigestText], _FEW] = {}


class IsolationMeasured(Entry, frozen=True, kw_only=True, tag="isolation"):
    """What each component's walls were worth.

    Attributes:
        levels: By component.
        failed: The first gate that kept a component from the next level, by component.
        runtime: What ran the containers.
        kernel: The host's.
    """

    levels: Annotated[dict[Word, Level], _FEW]
    failed: Annotated[dict[Word, Word], _FEW]
    runtime: Word
    kernel: Word


class PolicyApplied(Entry, frozen=True, kw_only=True, tag="policy"):
    """What had to be hidden, and how.

    Attributes:
        digest: Of the policy's canonical JSON.
        classes: What had to be hidden.
        threshold: The least score that counts; absent where the model's own holds.
        style: How it is hidden.
        kept: What may stay besides pixels.
        names: Whether the log may hold file names.
        sources: What becomes of sources, where they do not simply stay: `delete` or `encrypt`.
    """

    digest: DigestText
    classes: Annotated[tuple[Word, ...], _FEW]
    threshold: Score | None = None
    style: Word
    kept: Annotated[tuple[Word, ...], _FEW] = ()
    names: bool = False
    sources: Word | None = None


class InputRead(Entry, frozen=True, kw_only=True, tag="input"):
    """A source, as the supervisor read it while ingest did.

    Attributes:
        item: Its number in the job.
        digest: Of the file.
        bytes: Its size.
        name: Its path's keyed digest.
        path: Its path, where the policy lets the log hold names.
    """

    item: Count
    digest: DigestText
    bytes: Count
    name: KeyedName
    path: Name | None = None


class Released(Entry, frozen=True, kw_only=True, tag="release"):
    """An output got its final name after this entry was durable.

    Attributes:
        item: The source's number in the job.
        digest: Of the output file.
        bytes: Its size.
        input: Digest of the source.
        counts: Tracks by class.
        covered: Boxes by origin.
        name: Keyed digest of the output's path.
        path: The path, where the policy lets the log hold names.
    """

    item: Count
    digest: DigestText
    bytes: Count
    input: DigestText
    frames: Count
    width: Count
    height: Count
    counts: Counts
    covered: Counts
    name: KeyedName
    path: Name | None = None


class Finding(Entry, frozen=True, kw_only=True, tag="finding"):
    """What looking at an output again found; no boxes.

    Attributes:
        item: The source's number in the job.
        kind: What was found.
        count: How often.
        score: The highest.
        action: What the policy made of it.
    """

    item: Count
    kind: Word
    count: Count
    score: Score | None = None
    action: Word


class Decision(Entry, frozen=True, kw_only=True, tag="decision"):
    """What a person decided.

    Attributes:
        item: The source's number in the job, where it is about one.
        decision: What.
        by: The user id, `uid 1000`, not a name.
        digest: Of what was decided on.
        of: The job whose material it was, where a later one carried it out.
        reason: Why, where one was asked for.
    """

    item: Count | None = None
    decision: Word
    by: Word
    digest: DigestText | None = None
    of: Word | None = None
    reason: Word | None = None


class Quarantined(Entry, frozen=True, kw_only=True, tag="quarantine"):
    """An output was held back, and is kept encrypted.

    Attributes:
        item: The source's number in the job.
        digest: Of the output that verify looked at.
        bytes: Its size.
    """

    item: Count
    digest: DigestText
    bytes: Count


class Failed(Entry, frozen=True, kw_only=True, tag="failure"):
    """A source gave no output.

    Attributes:
        item: Its number in the job.
        error: A name of the error tree.
    """

    item: Count
    error: Word


class Notice(Entry, frozen=True, kw_only=True, tag="notice"):
    """Something that must be on record, such as kept metadata or a source that could not be deleted.

    Attributes:
        code: Which.
        item: The source's number in the job, where it is about one.
    """

    code: Word
    item: Count | None = None


class Deleted(Entry, frozen=True, kw_only=True, tag="deletion"):
    """Material that was deleted.

    Attributes:
        what: `source`, `temporary`, `quarantine` or `key`.
        digest: Of what was deleted, or of what the key had encrypted.
        item: The source's number in its job.
        of: The job whose material it was, where a later one deleted it.
    """

    what: Word
    digest: DigestText
    item: Count | None = None
    of: Word | None = None


class DeletionDue(Entry, frozen=True, kw_only=True, tag="due"):
    """Material that will be deleted next; a `deletion` or a `notice` that it stayed follows, unless somebody is killed.

    Attributes:
        what: As in `Deleted`, here and below.
        digest: Likewise.
        item: Likewise.
        of: Likewise.
    """

    what: Word
    digest: DigestText
    item: Count | None = None
    of: Word | None = None


class JobEnded(Entry, frozen=True, kw_only=True, tag="end"):
    """The job's last entry.

    Attributes:
        outcome: `done`, `partial` or `failed`.
        released: Outputs.
        failed: Sources without an output.
        error: What ended the job, a name of the error tree.
        component: Whose fault it was.
        report: Digest of the report's canonical JSON without its `audit` field.
    """

    outcome: Word
    released: Count
    failed: Count
    error: Word | None = None
    component: Word | None = None
    report: DigestText | None = None


AnyEntry = (
    JobAccepted
    | ImagesAdmitted
    | IsolationMeasured
    | PolicyApplied
    | InputRead
    | Released
    | Finding
    | Decision
    | Quarantined
    | Failed
    | Notice
    | Deleted
    | DeletionDue
    | JobEnded
)

_DECODER: msgspec.json.Decoder[AnyEntry] = msgspec.json.Decoder(AnyEntry)
_ENCODER = msgspec.json.Encoder(order="sorted")


def encode_entry(entry: AnyEntry) -> bytes:
    """The canonical line of an entry, without a newline.

    Raises:
        ProtocolError: A field holds what its type does not allow.
    """
    line = _ENCODER.encode(entry)
    decode_entry(line)  # msgspec checks bounds and patterns when it decodes
    return line


def decode_entry(line: bytes) -> AnyEntry:
    """The entry of a line.

    Raises:
        ProtocolError: It is no entry, or not in canonical form.
    """
    try:
        entry = _DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProtocolError("not an entry of the audit log", where="audit", actual=_shape(error)) from error
    if _ENCODER.encode(entry) != line:
        raise ProtocolError("an entry that is not in canonical form", where="audit")
    return entry


def checked_entry(line: bytes, *, names: bool) -> AnyEntry:
    """Likewise, and it holds a file name only if the policy lets it.

    Raises:
        ProtocolError: It does not.
    """
    entry = decode_entry(line)
    if not names and isinstance(entry, InputRead | Released) and entry.path is not None:
        raise ProtocolError("an entry with a file name, which the policy does not allow", where="audit")
    return entry


def _shape(error: Exception) -> str:
    """Where in the entry and what kind of thing; the value itself is not quoted."""
    return str(error).partition(" - at ")[2] or type(error).__name__
