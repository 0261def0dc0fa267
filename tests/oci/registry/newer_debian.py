"""Programs of newer Debian suites than the machine's.

apt fetches the one package into a folder of the test, over that suite's signed indexes, with state of its own; the
system is not changed.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def unpacked_package(folder: Path, suite: str, package: str) -> Path | str:
    """A folder with the package's files, or why there is none.

    Args:
        folder: An empty one, for everything that is fetched.
        suite: `trixie`, `bookworm-backports`.
        package: Its name. What it depends on is not fetched.
    """
    if shutil.which("apt-get") is None or not KEYRING.exists():
        return "this machine has no apt, or not Debian's keyring"
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    mirror = _mirror()
    if not mirror:
        return "apt has no Debian mirror"
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n")
    for action in (["update", "-q"], ["download", "-q", package]):
        done = subprocess.run(
            ["apt-get", *_apart(folder), *action], cwd=folder, capture_output=True, timeout=300, check=False
        )
        if done.returncode:
            return done.stderr.decode()[-300:]
    found = next(iter(folder.glob(f"{package}_*.deb")), None)
    if found is None:
        return "apt fetched nothing"
    subprocess.run(["dpkg-deb", "-x", found, folder / "root"], check=True)
    return folder / "root"


def _apart(folder: Path) -> list[str]:
    """Options that keep apt away from the system's state."""
    places = {
        "Dir::Etc::SourceList": "sources.list",
        "Dir::State::lists": "lists",
        "Dir::State::status": "status",
        "Dir::Cache": ".",
    }
    words = {"Dir::Etc::SourceParts": "/dev/null", "APT::Sandbox::User": "root", "Acquire::Languages": "none"}
    options = words | {key: str(folder / name) for key, name in places.items()}
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


def _mirror() -> str:
    """The address from which this machine's apt takes its main Debian suite."""
    form = "$(REPO_URI) $(ORIGIN) $(LABEL)"
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", form, "Created-By: Packages"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    return next((address for address, origin in lines if origin == "Debian Debian"), "")
