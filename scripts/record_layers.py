"""Write down which layers this machine builds from the locks, for other machines to hold theirs against.

`record_layers.py FILE` builds every image for both architectures; run it after the locks or a layer's declaration
changed. Layers of our own code are left out: they change with every commit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from veilbox.oci.image.build import build, foreign_tag
from veilbox.oci.image.debian import host_architecture
from veilbox.oci.image.definition import CodeLayer, image_names, layers
from veilbox.oci.image.spec import LAYER_NAME
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.wire import parse_config, parse_manifest

ARCHITECTURES = ("amd64", "arm64")


def layers_of(store: ImageStore) -> dict[str, dict[str, str]]:
    """The diff id of every layer but those of our code, by architecture and by the layer's name."""
    ours = {name for name, layer in layers().items() if isinstance(layer, CodeLayer)}
    found: dict[str, dict[str, str]] = {}
    for architecture in ARCHITECTURES:
        native = architecture == host_architecture()
        for name in image_names():
            descriptor = store.layout.resolve(name if native else foreign_tag(name, architecture))
            if descriptor is None:
                continue
            manifest = parse_manifest(store.layout.read(descriptor))
            named = zip(manifest.layers, parse_config(store.layout.read(manifest.config)).diff_ids, strict=True)
            found.setdefault(architecture, {}).update(
                {layer.annotations[LAYER_NAME]: diff_id.text for layer, diff_id in named}
            )
    return {
        architecture: {name: diff_id for name, diff_id in sorted(one.items()) if name not in ours}
        for architecture, one in found.items()
    }


def main(path: Path) -> None:
    """Build, and write."""
    store = ImageStore.default()
    foreign = [one for one in ARCHITECTURES if one != host_architecture()]
    build(store, image_names(), lambda line: print(line, file=sys.stderr), architectures=foreign)
    path.write_text(json.dumps(layers_of(store), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
