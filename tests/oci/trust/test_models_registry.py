"""A model through the real registry, by the commands that people type, and read by a tool that we did not write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from model_shelf import Shelf
from real_registry import RealRegistry

from veilbox.cli.main import main
from veilbox.oci.image.spec import MODEL_TYPE
from veilbox.oci.image.store import ImageStore
from veilbox.oci.models.shelf import held

pytestmark = pytest.mark.registry


def test_a_model_is_pushed_pulled_and_read(
    real: RealRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(real.auth_file))
    here, there = (Shelf(store=ImageStore(tmp_path / name), folder=tmp_path) for name in ("here", "there"))
    for shelf in (here, there):
        shelf.store.prepare()
        shelf.policy()
    model = here.settle(here.make())
    target, certified = f"{real.host}/models/model-finder:1", ("--ca-file", str(real.ca_file))
    monkeypatch.setenv("VEILBOX_HOME", str(here.store.root))
    assert main(["model", "push", "finder", target, *certified]) == 0
    monkeypatch.setenv("VEILBOX_HOME", str(there.store.root))
    there.policy(keys='["bob"]')
    assert main(["model", "pull", target, *certified]) == 6
    assert held(there.store) == {}
    there.policy()
    capsys.readouterr()
    assert main(["model", "pull", target, *certified, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == f"finder@{model.manifest}"
    assert row["bytes"] == 0  # the refused pull had fetched it; it had no name
    assert list(held(there.store)) == [("finder", model.manifest)]
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    folder = tmp_path / "ca"
    folder.mkdir()
    shutil.copy(real.ca_file, folder / "ca.crt")
    argv: list[str | Path] = [
        "skopeo",
        "inspect",
        "--raw",
        "--authfile",
        real.auth_file,
        "--cert-dir",
        folder,
        f"docker://{target}",
    ]
    shown = subprocess.run(argv, capture_output=True, env=dict(os.environ), timeout=60, check=True)
    assert json.loads(shown.stdout)["artifactType"] == MODEL_TYPE
