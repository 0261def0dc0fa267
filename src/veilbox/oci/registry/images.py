"""What people do with images and registries: push, pull, copy, save, load. Each holds a lease while it works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.lease import Lease, lease, uncollected
from veilbox.oci.image.links import index_above, parse_links
from veilbox.oci.image.spec import INDEX, INDEX_TYPE, REF_NAME, SUBJECT, Descriptor
from veilbox.oci.image.store import ImageStore
from veilbox.oci.registry import archive
from veilbox.oci.registry.client import Known, RepositoryClient
from veilbox.oci.registry.content import Source
from veilbox.oci.registry.local import LayoutPlace
from veilbox.oci.registry.mirrors import Mirror, MirroredSource
from veilbox.oci.registry.reference import Reference, Repository
from veilbox.oci.registry.session import Session
from veilbox.oci.registry.transfer import Document, Moved, Progress, contents, move, plan, plan_index


@dataclass(kw_only=True)
class Connection:
    """One command's way to registries.

    Attributes:
        session: How to ask.
        mirrors: Where to look first.
    """

    session: Session
    mirrors: tuple[Mirror, ...] = ()
    _known: Known = field(default_factory=Known)

    def repository(self, repository: Repository) -> RepositoryClient:
        """A repository itself, without mirrors."""
        return RepositoryClient(self.session, repository, self._known)

    def source(self, repository: Repository) -> Source:
        """A repository to read from, its mirrors first."""
        found = [(mirror.of(repository), mirror.tags) for mirror in self.mirrors]
        clients = tuple((self.repository(place), tags) for place, tags in found if place is not None)
        primary = self.repository(repository)
        return MirroredSource(primary, clients) if clients else primary


def resolved(source: Source, reference: Reference) -> Descriptor:
    """What a reference stands for.

    Raises:
        ImageError: It is not there.
    """
    found = source.resolve(reference.target)
    if found is None:
        raise ImageError("image is not there", where=str(reference), advice="See what is: veilbox image inspect --tags")
    return found


def push(store: ImageStore, connection: Connection, name: str, reference: Reference, progress: Progress) -> Moved:
    """Push an image of the store with all that speaks of it.

    Args:
        store: Where it is.
        connection: To registries.
        name: Its name in the store.
        reference: Where it goes; with a tag.
        progress: Told of every blob that was sent.

    Raises:
        ImageError: It is not in the store, or damaged, or a registry refuses.
    """
    source = LayoutPlace(store.layout)
    with lease(store.root) as held:
        root, documents = _held(store, held, name)
        return _moved(
            connection, source, connection.repository(reference.repository), documents, root, reference, progress
        )


def copy(connection: Connection, origin: Reference, target: Reference, progress: Progress) -> Moved:
    """Copy an image with all that speaks of it from one repository to another, by mounting where that is possible.

    Args:
        connection: To registries.
        origin: What to copy.
        target: Where it goes.
        progress: Told of every blob that was sent.

    Raises:
        ImageError: It is not there, or a registry refuses.
    """
    source = connection.source(origin.repository)
    root = resolved(source, origin)
    documents = plan(source, root)
    return _moved(connection, source, connection.repository(target.repository), documents, root, target, progress)


def fetch(
    store: ImageStore,
    connection: Connection,
    reference: Reference,
    progress: Progress,
    held: Lease,
    *,
    architecture: str | None = None,
) -> Moved:
    """Fetch an image with all that speaks of it into the store, where it has no name yet.

    Args:
        store: Where it goes.
        connection: To registries.
        reference: What.
        progress: Told of every blob that was fetched.
        held: Keeps the content until it has a name.
        architecture: Of an index, only the image for such machines; None fetches all of it.

    Raises:
        ImageError: It is not there, or not what its digests say.
    """
    source = connection.source(reference.repository)
    root = resolved(source, reference)
    vouching: tuple[Document, ...] = ()
    if architecture is not None and root.media_type == INDEX_TYPE:
        vouching = plan_index(source, root)  # a signature may be the index's alone
        root = replace(_for_machine(source, root, architecture), annotations={INDEX: root.digest.text})
    documents = (*plan(source, root), *vouching)
    held.add(contents(documents))
    cancelled = connection.session.cancelled
    return move(source, LayoutPlace(store.layout), documents, root, (), progress=progress, cancelled=cancelled)


def save(store: ImageStore, names: Sequence[str], notes: Mapping[str, bytes], path: Path) -> int:
    """Write images of the store, with all that speaks of them, into one archive.

    Args:
        store: Where they are.
        names: Which.
        notes: Small files for the other side.
        path: The archive.

    Returns:
        Its size in bytes.

    Raises:
        ImageError: An image is missing or damaged.
        OutputError: The archive cannot be written.
    """
    with lease(store.root) as held:
        images: dict[str, Descriptor] = {}
        documents: dict[Digest, Document] = {}
        for name in names:
            images[name], found = _held(store, held, name, with_index=True)
            documents |= {document.descriptor.digest: document for document in found}
        return archive.save(store.layout, images, tuple(documents.values()), notes, path)


def load(store: ImageStore, path: Path, held: Lease) -> dict[str, Descriptor]:
    """Take an archive into the store. Images have no name yet; what speaks of them is listed.

    Args:
        store: Where it goes.
        path: The archive.
        held: Keeps the content until it has a name.

    Returns:
        Images by their names in the archive.

    Raises:
        ImageError: It is no archive, or something in it is not what its digest says.
    """
    images: dict[str, Descriptor] = {}
    for entry in archive.load(store.layout, path, held):
        subject = entry.annotations.get(SUBJECT)
        if REF_NAME in entry.annotations:
            images[entry.annotations[REF_NAME]] = entry
        elif subject is not None:
            store.layout.attach(entry, Digest(subject))
    return images


def _for_machine(source: Source, index: Descriptor, architecture: str) -> Descriptor:
    children = parse_links(source.document(index), index.media_type).manifests
    offered = {child.platform.architecture: child for child in reversed(children) if child.platform is not None}
    if architecture not in offered:
        raise ImageError(
            "index without an image for this machine", where=index.digest.text, expected=architecture,
            actual=", ".join(sorted(offered)) or "none",
        )  # fmt: skip
    return offered[architecture]


def _held(
    store: ImageStore, held: Lease, name: str, *, with_index: bool = False
) -> tuple[Descriptor, tuple[Document, ...]]:
    """An image with all that speaks of it; a registry takes no index without the manifests that it lists."""
    with uncollected(store.root):
        root = store.layout.resolve(name)
        if root is None:
            raise ImageError("image is not in the store", where=name, advice="See what is: veilbox image df")
        source = LayoutPlace(store.layout)
        documents = plan(source, root)
        index = _index_of(store, root) if with_index else None
        if index is not None:
            documents = (*documents, *plan_index(source, index))
        held.add_found(contents(documents))
    return root, documents


def _index_of(store: ImageStore, root: Descriptor) -> Descriptor | None:
    above = index_above(root)
    return None if above is None else store.layout.held(above, INDEX_TYPE)


def _moved(
    connection: Connection,
    source: Source,
    target: RepositoryClient,
    documents: tuple[Document, ...],
    root: Descriptor,
    reference: Reference,
    progress: Progress,
) -> Moved:
    names = () if reference.tag is None else (reference.tag,)
    cancelled = connection.session.cancelled
    return move(source, target, documents, root, names, progress=progress, cancelled=cancelled)
