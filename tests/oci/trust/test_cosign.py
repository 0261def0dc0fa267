"""Cosign verifies what we sign, and we verify what cosign signs: its old form and its new one, with either's keys.

Cosign comes from a newer Debian suite than the machine's. Nothing talks to a transparency log.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from model_shelf import Shelf
from newer_debian import unpacked_package
from real_registry import RealRegistry
from trust_shop import NAME, Shop, shop

from veilbox.cli.main import main
from veilbox.oci.image.spec import INDEX_TYPE, Platform
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.wire import index_bytes

# The stable suite's is promised where the marker is; the unstable one has cosign 3, and now and then something broken.
SUITES = [pytest.param("trixie", marks=pytest.mark.cosign), "sid"]


@dataclass(frozen=True)
class Cosign:
    program: Path
    environment: dict[str, str]
    image: str

    def run(self, *arguments: str | Path) -> str:
        done = self.done(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def done(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    @property
    def new(self) -> bool:
        """Whether it is cosign 3 or later, which signs in bundles unless told otherwise."""
        return "--use-signing-config" in self.run("sign", "--help")


@pytest.fixture(scope="session")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    known: dict[str, Path | str] = {}

    def fetch(suite: str) -> Path:
        if suite not in known:
            known[suite] = fetched_cosign(tmp_path_factory.mktemp(suite), suite)
        found = known[suite]
        if isinstance(found, str):
            pytest.skip(f"no cosign of Debian {suite}: {found}")
        return found

    return fetch


def fetched_cosign(folder: Path, suite: str) -> Path | str:
    """Cosign's program, or why there is none."""
    root = unpacked_package(folder, suite, "cosign")
    if isinstance(root, str):
        return root
    program = root / "usr/bin/cosign"
    done = subprocess.run([program, "version"], capture_output=True, check=False)
    return program if done.returncode == 0 else f"it does not run here: {done.stderr.decode()[:200]}"


