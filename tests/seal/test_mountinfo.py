from __future__ import annotations

import pytest

from veilbox.seal.mounts import mounts, parse

ROOT = "27 1 254:0 / / ro,relatime - overlay overlay rw,lowerdir=/a:/b"


def test_flags_of_the_mount_and_of_its_file_system() -> None:
    found = parse(f"{ROOT}\n30 27 0:26 / /raw rw,nosuid,noexec shared:3 master:1 - tmpfs tmpfs ro,size=4k\n")
    assert found["/"].read_only
    assert "noexec" not in found["/"].options
    assert found["/raw"].read_only
    assert found["/raw"].kind == "tmpfs"
    assert {"nosuid", "noexec"} <= found["/raw"].options


def test_the_topmost_mount_counts() -> None:
    assert not parse(f"{ROOT}\n31 27 0:9 / / rw - tmpfs tmpfs rw\n")["/"].read_only


def test_escapes() -> None:
    assert "/a b\\c" in parse("1 1 0:1 / /a\\040b\\134c rw - tmpfs tmpfs rw\n")


@pytest.mark.parametrize("line", ["", "1 2 3", "27 1 254:0 / / ro,relatime overlay overlay rw"])
def test_what_is_no_mountinfo(line: str) -> None:
    with pytest.raises(ValueError, match="mountinfo"):
        parse(line + "\n")


def test_this_process_has_a_root() -> None:
    assert "/" in mounts()
