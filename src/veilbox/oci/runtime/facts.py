"""What this machine offers to containers, as `veilbox doctor` shows it. Looking changes nothing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from veilbox.oci.runtime import syscalls
from veilbox.oci.runtime.cgroups import Layout, hierarchies
from veilbox.oci.runtime.dialect import DIALECTS, KNOWN, PROCESS
from veilbox.oci.runtime.driver import RuntimeFacts, discover
from veilbox.oci.runtime.namespaces import login_name, subordinate_ids

_NAMESPACES = ("pid", "mnt", "net", "ipc", "uts", "cgroup", "user")
_CONTROLLERS = ("memory", "pids", "cpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One thing that the machine has or lacks.

    Attributes:
        name: What it is.
        state: What was found.
        ok: Whether it is there.
        required: Whether no job runs without it.
        advice: What to install or do for more; empty where nothing is to be gained.
    """

    name: str
    state: str
    ok: bool
    required: bool
    advice: str = ""


def machine_facts() -> tuple[Fact, ...]:
    """Everything that veilbox asks of a machine; call it outside of private namespaces."""
    looks: tuple[Callable[[], Fact], ...] = (
        _kernel, _namespaces, _user_namespaces, _cgroups, _overlay, _landlock, _seccomp, _unnamed_files, _kvm, _gpu,
    )  # fmt: skip
    return (*_runtimes(), *(look() for look in looks))


def _runtimes() -> tuple[Fact, ...]:
    found = discover([*DIALECTS])
    taken = [fact.name for fact in found if fact.usable and fact.name in KNOWN]
    facts = [
        Fact(
            name=fact.name,
            state=f"{fact.version} ({fact.binary})" if fact.usable else fact.why,
            ok=fact.usable,
            required=False,
            advice="" if fact.usable else f"apt-get install {DIALECTS[fact.name].package}",
        )
        for fact in found
        if fact.name != PROCESS
    ]
    sealing = next(fact for fact in found if fact.name == PROCESS)
    advice = "" if taken else "apt-get install crun"
    if not taken and sealing.usable:
        advice += "; until then --runtime process, whose walls are weaker"
    state = taken[0] if taken else "none"
    required = not sealing.usable
    return (
        Fact(name="OCI runtime", state=state, ok=bool(taken), required=required, advice=advice),
        *facts,
        _sealed_processes(sealing),
    )


def _sealed_processes(fact: RuntimeFacts) -> Fact:
    state = f"{fact.version}; only where asked for: --runtime process" if fact.usable else fact.why
    advice = "" if fact.usable else "Boot a kernel of 6.2 or later with lsm=landlock,..."
    return Fact(name="sealed processes", state=state, ok=fact.usable, required=False, advice=advice)


def _kernel() -> Fact:
    release, machine = platform.release(), platform.machine()
    fits = machine in {"x86_64", "aarch64"}
    advice = "" if fits else "veilbox runs on 64-bit x86 and Arm"
    return Fact(name="kernel", state=f"Linux {release} {machine}", ok=fits, required=True, advice=advice)


def _namespaces() -> Fact:
    missing = [name for name in _NAMESPACES if not Path(f"/proc/self/ns/{name}").exists()]
    state = f"missing: {', '.join(missing)}" if missing else ", ".join(_NAMESPACES)
    advice = "Run a kernel that is built with every namespace" if missing else ""
    return Fact(name="namespaces", state=state, ok=not missing, required=True, advice=advice)


def _user_namespaces() -> Fact:
    refused = _refusing_sysctls()
    if os.geteuid() == 0:
        ok = "user.max_user_namespaces" not in refused
        advice = "" if ok else "sysctl -w user.max_user_namespaces=15000"
        return Fact(
            name="user namespaces", state="as root" if ok else "switched off", ok=ok, required=True, advice=advice
        )
    return _rootless(refused)


