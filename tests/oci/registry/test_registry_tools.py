"""Our images through the real registry, read and run by tools that we did not write; and their images by us."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from images import image, with_sbom
from real_registry import RealRegistry
from sides import quiet

from veilbox.core.errors import RegistryDenied, RegistryError, RegistryUnavailable
from veilbox.oci.image.lease import lease
from veilbox.oci.image.spec import Descriptor
from veilbox.oci.image.store import ImageStore
from veilbox.oci.registry.credentials import CredentialSource
from veilbox.oci.registry.http import HttpTransport
from veilbox.oci.registry.images import Connection, fetch, push
from veilbox.oci.registry.reference import Reference, Repository
from veilbox.oci.registry.retry import Backoff
from veilbox.oci.registry.session import Session

pytestmark = pytest.mark.registry

# The smallest component; every one has the same base.
COMPONENT = "audit"


def run(*argv: str | Path, timeout: float = 120) -> str:
    finished = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


@dataclass(frozen=True)
class Pushed:
    real: RealRegistry
    name: str
    manifest: Descriptor

    @property
    def reference(self) -> str:
        return f"{self.real.host}/{self.name}"


@pytest.fixture
def connection(real: RealRegistry) -> Iterator[Connection]:
    with HttpTransport(ca_file=real.ca_file) as transport:
        yield Connection(session=Session(transport=transport, credentials=CredentialSource((real.auth_file,))))


@pytest.fixture
def pushed(real: RealRegistry, connection: Connection) -> Pushed:
    """A component as this machine has it, in the registry."""
    store = ImageStore.default()
    manifest = store.layout.resolve(COMPONENT)
    if manifest is None:
        pytest.skip("no component images here (veilbox image build)")
    push(store, connection, COMPONENT, Reference(Repository(real.host, "veilbox/tools"), "1"), quiet)
    return Pushed(real, "veilbox/tools:1", manifest)


@pytest.fixture
def ca_folder(real: RealRegistry, tmp_path: Path) -> Path:
    """The authority alone: with a key beside it tools take it for a client's certificate."""
    folder = tmp_path / "ca"
    folder.mkdir()
    shutil.copy(real.ca_file, folder / "ca.crt")
    return folder


@pytest.mark.sealed
def test_skopeo_and_umoci_read_a_component(pushed: Pushed, ca_folder: Path, tmp_path: Path) -> None:
    need("skopeo", "umoci")
    login = ("--authfile", pushed.real.auth_file)
    shown = json.loads(run("skopeo", "inspect", *login, "--cert-dir", ca_folder, f"docker://{pushed.reference}"))
    assert shown["Digest"] == pushed.manifest.digest.text
    layout = tmp_path / "layout"
    target = f"oci:{layout}:it"
    run("skopeo", "copy", "-q", *login, "--src-cert-dir", ca_folder, f"docker://{pushed.reference}", target)
    raw = (layout / "blobs" / "sha256" / pushed.manifest.digest.hex).read_bytes()
    assert raw == ImageStore.default().layout.read(pushed.manifest)
    run("umoci", "unpack", "--rootless", "--image", f"{layout}:it", tmp_path / "bundle")
    assert (tmp_path / "bundle" / "rootfs" / "usr" / "bin" / "python3").exists()


@pytest.mark.sealed
@pytest.mark.skipif(os.geteuid() != 0, reason="rootless podman needs a network helper that nothing else here needs")
def test_podman_pulls_and_runs_a_component(pushed: Pushed, ca_folder: Path, tmp_path: Path) -> None:
    need("podman", "runc")
    with tempfile.TemporaryDirectory(prefix="podman-") as short:  # podman refuses longer paths than pytest's
        podman_runs(pushed, ca_folder, ("--root", tmp_path / "root", "--runroot", short))


