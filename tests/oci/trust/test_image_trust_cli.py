"""`veilbox image sign|verify|sbom|key`, as the command line runs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from trust_shop import NAME, Shop, shop

from veilbox.cli.main import main
from veilbox.oci.admit import Trust
from veilbox.oci.examine import examine, held_images
from veilbox.oci.image.definition import image_names
from veilbox.oci.image.spec import EMPTY_TYPE, INDEX_TYPE, MANIFEST_TYPE
from veilbox.oci.image.wire import artifact_bytes, index_bytes
from veilbox.oci.trust.evidence import read_evidence
from veilbox.oci.trust.store import TrustStore


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A store with an image that nobody signed, and no policy, as the command line's own."""
    made = shop(tmp_path, attested=False)
    (made.trust / "policy.toml").unlink()
    monkeypatch.setenv("VEILBOX_HOME", str(made.store.root))
    monkeypatch.setenv("VEILBOX_PASSPHRASE", "open sesame")
    return made


def rows(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_signed_with_the_machine_s_key_it_holds(here: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "verify", NAME, "--json"]) == 6
    row = rows(capsys)[0]
    assert (row["state"], row["keys"]) == ("refused", [])
    assert "clause 2, rule" in str(row["error"])
    assert main(["image", "sign", NAME]) == 0
    capsys.readouterr()
    assert main(["image", "verify", "--all", "--unpacked", "--json"]) == 0
    assert [(row["name"], row["state"], row["digest"]) for row in rows(capsys)] == [(NAME, "holds", here.subject.text)]
    assert not (here.trust / "seen.json").exists()  # looking is not running


