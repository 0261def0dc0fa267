"""How an image came to be: the predicate of a SLSA v1 provenance Statement.

Source: slsa.dev/spec/v1.0/provenance. It states what the builder knows: the recipe (declarations, pinned wheels,
veilbox's code), the very .deb and wheel files that went in, by digest, and that this machine did it. No times: the
same build states the same. SLSA level 1: the builder is a program on the user's machine, not a service that the user
cannot touch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import veilbox
from veilbox.oci.image.spec import LAYER_NAME, RECIPE_LABEL, ImageConfig, Manifest
from veilbox.oci.trust.contents import Contents

BUILD_TYPE = "urn:veilbox:image-build:v1"
BUILDER = "urn:veilbox:image-build"


def provenance(contents: Contents, manifest: Manifest, config: ImageConfig) -> Mapping[str, Any]:
    """The predicate, JSON values."""
    recipe = config.labels.get(RECIPE_LABEL, "").removeprefix("sha256:")
    materials: list[dict[str, Any]] = [{"uri": f"veilbox:recipe/{contents.name}", "digest": {"sha256": recipe}}]
    materials += [_material(part.purl, part.digest) for part in contents.parts]
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"image": contents.name},
            "internalParameters": {"architecture": config.platform.architecture},
            "resolvedDependencies": materials,
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"veilbox": veilbox.__version__}},
            "byproducts": [
                {"name": layer.annotations.get(LAYER_NAME, ""), "digest": {"sha256": layer.digest.hex}}
                for layer in manifest.layers
            ],
        },
    }


def _material(purl: str, digest: str) -> dict[str, Any]:
    return {"uri": purl} | ({"digest": {"sha256": digest.removeprefix("sha256:")}} if digest else {})
