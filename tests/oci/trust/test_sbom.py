from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from securesystemslib.dsse import Envelope as TheirEnvelope
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from trust_shop import NAME, NOW, Shop, key, shop

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, UsageError
from veilbox.oci.image.definition import REQUIREMENTS
from veilbox.oci.image.garbage import collect
from veilbox.oci.image.locks import Lock, LockedPackage
from veilbox.oci.image.spec import LOCK_LABEL
from veilbox.oci.image.wheel_lock import FILES, file_tags
from veilbox.oci.image.wheels import SITE_PACKAGES
from veilbox.oci.trust import endorse as endorsing
from veilbox.oci.trust.contents import Contents, Source
from veilbox.oci.trust.dsse import PAYLOAD_TYPE, Envelope, Statement
from veilbox.oci.trust.endorse import Opened, contents_of, endorse, endorse_built
from veilbox.oci.trust.evidence import read_evidence, read_referrer
from veilbox.oci.trust.predicates import CYCLONEDX, SLSA, SPDX
from veilbox.oci.trust.sbom import CYCLONEDX_TYPE, SPDX_TYPE, cyclonedx, spdx
from veilbox.oci.trust.signature import SimpleSignature
from veilbox.oci.trust.store import TrustStore

WHEELS: dict[str, dict[str, str]] = json.loads((REQUIREMENTS / FILES).read_bytes())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return shop(tmp_path_factory.mktemp("sbom"))


@pytest.fixture(scope="module")
def contents(made: Shop) -> Contents:
    return contents_of(made.store, Opened.of(made.store, NAME))


def test_what_is_in_an_image(contents: Contents) -> None:
    assert [(part.source, part.name, part.version, part.licences) for part in contents.parts] == [
        (Source.DEB, "liblzma5", "5.4.1", ("GPL-2+", "PD")),
        (Source.DEB, "zlib1g", "1:1.2.13", ("GPL-2",)),
        (Source.MODEL, "finder", "", ("MIT",)),
        (Source.PYPI, "old", "3", ("MIT License",)),
        (Source.PYPI, "some-thing", "1.2", ("BSD-3-Clause",)),
    ]
    assert [part.purl for part in contents.parts] == [
        "pkg:deb/debian/liblzma5@5.4.1?arch=amd64",
        "pkg:deb/debian/zlib1g@1:1.2.13?arch=amd64",
        "pkg:generic/finder?checksum=sha256:" + "5" * 64,
        "pkg:pypi/old@3",
        "pkg:pypi/some-thing@1.2",
    ]


