"""Make a sealed process of a bundle: `create` of a container runtime, where there is none.

A program of its own, started by `veilbox.oci.runtime.processes`. It forks the process that will be the component, into
all namespaces that the kernel grants this user, and ends. The process waits for its start, then denies itself all files
but its image's and its rings' (Landlock) and all system calls but the component's (seccomp), and becomes the image's
own interpreter by the image's own loader. Nothing of the image runs before that.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import select
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from veilbox.core import places
from veilbox.core.errors import MachineError, VeilboxError
from veilbox.oci.runtime import syscalls
from veilbox.oci.runtime.dialect import PROCESS_NOTE
from veilbox.oci.runtime.driver import LEAST_LANDLOCK
from veilbox.oci.runtime.processes import GO, OWN_ROOT
from veilbox.seal.landlock import restrict, version
from veilbox.seal.lifeline import die_with_parent
from veilbox.seal.second_filter import tighten

# linux/sched.h: control groups, uts, ipc, pid, network.
_NAMESPACES = 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000
_SAFE = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_SAFE_DATA = _SAFE | syscalls.MOUNT_ATTR_NOEXEC
# Of a root of its own, what is not the image's. Of /proc a process needs its own folder only.
_NOT_OF_THE_IMAGE = frozenset({"proc", "dev", "sys", "rings"})
# linux/prctl.h, linux/capability.h
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_MOST_CAPABILITIES = 64
_CAPABILITY_VERSION = 0x20080522
# The loader that a program of each machine names, and the folders that it searches. Source: Debian's multiarch.
_LOADERS: Mapping[str, tuple[str, str]] = {
    "x86_64": ("lib64/ld-linux-x86-64.so.2", "x86_64-linux-gnu"),
    "aarch64": ("lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu"),
}
# Of a process's folder in /proc, what leads to the network, which may be the host's; threads have a view of it too.
_OF_THE_HOST = frozenset({"net", "task", "root", "cwd"})
_WAITS, _WAITS_IN_OWN_ROOT = b"waiting", b"waiting in a root of its own"
_STANDARD_STREAMS = 3
_FAILED = 127

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ring:
    """The folder of one ring: on the host, in a root of its own, and whether it is only read."""

    source: str
    destination: str
    read_only: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """What a bundle asks for, as far as a process can have it.

    Attributes:
        root: Folder of the image's files.
        args: Program and arguments; the program as a path inside the image.
        env: Its environment, as inside the image.
        user: User and group on the host.
        limits: `RLIMIT_*`, soft and hard alike.
        rings: The folders of its rings.
        calls: The system calls that it may make.
        hostname: What uname tells.
    """

    root: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    user: int
    limits: Mapping[str, int]
    rings: tuple[Ring, ...]
    calls: tuple[str, ...]
    hostname: str


def read(bundle: Path) -> Sealed:
    """A bundle that `veilbox.oci.runtime.config` wrote.

    Raises:
        MachineError: There is none, it asks for no list of system calls, or its program is not in the image.
    """
    path = bundle / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        process, root = config["process"], os.path.realpath(config["root"]["path"])
        calls = {name for rule in config["linux"]["seccomp"]["syscalls"] for name in _allowed(rule)}
        sealed = Sealed(
            root=root,
            args=tuple(process["args"]),
            env=dict(variable.split("=", 1) for variable in process["env"]),
            user=_host_id(config["linux"]["uidMappings"], process["user"]["uid"]),
            limits={limit["type"]: limit["hard"] for limit in process["rlimits"]},
            rings=tuple(_ring(mount) for mount in config["mounts"] if mount["type"] == "bind"),
            calls=tuple(sorted(calls)),
            hostname=config["hostname"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MachineError(
            "bundle cannot be read", where=str(path), actual=f"{type(error).__name__}: {error}"
        ) from error
    if config["linux"]["seccomp"]["defaultAction"] != "SCMP_ACT_ERRNO":
        raise MachineError("bundle has no list of allowed system calls", where=str(path))
    if not os.access(sealed.root + sealed.args[0], os.X_OK):
        raise MachineError("program is not in the image", where=sealed.args[0])
    return sealed


def _allowed(rule: Mapping[str, Sequence[str] | str]) -> Sequence[str]:
    return rule["names"] if rule["action"] == "SCMP_ACT_ALLOW" else ()


def _ring(mount: Mapping[str, Any]) -> Ring:
    return Ring(source=mount["source"], destination=mount["destination"], read_only="rw" not in mount["options"])


def _host_id(lines: Sequence[Mapping[str, int]], inside: int) -> int:
    for line in lines:
        if line["containerID"] <= inside < line["containerID"] + line["size"]:
            return line["hostID"] + inside - line["containerID"]
    raise MachineError("id is not mapped", actual=str(inside))


def main(arguments: Sequence[str]) -> int:
    """Make the process and note it; 0 if it waits for its start."""
    parser = argparse.ArgumentParser(description="Make a sealed process that waits for its start.")
    for option in ("--root", "--log", "--bundle", "--pid-file"):
        parser.add_argument(option, type=Path, required=True)
    parser.add_argument("id")
    asked = parser.parse_args(arguments)
    try:
        pid, own_root = _make(read(asked.bundle), asked.root / asked.id / GO)
        note = {"pid": pid, "process-start-time": _start_time(pid), OWN_ROOT: own_root}
        (asked.root / asked.id / PROCESS_NOTE).write_text(json.dumps(note), encoding="ascii")
        asked.pid_file.write_text(str(pid), encoding="ascii")
    except (VeilboxError, OSError) as error:
        asked.log.write_text(json.dumps({"msg": str(error)}) + "\n", encoding="utf-8")
        return 1
    return 0


def _start_time(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]


def _make(sealed: Sealed, go: Path) -> tuple[int, bool]:
    """Fork the process into namespaces of its own, and wait until it waits.

    Returns:
        Its number, and whether it has a root of its own.
    """
    if version() < LEAST_LANDLOCK:  # once more at the wall itself: without it the process could read the whole host
        raise MachineError("the kernel's Landlock is too old for sealed processes", expected=f"ABI {LEAST_LANDLOCK}")
    entered = _enter_namespaces(sealed.hostname)
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(sealed, go, tell, entered=entered)
    os.close(tell)
    with os.fdopen(told, "rb") as answers:
        answer = answers.read()
    if answer not in {_WAITS, _WAITS_IN_OWN_ROOT}:
        os.waitpid(pid, 0)
        raise MachineError("process could not be sealed", actual=answer.decode("utf-8", "replace"))
    return pid, answer == _WAITS_IN_OWN_ROOT


def _enter_namespaces(hostname: str) -> bool:
    """All that can be had at once, or none: the probe measures which, and reports tell."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        syscalls.unshare(_NAMESPACES if uid == 0 else _NAMESPACES | syscalls.CLONE_NEWUSER)
    except OSError:
        return False
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    socket.sethostname(hostname)
    return True


