from __future__ import annotations

import re
from pathlib import Path

import pytest

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, UsageError
from veilbox.oci.image import definition
from veilbox.oci.image.definition import REQUIREMENTS, CodeLayer, DebianLayer, ModelLayer, OwnModelLayer, WheelLayer
from veilbox.oci.image.model import install_own_model, model_digest
from veilbox.oci.image.store import ImageStore
from veilbox.oci.image.wheels import SITE_PACKAGES
from veilbox.seal import allowlist
from veilbox.vision.detect import parse_card

IMAGES = definition.image_names()


def test_there_is_an_image_for_each_component() -> None:
    assert IMAGES == (
        "anonymize",
        "audit",
        "claim",
        "detect-centerface",
        "detect-objects",
        "detect-plates",
        "export",
        "ingest",
        "verify",
    )


def test_an_unknown_image_is_named() -> None:
    with pytest.raises(UsageError, match="ingest"):
        definition.image("layers")


@pytest.mark.parametrize("name", IMAGES)
def test_layers_stand_in_the_order_in_which_they_change(name: str) -> None:
    order = [DebianLayer, WheelLayer, CodeLayer, ModelLayer, OwnModelLayer]
    kinds = [type(definition.layers()[layer]) for layer in definition.image(name).layers]
    assert kinds == sorted(kinds, key=order.index)
    assert kinds.count(DebianLayer) == 1
    # Only audit holds code that writes the log, and only claim code that writes manifests.
    assert kinds.count(CodeLayer) == (2 if name in ("audit", "claim") else 1)


@pytest.mark.parametrize("name", IMAGES)
def test_images_are_entered_alike_and_as_nobody(name: str) -> None:
    image = definition.image(name)
    assert image.user == "65532:65532"
    assert image.entrypoint == ("/usr/bin/python3", "-s", "-S", "-P", "-m", "veilbox.components")
    assert image.env["PYTHONPATH"] == f"/{SITE_PACKAGES}"
    assert image.env["PYTHONDONTWRITEBYTECODE"] == "1"


def test_onnxruntime_finds_its_telemetry_off() -> None:
    for name in IMAGES:
        image = definition.image(name)
        assert ("inference" in image.layers) == (image.env.get("ORT_DISABLE_TELEMETRY") == "1")


def test_a_model_s_large_blocks_go_back_to_the_kernel() -> None:
    """Where glibc may raise the threshold it keeps what a model's file and its copies took: 11 to 13 MB a detector."""
    for name in IMAGES:
        image = definition.image(name)
        assert ("inference" in image.layers) == (image.env.get("MALLOC_MMAP_THRESHOLD_") == "131072")


def test_the_families_hold_what_they_need_and_no_more() -> None:
    held = {name: set(definition.image(name).layers) - {"base", "messages", "code"} for name in IMAGES}
    assert held == {
        "anonymize": {"numpy"},
        "audit": {"signing", "audit-code"},
        "claim": {"c2pa", "claim-code"},
        "detect-centerface": {"numpy", "inference", "centerface"},
        "detect-objects": {"numpy", "inference", "objects"},
        "detect-plates": {"numpy", "inference", "plates"},
        "export": {"numpy", "media"},
        "ingest": {"numpy", "media"},
        "verify": {"numpy", "media"},
    }


@pytest.mark.parametrize("name", ["plates", "objects"])
def test_a_model_of_our_own_goes_in_as_it_is_and_only_with_its_digest(tmp_path: Path, name: str) -> None:
    layer = definition.layers()[name]
    assert isinstance(layer, OwnModelLayer)
    install_own_model(layer, root=tmp_path)
    folder = tmp_path / "models" / name
    card = parse_card((folder / "card.json").read_bytes())
    weights = (folder / "model.onnx").read_bytes()
    assert card.digest == Digest.of(weights) == model_digest(layer, tmp_path)
    assert card.digest.hex == layer.sha256
    with pytest.raises(ImageError, match="pinned"):
        install_own_model(OwnModelLayer(model=name, sha256="0" * 64), root=tmp_path / "other")


def test_no_code_for_images_processes_or_the_command_line_is_inside() -> None:
    code = definition.layers()["code"]
    assert isinstance(code, CodeLayer)
    names = [name for name, _ in definition.code_files(code)]
    assert "veilbox/__init__.py" in names
    assert not [name for name in names if re.match(r"veilbox/(oci|orchestrate|cli)/", name)]
    assert {name for name in names if not name.endswith(".py")} == {
        f"veilbox/seal/allowlist/{path.name}" for path in Path(allowlist.__file__).parent.glob("*.txt")
    }


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda path: str(path.name))
def test_requirements_are_pinned_by_digest_and_name_no_host(path: Path) -> None:
    text = path.read_text("utf-8")
    entries = [entry for entry in re.split(r"^(?=\S)", text, flags=re.MULTILINE) if entry]
    assert entries
    for entry in entries:
        assert re.fullmatch(r"[a-z0-9-]+==\S+( ; \S+ \S+ \S+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n", entry), entry
    assert "://" not in text


def test_recipes_differ_and_cover_every_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({definition.recipe(name) for name in IMAGES}) == len(IMAGES)
    before = {name: definition.recipe(name) for name in IMAGES}
    for cached in (definition.layer_inputs, definition.recipe):
        cached.cache_clear()
    monkeypatch.setattr(definition, "GENERATION", definition.GENERATION + 1)
    try:
        assert not set(before.values()) & {definition.recipe(name) for name in IMAGES}
    finally:
        for cached in (definition.layer_inputs, definition.recipe):
            cached.cache_clear()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"VEILBOX_HOME": "/srv/v"}, "/srv/v"),
        ({"VEILBOX_HOME": "", "XDG_DATA_HOME": "/data"}, "/data/veilbox"),
        ({"XDG_DATA_HOME": "", "HOME": "/home/u"}, "/home/u/.local/share/veilbox"),
    ],
)
def test_where_the_store_is(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for name in ("VEILBOX_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ImageStore.default().root == Path(expected)


def test_the_store_of_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.delenv("VEILBOX_HOME", raising=False)
    assert ImageStore.default().root == Path("/var/lib/veilbox")