def _rootless(refused: tuple[str, ...]) -> Fact:
    uid = os.geteuid()
    name = login_name(uid)
    counts = [
        sum(count for _, count in subordinate_ids(Path(table), name, uid)) for table in ("/etc/subuid", "/etc/subgid")
    ]
    tools = all(shutil.which(tool) for tool in ("newuidmap", "newgidmap"))
    advice = ""
    if refused:
        advice = f"Allow user namespaces in the sysctls {', '.join(refused)}, or run veilbox as root"
    elif not min(counts):
        advice = f"usermod --add-subuids 524288-589823 --add-subgids 524288-589823 {name}"
    elif not tools:
        advice = "apt-get install uidmap"
    state = f"without root: {min(counts)} subordinate ids, newuidmap {'found' if tools else 'missing'}"
    return Fact(name="user namespaces", state=state, ok=not advice, required=True, advice=advice)


def _refusing_sysctls() -> tuple[str, ...]:
    """The sysctls that forbid user namespaces; the second and third exist on Debian and Ubuntu only."""
    forbids = {
        "user.max_user_namespaces": "0",
        "kernel.unprivileged_userns_clone": "0",
        "kernel.apparmor_restrict_unprivileged_userns": "1",
    }
    return tuple(name for name, value in forbids.items() if _text(Path("/proc/sys", *name.split("."))) == value)


def _cgroups() -> Fact:
    found = hierarchies(_text(Path("/proc/self/mountinfo")))
    if found.layout is Layout.V2 and found.v2 is not None:
        own = found.v2 / _own_cgroup().lstrip("/")
        names = {base: _text(base / "cgroup.controllers").split() for base in (found.v2, own)}
        writable = {
            name for base, names in names.items() if os.access(base / "cgroup.procs", os.W_OK) for name in names
        }
    else:
        writable = {name for name, path in found.v1.items() if os.access(path, os.W_OK)}
    limits = [name for name in _CONTROLLERS if name in writable]
    ok = len(limits) == len(_CONTROLLERS)
    state = f"{found.layout}, writable controllers: {', '.join(limits) or 'none'}"
    advice = "" if ok else "For limits: systemd-run --user --scope -p Delegate=yes veilbox ..., or run veilbox as root"
    return Fact(name="cgroups", state=state, ok=ok, required=False, advice=advice)


def _own_cgroup() -> str:
    lines = _text(Path("/proc/self/cgroup")).splitlines()
    return next((line[3:] for line in lines if line.startswith("0::")), "/")


def _overlay() -> Fact:
    loaded = "\toverlay" in _text(Path("/proc/filesystems"))
    module = next(Path("/lib/modules", platform.release()).glob("kernel/fs/overlayfs/overlay.ko*"), None)
    state = "loaded" if loaded else "a module that is not loaded" if module else "missing"
    if not loaded:
        state += ": each image's layers are merged into one more folder, once"
    return Fact(name="overlayfs", state=state, ok=loaded, required=False, advice="" if loaded else "modprobe overlay")


def _landlock() -> Fact:
    version = syscalls.landlock_abi()
    advice = "" if version else "Boot a kernel of 5.13 or later with lsm=landlock,..."
    return Fact(
        name="Landlock", state=f"ABI {version}" if version else "none", ok=bool(version), required=False, advice=advice
    )


def _seccomp() -> Fact:
    ok = syscalls.has_seccomp()
    advice = "" if ok else "Run a kernel with CONFIG_SECCOMP_FILTER"
    return Fact(name="seccomp", state="filters" if ok else "none", ok=ok, required=True, advice=advice)


def _unnamed_files() -> Fact:
    folder = Path.cwd()
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        advice = "Write the output to a local disk (ext4, xfs, btrfs, tmpfs)"
        return Fact(name="unnamed files", state=error.strerror or "refused", ok=False, required=False, advice=advice)
    return Fact(name="unnamed files", state="O_TMPFILE works in this folder", ok=True, required=False)


def _kvm() -> Fact:
    path = Path("/dev/kvm")
    usable = os.access(path, os.R_OK | os.W_OK)
    state = "usable" if usable else "not permitted" if path.exists() else "absent"
    return Fact(name="KVM", state=state, ok=usable, required=False)


def _gpu() -> Fact:
    names = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    names += sorted(path.name for path in Path("/dev/dri").glob("render*"))
    return Fact(name="GPU", state=", ".join(names) or "none", ok=bool(names), required=False)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