def _become(sealed: Sealed, go: Path, tell: int, *, entered: bool) -> NoReturn:
    """The process's life until it is the image's program; what goes wrong before it waits is told, later printed."""
    try:
        start = os.open(go, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        own_root = entered and _enter_own_root(sealed)
        os.chdir("/")
        os.umask(0o022)
        _close_but({tell, start})
        _give_up_rights(sealed)
        os.write(tell, _WAITS_IN_OWN_ROOT if own_root else _WAITS)
        os.close(tell)
        tell = -1
        _await_start(start)
        _seal_and_run(sealed, own_root=own_root)
    except (VeilboxError, OSError) as error:
        os.write(tell if tell >= 0 else 2, str(error).encode())
    finally:
        os._exit(_FAILED)


def _enter_own_root(sealed: Sealed) -> bool:
    """Make the image's files the root, where mounts are granted; otherwise nothing that counts has changed."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)  # here, for our maker needs the host's paths yet
        syscalls.mount(b"none", b"/", b"", syscalls.MS_REC | syscalls.MS_PRIVATE)
        _bind(sealed.root, sealed.root, _SAFE | syscalls.MOUNT_ATTR_RDONLY)
        for ring in sealed.rings:
            read_only = syscalls.MOUNT_ATTR_RDONLY if ring.read_only else 0
            _bind(ring.source, sealed.root + ring.destination, _SAFE_DATA | read_only)
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC | syscalls.MS_RDONLY
        syscalls.mount(b"proc", os.fsencode(f"{sealed.root}/proc"), b"proc", flags)
        syscalls.enter_root(os.fsencode(sealed.root))
    except OSError:
        return False
    return True


def _bind(source: str, target: str, attributes: int) -> None:
    syscalls.mount(os.fsencode(source), os.fsencode(target), b"", syscalls.MS_BIND)
    mounted = os.open(target, os.O_PATH | os.O_CLOEXEC)
    try:
        syscalls.restrict_mount(mounted, attributes)
    finally:
        os.close(mounted)


def _close_but(kept: set[int]) -> None:
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if number >= _STANDARD_STREAMS and number not in kept:
            with suppress(OSError):  # the listing's own
                os.close(number)


def _give_up_rights(sealed: Sealed) -> None:
    for name, value in sealed.limits.items():
        if hasattr(resource, name):
            resource.setrlimit(getattr(resource, name), (value, value))
    for number in range(_MOST_CAPABILITIES):
        _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)  # refused where we may not; the probe tells
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(sealed.user, sealed.user, sealed.user)
        os.setresuid(sealed.user, sealed.user, sealed.user)
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    if _libc.capset(header, bytes(24)):
        raise MachineError("capabilities cannot be given up", actual=os.strerror(ctypes.get_errno()))
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise MachineError("no-new-privileges was refused", actual=os.strerror(ctypes.get_errno()))


def _await_start(start: int) -> None:
    waiter = select.poll()
    waiter.register(start, select.POLLIN)
    waiter.poll()
    os.close(start)


def _seal_and_run(sealed: Sealed, *, own_root: bool) -> NoReturn:
    die_with_parent()  # our maker is gone by now, and the supervisor our parent
    root = "" if own_root else sealed.root
    read, written = (
        [ring.destination if own_root else ring.source for ring in sealed.rings if ring.read_only is read_only]
        for read_only in (True, False)
    )
    restrict(readable=(*_of_itself(own_root=own_root), *read), writable=written, executable=_of_the_image(root))
    env = sealed.env if own_root else _moved(sealed.env, root) | places.variables(root, tuple(written))
    command = _command(root, sealed.args)
    if not tighten(sealed.calls, starting=True):
        raise MachineError("no system call filter for this processor", actual=os.uname().machine)
    os.execve(command[0], command, env)  # noqa: S606 - becoming the program is what this one is for


def _of_itself(*, own_root: bool) -> tuple[str, ...]:
    """What of /proc is about this process; where the network is the host's, without what tells of that."""
    own = Path("/proc") / Path("/proc/self").readlink()
    if own_root:
        return (str(own),)
    return tuple(str(path) for path in own.iterdir() if path.name not in _OF_THE_HOST)


def _of_the_image(root: str) -> tuple[str, ...]:
    return tuple(str(path) for path in Path(root or "/").iterdir() if path.name not in _NOT_OF_THE_IMAGE)


def _moved(env: Mapping[str, str], root: str) -> dict[str, str]:
    """Paths of the image become the host's; a value is one path or several between colons."""
    return {
        name: ":".join(root + part if part.startswith("/") else part for part in value.split(":"))
        for name, value in env.items()
    }


def _command(root: str, args: Sequence[str]) -> list[str]:
    """The program, started by its image's own loader: the one that it names itself would be the host's."""
    loader, machine = _LOADERS[os.uname().machine]
    libraries = ":".join(f"{root}/{folder}/{machine}" for folder in ("lib", "usr/lib"))
    program = root + args[0]
    words = ["--inhibit-cache", "--library-path", libraries, "--argv0", program, program]
    return [f"{root}/{loader}", *words, *args[1:]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
