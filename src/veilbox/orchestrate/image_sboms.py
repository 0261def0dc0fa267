"""The SBOMs that lie beside a job's images, for the audit log: years later the images may be gone."""

from __future__ import annotations

from collections.abc import Mapping

from veilbox.oci.admit import RunnableImage
from veilbox.oci.image.store import ImageStore
from veilbox.oci.trust.evidence import read_referrer
from veilbox.oci.trust.sbom import CYCLONEDX_TYPE


def image_sboms(store: ImageStore, images: Mapping[str, RunnableImage]) -> dict[str, bytes]:
    """The CycloneDX document of each image, by component; images without one are left out.

    Whether an image may run without one, and who must have signed it, is the trust policy's word.

    Raises:
        ImageError: One is listed, and is missing or damaged.
    """
    found = {name: read_referrer(store.layout, image.manifest, CYCLONEDX_TYPE) for name, image in images.items()}
    return {name: document for name, document in found.items() if document is not None}
