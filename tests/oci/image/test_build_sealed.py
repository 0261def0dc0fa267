"""Images built for real, looked at and run by programs that we did not write. Needs the network for the first build."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_schemas import faults
from image_set import FOREIGN, NAMES, NATIVE, SAID

from record_layers import layers_of
from veilbox.core.errors import ImageError
from veilbox.oci.admit import Trust, admit
from veilbox.oci.examine import examine, held_images
from veilbox.oci.image import debian, definition
from veilbox.oci.image import workshop as workshop_module
from veilbox.oci.image.build import Built, build, foreign_tag, index_tag
from veilbox.oci.image.bytecode import python_version
from veilbox.oci.image.compression import Compression
from veilbox.oci.image.elf import check_machine
from veilbox.oci.image.links import walk
from veilbox.oci.image.locks import LockBook
from veilbox.oci.image.spec import CONFIG_TYPE, INDEX_TYPE, LOCK_LABEL, MANIFEST_TYPE, ZSTD_LAYER_TYPE
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.unpack import Bounds, unpack_layer
from veilbox.oci.image.wire import parse_artifact, parse_config, parse_index, parse_manifest
from veilbox.oci.trust.dsse import Statement
from veilbox.oci.trust.endorse import Opened
from veilbox.oci.trust.evidence import read_evidence
from veilbox.oci.trust.predicates import SLSA

pytestmark = pytest.mark.sealed


# What each image must be able to import, and what it must not.
IMPORTS = {
    "anonymize": ("msgspec numpy", "av PIL onnxruntime subprocess"),
    "audit": ("msgspec hashlib nacl.bindings veilbox.audit.signing", "numpy av PIL onnxruntime subprocess"),
    "claim": (
        "msgspec veilbox.c2pa.library veilbox.components.claim",
        "numpy av PIL onnxruntime cryptography subprocess",
    ),
    "detect-centerface": ("msgspec numpy onnxruntime", "av PIL subprocess"),
    "detect-objects": ("msgspec numpy onnxruntime", "av PIL subprocess"),
    "detect-plates": ("msgspec numpy onnxruntime", "av PIL subprocess"),
    "export": (
        "msgspec numpy av PIL.Image PIL.JpegImagePlugin PIL.WebPImagePlugin PIL.TiffImagePlugin PIL.PngImagePlugin",
        "onnxruntime",
    ),
    "ingest": (
        "msgspec numpy av PIL.Image PIL.JpegImagePlugin PIL.WebPImagePlugin PIL.TiffImagePlugin PIL.PngImagePlugin",
        "onnxruntime",
    ),
    "verify": ("msgspec numpy av PIL.Image PIL.JpegImagePlugin", "onnxruntime veilbox.audit"),
}
NOWHERE = "ssl http.client urllib.request asyncio multiprocessing veilbox.oci veilbox.cli"


@pytest.fixture(name="store")
def every_image(images: ImageStore) -> ImageStore:
    return images


@pytest.fixture
def program(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


def test_every_step_that_takes_time_is_told(store: ImageStore) -> None:
    assert store.layers.is_dir()
    assert any("Debian packages" in line for line in SAID)
    assert any("wheels" in line for line in SAID)


def test_a_second_build_asks_nobody(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(debian.Apt, "_run", refuse)
    monkeypatch.setattr(workshop_module, "install_wheels", refuse)
    monkeypatch.setattr(workshop_module, "install_model", refuse)
    monkeypatch.setattr(workshop_module, "pack", refuse)
    again = build(store, NAMES, SAID.append)
    assert not any(built.rebuilt for built in again)
    assert all(layer.reused for built in again for layer in built.layers)


# Another day: every clock that Python code can ask is a year ahead.
LATER = """\
import sys, time
for name in ("time", "time_ns"):
    real, ahead = getattr(time, name), 400 * 86400 * (10**9 if name == "time_ns" else 1)
    setattr(time, name, lambda real=real, ahead=ahead: real() + ahead)
