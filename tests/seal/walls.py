"""Builds a sealed process by hand, one wall at a time, and prints what the probe finds in it.

    walls.py CANARIES MISSING

CANARIES is the JSON of `core.control.Canaries`, MISSING the words of the walls to leave out. Needs root.
No container runtime is used, so that the tests of the probe do not depend on the code that makes bundles.
"""

from __future__ import annotations

import codecs
import ctypes
import json
import os
import struct
import sys
import sysconfig
import tempfile
from dataclasses import asdict
from pathlib import Path

import veilbox
import veilbox.seal.own_walls  # loaded before the interpreter's folder can no longer be searched
from veilbox.core.control import Canaries
from veilbox.seal.probe import probe
from veilbox.seal.syscalls import NUMBERS

WALLS = frozenset(
    {"pid", "net", "user", "root", "read-only", "dev", "noexec", "volume", "caps", "nnp", "uid", "filter", "second"}
)

_NEW = {"pid": 0x20000000, "net": 0x40000000, "user": 0x10000000}
_ALWAYS_NEW = 0x00020000 | 0x08000000 | 0x04000000  # mount, ipc, uts
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_FIRST_ID, _IDS, _UID = 2_000_000, 65536, 1000
_OTHER_CALLS = {"socket": (41, 198), "connect": (42, 203), "kill": (62, 129), "mknodat": (259, 33)}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(answer: int, what: str) -> None:
    if answer != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _mount(source: str, target: Path, kind: str, flags: int, data: str = "") -> None:
    words = (source.encode(), str(target).encode(), kind.encode())
    _check(_libc.mount(*words, ctypes.c_ulong(flags), data.encode()), f"mount {target}")


def _bind(source: str, target: Path, flags: int = 0) -> None:
    if Path(source).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(source, target, "", _BIND | _REC)
    if flags:
        _mount("", target, "", _REMOUNT | _BIND | flags)


def _own_folders() -> dict[str, int]:
    """The interpreter's folders, open: it can lie in a home that the ids of a user namespace may not search.

    Call it in the mount namespace in which they will be bound, before the ids are mapped.
    """
    own = {sys.base_prefix, sys.prefix, str(Path(veilbox.__file__).parents[1]), *sysconfig.get_paths().values()}
    folders = sorted(path for path in own | {"/usr/lib"} if Path(path).is_dir())
    return {path: os.open(path, os.O_PATH | os.O_DIRECTORY) for path in folders}


def _build(root: Path, up: frozenset[str], own: dict[str, int]) -> None:
    """A root with the interpreter's own folders, /proc, /dev and one writable volume."""
    _mount("tmpfs", root, "tmpfs", _NOSUID | _NODEV, "mode=777")
    for path, descriptor in own.items():
        _bind(f"/proc/self/fd/{descriptor}", root / path.lstrip("/"), _RDONLY | _NOSUID | _NODEV)
    for name in ("lib", "lib64"):
        if Path("/", name).is_symlink() and not (root / name).exists():
            (root / name).symlink_to(Path("/", name).readlink())
    (root / "proc").mkdir()
    if "pid" in up:
        _mount("proc", root / "proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    else:
        _mount("/proc", root / "proc", "", _BIND | _REC)
    _devices(root, up)
    (root / "mnt").mkdir()
    _mount("tmpfs", root / "mnt", "tmpfs", _NOSUID | _NODEV | (_NOEXEC if "noexec" in up else 0), "mode=777")
    (root / "raw").mkdir()
    if "volume" not in up:
        (root / "raw" / "ring").touch()
    if "read-only" in up:
        _mount("", root, "", _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)


def _devices(root: Path, up: frozenset[str]) -> None:
    (root / "dev").mkdir()
    if "dev" not in up:
        _mount("/dev", root / "dev", "", _BIND | _REC)
        return
    _mount("tmpfs", root / "dev", "tmpfs", _NOSUID | _NOEXEC, "mode=755")
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        _bind(f"/dev/{name}", root / "dev" / name)
    _mount("", root / "dev", "", _REMOUNT | _BIND | _RDONLY | _NOSUID | _NOEXEC)


def _drop(up: frozenset[str]) -> None:
    if "caps" in up:
        for capability in range(64):
            _libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; beyond the last one EINVAL
    if "nnp" in up:
        _check(_libc.prctl(38, 1, 0, 0, 0), "no new privileges")
    if "uid" in up:
        os.setgroups([])
        os.setresgid(_UID, _UID, _UID)
        os.setresuid(_UID, _UID, _UID)
    header = struct.pack("=Ii", 0x20080522, 0)
    _check(_libc.capset(header, bytes(24)), "capset")
    for wall in ("filter", "second"):  # the runtime's, and in place of the component's own the same again
        if wall in up and "filter" in up:
            _filter()


def _filter() -> None:
    """Refuse every call that the probe may lose with EPERM; classic BPF over the call's number."""
    column = ("x86_64", "aarch64").index(os.uname().machine)
    refused = sorted(numbers[column] for numbers in {**NUMBERS, **_OTHER_CALLS}.values())
    code = [struct.pack("=HBBI", 0x20, 0, 0, 0)]  # load the number
    code += [struct.pack("=HBBI", 0x15, len(refused) - i, 0, number) for i, number in enumerate(refused)]
    code += [struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000), struct.pack("=HBBI", 0x06, 0, 0, 0x00050001)]
    program = ctypes.create_string_buffer(b"".join(code))
    header = struct.pack("@HP", len(code), ctypes.addressof(program))
    # seccomp(SECCOMP_SET_MODE_FILTER): the first filter refuses prctl.
    _check(_libc.syscall((317, 277)[column], 1, 0, header), "filter")


def _map_ids(child: int) -> None:
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{name}").write_text(f"0 {_FIRST_ID} {_IDS}\n", encoding="ascii")


def _sealed(canaries: Canaries, up: frozenset[str], root: Path, own: dict[str, int]) -> None:
    _mount("none", Path("/"), "", _REC | _PRIVATE)
    if "root" in up:
        _build(root, up, own)
        os.chroot(root)
    for descriptor in own.values():
        os.close(descriptor)
    os.chdir("/")
    _drop(up)
    gates = probe(canaries)
    sys.stdout.write(json.dumps([asdict(gate) for gate in gates]))
    sys.stdout.flush()


def main(canaries: Canaries, missing: frozenset[str]) -> int:
    """Fork into new namespaces, map the ids from outside, fork again to be inside the pid namespace."""
    up = WALLS - missing
    codecs.lookup("ascii")  # loaded on first use, which is too late where the interpreter's folder may not be searched
    told, tell = os.pipe()
    mapped, map_done = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        child = os.fork()
        if child == 0:
            flags = _ALWAYS_NEW | sum(flag for wall, flag in _NEW.items() if wall in up)
            _check(_libc.unshare(flags), "unshare")
            own = _own_folders()
            os.write(tell, b"x")
            os.read(mapped, 1)
            if "user" in up:
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
            grandchild = os.fork()
            if grandchild == 0:
                _sealed(canaries, up, Path(folder), own)
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
        os.read(told, 1)
        if "user" in up:
            _map_ids(child)
        os.write(map_done, b"x")
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    described = json.loads(sys.argv[1])
    described["volumes"] = tuple(described["volumes"])
    sys.exit(main(Canaries(**described), frozenset(sys.argv[2:])))
