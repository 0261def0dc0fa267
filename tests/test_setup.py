"""The set-up's promises that can be kept without a fresh machine; CI runs the rest on one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
LOCKS = sorted((CHECKOUT / "requirements").glob("*.txt"))
_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE)


def _pins(path: Path) -> dict[str, str]:
    return dict(_PIN.findall(path.read_text(encoding="utf-8")))


def _setup(*words: str, path: str, cwd: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(CHECKOUT / "scripts" / "setup.sh"), *words],
        cwd=cwd,
        env={"PATH": path, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the programs of a bare machine, as links."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "id", "tr", "env", "cat", "grep", "mktemp", "rm", "tail"):
        (folder / name).symlink_to(Path("/usr/bin") / name)
    return folder


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_pins_everything_by_digest_and_names_no_host(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert entries
    for entry in entries:
        assert _PIN.match(entry), entry
        assert "--hash=sha256:" in entry, entry
    assert "://" not in text
    assert "--index" not in text


def test_the_locks_agree() -> None:
    everything = _pins(CHECKOUT / "requirements" / "dev.txt")
    for lock in LOCKS:
        for name, version in _pins(lock).items():
            assert everything.get(name, version) == version, f"{lock.name}: {name}"


def test_the_lock_has_what_the_project_asks_for() -> None:
    wanted = re.findall(
        r'^    "([a-z0-9-]+)>=', (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    bench = _pins(CHECKOUT / "requirements" / "bench.txt")
    assert set(wanted) <= _pins(CHECKOUT / "requirements" / "dev.txt").keys() | bench.keys()


def test_nothing_is_installed_where_nothing_is_missing(programs: Path) -> None:
    for name in ("crun", "runc", "newuidmap", "newgidmap", "python3"):
        (programs / name).symlink_to("/usr/bin/true")
    finished = _setup("packages", path=str(programs))
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


def test_only_what_is_missing_is_asked_of_apt(programs: Path, tmp_path: Path) -> None:
    for name in (
        "runc",
        "newuidmap",
        "newgidmap",
        "python3",
        "ffprobe",
        "exiftool",
        "docker-registry",
        "skopeo",
        "podman",
    ):
        (programs / name).symlink_to("/usr/bin/true")
    (programs / "apt-get").write_text(f'#!/bin/sh\necho "$DEBIAN_FRONTEND" "$@" >>{tmp_path}/asked\n')
    (programs / "runsc").write_text("#!/bin/sh\necho runsc version 0.0~20240729.0\n")
    (programs / "sudo").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    for name in ("apt-get", "sudo", "runsc"):
        (programs / name).chmod(0o755)
    finished = _setup("packages", "test", path=str(programs))
    assert finished.returncode == 0, finished.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [" update -qq", "noninteractive install -qq -y --no-install-recommends crun ffmpeg umoci"]


def test_a_machine_without_apt_is_told_what_it_lacks(programs: Path) -> None:
    finished = _setup("packages", path=str(programs))
    assert finished.returncode == 1
    # runc is looked for in /usr/sbin too, where this machine may have it.
    assert re.search(r"install these first: crun (runc )?uidmap python3 ", finished.stderr), finished.stderr


def test_an_old_python_is_refused_with_advice(programs: Path, tmp_path: Path) -> None:
    (programs / "python3").write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit\nexit 1\n')
    (programs / "python3").chmod(0o755)
    finished = _setup("environment", path=str(programs), cwd=tmp_path)
    assert finished.returncode == 1
    assert "needs Python 3.11 or later, found Python 3.9.2; use Debian 12" in finished.stderr


def test_a_command_runs_as_the_caller_where_it_may(programs: Path) -> None:
    (programs / "id").unlink()
    (programs / "id").write_text("#!/bin/sh\necho 0\n")
    (programs / "id").chmod(0o755)
    finished = _setup("run", "sh", "-c", "echo ran; exit 7", path=str(programs))
    assert (finished.returncode, finished.stdout, finished.stderr) == (7, "ran\n", "")
