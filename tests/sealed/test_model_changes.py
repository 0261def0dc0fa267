"""A model is tried in a sealed detector, used by the next job without a build, and given up by one command."""

from __future__ import annotations

import json
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import ModelProto
from sealed_workshop import RunVeilbox

from veilbox.core.digest import Digest
from veilbox.oci.admit import admit
from veilbox.oci.image.definition import MODELS
from veilbox.oci.image.garbage import collect
from veilbox.oci.image.store import ImageStore
from veilbox.oci.models.carried import carried
from veilbox.oci.models.shelf import held, tag_of

pytestmark = pytest.mark.sealed


def linked(source: Path, target: Path) -> None:
    """A copy of a folder that shares its files, for who replaces files and never writes into one."""
    shutil.copytree(source, target, symlinks=True, copy_function=lambda a, b: Path(b).hardlink_to(a))


@pytest.fixture
def store(sealed: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """This machine's images in a store of their own, so that no other test sees what is chosen here."""
    del sealed
    real = ImageStore.default()
    with tempfile.TemporaryDirectory(dir=real.cache, prefix="test-") as folder:
        root = Path(folder) / "store"
        root.parent.chmod(0o755)
        root.mkdir(mode=0o755)
        linked(real.layout.root, root / "layout")
        linked(real.layers, root / "layers")
        shutil.copytree(real.root / "trust", root / "trust")
        for model in held(ImageStore(root)):  # what this machine's user added is no matter of these tests
            ImageStore(root).layout.forget(tag_of(*model))
        collect(ImageStore(root))
        monkeypatch.setenv("VEILBOX_HOME", str(root))
        yield root


class Workbench:
    """The built-in model and its card, to be changed."""

    def __init__(self, folder: Path, store: Path) -> None:
        built_in = carried(admit(ImageStore(store), "detect-centerface"))
        assert built_in is not None
        self._file = built_in.file
        self._folder = folder
        self.card = json.loads((MODELS / "centerface" / "card.json").read_text())
        self.card |= {"training_data": "as published", "recall": []}

    def model(self, change: Callable[[ModelProto], object]) -> Path:
        model = onnx.load_model(str(self._file))
        change(model)
        return self.file(model.SerializeToString())

    def file(self, content: bytes) -> Path:
        path = self._folder / "changed.onnx"
        path.write_bytes(content)
        return path

    def whole(self) -> bytes:
        return self._file.read_bytes()

    def card_file(self, **changes: object) -> Path:
        path = self._folder / "card.json"
        path.write_text(json.dumps(self.card | changes))
        return path


@pytest.fixture
def bench(tmp_path: Path, store: Path) -> Workbench:
    return Workbench(tmp_path, store)


def version(number: str) -> Callable[[ModelProto], None]:
    """A model that finds the same and is another file."""
    return lambda model: setattr(model, "producer_version", number)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    from PIL import Image  # noqa: PLC0415
    from skimage import data  # noqa: PLC0415 - slow to import

    path = tmp_path / "photo.jpg"
    Image.fromarray(data.astronaut()).save(path)  # type: ignore[no-untyped-call]
    return path


Hide = Callable[..., dict[str, Any]]


@pytest.fixture
def hide(veilbox: RunVeilbox, photo: Path, tmp_path: Path) -> Hide:
    """Hide the face of the photo, and return the report's detectors."""

    def run(*more: str) -> dict[str, Any]:
        ran = veilbox("anonymize", photo, "-o", tmp_path / "out.jpg", "--overwrite", "--json", *more)
        assert ran.status == 0, ran.stderr
        assert ran.json["counts"] == {"face": 1}
        return {name: one for name, one in ran.json["components"].items() if name.startswith("detect-")}

    return run


def components(veilbox: RunVeilbox) -> list[Any]:
    """The images that jobs run, as they are listed."""
    return [one for one in veilbox("image", "list", "--json").json if one["kind"] == "component"]


def test_the_next_job_takes_an_update_and_one_command_goes_back(
    veilbox: RunVeilbox, bench: Workbench, hide: Hide, store: Path
) -> None:
    images = components(veilbox)
    before = hide()
    added = [
        veilbox("model", "add", bench.model(version(number)), "--card", bench.card_file(), "--use", "--json").json[0]
        for number in ("2", "3")
    ]
    after = hide()["detect-centerface"]
    assert after["model_digest"] == added[1]["digest"] != before["detect-centerface"]["model_digest"]
    assert after["image_digest"] == before["detect-centerface"]["image_digest"]
    assert after["isolation"]["level"] == before["detect-centerface"]["isolation"]["level"]
    assert components(veilbox) == images
    entries = (path.read_text() for path in (store / "audit" / "entries").iterdir())
    logged = [json.loads(line) for text in entries for line in text.splitlines()]
    entry = [one for one in logged if one["type"] == "images"][-1]
    assert entry["models"]["detect-centerface"] == added[1]["digest"]
    assert entry["signers"]["model-centerface"] == entry["signers"]["ingest"]
    assert after["model_admission"]["keys"] == entry["signers"]["model-centerface"]
    assert after["model_admission"]["version"] == added[1]["version"]
    assert before["detect-centerface"]["model_admission"] is None
    # One job may take another version, and nothing is chosen by it.
    assert (
        hide("--model", f"centerface@{added[0]['version']}")["detect-centerface"]["model_digest"] == added[0]["digest"]
    )
    for expected in (added[0]["digest"], before["detect-centerface"]["model_digest"]):
        assert veilbox("model", "rollback", "centerface").status == 0
        assert hide()["detect-centerface"]["model_digest"] == expected
    assert veilbox("model", "rollback", "centerface").status == 2
    assert veilbox("model", "use", f"centerface@{added[0]['version']}").status == 0
    assert hide()["detect-centerface"]["model_digest"] == added[0]["digest"]


def test_a_model_without_an_image_of_its_name(veilbox: RunVeilbox, bench: Workbench, hide: Hide) -> None:
    added = veilbox(
        "model", "add", bench.model(version("2")), "--card", bench.card_file(), "--name", "finder", "--json"
    )
    assert added.status == 0, added.stderr
    assert {name: one["model_digest"] for name, one in hide("--model", "finder").items()} == {
        "detect-finder": added.json[0]["digest"]
    }


def test_a_model_of_cocos_classes_looks_for_people_in_place_of_the_built_in_one(
    veilbox: RunVeilbox, store: Path, photo: Path, tmp_path: Path
) -> None:
    del store
    files = MODELS / "objects"
    added = veilbox("model", "add", files / "model.onnx", "--card", files / "card.json", "--name", "coco", "--json")
    assert added.status == 0, added.stderr
    asked = ("--hide", "person", "--hide", "dog", "--hide", "face", "--model", "coco")
    ran = veilbox("anonymize", photo, "-o", tmp_path / "out.jpg", *asked, "--json")
    assert ran.status == 0, ran.stderr
    assert {name for name in ran.json["components"] if name.startswith("detect-")} == {
        "detect-coco",
        "detect-centerface",
    }
    assert ran.json["components"]["detect-coco"]["model_digest"] == added.json[0]["digest"]
    assert set(ran.json["counts"]) == {"person", "face"}


def told_of_components(report: dict[str, Any]) -> dict[str, Any]:
    """What a report says of its components but for what is measured anew in every run."""
    kept = ("image_digest", "model_digest", "model_admission")
    return {
        f"{name}.{field}": value
        for name, one in report["components"].items()
        for field, value in ({field: one[field] for field in kept} | {"level": one["isolation"]["level"]}).items()
    }


def differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def test_one_line_of_the_policy_swaps_the_model(
    veilbox: RunVeilbox, bench: Workbench, photo: Path, tmp_path: Path
) -> None:
    # verify, whose look is its own, would hold back what the blind model leaves.
    rest = '[verification]\nresidual = "release"\n'
    reports = {}
    for number, threshold in (("2", 0.2), ("3", 0.99)):  # the second is sure of no face
        card = bench.card_file(threshold=threshold)
        add = ("model", "add", bench.model(version(number)), "--card", card, "--name", "finder", "--json")
        added = veilbox(*add)
        assert added.status == 0, added.stderr
        policy = tmp_path / "policy.toml"
        policy.write_text(f'version = 1\n[detection]\nmodels = ["finder@{added.json[0]["version"]}"]\n{rest}')
        run = ("anonymize", photo, "-o", tmp_path / "out.jpg", "--overwrite", "--json", "--policy", policy)
        ran = veilbox(*run)
        assert ran.status == 0, ran.stderr
        assert ran.json["components"]["detect-finder"]["model_digest"] == added.json[0]["digest"]
        reports[number] = ran.json
    one, other = reports["2"], reports["3"]
    assert (one["counts"], other["counts"]) == ({"face": 1}, {})
    assert one["outputs"][0]["digest"] != other["outputs"][0]["digest"]
    assert differing(told_of_components(one), told_of_components(other)) == {
        "detect-finder.model_digest",
        "detect-finder.model_admission",
    }
    assert differing(one["policy"], other["policy"]) == {"detection"}
    assert differing(one["policy"]["detection"], other["policy"]["detection"]) == {"models"}


def custom(model: ModelProto) -> None:
    model.graph.node[3].domain = "com.example"


def external(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


Made = Callable[[Workbench], tuple[Path, Path]]
REFUSED: dict[str, tuple[Made, str]] = {
    "a pickle": (lambda bench: (bench.file(pickle.dumps({"a": 1})), bench.card_file()), "pickle"),
    "half a model": (lambda bench: (bench.file(bench.whole()[:1_000_000]), bench.card_file()), "truncated"),
    "a custom operator": (lambda bench: (bench.model(custom), bench.card_file()), "of com.example"),
    "data outside": (lambda bench: (bench.model(external), bench.card_file()), "outside of the file"),
    "a card of other outputs": (
        lambda bench: (bench.model(version("2")), bench.card_file(outputs=["heatmap", "size", "marks"])),
        "its card disagree",
    ),
    "a card of another decoder": (
        lambda bench: (bench.model(version("2")), bench.card_file(decoding="points")),
        "outputs are not",
    ),
}


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_model_gets_no_name(veilbox: RunVeilbox, bench: Workbench, what: str) -> None:
    make, words = REFUSED[what]
    weights, card = make(bench)
    ran = veilbox("model", "add", weights, "--card", card, "--use")
    assert ran.status == 6, ran.stderr
    assert words in ran.stderr
    assert {one["version"].partition(" ")[0] for one in veilbox("model", "list", "--json").json} == {"image"}


def test_every_model_is_verified_and_the_bad_one_is_named(veilbox: RunVeilbox, bench: Workbench, store: Path) -> None:
    added = veilbox("model", "add", bench.model(version("2")), "--card", bench.card_file(), "--json").json[0]
    ran = veilbox("model", "verify", "--all", "--json")
    assert ran.status == 0, ran.stderr
    assert {one["state"] for one in ran.json} == {"holds"}
    (weights,) = (
        path
        for path in (store / "layers").glob("sha256/*/models/centerface/model.onnx")
        if Digest.of(path.read_bytes()).text == added["digest"]
    )
    raw = weights.read_bytes()
    weights.unlink()  # it may be shared with the machine's own store
    weights.write_bytes(raw[:-1])
    ran = veilbox("model", "verify", "--all", "--json")
    assert ran.status == 6
    assert {one["version"] for one in ran.json if one["state"] == "refused"} == {added["version"]}


def test_a_revoked_key_ends_the_jobs_of_its_models(
    veilbox: RunVeilbox, bench: Workbench, photo: Path, tmp_path: Path, store: Path
) -> None:
    (tmp_path / "passphrase").write_text("x\n")
    secret = ("--passphrase-file", tmp_path / "passphrase")
    identity = veilbox("image", "key", "generate", tmp_path / "lab", *secret).stdout.strip()
    policy = store / "trust" / "policy.toml"
    shutil.copy(tmp_path / "lab.pub", store / "trust")
    rule = '[keys.lab]\nfile = "lab.pub"\n[[rules]]\nimages = ["model-*"]\nkeys = ["lab"]\n'
    head, found, rest = policy.read_text().partition("[[rules]]")
    policy.write_text(head + rule + found + rest)
    key = ("--key", tmp_path / "lab.key", *secret)
    added = veilbox("model", "add", bench.model(version("2")), "--card", bench.card_file(), "--use", *key)
    assert added.status == 0, added.stderr
    job = ("anonymize", photo, "-o", tmp_path / "out.jpg", "--overwrite")
    assert veilbox(*job).status == 0
    policy.write_text(f'{policy.read_text()}\n[revoked]\nkeys = ["{identity}"]\n')
    ran = veilbox(*job)
    assert ran.status == 6
    assert "model-centerface: refused by clause 4, signature" in ran.stderr
    assert veilbox("model", "rollback", "centerface").status == 0
    assert veilbox(*job).status == 0
