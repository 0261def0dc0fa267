"""Images built for real, looked at and run by programs that we did not write. Needs the network for the first build."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from veilbox.core.errors import ImageError
from veilbox.oci.admit import admit
from veilbox.oci.image import build as build_module
from veilbox.oci.image import debian, definition
from veilbox.oci.image.build import Built, build
from veilbox.oci.image.bytecode import python_version
from veilbox.oci.image.store import ImageStore
from veilbox.oci.trust.endorse import endorse_built

pytestmark = pytest.mark.sealed

NAMES = definition.image_names()
SAID: list[str] = []

# What each image must be able to import, and what it must not.
IMPORTS = {
    "anonymize": ("msgspec numpy", "av PIL onnxruntime subprocess"),
    "audit": ("msgspec hashlib nacl.bindings veilbox.audit.signing", "numpy av PIL onnxruntime subprocess"),
    "detect-centerface": ("msgspec numpy onnxruntime", "av PIL subprocess"),
    "export": (
        "msgspec numpy av PIL.Image PIL.JpegImagePlugin PIL.WebPImagePlugin PIL.TiffImagePlugin PIL.PngImagePlugin",
        "onnxruntime",
    ),
    "ingest": (
        "msgspec numpy av PIL.Image PIL.JpegImagePlugin PIL.WebPImagePlugin PIL.TiffImagePlugin PIL.PngImagePlugin",
        "onnxruntime",
    ),
}
NOWHERE = "ssl http.client urllib.request asyncio multiprocessing veilbox.oci veilbox.cli"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageStore]:
    store = ImageStore(tmp_path_factory.mktemp("images") / "store")
    build(store, NAMES, SAID.append)
    endorse_built(store, NAMES)
    yield store
    shutil.rmtree(store.root)


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
    monkeypatch.setattr(build_module, "install_wheels", refuse)
    monkeypatch.setattr(build_module, "install_model", refuse)
    monkeypatch.setattr(build_module, "pack", refuse)
    again = build(store, NAMES, SAID.append)
    assert not any(built.rebuilt for built in again)
    assert all(layer.reused for built in again for layer in built.layers)


def test_another_place_user_mask_and_time_zone_give_the_same_digests(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("PYTHONHASHSEED", "77")
    before = os.umask(0o077)
    try:
        elsewhere = build(ImageStore(tmp_path / "an other"), NAMES, SAID.append)
    finally:
        os.umask(before)
    assert _digests(elsewhere) == _digests(build(store, NAMES, SAID.append))


def _digests(images: list[Built]) -> dict[str, object]:
    return {built.name: (built.manifest, tuple(layer.digest for layer in built.layers)) for built in images}


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
            assert sum(layer.size for layer in built.layers) <= 100_000_000


def test_every_image_is_admitted(store: ImageStore) -> None:
    models = {name: admit(store, name).model for name in NAMES}
    assert [name for name, model in models.items() if model] == ["detect-centerface"]
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
@pytest.mark.parametrize("name", ["audit", "detect-centerface"])
def test_umoci_unpacks_what_we_unpack(store: ImageStore, tmp_path: Path, program: str, name: str) -> None:
    target = tmp_path / "bundle"
    image = f"{store.layout.root}:{name}"
    subprocess.run([program, "unpack", "--rootless", "--image", image, target], check=True, capture_output=True)
    ours = {path.relative_to(layer) for layer in admit(store, name).layers for path in layer.rglob("*")}
    theirs = {path.relative_to(target / "rootfs") for path in (target / "rootfs").rglob("*")}
    assert ours == theirs
    shutil.rmtree(target)


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
