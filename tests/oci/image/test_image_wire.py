from __future__ import annotations

import json
from typing import Any

import pytest

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.spec import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, Descriptor, Platform
from veilbox.oci.image.wire import (
    MAX_JSON_BYTES,
    canonical,
    descriptor_document,
    manifest_bytes,
    parse_config,
    parse_index,
    parse_manifest,
)

DIGEST = Digest.of(b"x")
CONFIG = Descriptor(media_type=CONFIG_TYPE, digest=DIGEST, size=1)
LAYER = Descriptor(media_type=LAYER_TYPE, digest=DIGEST, size=1, annotations={"a": "b"})


def manifest_document(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(manifest_bytes(CONFIG, (LAYER,), {"t": "u"}))
    return document | changes


def config_document(**changes: Any) -> dict[str, Any]:
    return {
        "architecture": "arm64",
        "os": "linux",
        "config": {"User": "65532:65531", "Entrypoint": ["/p"], "Env": ["A=1"], "Labels": {"l": "m"}},
        "rootfs": {"type": "layers", "diff_ids": [DIGEST.text]},
    } | changes


def test_a_manifest_reads_as_it_was_written() -> None:
    manifest = parse_manifest(manifest_bytes(CONFIG, (LAYER,), {"t": "u"}))
    assert (manifest.config, manifest.layers, manifest.annotations) == (CONFIG, (LAYER,), {"t": "u"})


def test_a_digest_is_of_the_bytes_that_were_read() -> None:
    # Blanks and fields that we do not know would be lost in a re-serialisation.
    raw = json.dumps(manifest_document(future={"of": "tomorrow"}), indent=3).encode()
    manifest = parse_manifest(raw)
    assert manifest.raw == raw
    assert manifest.digest == Digest.of(raw)


def test_a_configuration_is_read() -> None:
    config = parse_config(canonical(config_document(author="kept in raw")))
    assert config.platform == Platform(architecture="arm64")
    assert config.diff_ids == (DIGEST,)
    assert config.user == (65532, 65531)
    assert (config.entrypoint, config.env, config.labels) == (("/p",), ("A=1",), {"l": "m"})
    assert b"kept in raw" in config.raw


def test_an_index_is_read() -> None:
    one = Descriptor(media_type=MANIFEST_TYPE, digest=DIGEST, size=3, platform=Platform(architecture="amd64"))
    assert parse_index(canonical({"schemaVersion": 2, "manifests": [descriptor_document(one)]})) == (one,)


NO_MANIFESTS = [
    ("no JSON", b"{"),
    ("not UTF-8", b'{"schemaVersion": "\xff"}'),
    ("no object", b"[]"),
    ("nested beyond reason", b"[" * 100_000),
    ("too large", b" " * (MAX_JSON_BYTES + 1)),
    ("another schema version", canonical(manifest_document(schemaVersion=1))),
    ("an index", canonical(manifest_document(mediaType="application/vnd.oci.image.index.v1+json"))),
    ("an artifact", canonical(manifest_document(config=descriptor_document(LAYER)))),
    ("layers missing", canonical({k: v for k, v in manifest_document().items() if k != "layers"})),
    ("size as text", canonical(manifest_document(config=descriptor_document(CONFIG) | {"size": "1"}))),
    ("negative size", canonical(manifest_document(config=descriptor_document(CONFIG) | {"size": -1}))),
    ("another hash", canonical(manifest_document(config=descriptor_document(CONFIG) | {"digest": "md5:00"}))),
    ("a path as digest", canonical(manifest_document(layers=[descriptor_document(LAYER) | {"digest": "../x"}]))),
]


@pytest.mark.parametrize("raw", [raw for _, raw in NO_MANIFESTS], ids=[name for name, _ in NO_MANIFESTS])
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    with pytest.raises(ImageError):
        parse_manifest(raw)


@pytest.mark.parametrize("user", ["", "root", "0", "1:", ":1", "65532", "1:2:3", "-1:1", "1:1\n", "\u0661:1"])
def test_a_user_that_is_not_two_numbers_is_refused(user: str) -> None:
    with pytest.raises(ImageError, match="UID:GID"):
        parse_config(canonical(config_document(config={"User": user, "Entrypoint": ["/p"]})))


def test_a_root_of_another_kind_is_refused() -> None:
    with pytest.raises(ImageError, match="rootfs"):
        parse_config(canonical(config_document(rootfs={"type": "tree", "diff_ids": []})))


def test_canonical_json_does_not_depend_on_order() -> None:
    assert canonical({"b": 1, "a": {"d": 2, "c": 3}}) == canonical({"a": {"c": 3, "d": 2}, "b": 1})
