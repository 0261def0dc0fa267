"""Moving whole images from one place to another: everything below a manifest, and everything that speaks of it.

Order is what makes it safe to break off anywhere: blobs before the manifest that names them, manifests before the
index, what speaks of an image after it, the name last.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.links import Links, parse_links
from veilbox.oci.image.spec import Descriptor
from veilbox.oci.registry.content import Bytes, Source, Target, Way

# Layers on their way at once: enough to hide latency, few enough for a registry's patience and our memory.
WORKERS = 4

# More is no image of ours and may be an attempt to keep us busy.
_MAX_DOCUMENTS = 1000
_MAX_DEPTH = 4

# What cosign keeps beside an image, by tag: signature, attestations, SBOM.
_COMPANIONS = ("sig", "att", "sbom")

Progress = Callable[[str], None]


@dataclass(kw_only=True)
class Moved:
    """What a transfer did.

    Attributes:
        root: The manifest or index that was asked for.
        sent: Bytes of blobs that went over the wire.
        blobs: How many blobs went which way.
        documents: Manifests and indexes.
        referrers: How many of them speak of another.
    """

    root: Descriptor
    sent: int = 0
    blobs: dict[Way, int] = field(default_factory=lambda: dict.fromkeys(Way, 0))
    documents: int = 0
    referrers: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or index on its way.

    Attributes:
        descriptor: It.
        raw: Its bytes.
        links: What they point at.
        name: Under which tag it must stand to be found, if it speaks of an image by its name.
    """

    descriptor: Descriptor
    raw: bytes
    links: Links
    name: str | None = None


def plan(source: Source, root: Descriptor, *, referrers: bool = True) -> tuple[Document, ...]:
    """Every document to move, each after what it names; what speaks of one follows it.

    Args:
        source: Where they are.
        root: A manifest or index.
        referrers: Whether to take along what speaks of them: signatures, SBOMs, attestations.

    Raises:
        ImageError: A document is missing or damaged, or there are too many.
    """
    found: dict[Digest, Document] = {}
    _visit(source, root, found, referrers=referrers, depth=0)
    return tuple(found.values())


def plan_index(source: Source, index: Descriptor) -> tuple[Document, ...]:
    """An index and what speaks of it, without the manifests that it lists: for who takes only one of them.

    Args:
        source: Where they are.
        index: It.

    Raises:
        ImageError: As for `plan`.
    """
    found: dict[Digest, Document] = {}
    bare = replace(index, annotations={})
    _visit(source, bare, found, referrers=True, depth=0, listed=False)
    return tuple(found.values())


def _visit(
    source: Source,
    root: Descriptor,
    found: dict[Digest, Document],
    *,
    referrers: bool,
    depth: int,
    listed: bool = True,
) -> None:
    if root.digest in found:
        return
    if len(found) >= _MAX_DOCUMENTS or depth > _MAX_DEPTH:
        raise ImageError("image of too many parts", where=root.digest.text, expected=f"at most {_MAX_DOCUMENTS}")
    raw = source.document(root)
    links = parse_links(raw, root.media_type)
    for child in links.manifests if listed else ():
        _visit(source, child, found, referrers=referrers, depth=depth + 1)
    found[root.digest] = Document(root, raw, links)
    if referrers:
        for descriptor in source.referrers(root.digest):
            _visit_referrer(source, descriptor, root.digest, found, depth + 1)
        _companions(source, root.digest, found)


def _visit_referrer(
    source: Source, descriptor: Descriptor, subject: Digest, found: dict[Digest, Document], depth: int
) -> None:
    bare = replace(descriptor, annotations={}, artifact_type="")
    _visit(source, bare, found, referrers=True, depth=depth)
    named = found[descriptor.digest].links.subject
    if named is None or named.digest != subject:
        raise ImageError(
            "listed as speaking of an image of which it does not speak",
            where=descriptor.digest.text,
            expected=subject.text,
            actual="nothing" if named is None else named.digest.text,
        )


def _companions(source: Source, subject: Digest, found: dict[Digest, Document]) -> None:
    for kind in _COMPANIONS:
        name = f"sha256-{subject.hex}.{kind}"
        descriptor = source.resolve(name)
        if descriptor is not None and descriptor.digest not in found:
            raw = source.document(descriptor)
            bare = replace(descriptor, annotations={})
            found[descriptor.digest] = Document(bare, raw, parse_links(raw, descriptor.media_type), name)


def contents(documents: Iterable[Document]) -> frozenset[Digest]:
    """Digests of the documents and of all blobs that they name."""
    found: set[Digest] = set()
    for document in documents:
        found |= {document.descriptor.digest, *(blob.digest for blob in document.links.blobs)}
    return frozenset(found)


def move(
    source: Source,
    target: Target,
    documents: Sequence[Document],
    root: Descriptor,
    names: Sequence[str],
    *,
    progress: Progress,
    cancelled: threading.Event,
) -> Moved:
    """Move what `plan` found.

    Args:
        source: From where.
        target: To where.
        documents: What, in order.
        root: Which of them gets the names.
        names: Tags or names at the target; none to leave it to its digest.
        progress: Told of each blob that was sent.
        cancelled: Set when the transfer ends with an error, so that the other workers stop.

    Raises:
        VeilboxError: The first failure; what was complete by then stays and is not sent again next time.
    """
    moved = Moved(root=root)
    blobs = {blob.digest: blob for document in documents for blob in document.links.blobs}
    _move_blobs(source, target, tuple(blobs.values()), moved, progress, cancelled)
    for document in documents:
        target.put(document.descriptor, document.raw, document.name)
        moved.documents += 1
        moved.referrers += document.links.subject is not None or document.name is not None
    main = next(document for document in documents if document.descriptor.digest == root.digest)
    for name in names:
        target.put(root, main.raw, name)
    return moved


def _move_blobs(
    source: Source,
    target: Target,
    blobs: Sequence[Descriptor],
    moved: Moved,
    progress: Progress,
    cancelled: threading.Event,
) -> None:
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="layer")
    try:
        running = {pool.submit(_move_blob, source, target, blob): blob for blob in blobs}
        for future in _as_done(running):
            blob, way = running[future], future.result()
            moved.blobs[way] += 1
            if way is Way.SENT:
                moved.sent += blob.size
                progress(f"{blob.digest}: {blob.size:,} bytes")
    except BaseException:
        cancelled.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _as_done(running: Iterable[Future[Way]]) -> Iterable[Future[Way]]:
    waiting = set(running)
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from done


def _move_blob(source: Source, target: Target, blob: Descriptor) -> Way:
    """Try each way to read the blob (mirrors first); wrong bytes from one are no reason not to ask the next."""
    failures: list[ImageError] = []
    readers: tuple[Bytes, ...] = source.blob(blob)
    for read in readers:
        try:
            return target.receive(blob, read, source)
        except ImageError as error:  # what a registry says or sends; a full disk is no reason to ask another
            failures.append(error)
    raise failures[-1] if failures else ImageError("nowhere to read a blob from", where=blob.digest.text)