def test_a_key_pair_of_one_s_own(here: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del here
    prefix = tmp_path / "release"
    assert main(["image", "key", "generate", str(prefix)]) == 0
    key_id = capsys.readouterr().out
    assert key_id.startswith("sha256:")
    assert prefix.with_suffix(".key").stat().st_mode & 0o777 == 0o600
    assert main(["image", "key", "show", f"{prefix}.pub"]) == 0
    assert capsys.readouterr().out == key_id
    assert main(["image", "key", "generate", str(prefix)]) == 2
    arguments = ["image", "sign", NAME, "--key", f"{prefix}.key", "--repository", "r.example/team/"]
    assert main(arguments) == 0
    assert f"signed as r.example/team/{NAME} by {key_id.strip()}" in capsys.readouterr().err
    assert main(["image", "verify", NAME, "--key", f"{prefix}.pub"]) == 0
    assert main(["image", "verify", NAME, "--key", f"{prefix}.key"]) == 2


@pytest.mark.parametrize("way", ["file", "wrong", "none"])
def test_where_the_passphrase_comes_from(
    here: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    del here
    prefix = tmp_path / "k"
    assert main(["image", "key", "generate", str(prefix)]) == 0
    arguments = ["image", "sign", NAME, "--key", f"{prefix}.key"]
    monkeypatch.delenv("VEILBOX_PASSPHRASE")
    monkeypatch.delenv("COSIGN_PASSWORD", raising=False)
    if way != "none":
        (tmp_path / "words").write_text("open sesame\nmore\n" if way == "file" else "shut\n")
        arguments += ["--passphrase-file", str(tmp_path / "words")]
    assert main(arguments) == (0 if way == "file" else 2)
    said = capsys.readouterr().err
    assert {"file": "signed as", "wrong": "wrong passphrase", "none": "no passphrase"}[way] in said


@pytest.mark.parametrize(("kind", "member"), [("cyclonedx", "components"), ("spdx", "packages")])
def test_an_sbom_is_printed(here: Shop, capsys: pytest.CaptureFixture[str], kind: str, member: str) -> None:
    del here
    assert main(["image", "sbom", NAME, "--format", kind]) == 6
    assert "veilbox image sign" in capsys.readouterr().err
    assert main(["image", "sign", NAME]) == 0
    capsys.readouterr()
    assert main(["image", "sbom", NAME, "--format", kind]) == 0
    assert "liblzma5" in {part["name"] for part in json.loads(capsys.readouterr().out)[member]}


def test_a_layer_s_flipped_bit_is_found(here: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    main(["image", "sign", NAME])
    here.damage(here.layers[1].descriptor.digest)
    assert main(["image", "verify", NAME]) == 6
    assert "wrong content" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["content", "more", "less", "mode", "link"])
def test_a_changed_unpacked_file_is_found(here: Shop, capsys: pytest.CaptureFixture[str], change: str) -> None:
    main(["image", "sign", NAME])
    path = here.store.layer(here.layers[0].diff_id) / "models" / "finder" / "card.json"
    if change == "content":
        path.write_bytes(path.read_bytes()[::-1])
    elif change == "more":
        (path.parent / "new").write_text("")
    elif change == "mode":
        path.chmod(0o755)
    else:
        path.unlink()
        if change == "link":
            path.symlink_to("model.onnx")
    assert main(["image", "verify", NAME]) == 0
    assert main(["image", "verify", NAME, "--unpacked"]) == 6
    assert "models/finder/" in capsys.readouterr().err


def test_names_or_all(here: Shop) -> None:
    del here
    assert main(["image", "verify", NAME, "--all"]) == 2


def test_images_for_others_are_held_to_what_does_not_ask_whether_they_run_here(here: Shop) -> None:
    here.sign(reference=f"r.example/{NAME}")
    here.retag("team/other", here.descriptor)
    here.policy('identity = ["r.example/**"]')
    text = (here.trust / "policy.toml").read_text().replace('images = ["*"]', 'images = ["**"]')
    (here.trust / "policy.toml").write_text(text)
    assert held_images(here.store) == (NAME, "team/other")
    found = examine(here.store, "team/other", Trust.of(here.store), unpacked=True)
    assert found.manifest == here.subject


def test_an_index_is_signed_as_what_it_is(here: Shop) -> None:
    layout = here.store.layout
    index = layout.write(index_bytes((here.descriptor,)), INDEX_TYPE)
    layout.tag(f"{NAME}-index", index)
    assert main(["image", "sign", f"{NAME}-index"]) == 0
    evidence = read_evidence(layout, layout.index(), [index.digest])
    public = TrustStore(here.trust).local_public()
    assert public is not None
    assert [one.claim().subject for one in evidence.signatures if one.signers((public,))] == [index.digest]
    assert evidence.attestations == ()
    assert held_images(here.store) == (NAME, f"{NAME}-index")


def test_everything_with_a_name_is_listed(here: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "sign", NAME]) == 0
    assert main(["image", "verify", NAME]) == 0  # the policy is there from now on
    layout = here.store.layout
    here.retag("r.example/team/other:1", here.descriptor)
    layout.tag("both", layout.write(index_bytes((here.descriptor,)), INDEX_TYPE))
    layout.tag("note", layout.write(artifact_bytes("a/b", layout.write(b"{}", EMPTY_TYPE), ()), MANIFEST_TYPE))
    broken = layout.write(b"half", MANIFEST_TYPE)
    layout.tag("broken", broken)
    capsys.readouterr()
    assert main(["image", "list", "--json"]) == 0
    listed = {str(row["name"]): row for row in rows(capsys)}
    assert listed.keys() == {*image_names(), "r.example/team/other:1", "both", "note", "broken"}
    assert {name: (row["kind"], row["state"]) for name, row in listed.items() if row["state"] != "missing"} == {
        NAME: ("component", "admitted"),
        "r.example/team/other:1": ("image", "stored"),
        "both": ("index", "stored"),
        "note": ("artifact", "stored"),
        "broken": ("damaged", "damaged"),
    }
    assert [layer["digest"] for layer in listed[NAME]["layers"]] == [str(one.descriptor.digest) for one in here.layers]
    here.damage(here.subject)
    assert main(["image", "list"]) == 0
    assert main(["image", "list", "--json"]) == 0
    said = capsys.readouterr()
    assert "clause 1, name" in said.err
    assert held_images(here.store) == ("both", "broken", NAME, "r.example/team/other:1")
    assert main(["image", "verify", "--all", "--json"]) == 6


def test_an_image_for_other_machines_is_signed_although_nobody_unpacked_it(here: Shop) -> None:
    for packed in here.layers:
        shutil.rmtree(here.store.layer(packed.diff_id))
    here.retag(f"{NAME}-arm64", here.descriptor)
    assert main(["image", "sign", f"{NAME}-arm64"]) == 0
    assert all(here.store.layer(packed.diff_id).is_dir() for packed in here.layers)
    assert main(["image", "verify", f"{NAME}-arm64"]) == 0
