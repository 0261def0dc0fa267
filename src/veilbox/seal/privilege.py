"""Gates of level 3: what this process could do with more rights, and how it might get them."""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
from collections.abc import Iterable, Iterator

from veilbox.core.isolation import Gate
from veilbox.seal.mounts import Mounted, mounts
from veilbox.seal.outcome import ALLOWED, errno_name, opening, outcome
from veilbox.seal.syscalls import call, calling

_CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_AMBIENT = "CapAmb"
_PR_GET_NO_NEW_PRIVS = 39  # linux/prctl.h
_UNCHANGED = -1

# Folders that hold programs and their private programs. Python's own packages are left out, for time: 5 us a file on
# a 2-core virtual machine (22 ms for the 4,218 files of such folders in a whole Debian, 2026-11), and images have
# thousands of modules that nobody starts as programs.
_PROGRAM_FOLDERS = (
    "/bin",
    "/sbin",
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/libexec",
    "/usr/lib",
    "/usr/local/lib",
    "/opt",
)
# A volume in memory; and as gVisor shows a folder of the host.
_IN_MEMORY = frozenset({"tmpfs", "9p"})
_WALK_DEPTH = 2
_SETUID = stat.S_ISUID | stat.S_ISGID
_PAGE = 4096
_MAX_DESCRIPTORS = 64


def status() -> dict[str, str]:
    """The fields of /proc/self/status.

    Raises:
        OSError: /proc is not there.
    """
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}


def capabilities_empty() -> Gate:
    """All five capability sets are empty."""
    fields = status()
    # gVisor's kernel has no ambient set.
    sets = {name: int(fields[name], 16) for name in _CAPABILITY_SETS if name in fields or name != _AMBIENT}
    full = [f"{name} {value:x}" for name, value in sets.items() if value]
    return Gate(
        name="capabilities-empty",
        tried=f"read the {len(sets)} capability sets",
        found=", ".join(full) or "all empty",
        held=not full,
    )


def no_new_privileges() -> Gate:
    """No program that this process starts can gain rights from its file."""
    try:
        said = str(call("prctl", _PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0))
    except OSError as error:
        said = errno_name(error.errno)
    flag = status().get("NoNewPrivs")  # gVisor's kernel tells it to prctl only
    return Gate(
        name="no-new-privileges",
        tried="read the flag from /proc, ask prctl",
        found=f"{flag or 'not told'}, prctl {said}",
        held=(flag or said) == "1",
    )


def uid_not_root() -> Gate:
    """This process is not root inside its user namespace and cannot become it."""
    ids = os.getresuid()
    # A process that is root anyway has nothing to try.
    becoming = "not tried" if 0 in ids else calling("setresuid", 0, _UNCHANGED, _UNCHANGED)
    return Gate(
        name="uid-not-root",
        tried="read the user ids, ask to become 0",
        found=f"uid {ids[0]}, gid {os.getgid()}, setresuid {becoming}",
        held=0 not in ids and becoming != ALLOWED,
    )


def root_maps_to_nobody(*, own_kernel: bool = False) -> Gate:
    """Root inside this user namespace is outside an account without rights, or nobody at all.

    Args:
        own_kernel: Whether another kernel than the host's answers; outside of its first namespace is nobody.
    """
    with open("/proc/self/uid_map", encoding="ascii") as file:  # noqa: PTH123
        ranges = [(int(a), int(b), int(c)) for a, b, c in (line.split() for line in file)]
    root, mine = _outside(0, ranges), _outside(os.getuid(), ranges)
    return Gate(
        name="root-maps-to-nobody",
        tried="read what user ids are outside",
        found=f"0 is {'unmapped' if root is None else root}, own is {'unmapped' if mine is None else mine}",
        held=mine != 0 and (own_kernel or root != 0),
    )


def _outside(uid: int, ranges: Iterable[tuple[int, int, int]]) -> int | None:
    for inside, outside, count in ranges:
        if inside <= uid < inside + count:
            return outside + uid - inside
    return None


def setuid_files_absent() -> Gate:
    """No program of the image has a set-user-id or set-group-id bit."""
    seen, marked = 0, []
    for folder in _PROGRAM_FOLDERS:
        if os.path.islink(folder):  # noqa: PTH114 - /bin of a merged /usr; its target is in the list
            continue
        for path, mode in _files(folder, _WALK_DEPTH):
            seen += 1
            if mode & _SETUID:
                marked.append(path)
    return Gate(
        name="setuid-files-absent",
        tried=f"walk the image's program folders ({seen} files)",
        found=f"{len(marked)} marked: {' '.join(marked[:3])}" if marked else "none marked",
        held=not marked,
    )


