"""A store with one image that describes itself, keys, and a policy: what the tests of trust start from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from veilbox.core.digest import Digest
from veilbox.oci.admit import RunnableImage, Trust, admit
from veilbox.oci.image import definition
from veilbox.oci.image.layer import Packed, pack
from veilbox.oci.image.spec import CONFIG_TYPE, MANIFEST_TYPE, RECIPE_LABEL, TITLE, Descriptor
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.unpack import Bounds, unpack_layer
from veilbox.oci.image.wheels import SITE_PACKAGES
from veilbox.oci.image.wire import canonical, manifest_bytes
from veilbox.oci.trust.endorse import Opened, endorse
from veilbox.oci.trust.keys import PrivateKey
from veilbox.oci.trust.policy_file import read_policy
from veilbox.oci.trust.store import TrustStore

NAME = "detect-centerface"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

FILES = {
    "var/lib/dpkg/status.d/zlib1g": "Package: zlib1g\nVersion: 1:1.2.13\nArchitecture: amd64\nHomepage: http://z.net/\n",
    "usr/share/doc/zlib1g/copyright": "You may. See /usr/share/common-licenses/GPL-2.\n",
    "var/lib/dpkg/status.d/liblzma5": "Package: liblzma5\nVersion: 5.4.1\nArchitecture: amd64\n",
    "usr/share/doc/liblzma5/copyright": (
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
        "Files: *\nLicense: PD\n\nFiles: x\nLicense: GPL-2+\n more words\n"
    ),
    f"{SITE_PACKAGES}/Some_Thing-1.2.dist-info/METADATA": (
        "Metadata-Version: 2.4\nName: Some_Thing\nVersion: 1.2\nLicense-Expression: BSD-3-Clause\n\nText.\n"
    ),
    f"{SITE_PACKAGES}/old-3.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: old\nVersion: 3\nClassifier: License :: OSI Approved :: MIT License\n\n"
    ),
    "models/finder/card.json": (
        '{"name": "finder", "licence": "MIT", "source": "the package finder 1", "digest": "sha256:' + "5" * 64 + '"}'
    ),
}


@cache
def key(name: str) -> PrivateKey:
    """A key for each name, the same in the whole run."""
    del name
    return PrivateKey.generate()


@dataclass(frozen=True, kw_only=True)
class Shop:
    store: ImageStore
    layers: tuple[Packed, ...]

    @property
    def trust(self) -> Path:
        return self.store.root / "trust"

    @property
    def subject(self) -> Digest:
        return self.descriptor.digest

    @property
    def descriptor(self) -> Descriptor:
        found = self.store.layout.resolve(NAME)
        assert found is not None
        return found

    def image(self, *, version: str = "0.2.0", tag: str = NAME, **labels: str) -> Descriptor:
        """Make the image again with another version or labels."""
        config: dict[str, Any] = {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "User": "65532:65532",
                "Entrypoint": ["/usr/bin/python3"],
                "Labels": {
                    RECIPE_LABEL: definition.recipe(NAME).text,
                    "org.opencontainers.image.version": version,
                    "org.opencontainers.image.licenses": "Apache-2.0",
                }
                | labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [packed.diff_id.text for packed in self.layers]},
        }
        layout = self.store.layout
        described = layout.write(canonical(config), CONFIG_TYPE)
        layers = tuple(packed.descriptor for packed in self.layers)
        raw = manifest_bytes(described, layers, {TITLE: f"veilbox {NAME}"})
        manifest = layout.write(raw, MANIFEST_TYPE)
        layout.tag(tag, manifest)
        return manifest

    def sign(self, who: str = "alice", *, reference: str = f"r.example/veilbox/{NAME}", now: datetime = NOW) -> None:
        endorse(self.store, Opened.of(self.store, NAME), key(who), reference=reference, now=now)

    def policy(self, rule: str = "", *, head: str = "", keys: str = '["alice"]', more: str = "") -> None:
        """A policy with the keys of alice, bob and carol and one rule for everything."""
        for who in ("alice", "bob", "carol"):
            (self.trust / f"{who}.pub").write_text(key(who).public.pem)
        named = "".join(f'[keys.{who}]\nfile = "{who}.pub"\n{more}\n' for who in ("alice", "bob", "carol"))
        text = f'version = 1\n{head}\n{named}[[rules]]\nimages = ["*"]\nkeys = {keys}\n{rule}\n'
        (self.trust / "policy.toml").write_text(text)

    def admit(self, name: str = NAME, *, now: datetime = NOW) -> RunnableImage:
        trust = TrustStore(self.trust)
        return admit(self.store, name, trust=Trust(store=trust, policy=read_policy(trust.policy_path), now=now))

    def blob(self, digest: Digest) -> Path:
        return self.store.layout.root / "blobs" / "sha256" / digest.hex

    def damage(self, digest: Digest, change: Callable[[bytes], bytes] = lambda raw: raw[:-1] + b"!") -> None:
        path = self.blob(digest)
        path.write_bytes(change(path.read_bytes()))

    def retag(self, name: str, descriptor: Descriptor, **changes: Any) -> None:
        self.store.layout.tag(name, replace(descriptor, **changes))


def shop(folder: Path, *, attested: bool = True, more: Mapping[str, str] = MappingProxyType({})) -> Shop:
    """A shop whose image alice signed; `more` are files of its first layer."""
    store = ImageStore(folder / "store")
    store.prepare()
    layers = []
    for number, files in enumerate((FILES | dict(more), {"models/x": "weights"})):
        tree = folder / str(number)
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        packed = pack(tree, store.layout)
        unpack_layer(store.layout, packed.descriptor, packed.diff_id, store.layers, Bounds())
        layers.append(packed)
    made = Shop(store=store, layers=tuple(layers))
    made.trust.mkdir()
    made.image()
    if attested:
        made.sign()
    made.policy('attestations = ["sbom", "provenance"]')
    return made
