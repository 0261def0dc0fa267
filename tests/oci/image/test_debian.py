from __future__ import annotations

from pathlib import Path

import pytest

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError, MachineError
from veilbox.oci.image.debian import Apt, Package, deb_path, parse_packages, prune, reachable

SHOWN = """\
Package: libpython3.11-stdlib
Source: python3.11
Version: 3.11.2-6+deb12u9
Architecture: amd64
Pre-Depends: libc6 (>= 2.34)
Depends: libpython3.11-minimal (= 3.11.2-6+deb12u9), media-types | mime-support, libdb5.3:any
Provides: python-stdlib (= 3.11),
Description: Interactive high-level object-oriented language
 Depends: not-a-field
SHA256: {digest}

Package: tiny
Version: 1:2
Architecture: all
SHA256: {digest}
"""


def package(name: str, *needs: tuple[str, ...], provides: tuple[str, ...] = (), content: bytes = b"") -> Package:
    return Package(
        name=name, version="1", architecture="all", sha256=Digest.of(content), needs=needs, provides=provides
    )


def test_indexes_are_read() -> None:
    stdlib, tiny = parse_packages(SHOWN.format(digest=Digest.of(b"").hex))
    assert stdlib.wanted == "libpython3.11-stdlib=3.11.2-6+deb12u9"
    assert stdlib.needs == (
        ("libc6",),
        ("libpython3.11-minimal",),
        ("media-types", "mime-support"),
        ("libdb5.3",),
    )
    assert stdlib.provides == ("python-stdlib",)
    assert tiny == Package(name="tiny", version="1:2", architecture="all", sha256=Digest.of(b""), needs=(), provides=())


def test_a_package_without_a_digest_is_refused() -> None:
    with pytest.raises(MachineError, match="lacks a field"):
        list(parse_packages("Package: tiny\nVersion: 1\nArchitecture: all\n"))


CLOSURE = [
    package("python", ("libc",), ("installer",), ("readline",)),
    package("libc", ("libgcc",)),
    package("libgcc", ("libc",)),  # a circle, as in Debian
    package("installer", ("tar",)),
    package("tar"),
    package("readline", ("terminal",)),
    package("terminal", ("libc",)),
    package("new-libz", provides=("libz",)),
    package("user-of-libz", ("libz",)),
]


@pytest.mark.parametrize(
    ("roots", "left_out", "expected"),
    [
        (["python"], [], ["installer", "libc", "libgcc", "python", "readline", "tar", "terminal"]),
        (["python"], ["installer", "readline*"], ["libc", "libgcc", "python"]),
        (["user-of-libz"], [], ["new-libz", "user-of-libz"]),
        (["user-of-libz"], ["new-*"], ["user-of-libz"]),
        (["user-of-libz"], ["libz"], ["user-of-libz"]),
    ],
)
def test_only_what_is_needed_is_followed(roots: list[str], left_out: list[str], expected: list[str]) -> None:
    assert [one.name for one in reachable(CLOSURE, roots, left_out)] == expected


def test_a_need_that_nobody_fills_is_an_error() -> None:
    with pytest.raises(MachineError, match=r"a \| b"):
        reachable([package("root", ("a", "b"))], ["root"], [])


def fake_apt(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    folder.mkdir()
    path = folder / "apt-get"
    path.write_text(f"#!/usr/bin/env python3\nimport sys\n{program}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_what_arrives_is_held_to_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_apt(tmp_path / "bin", monkeypatch, "open('tiny_1_all.deb', 'wb').write(b'evil')")
    with pytest.raises(ImageError, match="index"):
        Apt(tmp_path / "apt", "amd64").fetch([package("tiny", content=b"good")], tmp_path / "debs")
    assert list((tmp_path / "debs").iterdir()) == []


def test_only_what_is_missing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_apt(tmp_path / "bin", monkeypatch, "assert sys.argv[-1] == 'b=1'; open('x.deb', 'wb').write(b'B')")
    one, two = package("a", content=b"A"), package("b", content=b"B")
    (tmp_path / "debs").mkdir()
    deb_path(tmp_path / "debs", one).write_bytes(b"A")
    Apt(tmp_path / "apt", "amd64").fetch([one, two], tmp_path / "debs")
    assert deb_path(tmp_path / "debs", two).read_bytes() == b"B"


def test_the_host_s_own_state_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_apt(tmp_path / "bin", monkeypatch, f"open({str(tmp_path / 'said')!r}, 'w').write(' '.join(sys.argv))")
    Apt(tmp_path / "apt", "arm64").update()
    said = (tmp_path / "said").read_text()
    for option in ("Dir::State::status", "Dir::State::lists", "Dir::Cache"):
        assert f"{option}={tmp_path / 'apt'}" in said
    assert "APT::Architecture=arm64" in said


def test_a_machine_without_apt_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="Debian 12"):
        Apt(tmp_path / "apt", "amd64").update()


def test_pruning_removes_what_matches_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a/tests/x", "a/b/tests/y", "a/tests.py", "keep/z"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "tests").symlink_to("keep")
    prune(tmp_path, ["**/tests", "absent/*"])
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert left == ["a", "a/b", "a/tests.py", "keep", "keep/z"]
