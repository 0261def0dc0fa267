"""The supervisor's own mount namespace and, without root, its user namespace.

Every mount of a job lives in it and vanishes with the supervisor, however that ends.
"""

from __future__ import annotations

import errno
import os
import pwd
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from veilbox.core.errors import MachineError
from veilbox.oci.process import run
from veilbox.oci.runtime import syscalls

# Where a machine with hybrid cgroups mounts the v2 hierarchy (systemd, docs/CGROUP_DELEGATION.md).
_UNIFIED = Path("/sys/fs/cgroup/unified")

_ID_TOOL_TIMEOUT_S = 10.0
_ADVICE_UIDMAP = "Install the package uidmap, or run veilbox as root"
_ADVICE_REFUSED = "Run veilbox as root, or allow user namespaces; in a container it needs CAP_SYS_ADMIN"
_ADVICE_SUBIDS = "Add a range with: usermod --add-subuids 524288-589823 --add-subgids 524288-589823 USER"


def enter_private_namespaces() -> None:
    """Move this process into a mount namespace of its own and, if it is not root, a user namespace of its own.

    Call it before any thread exists. Without root, id 0 of the new user namespace is the caller and the ids from 1 up
    are all its subordinate ids; afterwards `os.geteuid()` is 0. Where cgroups are hybrid the v2 hierarchy is hidden
    from this process, because crun refuses a machine where it sees both.

    Raises:
        MachineError: The kernel refuses namespaces, or without root: newuidmap or subordinate ids are missing.
    """
    if os.geteuid() != 0:
        _enter_user_namespace()
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount(b"none", b"/", b"", syscalls.MS_REC | syscalls.MS_PRIVATE)
        _hide_unified_cgroups()
    except OSError as error:
        raise MachineError(
            "a mount namespace of its own is refused",
            where=error.filename or "",
            actual=error.strerror or "",
            advice=_ADVICE_REFUSED,
        ) from error


def pin_empty_network(path: Path) -> None:
    """Make a network namespace whose loopback is down, and pin it to a file for a container to join.

    Runtimes that make one themselves switch its loopback on. This one also belongs to our user namespace, so that
    not even the container's root could ever configure it. Give every container its own: a network namespace is
    also the scope of abstract Unix sockets.

    Args:
        path: A file to make; unmount it to let go of the namespace.

    Raises:
        MachineError: The kernel refused.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:  # unshare moves only the thread that calls it, which ends here
        try:
            thread.submit(_pin_network, path).result()
        except OSError as error:
            raise MachineError(
                "an empty network cannot be made", where=str(path), actual=error.strerror or "", advice=_ADVICE_REFUSED
            ) from error


def _pin_network(path: Path) -> None:
    path.touch(mode=0o400)
    syscalls.unshare(syscalls.CLONE_NEWNET)
    syscalls.mount(b"/proc/thread-self/ns/net", os.fsencode(path), b"", syscalls.MS_BIND)


def _hide_unified_cgroups() -> None:
    if not (_UNIFIED / "cgroup.controllers").exists():
        return
    target = os.fsencode(_UNIFIED)
    try:
        syscalls.unmount(target)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # A user namespace may not remove what it inherited, but may cover it.
        syscalls.mount(b"veilbox", target, b"tmpfs", syscalls.MS_RDONLY, b"size=4096,mode=0755")


def subordinate_ids(table: Path, user: str, uid: int) -> tuple[tuple[int, int], ...]:
    """The user's ranges in /etc/subuid or /etc/subgid.

    Args:
        table: The file.
        user: Login name.
        uid: Its number; a line may name either.

    Returns:
        (first id, how many) in the file's order; empty if the file is missing or has no line for the user.

    Source: subuid(5).
    """
    found: list[tuple[int, int]] = []
    try:
        lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    for line in lines:
        fields = line.split("#")[0].strip().split(":")
        if len(fields) == 3 and fields[0] in {user, str(uid)} and fields[1].isdecimal() and fields[2].isdecimal():
            found.append((int(fields[1]), int(fields[2])))
    return tuple(found)


def id_map(own: int, ranges: tuple[tuple[int, int], ...]) -> tuple[str, ...]:
    """The words that newuidmap takes: inside 0 is the caller, 1 and up are its subordinate ids without gaps.

    Args:
        own: The caller's id outside.
        ranges: (first id, how many) outside.
    """
    words = ["0", str(own), "1"]
    inside = 1
    for first, count in ranges:
        words += [str(inside), str(first), str(count)]
        inside += count
    return tuple(words)


def login_name(uid: int) -> str:
    """The account's name, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _enter_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    name = login_name(uid)
    uids = subordinate_ids(Path("/etc/subuid"), name, uid)
    gids = subordinate_ids(Path("/etc/subgid"), name, uid)
    if not (uids and gids):
        table = "/etc/subgid" if uids else "/etc/subuid"
        raise MachineError(
            "no subordinate ids for this user", where=table, expected=f"a line for {name}", advice=_ADVICE_SUBIDS
        )
    for tool in ("newuidmap", "newgidmap"):
        if shutil.which(tool) is None:
            raise MachineError("program is missing", where=tool, advice=_ADVICE_UIDMAP)
    _unshare_mapped(id_map(uid, uids), id_map(gid, gids))


def _unshare_mapped(uid_words: tuple[str, ...], gid_words: tuple[str, ...]) -> None:
    """Unshare, while a helper that stayed outside writes the maps as soon as it is told that we are in."""
    target = os.getpid()
    go_read, go_write = os.pipe()
    done_read, done_write = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(go_write)
        os.close(done_read)
        _map_from_outside(target, go_read, done_write, uid_words, gid_words)
    os.close(go_read)
    os.close(done_write)
    try:
        _unshare_user()
        os.write(go_write, b"x")
        complaint = os.read(done_read, 4096)
    finally:
        os.close(go_write)
        os.close(done_read)
        os.waitpid(helper, 0)
    if complaint:
        raise MachineError(
            "subordinate ids could not be mapped",
            where="newuidmap",
            actual=complaint.decode("utf-8", "replace"),
            advice=_ADVICE_SUBIDS,
        )


def _unshare_user() -> None:
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
    except OSError as error:
        raise MachineError(
            "user namespaces are refused",
            actual=error.strerror or "",
            advice="Run veilbox as root, or set the sysctls user.max_user_namespaces above 0, "
            "kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0 where they exist",
        ) from error


def _map_from_outside(target: int, go: int, done: int, uid_words: tuple[str, ...], gid_words: tuple[str, ...]) -> None:
    """Runs in the helper and never returns; what went wrong is written to `done`."""
    complaint = b""
    try:
        if os.read(go, 1):  # empty: the unshare failed, there is nothing to map
            for tool, words in (("newuidmap", uid_words), ("newgidmap", gid_words)):
                run([tool, str(target), *words], timeout_s=_ID_TOOL_TIMEOUT_S)
    except MachineError as error:
        complaint = str(error).encode()
    finally:
        with suppress(OSError):
            os.write(done, complaint)
        os._exit(0)