from veilbox.cli.main import main
sys.exit(main(["image", "build", "--json", *sys.argv[1:]]))
"""


def _build_elsewhere(folder: Path, *options: str) -> dict[str, object]:
    """Build as another user (of a user namespace), in another folder, time zone and language, a year later."""
    (folder / "home").mkdir(parents=True, exist_ok=True)
    strange = {
        "TZ": "Asia/Tokyo", "LANG": "de_DE.UTF-8", "PYTHONHASHSEED": "77", "HOME": str(folder / "home"),
        "VEILBOX_HOME": str(folder / "an other"), "USER": "somebody", "TMPDIR": str(folder / "home"),
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv")),
    }  # fmt: skip
    argv = ["unshare", "--user", "--map-user=12345", "--map-group=12345", sys.executable, "-c", LATER, *options]
    said = subprocess.run(
        argv, env=os.environ | strange, cwd=folder / "home", umask=0o077, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    return {
        row["name"]: (row["digest"], tuple(layer["digest"] for layer in row["layers"]))
        for row in json.loads(said.stdout)
    }


def test_another_place_user_mask_day_and_time_zone_give_the_same_digests(store: ImageStore, tmp_path: Path) -> None:
    # There from zstd to gzip and here from gzip to zstd; gzip at last is what the other tests look at.
    for compression, names in ((Compression.ZSTD, ("audit",)), (Compression.GZIP, NAMES)):
        elsewhere = _build_elsewhere(tmp_path, "--compression", compression, *names)
        assert elsewhere == _digests(build(store, names, SAID.append, compression=compression))
    shutil.rmtree(tmp_path / "an other")


def test_layers_are_those_that_another_machine_built_on_another_day(store: ImageStore) -> None:
    recorded = json.loads((Path(__file__).parent / "recorded_layers.json").read_bytes())
    built = layers_of(store)
    if (ImageStore.default().root / "lock").exists():  # the committed lock's packages are gone from the mirror
        for layers in (*recorded.values(), *built.values()):
            del layers["base"]
    assert built == recorded, "if locks or layers were changed: make record-layers"


def _digests(images: list[Built]) -> dict[str, object]:
    return {built.name: (built.manifest.text, tuple(one.digest.text for one in built.layers)) for built in images}


def test_zstd_changes_blobs_and_nothing_else(store: ImageStore) -> None:
    [zstd] = build(store, ["ingest"], SAID.append, compression=Compression.ZSTD)
    [gzip] = build(store, ["ingest"], SAID.append)
    assert [one.diff_id for one in zstd.layers] == [one.diff_id for one in gzip.layers]
    assert sum(one.size for one in zstd.layers) < sum(one.size for one in gzip.layers)
    manifest = parse_manifest(store.layout.read(zstd.descriptor))
    assert {layer.media_type for layer in manifest.layers} == {ZSTD_LAYER_TYPE}


def test_the_lock_that_was_followed_is_in_the_image(store: ImageStore) -> None:
    manifest = parse_manifest(store.layout.read(build(store, ["audit"], SAID.append)[0].descriptor))
    name, _, digest = parse_config(store.layout.read(manifest.config)).labels[LOCK_LABEL].partition("@")
    lock = LockBook(own=store.root / "lock").current(name)
    assert lock is not None
    assert lock.digest.text == digest


@pytest.mark.parametrize("name", NAMES)
def test_images_for_other_machines_are_what_they_say(store: ImageStore, name: str) -> None:
    index = store.layout.resolve(index_tag(name))
    assert index is not None
    entries = {one.platform.architecture: one for one in parse_index(store.layout.read(index)) if one.platform}
    assert list(entries) == [NATIVE, FOREIGN]
    foreign = store.layout.resolve(foreign_tag(name, FOREIGN))
    assert foreign is not None
    assert foreign.digest == entries[FOREIGN].digest
    manifest = parse_manifest(store.layout.read(foreign))
    config = parse_config(store.layout.read(manifest.config))
    assert config.platform.architecture == FOREIGN
    counts = []
    for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
        counts.append(check_machine(unpack_layer(store.layout, layer, diff_id, store.layers, Bounds()), FOREIGN))
    assert counts[0] > 10  # the interpreter and its libraries
    native = admit(store, name)
    assert native.manifest == entries[NATIVE].digest
    shared = {path.name for path in native.layers} & {diff_id.hex for diff_id in config.diff_ids}
    assert shared  # code and models have no machine


@pytest.mark.parametrize("name", NAMES)
def test_the_image_spec_s_schemas_accept_every_document(store: ImageStore, name: str) -> None:
    index = store.layout.resolve(index_tag(name))
    assert index is not None
    assert faults("image-layout", (store.layout.root / "oci-layout").read_bytes()) == []
    assert faults("image-index", (store.layout.root / "index.json").read_bytes()) == []
    kinds = {INDEX_TYPE: "image-index", MANIFEST_TYPE: "image-manifest"}
    for descriptor, _ in walk(store.layout, index):
        raw = store.layout.read(descriptor)
        assert faults(kinds[descriptor.media_type], raw) == []
        if descriptor.media_type == MANIFEST_TYPE:
            assert faults("config", store.layout.read(parse_manifest(raw).config)) == []


def test_the_schemas_accept_signatures_attestations_and_sboms_too(store: ImageStore) -> None:
    others = [entry for entry in store.layout.index() if entry.media_type == MANIFEST_TYPE]
    assert len(others) > 5 * len(NAMES)  # image, signature, attestations and two SBOMs, for each machine
    for entry in others:
        raw = store.layout.read(entry)
        assert faults("image-manifest", raw) == []
        config = parse_artifact(raw).config
        if config.media_type == CONFIG_TYPE:
            assert faults("config", store.layout.read(config)) == []


def test_everything_that_was_built_is_verified(store: ImageStore) -> None:
    trust = Trust.of(store)
    held = held_images(store)
    assert set(held) == {*NAMES, *(foreign_tag(name, FOREIGN) for name in NAMES), *map(index_tag, NAMES)}
    for name in held:
        examine(store, name, trust, unpacked=False)


@pytest.mark.parametrize("name", [*NAMES, *(foreign_tag(name, FOREIGN) for name in NAMES)])
def test_provenance_names_every_file_that_went_in_by_digest(store: ImageStore, name: str) -> None:
    image = Opened.of(store, name)
    evidence = read_evidence(store.layout, store.layout.index(), [image.manifest.digest])
    statements = [Statement.parse(envelope.payload) for envelope in evidence.attestations]
    [slsa] = [json.loads(one.predicate) for one in statements if one.predicate_type == SLSA]
    materials = slsa["buildDefinition"]["resolvedDependencies"]
    assert any(one["uri"].startswith("pkg:deb/debian/libc6@") for one in materials)
    assert any(one["uri"].startswith("pkg:pypi/msgspec@") for one in materials)
    assert [one["uri"] for one in materials if not one.get("digest")] == []


def test_a_killed_build_s_remains_are_swept(store: ImageStore) -> None:
    left = store.layers / "sha256" / ".unpacking-x"
    left.mkdir()
    build(store, ["audit"], SAID.append)
    assert not left.exists()


def test_sizes_are_within_the_goals(store: ImageStore) -> None:
    images = build(store, NAMES, SAID.append)
    unique = {layer.digest: layer for built in images for layer in built.layers}
    by_name = {layer.name: layer.size for layer in unique.values()}
    assert by_name["base"] <= 20_000_000
    assert sum(by_name.values()) <= 150_000_000
    for built in images:
        if "detect" not in built.name:
            assert sum(layer.size for layer in built.layers) <= 60_000_000


def test_every_image_is_admitted(store: ImageStore) -> None:
    models = {name: admit(store, name).model for name in NAMES}
    assert [name for name, model in models.items() if model] == [
        "detect-centerface",
        "detect-objects",
        "detect-plates",
    ]
    with pytest.raises(ImageError, match="missing"):
        admit(ImageStore(store.root / "nothing"), "ingest")


def test_the_base_is_no_system(store: ImageStore) -> None:
    base = admit(store, "audit").layers[0]
    version = python_version(base)
    assert sorted(path.name for path in (base / "usr" / "bin").iterdir()) == ["python3", f"python{version}"]
    files = [path for path in base.rglob("*") if path.is_file() and not path.is_symlink()]
    runnable = sorted(path.name.partition("-")[0] for path in files if path.stat().st_mode & 0o111)
    assert runnable == ["ld", f"python{version}"]
    status = (base / "var" / "lib" / "dpkg" / "status.d" / "libc6").read_text()
    assert "Status: install ok installed" in status
    assert not (base / "usr" / "share" / "man").exists()


@pytest.mark.parametrize("program", ["skopeo"], indirect=True)
@pytest.mark.parametrize("name", NAMES)
def test_skopeo_reads_it(store: ImageStore, program: str, name: str) -> None:
    said = subprocess.run([program, "inspect", f"oci:{store.layout.root}:{name}"], check=True, capture_output=True)
    inspected = json.loads(said.stdout)
    assert inspected["Digest"] == admit(store, name).manifest.text
    assert inspected["Os"] == "linux"
    assert len(inspected["Layers"]) == len(definition.image(name).layers)


@pytest.mark.parametrize("program", ["umoci"], indirect=True)
@pytest.mark.parametrize("name", NAMES)
def test_umoci_unpacks_what_we_unpack(store: ImageStore, tmp_path: Path, program: str, name: str) -> None:
    target = tmp_path / "bundle"
    image = f"{store.layout.root}:{name}"
    subprocess.run([program, "unpack", "--rootless", "--image", image, target], check=True, capture_output=True)
    ours = {path.relative_to(layer) for layer in admit(store, name).layers for path in layer.rglob("*")}
    theirs = {path.relative_to(target / "rootfs") for path in (target / "rootfs").rglob("*")}
    assert ours == theirs
    shutil.rmtree(target)


@pytest.fixture(scope="module")
def podman_state() -> Iterator[list[str | Path]]:
    """Podman's own store, which all images share; its run folder may have a path of 50 characters."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        state: list[str | Path] = ["--root", folder / "root", "--runroot", folder / "run"]
        state += ["--cgroup-manager", "cgroupfs"]
        yield state
        subprocess.run(["podman", *state, "rmi", "--all", "--force"], capture_output=True, check=True)
        subprocess.run(["umount", folder / "root" / "overlay"], capture_output=True, check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="rootless podman needs a network helper that nothing else here needs")