def test_cyclonedx_is_valid_and_the_same_every_time(contents: Contents) -> None:
    document = cyclonedx(contents)
    assert document == cyclonedx(contents)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.decode()) is None
    bom = json.loads(document)
    assert bom["metadata"]["component"]["hashes"][0]["content"] == contents.manifest.hex
    by_name = {component["name"]: component for component in bom["components"]}
    assert by_name["finder"]["type"] == "machine-learning-model"
    assert by_name["some-thing"]["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert by_name["liblzma5"]["licenses"] == [{"license": {"name": "GPL-2+"}}, {"license": {"name": "PD"}}]


def test_spdx_is_valid_and_the_same_every_time(contents: Contents) -> None:
    document = spdx(contents)
    assert document == spdx(contents)
    parsed = JsonLikeDictParser().parse(json.loads(document))  # type: ignore[no-untyped-call]
    assert validate_full_spdx_document(parsed) == []
    by_name = {package.name: package for package in parsed.packages}
    assert str(by_name["finder"].license_declared) == "MIT"
    assert str(by_name["liblzma5"].license_declared) == "NOASSERTION"
    assert by_name["liblzma5"].license_comment == "The package states: GPL-2+, PD"
    assert len(parsed.relationships) == 1 + len(contents.parts)


def test_sboms_are_referrers_of_the_image(made: Shop, contents: Contents) -> None:
    layout = made.store.layout
    assert read_referrer(layout, made.subject, CYCLONEDX_TYPE) == cyclonedx(contents)
    assert read_referrer(layout, made.subject, SPDX_TYPE) == spdx(contents)
    assert read_referrer(layout, made.subject, "text/plain") is None
    assert len(layout.referrers(made.subject)) == 2


def test_nothing_is_collected_while_an_image_is_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What signing writes has no name before the index lists it; the collector waits for its lock meanwhile."""
    made = shop(tmp_path, attested=False)
    held: list[str] = []

    def looking(name: str) -> Callable[..., object]:
        real: Callable[..., object] = getattr(endorsing, name)

        def call(*arguments: Any, **options: Any) -> object:
            guard = os.open(made.store.root / ".guard", os.O_RDONLY)
            with pytest.raises(BlockingIOError):
                fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(guard)
            held.append(name)
            return real(*arguments, **options)

        return call

    for name in ("add_referrer", "add_attestations", "add_signature"):
        monkeypatch.setattr(endorsing, name, looking(name))
    made.sign()
    assert held == ["add_referrer", "add_referrer", "add_attestations", "add_signature"]
    collect(made.store)
    assert made.admit().manifest == made.subject


def test_signing_again_adds_nothing(made: Shop) -> None:
    before = made.store.layout.index()
    made.sign()
    assert made.store.layout.index() == before


def test_provenance_names_recipe_and_parts(made: Shop) -> None:
    statements = [Statement.parse(one.payload) for one in attestations(made)]
    assert {one.predicate_type for one in statements} == {CYCLONEDX, SPDX, SLSA}
    provenance = json.loads(next(one.predicate for one in statements if one.predicate_type == SLSA))
    materials = provenance["buildDefinition"]["resolvedDependencies"]
    assert materials[0]["uri"] == f"veilbox:recipe/{NAME}"
    assert {"uri": "pkg:pypi/some-thing@1.2"} in materials
    assert [one["digest"]["sha256"] for one in provenance["runDetails"]["byproducts"]] == [
        packed.descriptor.digest.hex for packed in made.layers
    ]


def test_provenance_names_the_files_that_went_in_by_digest(tmp_path: Path) -> None:
    """Those of the lock that the image says, and of the wheels that veilbox locks; of others nothing is claimed."""
    package = LockedPackage(name="zlib1g", version="1:1.2.13", architecture="amd64", sha256="a" * 64)
    lock = Lock(distribution="debian-99", architecture="amd64", whole=(package,), partial=())
    wheel, [file, *_] = next(iter(WHEELS.items()))
    name, _, version = wheel.partition("==")
    metadata = f"{SITE_PACKAGES}/{name}-{version}.dist-info"
    made = shop(
        tmp_path,
        attested=False,
        more={
            f"{metadata}/METADATA": f"Name: {name}\nVersion: {version}\n\n",
            f"{metadata}/WHEEL": "".join(f"Tag: {tag}\n" for tag in sorted(file_tags(file))),
        },
    )
    made.store.root.joinpath("lock").mkdir()
    (made.store.root / "lock" / "debian-99-amd64.json").write_bytes(lock.text())
    for label, known in ((lock.digest.text, True), (Digest.of(b"another lock").text, False)):
        made.image(**{LOCK_LABEL: f"debian-99-amd64@{label}"})
        parts = {part.name: part for part in contents_of(made.store, Opened.of(made.store, NAME)).parts}
        assert parts["zlib1g"].digest == (f"sha256:{'a' * 64}" if known else "")
        assert parts["liblzma5"].digest == parts["some-thing"].digest == ""
        assert parts[name].digest == f"sha256:{WHEELS[wheel][file]}"
    made.image(**{LOCK_LABEL: f"debian-99-amd64@{lock.digest}"})
    made.sign()
    statements = [Statement.parse(one.payload) for one in attestations(made)]
    slsa = json.loads(next(one.predicate for one in statements if one.predicate_type == SLSA))
    named = {one["uri"]: one.get("digest") for one in slsa["buildDefinition"]["resolvedDependencies"]}
    assert named["pkg:deb/debian/zlib1g@1:1.2.13?arch=amd64"] == {"sha256": "a" * 64}
    assert named[f"pkg:pypi/{name}@{version}"] == {"sha256": WHEELS[wheel][file]}


@pytest.mark.parametrize("label", ["", "../../etc/passwd@sha256:" + "0" * 64, "a-b-c", "debian-12-amd64@x", "/a-b-c@d"])
def test_a_lock_that_is_no_lock_gives_no_digests(tmp_path: Path, label: str) -> None:
    made = shop(tmp_path, attested=False)
    made.image(**{LOCK_LABEL: label})
    parts = contents_of(made.store, Opened.of(made.store, NAME)).parts
    assert {part.digest for part in parts if part.source is Source.DEB} == {""}


def attestations(made: Shop) -> tuple[Envelope, ...]:
    return read_evidence(made.store.layout, made.store.layout.index(), [made.subject]).attestations


def test_securesystemslib_accepts_our_envelopes(made: Shop) -> None:
    public = key("alice").public
    theirs = SSlibKey("", "ecdsa", "ecdsa-sha2-nistp256", {"public": public.pem})
    for envelope in attestations(made):
        read = TheirEnvelope.from_dict(json.loads(envelope.raw))
        assert read.payload_type == PAYLOAD_TYPE
        assert read.verify([theirs], 1)


def test_a_model_without_a_licence_is_no_model(tmp_path: Path) -> None:
    broken = shop(tmp_path, attested=False)
    card = broken.store.layer(broken.layers[0].diff_id) / "models/finder/card.json"
    card.write_text('{"name": "finder"}')
    with pytest.raises(ImageError, match="model card is unreadable"):
        endorse(broken.store, Opened.of(broken.store, NAME), key("alice"), reference=NAME, now=NOW)


# What a first build does


def test_a_build_signs_with_the_machine_s_own_key_and_trusts_it(tmp_path: Path) -> None:
    made = shop(tmp_path, attested=False)
    (made.trust / "policy.toml").unlink()
    trust = TrustStore(made.trust)
    assert trust.local_public() is None
    assert endorse_built(made.store, [NAME]) == (NAME,)
    assert (made.trust / "local.key").stat().st_mode & 0o777 == 0o600
    assert [key.public for key in trust.policy().keys.values()] == [trust.local_public()]
    public = trust.local_public()
    assert public is not None
    assert made.admit(now=datetime.now(UTC)).admission.keys == (public.key_id,)
    before = (made.trust / "local.key").read_bytes(), made.store.layout.index()
    assert endorse_built(made.store, [NAME]) == ()
    assert ((made.trust / "local.key").read_bytes(), made.store.layout.index()) == before


def test_a_build_heals_damaged_evidence(tmp_path: Path) -> None:
    made = shop(tmp_path, attested=False)
    endorse_built(made.store, [NAME])
    entries = [entry for entry in made.store.layout.index() if entry.digest != made.subject]
    for entry in entries:
        made.damage(entry.digest)
    assert endorse_built(made.store, [NAME]) == (NAME,)
    evidence = read_evidence(made.store.layout, made.store.layout.index(), [made.subject])
    assert len(evidence.attestations) == 3
    assert [type(one) for one in evidence.signatures] == [SimpleSignature]


def test_versions_are_remembered_by_the_highest(tmp_path: Path) -> None:
    trust = TrustStore(tmp_path)
    for version, highest in (("1.9", "1.9"), ("1.10", "1.10"), ("1.9", "1.10"), ("", "1.10"), ("2.0rc1", "2.0rc1")):
        trust.remember("ingest", version)
        assert trust.seen("ingest") == highest
    assert trust.seen("export") == ""
    trust.remember("ingest", "2.0")
    assert trust.seen("ingest") == "2.0"


def test_a_policy_that_was_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILBOX_TRUST_POLICY", str(tmp_path / "nothing.toml"))
    with pytest.raises(UsageError, match=r"nothing.toml: .*cannot be read"):
        TrustStore(tmp_path).policy()