def _files(folder: str, depth: int) -> Iterator[tuple[str, int]]:
    """Regular files under a folder, without following links and without Python's packages."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_file(follow_symlinks=False):
            yield entry.path, entry.stat(follow_symlinks=False).st_mode
        elif depth and entry.is_dir(follow_symlinks=False) and not entry.name.startswith("python"):
            yield from _files(entry.path, depth - 1)


def writable_not_executable(*, own_kernel: bool = False) -> Gate:
    """Nothing that this process can write can be run: every writable mount is `noexec`, and it is enforced.

    Args:
        own_kernel: Whether another kernel than the host's answers. gVisor's refuses to run such a file and lets it be
            mapped; it is then the host's that refuses its pages, and whoever goes there ends by a signal
            (tests/oci/runtime/test_runsc.py). That cannot be tried without ending.
    """
    folders = [mount for mount in mounts().values() if not mount.read_only and _is_folder(mount.point)]
    executable = [mount.point for mount in folders if "noexec" not in mount.options]
    answers = {mount.point: _running(mount.point) for mount in folders if mount.kind != "proc"}
    ran = [point for point, (mapped, started) in answers.items() if ALLOWED in {started, "" if own_kernel else mapped}]
    words = {f"map {mapped}, run {started}" for mapped, started in answers.values()}
    return Gate(
        name="writable-not-executable",
        tried=f"run and map a file written to each of {len(folders)} writable mounts",
        found=", ".join(sorted(words)) + _listed("without noexec", executable) + _listed("ran", ran),
        held=not executable and not ran,
    )


def _listed(word: str, points: list[str]) -> str:
    return f"; {word}: {' '.join(points[:4])}" if points else ""


def _is_folder(path: str) -> bool:
    """Whether a mount point is a folder; a device that a runtime mounts over an empty file is none.

    One that cannot be looked at counts as a folder.
    """
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        return True


def _running(directory: str) -> tuple[str, str]:
    """Write a page of zeros, then map and start it: both outcomes.

    Zeros are no program: where execution is allowed, ENOEXEC.
    """
    path = f"{directory.rstrip('/')}/.veilbox-probe-run-{os.getpid()}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
    except OSError as error:
        return ("not tried", f"not tried, write {errno_name(error.errno)}")
    try:
        written = outcome(lambda: os.write(descriptor, bytes(_PAGE)))
        mapped = outcome(lambda: _map_executable(descriptor)) if written == ALLOWED else f"not tried, write {written}"
    finally:
        os.close(descriptor)  # a file open for writing could not be started for that reason alone
    started = outcome(lambda: os.execv(path, [path]))  # noqa: S606
    os.unlink(path)  # noqa: PTH108
    return (mapped, ALLOWED if started == "ENOEXEC" else started)


def _map_executable(descriptor: int) -> None:
    mmap.mmap(descriptor, _PAGE, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()


def read_only_descriptors() -> Gate:
    """A descriptor that was opened or handed over for reading cannot be opened again for writing through /proc."""
    held = {f"descriptor {number}": number for number in _read_only_files()}
    opened = {path: os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in _read_only_samples()}
    try:
        answers = {name: reopening(number) for name, number in (held | opened).items()}
    finally:
        for number in opened.values():
            os.close(number)
    writable = [name for name, answer in answers.items() if answer == ALLOWED]
    return Gate(
        name="read-only-descriptors",
        tried=f"open {len(answers)} read-only descriptors again for writing through /proc",
        found=", ".join(sorted(set(answers.values()))) + _listed("writable", writable),
        held=bool(answers) and not writable,
    )


def reopening(descriptor: int) -> str:
    """The outcome of opening a descriptor again for writing through /proc/self/fd."""
    return opening(f"/proc/self/fd/{descriptor}", os.O_RDWR)


def _read_only_files() -> list[int]:
    """Regular files that this process already holds for reading only."""
    return [number for number in range(_MAX_DESCRIPTORS) if _is_read_only_file(number)]


def _is_read_only_file(descriptor: int) -> bool:
    try:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        return flags & os.O_ACCMODE == os.O_RDONLY and stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _read_only_samples() -> list[str]:
    """A file of the image, and one of each ring that is mounted read-only and has a file already."""
    volumes = [mount for mount in mounts().values() if _is_read_only_volume(mount)]
    samples = [os.path.abspath(os.__file__)]  # noqa: PTH100
    for mount in volumes:
        samples += [entry.path for entry in _entries(mount.point) if entry.is_file(follow_symlinks=False)][:1]
    return [path for path in samples if opening(path, os.O_RDONLY) == ALLOWED]


def _is_read_only_volume(mount: Mounted) -> bool:
    # Not /dev: in a user namespace its nodes are bound over empty files, which a folder listing still shows, and
    # writing to the standard ones is no way to anywhere.
    return mount.read_only and mount.kind in _IN_MEMORY and mount.point not in {"/", "/dev"} and _is_folder(mount.point)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError:
        return []