@pytest.mark.parametrize("program", ["podman"], indirect=True)
@pytest.mark.parametrize("name", NAMES)
def test_podman_runs_it(store: ImageStore, podman_state: list[str | Path], program: str, name: str) -> None:
    runtime = next(one for one in ("runc", "crun") if shutil.which(one))
    # Limits that this machine's root may set, and a log that nothing has to collect.
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--log-driver", "none"]
    image = f"oci:{store.layout.root}:{name}"
    entry = json.dumps([*admit(store, name).entrypoint[:4], "-c", TRY])
    argv = [program, *podman_state, "--runtime", runtime, "run", "--rm", "--network", "none", "--read-only", *limits]
    words = [IMPORTS[name][0], f"{IMPORTS[name][1]} {NOWHERE}"]
    said = subprocess.run([*argv, "--entrypoint", entry, image, *words], capture_output=True, text=True, check=False)
    assert said.stdout == "65532 65532 30 1 []\n", said.stderr


# In a mount and network namespace of its own: a read-only overlay, a user that owns nothing, one Python.
ENTER = """\
set -e
mount -t overlay -o "ro,lowerdir=$1" overlay "$2"
mount -t tmpfs none "$2/dev"
mount -t proc none "$2/proc"
mknod -m 666 "$2/dev/urandom" c 1 9
cd "$2"
shift 2
exec chroot --userspec=65532:65532 . "$@"
"""