@pytest.fixture(params=SUITES)
def cosign(
    request: pytest.FixtureRequest,
    fetched: Callable[[str], Path],
    real: RealRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Cosign:
    program = fetched(request.param)
    (tmp_path / "docker").mkdir()
    shutil.copy(real.auth_file, tmp_path / "docker" / "config.json")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "SSL_CERT_FILE": str(real.ca_file),
        "COSIGN_PASSWORD": "open sesame",
    }
    for name in ("DOCKER_CONFIG", "COSIGN_PASSWORD"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.delenv("VEILBOX_PASSPHRASE", raising=False)
    return Cosign(program, environment, f"{real.host}/{request.param}/{tmp_path.name[-12:].strip('_').lower()}/{NAME}")


@pytest.fixture
def ours(cosign: Cosign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A store with an image that nobody signed."""
    del cosign
    made = shop(tmp_path / "ours", attested=False)
    monkeypatch.setenv("VEILBOX_HOME", str(made.store.root))
    return made


def push(cosign: Cosign, real: RealRegistry, shop: Shop) -> str:
    """Push, and name the image by digest."""
    assert main(["image", "push", NAME, f"{cosign.image}:1", "--ca-file", str(real.ca_file)]) == 0
    return f"{cosign.image}@{shop.subject}"


OFFLINE = "--insecure-ignore-tlog=true"


def test_cosign_verifies_what_we_sign(cosign: Cosign, ours: Shop, real: RealRegistry, tmp_path: Path) -> None:
    prefix = tmp_path / "release"
    assert main(["image", "key", "generate", str(prefix)]) == 0
    repository = cosign.image.removesuffix(f"/{NAME}")
    assert main(["image", "sign", NAME, "--key", f"{prefix}.key", "--repository", repository]) == 0
    image = push(cosign, real, ours)
    found = json.loads(cosign.run("verify", "--key", f"{prefix}.pub", OFFLINE, "--output", "json", image))
    assert found[0]["critical"]["image"]["docker-manifest-digest"] == ours.subject.text
    assert found[0]["critical"]["identity"]["docker-reference"] == cosign.image
    for kind, predicate in (
        ("cyclonedx", "https://cyclonedx.org/bom"),
        ("spdxjson", "https://spdx.dev/Document"),
        ("slsaprovenance1", "https://slsa.dev/provenance/v1"),
    ):
        shown = cosign.run("verify-attestation", "--key", f"{prefix}.pub", OFFLINE, "--type", kind, image)
        statements = [json.loads(base64.b64decode(json.loads(line)["payload"])) for line in shown.splitlines()]
        assert {statement["predicateType"] for statement in statements} == {predicate}
    assert main(["image", "key", "generate", str(tmp_path / "other")]) == 0
    refused = cosign.done("verify", "--key", tmp_path / "other.pub", OFFLINE, image)
    assert refused.returncode != 0
    assert "no matching signatures" in refused.stderr


def test_cosign_verifies_a_model_that_we_sign(
    cosign: Cosign, real: RealRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(store=ImageStore(tmp_path / "models"), folder=tmp_path)
    shelf.store.prepare()
    shelf.policy()
    model = shelf.settle(shelf.make())
    monkeypatch.setenv("VEILBOX_HOME", str(shelf.store.root))
    prefix, repository = tmp_path / "release", cosign.image.removesuffix(f"/{NAME}")
    assert main(["image", "key", "generate", str(prefix)]) == 0
    assert main(["model", "sign", "finder", "--key", f"{prefix}.key", "--repository", repository]) == 0
    target = f"{repository}/model-finder"
    assert main(["model", "push", "finder", f"{target}:1", "--ca-file", str(real.ca_file)]) == 0
    verify = ("verify", "--key", f"{prefix}.pub", OFFLINE, "--output", "json", f"{target}@{model.manifest}")
    found = json.loads(cosign.run(*verify))
    assert found[0]["critical"]["identity"]["docker-reference"] == target


def signing(cosign: Cosign, tmp_path: Path, *, bundle: bool) -> list[str]:
    """Options that sign without any service."""
    if not bundle:
        return [
            "--tlog-upload=false",
            *(["--use-signing-config=false", "--new-bundle-format=false"] if cosign.new else []),
        ]
    config = tmp_path / "signing.json"
    config.write_text(json.dumps({"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}))
    return ["--signing-config", str(config)]


# trixie's cosign 2 signs images in its old form only.
FORMS = [
    pytest.param("trixie", False, marks=pytest.mark.cosign, id="trixie-old form"),
    pytest.param("sid", False, id="sid-old form"),
    pytest.param("sid", True, id="sid-new form"),
]


@pytest.mark.parametrize(("cosign", "bundle"), FORMS, indirect=["cosign"])
@pytest.mark.parametrize("whose", ["cosign's key", "our key"])
def test_we_verify_what_cosign_signs(
    cosign: Cosign,
    ours: Shop,
    real: RealRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bundle: bool,
    whose: str,
) -> None:
    assert cosign.new or not bundle
    image = push(cosign, real, ours)
    prefix = tmp_path / "k"
    if whose == "our key":
        assert main(["image", "key", "generate", str(prefix)]) == 0
    else:
        cosign.run("generate-key-pair", "--output-key-prefix", prefix)
    cosign.run("sign", "--key", f"{prefix}.key", *signing(cosign, tmp_path, bundle=bundle), "--yes", image)
    for known, status in ((prefix.with_suffix(".pub"), 0), (None, 6)):
        elsewhere(tmp_path / f"theirs{status}", monkeypatch, known, "")
        assert pull(cosign, real) == status
        assert main(["image", "verify", NAME]) == status


@pytest.mark.parametrize(("cosign", "bundle"), FORMS, indirect=["cosign"])
def test_we_count_cosign_s_signature_of_an_index_alone(
    cosign: Cosign, ours: Shop, real: RealRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: bool
) -> None:
    """As `cosign sign` makes it of a tag over several architectures unless it is told `--recursive`."""
    monkeypatch.setattr("veilbox.oci.pull.platform.machine", lambda: "x86_64")
    images = (ours.descriptor, ours.image(tag="other", of="other machines"))
    listed = [
        replace(one, annotations={}, platform=Platform(architecture=architecture))
        for one, architecture in zip(images, ("amd64", "arm64"), strict=True)
    ]
    index = ours.store.layout.write(index_bytes(tuple(listed)), INDEX_TYPE)
    ours.store.layout.tag("both", index)
    assert main(["image", "push", "both", f"{cosign.image}:1", "--ca-file", str(real.ca_file)]) == 0
    prefix = tmp_path / "k"
    cosign.run("generate-key-pair", "--output-key-prefix", prefix)
    signed = f"{cosign.image}@{index.digest}"
    cosign.run("sign", "--key", f"{prefix}.key", *signing(cosign, tmp_path, bundle=bundle), "--yes", signed)
    for known, status in ((prefix.with_suffix(".pub"), 0), (None, 6)):
        elsewhere(tmp_path / f"theirs{status}", monkeypatch, known, "")
        assert pull(cosign, real) == status
        assert main(["image", "verify", NAME]) == status


def elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch, known: Path | None, rule: str) -> None:
    """Another machine: an empty store, whose policy knows one key, or none at all."""
    (folder / "trust").mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("VEILBOX_HOME", str(folder))
    if known:
        shutil.copy(known, folder / "trust" / "a.pub")
        text = 'version = 1\nkeys.a.file = "a.pub"\n[[rules]]\nimages = ["*"]\nkeys = ["a"]\n'
        (folder / "trust" / "policy.toml").write_text(text + rule)


def pull(cosign: Cosign, real: RealRegistry) -> int:
    return main(["image", "pull", f"{cosign.image}:1", "--name", NAME, "--ca-file", str(real.ca_file)])


def test_we_count_what_cosign_attests(
    cosign: Cosign, ours: Shop, real: RealRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = push(cosign, real, ours)
    prefix = tmp_path / "k"
    cosign.run("generate-key-pair", "--output-key-prefix", prefix)
    old = signing(cosign, tmp_path, bundle=False)
    cosign.run("sign", "--key", f"{prefix}.key", *old, "--yes", image)
    (tmp_path / "bom.json").write_text(
        '{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": "xz"}]}'
    )
    attest = ["--type", "cyclonedx", "--predicate", str(tmp_path / "bom.json"), "--yes", image]
    cosign.run("attest", "--key", f"{prefix}.key", *old, *attest)
    for rule, status in (("", 0), ('forbidden_packages = ["xz"]\n', 6)):
        elsewhere(tmp_path / "theirs", monkeypatch, prefix.with_suffix(".pub"), f'attestations = ["sbom"]\n{rule}')
        assert pull(cosign, real) == 0
        assert main(["image", "verify", NAME]) == status
