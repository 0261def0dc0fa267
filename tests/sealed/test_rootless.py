"""The whole main job as an ordinary user: no root, the same walls."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest

import veilbox
from veilbox.core.isolation import Level
from veilbox.oci.admit import admit
from veilbox.oci.image.definition import MODELS
from veilbox.oci.image.store import ImageStore

pytestmark = pytest.mark.sealed

# What only the component images and the image builder import.
_NOT_NEEDED = frozenset({"av", "onnx", "onnxruntime", "pillow", "uv"})


@dataclass(frozen=True)
class User:
    """An ordinary user with subordinate ids, and a home that it may write."""

    name: str
    home: Path
    python: str

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        """Run the program as this user."""
        program = "import sys; from veilbox.cli.main import main; sys.exit(main())"
        environment = {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self.home / "packages"),
            "VEILBOX_HOME": str(self.home / "store"),
        }
        return subprocess.run(
            ["setpriv", f"--reuid={self.name}", f"--regid={self.name}", "--init-groups", self.python, "-c", program]
            + [os.fspath(argument) for argument in arguments],
            env=environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=180,
            check=False,
        )


@pytest.fixture(scope="module")
def user(sealed: None) -> Iterator[User]:
    """The first user of /etc/subuid, in a folder with the program and the images."""
    del sealed
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    name, python = _ordinary_user(), _python_for_everybody()
    if name is None or python is None:
        pytest.skip("needs a user with subordinate ids and a system Python of our version: useradd -m USER")
    home = Path(tempfile.mkdtemp(prefix="veilbox-rootless-"))
    try:
        home.chmod(0o755)
        _copy_packages(home / "packages")
        store = ImageStore.default().root
        for part in ("layout", "layers", "trust"):
            shutil.copytree(store / part, home / "store" / part, symlinks=True)
        subprocess.run(["chown", "-R", f"{name}:{name}", home], check=True)
        yield User(name, home, python)
    finally:
        shutil.rmtree(home)


def _ordinary_user() -> str | None:
    path = Path("/etc/subuid")
    for line in path.read_text().splitlines() if path.exists() else ():
        name = line.split(":")[0]
        try:
            if pwd.getpwnam(name).pw_uid >= 1000:
                return name
        except KeyError:
            continue
    return None


def _python_for_everybody() -> str | None:
    """An interpreter outside of root's home with our own version, for which our packages were installed."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return shutil.which(version, path="/usr/bin:/usr/local/bin")


def _copy_packages(target: Path) -> None:
    """veilbox and what it imports outside of containers, from this environment."""
    shutil.copytree(Path(veilbox.__file__).parent, target / "veilbox", ignore=shutil.ignore_patterns("__pycache__"))
    for name in _closure("veilbox") - {"veilbox"}:
        for file in importlib.metadata.distribution(name).files or ():
            source = Path(str(file.locate()))
            if source.is_file() and not str(file).startswith(".."):
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target / file)


def _closure(name: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
    found = seen | {name}
    for requirement in importlib.metadata.requires(name) or ():
        other = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()
        if "extra ==" not in requirement and other not in found | _NOT_NEEDED and _installed(other):
            found = _closure(other, found)
    return found


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def test_the_main_job_without_root(user: User, short_film: Path) -> None:
    film, output, report = user.home / "film.mp4", user.home / "out.mp4", user.home / "report.json"
    shutil.copyfile(short_film, film)
    run = user.run("anonymize", film, "-o", output, "--report", report)
    assert run.returncode == 0, run.stderr.decode()
    assert output.stat().st_uid == pwd.getpwnam(user.name).pw_uid
    document = json.loads(report.read_text())
    assert document["outputs"][0]["frames"] == 50
    for name, component in document["components"].items():
        assert component["isolation"]["level"] >= Level.UNPRIVILEGED, (name, component["isolation"]["failed"])
        assert component["cpu_s"] > 0, name
        assert component["memory_peak_bytes"] > 0, name


def test_sealed_processes_need_no_root_and_no_subordinate_ids(user: User, short_film: Path) -> None:
    film, output, report = (user.home / name for name in ("film4.mp4", "out4.mp4", "report4.json"))
    shutil.copyfile(short_film, film)
    run = user.run("anonymize", film, "-o", output, "--report", report, "--runtime", "process")
    assert run.returncode == 0, run.stderr.decode()
    document = json.loads(report.read_text())
    assert document["outputs"][0]["frames"] == 50
    for name, component in document["components"].items():
        assert component["isolation"]["level"] == Level.NO_EGRESS, (name, component["isolation"]["failed"])


def test_a_model_is_added_used_and_given_up_without_root(user: User, short_film: Path) -> None:
    film, card, weights = (user.home / name for name in ("film3.mp4", "card.json", "changed.onnx"))
    shutil.copyfile(short_film, film)
    built_in = json.loads((MODELS / "centerface" / "card.json").read_text())
    card.write_text(json.dumps(built_in | {"training_data": "as published", "recall": []}))
    image = admit(ImageStore.default(), "detect-centerface")
    assert image.model_layer is not None
    model = onnx.load_model(str(image.model_layer / "models" / "centerface" / "model.onnx"))
    model.producer_version = "rootless"
    weights.write_bytes(model.SerializeToString())
    added = user.run("model", "add", weights, "--card", card, "--use", "--json")
    assert added.returncode == 0, added.stderr.decode()
    digests = []
    for output in ("with.mp4", "without.mp4"):
        run = user.run("anonymize", film, "-o", user.home / output, "--json")
        assert run.returncode == 0, run.stderr.decode()
        digests.append(json.loads(run.stdout)["components"]["detect-centerface"]["model_digest"])
        assert user.run("model", "use", "centerface@image").returncode == 0
    assert digests == [json.loads(added.stdout)[0]["digest"], str(image.model)]
    owner = pwd.getpwnam(user.name).pw_uid
    assert {path.stat().st_uid for path in (user.home / "store" / "models").iterdir()} == {owner}


def test_a_source_that_the_user_may_not_read(user: User, tmp_path: Path) -> None:
    private = tmp_path / "private.mp4"
    private.write_bytes(b"x")
    private.chmod(0o600)
    run = user.run("anonymize", private, "-o", user.home / "stolen.mp4")
    assert run.returncode == 3
    assert not (user.home / "stolen.mp4").exists()


def test_a_folder_that_the_user_may_not_write(user: User, short_film: Path) -> None:
    film = user.home / "film2.mp4"
    shutil.copyfile(short_film, film)
    run = user.run("anonymize", film, "-o", "/usr/share/out.mp4")
    assert run.returncode == 4
    assert b"/usr/share/out.mp4" in run.stderr
    assert not Path("/usr/share/out.mp4").exists()