TRY = """\
import importlib, os, sys
good, bad = (words.split() for words in sys.argv[1:])
for name in good:
    importlib.import_module(name)
for name in bad:
    try:
        importlib.import_module(name)
    except ImportError:
        continue
    sys.exit(f"{name} can be imported")
try:
    open("/file", "w")
except OSError as error:
    print(os.getuid(), os.getgid(), error.errno, sys.flags.no_site, [p for p in sys.path if "python" not in p])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting an overlay without a user namespace needs root")
@pytest.mark.parametrize("name", NAMES)
def test_the_image_s_python_starts_as_nobody_on_a_read_only_root(store: ImageStore, tmp_path: Path, name: str) -> None:
    image = admit(store, name)
    good, bad = IMPORTS[name]
    lower = ":".join(str(layer) for layer in reversed(image.layers))
    argv = [*image.entrypoint[:4], "-c", TRY, good, f"{bad} {NOWHERE}"]
    (tmp_path / "root").mkdir()
    entered = ["unshare", "--mount", "--net", "sh", "-c", ENTER, "sh", lower, str(tmp_path / "root"), *argv]
    environment = dict(word.split("=", 1) for word in image.env) | {"PATH": os.environ["PATH"]}
    said = subprocess.run(entered, env=environment, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == "65532 65532 30 1 []\n"  # EROFS, not EACCES