def podman_runs(pushed: Pushed, ca_folder: Path, state: tuple[str | Path, ...]) -> None:
    podman = ("podman", *state, "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", "runc")
    run(*podman, "pull", "-q", "--authfile", pushed.real.auth_file, "--cert-dir", ca_folder, pushed.reference)
    # Limits that any root may set: raising them needs a capability that containers' roots lack.
    limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
    program = "import msgspec, sys; print(sys.version_info.major)"
    container = ("--rm", "--network", "none", "--read-only", *limits, "--entrypoint", "/usr/bin/python3")
    try:
        assert run(*podman, "run", *container, pushed.reference, "-c", program) == "3\n"
    finally:
        run(*podman, "rmi", "--all", "--force")


def test_what_skopeo_pushed_we_pull(
    real: RealRegistry, connection: Connection, ca_folder: Path, tmp_path: Path
) -> None:
    need("skopeo")
    store, other = ImageStore(tmp_path / "store"), ImageStore(tmp_path / "other")
    for one in (store, other):
        one.prepare()
    sample = image(store.layout, "one")
    source, target = f"oci:{store.layout.root}:one", f"docker://{real.host}/skopeo/one:1"
    tls = ("--authfile", real.auth_file, "--dest-cert-dir", ca_folder)
    run("skopeo", "copy", "-q", "--preserve-digests", *tls, source, target)
    with lease(other.root) as held:
        reference = Reference(Repository(real.host, "skopeo/one"), "1")
        moved = fetch(other, connection, reference, quiet, held)
    assert moved.root.digest == sample.manifest.digest


# What only a real connection can show.


def asked(real: RealRegistry, transport: HttpTransport, *, attempts: int = 1, plain_http: bool = False) -> Connection:
    session = Session(
        transport=transport,
        credentials=CredentialSource((real.auth_file,)),
        backoff=Backoff(attempts=attempts),
        plain_http=plain_http,
    )
    return Connection(session=session)


def test_an_unknown_authority_is_refused_and_not_asked_again(real: RealRegistry) -> None:
    with HttpTransport() as transport, pytest.raises(RegistryError, match=r"not trusted.*--ca-file") as told:
        asked(real, transport, attempts=9).repository(Repository(real.host, "a")).resolve("1")
    assert not told.value.retryable


def test_a_certificate_of_another_name_is_refused(real: RealRegistry) -> None:
    host = real.host.replace("127.0.0.1", "127.0.0.2")
    with HttpTransport(ca_file=real.ca_file) as transport, pytest.raises(RegistryError):
        asked(real, transport).repository(Repository(host, "a")).resolve("1")


def test_no_registry_is_worth_another_attempt(real: RealRegistry) -> None:
    with HttpTransport(ca_file=real.ca_file) as transport, pytest.raises(RegistryUnavailable, match="connection"):
        asked(real, transport).repository(Repository("127.0.0.1:1", "a")).resolve("1")


def test_a_wrong_password_is_denied(real: RealRegistry, tmp_path: Path) -> None:
    (tmp_path / "auth.json").write_text(
        json.dumps({"auths": {real.host: {"username": "robot", "password": "hunter2"}}})
    )
    with HttpTransport(ca_file=real.ca_file) as transport:
        session = Session(transport=transport, credentials=CredentialSource((tmp_path / "auth.json",)))
        with pytest.raises(RegistryDenied) as told:
            Connection(session=session).repository(Repository(real.host, "a")).resolve("1")
    assert "hunter2" not in str(told.value)


def test_plain_http_does_not_reach_a_registry_with_tls(real: RealRegistry) -> None:
    with HttpTransport() as transport, pytest.raises(RegistryError):
        asked(real, transport, plain_http=True).repository(Repository(real.host, "a")).resolve("1")


def test_two_pushers_of_referrers_lose_none(real: RealRegistry, connection: Connection, tmp_path: Path) -> None:
    """The fallback tag is read, extended and written; each writer looks afterwards."""
    store = ImageStore(tmp_path / "store")
    store.prepare()
    sample = image(store.layout, "one")
    for number in range(3):
        with_sbom(sample, b"%d" % number)
        push(store, connection, "one", Reference(Repository(real.host, "referrers/one"), "1"), quiet)
    listed = connection.repository(Repository(real.host, "referrers/one")).referrers(sample.manifest.digest)
    assert len(listed) == 3
