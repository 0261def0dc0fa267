"""Models and registries: they travel as images do, with their signatures."""

from __future__ import annotations

from veilbox.oci.admit import Trust
from veilbox.oci.image.lease import lease
from veilbox.oci.image.store import ImageStore
from veilbox.oci.models.admit import RunnableModel, settle_model
from veilbox.oci.registry.images import Connection, fetch
from veilbox.oci.registry.reference import Reference
from veilbox.oci.registry.transfer import Moved, Progress


def pull_model(
    store: ImageStore, connection: Connection, reference: Reference, progress: Progress
) -> tuple[RunnableModel, Moved]:
    """Bring a model from a registry into the store; it is not in use yet.

    Args:
        store: Where it goes.
        connection: To registries.
        reference: What to fetch.
        progress: Told of every blob.

    Raises:
        ImageError: It is not there, no model, not what its digests say, or not trusted; it gets no name.
    """
    store.prepare()
    with lease(store.root) as held:
        moved = fetch(store, connection, reference, progress, held)
        return settle_model(store, moved.root, held, trust=Trust.of(store)), moved
