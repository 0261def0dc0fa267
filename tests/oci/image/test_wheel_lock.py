from __future__ import annotations

import json
from pathlib import Path

import pytest

from veilbox.core.errors import ImageError
from veilbox.oci.image import wheel_lock
from veilbox.oci.image.definition import REQUIREMENTS
from veilbox.oci.image.wheel_lock import FILES, file_tags, new_wheel_lock, parse_pylock, pinned, wheel_digest

LOCKED: dict[str, dict[str, str]] = json.loads((REQUIREMENTS / FILES).read_bytes())

PYLOCK = """\
lock-version = "1.0"
[[packages]]
name = "av"
version = "18.1.0"
sdist = { url = "https://x/av-18.1.0.tar.gz", hashes = { sha256 = "1" } }
wheels = [
    { url = "https://x/av-18.1.0-cp311-abi3-manylinux_2_28_x86_64.whl", hashes = { sha256 = "%(a)s" } },
    { url = "https://x/av-18.1.0-cp311-abi3-manylinux_2_28_aarch64.whl", hashes = { sha256 = "%(b)s" } },
    { url = "https://x/av-18.1.0-cp311-abi3-macosx_14_0_arm64.whl", hashes = { sha256 = "%(b)s" } },
    { url = "https://x/av-18.1.0-cp310-cp310-manylinux_2_28_x86_64.whl", hashes = { sha256 = "%(b)s" } },
    { url = "https://x/av-18.1.0-cp313-cp313t-manylinux_2_28_x86_64.whl", hashes = { sha256 = "%(b)s" } },
    { url = "https://x/av-18.1.0-cp311-abi3-musllinux_1_2_x86_64.whl", hashes = { sha256 = "%(b)s" } },
    { url = "https://x/av-18.1.0-cp311-abi3-win_amd64.whl", hashes = { sha256 = "%(b)s" } },
]
[[packages]]
name = "pure"
version = "1"
""".replace("%(a)s", "a" * 64).replace("%(b)s", "b" * 64)


@pytest.mark.parametrize("file", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_pinned_package_has_files_and_only_pinned_ones(file: Path) -> None:
    text = file.read_text()
    assert pinned(text) <= LOCKED.keys()
    for package in pinned(text):
        assert LOCKED[package]
        for digest in LOCKED[package].values():
            assert f"--hash=sha256:{digest}" in text


def test_nothing_else_is_locked() -> None:
    everything = frozenset().union(*(pinned(path.read_text()) for path in REQUIREMENTS.glob("*.txt")))
    assert LOCKED.keys() == everything


def test_no_two_files_of_a_package_have_the_same_tags() -> None:
    for files in LOCKED.values():
        assert len({file_tags(file) for file in files}) == len(files)


def test_files_for_other_machines_and_pythons_are_left_out() -> None:
    assert parse_pylock(PYLOCK) == {
        "av==18.1.0": {
            "av-18.1.0-cp311-abi3-manylinux_2_28_x86_64.whl": "a" * 64,
            "av-18.1.0-cp311-abi3-manylinux_2_28_aarch64.whl": "b" * 64,
        },
        "pure==1": {},
    }


@pytest.mark.parametrize("text", ["packages = 1", "[[packages]]\nname = 'x'", "=", PYLOCK.replace("a" * 64, "x")])
def test_what_is_no_lock(text: str) -> None:
    with pytest.raises(ImageError):
        parse_pylock(text)


def test_an_installed_package_is_found_by_its_tags() -> None:
    [package, files] = next(iter(sorted(LOCKED.items())))
    name, _, version = package.partition("==")
    for file, digest in files.items():
        found = wheel_digest(name, version, file_tags(file))
        assert found is not None
        assert found.hex == digest
    assert wheel_digest(name, version, ["cp27-none-any"]) is None
    assert wheel_digest(name, "0", file_tags(file)) is None


def test_tags_of_names() -> None:
    assert file_tags("a_b-1-py2.py3-none-any.whl") == {"py2-none-any", "py3-none-any"}
    assert file_tags("a-1-2build-py3-none-any.whl") == {"py3-none-any"}
    assert file_tags("a-1.tar.gz") == frozenset()


def test_a_renewal_chooses_one_version_for_all_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier file chose is a constraint for later ones, and a model's wheel comes without dependencies."""
    asked: list[tuple[str, list[str]]] = []

    def run(argv: list[object], **_: object) -> None:
        words = [str(word) for word in argv]
        target = Path(words[-1])
        asked.append((target.name, words))
        target.write_text(PYLOCK if target.suffix == ".toml" else "av==18.1.0 ; x \\\n    --hash=sha256:1\n")

    monkeypatch.setattr(wheel_lock, "run", run)
    for name in ("centerface", "media"):
        (tmp_path / f"{name}.in").write_text("av\n")
    made = new_wheel_lock(tmp_path)
    assert sorted(made) == ["centerface.txt", "media.txt", "wheels.json"]
    assert list(json.loads(made["wheels.json"])) == ["av==18.1.0"]
    assert [name for name, _ in asked] == ["centerface.txt", "pylock.centerface.toml", "media.txt", "pylock.media.toml"]
    assert all(("--no-deps" in words) == ("centerface" in name) for name, words in asked)
    assert ["--upgrade" in words for _, words in asked] == [True, False, True, False]
    media = asked[2][1]
    assert media[media.index("-c") + 1].endswith("centerface.txt")
    assert list(tmp_path.glob("*.txt")) == []
