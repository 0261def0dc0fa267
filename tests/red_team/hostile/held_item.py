"""What can be done with the descriptor that a component is given: a source, an output, a finished output, a log."""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
from collections.abc import Callable, Iterable

from hostile.attempt import ABSENT, READ_ONLY, REFUSED, Attempt, Ground, opened, word


def _at(
    name: str, what: str, refused: frozenset[str], act: Callable[[int], object], *, writable: bool | None = None
) -> Attempt:
    """An attempt on the descriptor; `writable` says on which kind alone it makes sense."""

    def run(ground: Ground) -> Iterable[str]:
        number = ground.item
        if number is None or (writable is not None and _is_writable(number) is not writable):
            return ()
        answer = word(lambda: act(number))
        return [answer]

    return Attempt(id=name, group="descriptors", what=what, refused=refused, run=run)


def _is_writable(number: int) -> bool:
    return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY


def _reopen(number: int) -> None:
    again = os.open(f"/proc/self/fd/{number}", os.O_RDWR | os.O_CLOEXEC)
    try:
        os.pwrite(again, b"x", 0)
    finally:
        os.close(again)


def _beside(number: int) -> Iterable[str]:
    return {opened(f"/proc/self/fd/{number}/../{name}", os.O_RDONLY) for name in ("", "secret", "../etc/passwd")}


def _named(number: int) -> None:
    os.link(f"/proc/self/fd/{number}", "/rings/red-team", follow_symlinks=True)


def _mapped(number: int) -> None:
    mmap.mmap(number, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)


def _refuse_file(number: int) -> None:
    """A device, folder or socket in place of a file would be a leak."""
    if stat.S_ISREG(os.fstat(number).st_mode):
        raise PermissionError(1, "a regular file, as it must be")


_NO_FILE = READ_ONLY | {"EBADF", "EINVAL"}

ATTEMPTS = (
    _at("source-for-writing", "open a read-only descriptor again for writing, and write", READ_ONLY, _reopen,
        writable=False),
    _at("source-cut", "cut a file that is held read-only", _NO_FILE, lambda n: os.ftruncate(n, 0), writable=False),
    _at("source-mapped", "map a file that is held read-only writable", READ_ONLY, _mapped, writable=False),
    _at("source-flags", "make a read-only descriptor one for writing with fcntl, and write", _NO_FILE,
        lambda n: (fcntl.fcntl(n, fcntl.F_SETFL, os.O_RDWR), os.write(n, b"x")), writable=False),
    _at("descriptor-mode", "change the mode of a held file to set-uid", READ_ONLY, lambda n: os.fchmod(n, 0o6777)),
    _at("descriptor-owner", "change the owner of a held file", READ_ONLY, lambda n: os.fchown(n, 0, 0)),
    _at("descriptor-times", "change the times of a held file", READ_ONLY, os.utime),
    _at("descriptor-attribute", "write an attribute of a held file, where a name or pixels could hide", READ_ONLY,
        lambda n: os.setxattr(n, "user.red-team", b"x")),
    _at("descriptor-name", "give a held file a name", ABSENT, _named),
    Attempt(id="descriptor-neighbours", group="descriptors", what="reach what lies beside a held file",
            refused=ABSENT, run=lambda ground: () if ground.item is None else _beside(ground.item)),
    _at("descriptor-lease", "take a lease on a held file, which would hold up others", REFUSED | {"EAGAIN", "EINVAL"},
        lambda n: fcntl.fcntl(n, fcntl.F_SETLEASE, fcntl.F_WRLCK)),
    _at("descriptor-notification", "be told what happens in a held folder", REFUSED | {"ENOTDIR"},
        lambda n: fcntl.fcntl(n, fcntl.F_NOTIFY, fcntl.DN_MODIFY)),
    _at("descriptor-is-no-other", "a held file is a regular file", frozenset({"EPERM"}), _refuse_file),
)  # fmt: skip
