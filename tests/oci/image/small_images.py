"""A small image made with the real pieces: what a build would leave in a store, without its network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from veilbox.core.digest import Digest
from veilbox.oci.image import definition
from veilbox.oci.image.layer import Packed, pack
from veilbox.oci.image.spec import CONFIG_TYPE, MANIFEST_TYPE, MODEL_LABEL, RECIPE_LABEL, Descriptor
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.unpack import Bounds, unpack_layer
from veilbox.oci.image.wire import canonical, manifest_bytes
from veilbox.oci.trust.endorse import local_reference
from veilbox.oci.trust.evidence import add_signature
from veilbox.oci.trust.keys import PrivateKey
from veilbox.oci.trust.signature import SimpleSignature

MODEL = Digest.of(b"weights")


@dataclass(frozen=True, kw_only=True)
class Small:
    store: ImageStore
    name: str
    manifest: Descriptor
    config: dict[str, Any]
    layers: tuple[Packed, ...]

    def with_config(self, **changes: Any) -> Small:
        """The image again, tagged, with another configuration."""
        return _tagged(self.store, self.name, self.config | changes, self.layers)


def small_image(store: ImageStore, folder: Path, name: str = "detect-centerface") -> Small:
    store.prepare()
    layers = []
    for number in range(2):
        tree = folder / str(number)
        tree.mkdir(parents=True)
        (tree / f"file{number}").write_bytes(bytes([number]) * 100)
        packed = pack(tree, store.layout)
        unpack_layer(store.layout, packed.descriptor, packed.diff_id, store.layers, Bounds())
        layers.append(packed)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": "65532:65532",
            "Env": ["B=2", "A=1"],
            "Entrypoint": ["/usr/bin/python3", "-m", "veilbox.components"],
            "Labels": {RECIPE_LABEL: definition.recipe(name).text, MODEL_LABEL: MODEL.text},
        },
        "rootfs": {"type": "layers", "diff_ids": [packed.diff_id.text for packed in layers]},
    }
    return _tagged(store, name, config, tuple(layers))


def _tagged(store: ImageStore, name: str, config: dict[str, Any], layers: tuple[Packed, ...]) -> Small:
    described = store.layout.write(canonical(config), CONFIG_TYPE)
    raw = manifest_bytes(described, tuple(packed.descriptor for packed in layers), {})
    manifest = store.layout.write(raw, MANIFEST_TYPE)
    store.layout.tag(name, manifest)
    signed(store, name)
    return Small(store=store, name=name, manifest=manifest, config=config, layers=layers)


@cache
def machine_key() -> PrivateKey:
    """The key of every store of these tests; opening a sealed one takes a quarter of a second."""
    return PrivateKey.generate()


def signed(store: ImageStore, name: str) -> None:
    """What the end of a build does, without SBOMs that nobody asks for here."""
    trust = store.root / "trust"
    trust.mkdir(exist_ok=True)
    (trust / "local.pub").write_text(machine_key().public.pem)
    (trust / "policy.toml").write_text(
        'version = 1\n[keys.local]\nfile = "local.pub"\n[[rules]]\nimages = ["*"]\nkeys = ["local"]\n'
    )
    manifest = store.layout.resolve(name)
    assert manifest is not None
    signature = SimpleSignature.made(
        manifest.digest, local_reference(name), machine_key(), creator="test", now=datetime.now(UTC)
    )
    add_signature(store.layout, manifest.digest, signature, machine_key().public)


def blob_path(store: ImageStore, digest: Digest) -> Path:
    return store.layout.root / "blobs" / "sha256" / digest.hex


def retag(store: ImageStore, name: str, manifest: Descriptor, **changes: Any) -> None:
    """Let the index say something else of a manifest."""
    index = store.layout.root / "index.json"
    store.layout.tag(name, replace(manifest, **changes))
    assert msgspec.json.decode(index.read_bytes())["schemaVersion"] == 2
