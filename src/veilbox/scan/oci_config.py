"""OCI runtime bundles: config.json as one container, and the checks on its settings.

Source: OCI runtime-spec 1.3.0, config.md and config-linux.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from veilbox.scan.pod_security import BASELINE_CAPABILITIES, RESTRICTED_CAPABILITIES, SAFE_SYSCTLS
from veilbox.scan.rule import Fault
from veilbox.scan.tree import Place
from veilbox.scan.workload import Contained, Format, Kind, Mounted, Workload

_KERNEL_TYPES = frozenset({"proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "securityfs", "debugfs"})
# What the Pod Security Standards mean by host namespaces, and the rest.
_POD_NAMESPACES = ("network", "pid", "ipc")
_OTHER_NAMESPACES = ("mount", "uts", "cgroup")
_HOST_NAMESPACE = re.compile(r"/proc/(1|self|thread-self)/ns/")
_CAPABILITY_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
# What Docker, Podman and containerd mask alike, as far as every kernel has it.
_MASKED = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware")
_READ_ONLY = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus")
# The runtime-spec's default devices; every runtime makes them.
_DEFAULT_DEVICES = frozenset(
    f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "console", "ptmx")
)
# Character devices by number that Docker's default rules allow: memory's harmless ones, terminals.
_HARMLESS_NUMBERS = frozenset(
    {("1", "3"), ("1", "5"), ("1", "7"), ("1", "8"), ("1", "9"), ("5", "0"), ("5", "1"), ("5", "2")}
)
_TERMINALS = "136"


def is_oci(document: Place) -> bool:
    """Whether a document is a runtime's config.json."""
    return bool(document.get("ociVersion").text) and (
        document.get("process").is_mapping or document.get("root").is_mapping
    )


def bundle(document: Place) -> Workload:
    """The one container of a bundle."""
    words = tuple(word.text for word in document.get("process", "args").each())
    contained = Contained(
        place=document,
        name=document.get("hostname").text,
        words=words,
        image=document.get("root", "path"),
        mounts=tuple(_mounted(place) for place in document.get("mounts").each()),
    )
    return Workload(
        format=Format.OCI,
        name=f"Bundle/{document.get('hostname').text or '?'}",
        root=document,
        spec=document.get("linux"),
        containers=(contained,),
        annotations=(document.get("annotations"),),
    )


def _mounted(place: Place) -> Mounted:
    words = frozenset(word.text for word in place.get("options").each())
    kind = place.get("type").text
    bound = kind == "bind" or bool(words & {"bind", "rbind"})
    return Mounted(
        place=place,
        kind=Kind.HOST if bound else _other_kind(kind),
        source=place.get("source").text,
        destination=place.get("destination").text,
        read_only=bool(words & {"ro", "rro"}),
        propagation=next((word for word in sorted(words) if word.endswith(("shared", "slave"))), ""),
        options=words,
    )


def _other_kind(kind: str) -> Kind:
    if kind in _KERNEL_TYPES:
        return Kind.KERNEL
    return Kind.MEMORY if kind in {"tmpfs", "ramfs"} else Kind.VOLUME


def _own(workload: Workload) -> Mapping[str, Place]:
    return {place.get("type").text: place for place in workload.spec.get("namespaces").each()}


def host_namespaces(workload: Workload) -> Iterator[Fault]:
    """Namespaces of the host that a pod must not share."""
    return _shared(workload, _POD_NAMESPACES)


def other_namespaces(workload: Workload) -> Iterator[Fault]:
    """The other namespaces of the host."""
    return _shared(workload, _OTHER_NAMESPACES)


def user_namespace(workload: Workload) -> Iterator[Fault]:
    """The host's user namespace."""
    return _shared(workload, ("user",))


def _shared(workload: Workload, names: tuple[str, ...]) -> Iterator[Fault]:
    own = _own(workload)
    for name in names:
        if name not in own:
            yield Fault(workload.spec.get("namespaces"), f"no {name} namespace of its own")
        elif _HOST_NAMESPACE.match(own[name].get("path").text):
            yield Fault(own[name].get("path"), own[name].get("path").shown)


def shares_host_network(workload: Workload) -> bool:
    """Whether the container is in the host's network namespace."""
    return any("network" in fault.found or "/net" in fault.found for fault in _shared(workload, ("network",)))


def network_hooks(workload: Workload) -> Iterator[Place]:
    """Programs of the host that run while the container is made, as Docker's, which plugs in its network."""
    for name in ("prestart", "createRuntime", "createContainer"):
        yield from workload.root.get("hooks", name).each()


def _capabilities(workload: Workload) -> Iterator[Place]:
    seen = set()
    for name in _CAPABILITY_SETS:
        for place in workload.root.get("process", "capabilities", name).each():
            if place.text not in seen:
                seen.add(place.text)
                yield place


def added_capabilities(workload: Workload) -> Iterator[Fault]:
    """Capabilities beyond those that the Pod Security Standards' baseline allows."""
    return _beyond(workload, BASELINE_CAPABILITIES)


def capabilities_dropped(workload: Workload) -> Iterator[Fault]:
    """Capabilities that stay."""
    return _beyond(workload, RESTRICTED_CAPABILITIES)


def _beyond(workload: Workload, allowed: frozenset[str]) -> Iterator[Fault]:
    for place in _capabilities(workload):
        if place.text.removeprefix("CAP_") not in allowed:
            yield Fault(place, place.shown)


def apparmor(workload: Workload) -> Iterator[Fault]:
    """AppArmor switched off."""
    field = workload.root.get("process", "apparmorProfile")
    if field.text == "unconfined":
        yield Fault(field, field.shown)


def seccomp_unconfined(workload: Workload) -> Iterator[Fault]:
    """No filter on system calls, or one that lets pass what it does not name."""
    field = workload.spec.get("seccomp")
    action = field.get("defaultAction")
    if not field.present:
        yield Fault(field, field.shown)
    elif action.text in {"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", ""}:
        yield Fault(action, action.shown)


def proc_mount(workload: Workload) -> Iterator[Fault]:
    """Paths of /proc and /sys that are not masked or not read-only."""
    mounts = workload.containers[0].mounts
    for field, wanted in (("maskedPaths", _MASKED), ("readonlyPaths", _READ_ONLY)):
        place = workload.spec.get(field)
        given = {item.text for item in place.each()}
        absent = [path for path in wanted if path not in given and any(_covers(mount, path) for mount in mounts)]
        if absent:
            yield Fault(place, f"without {', '.join(absent)}")


def _covers(mount: Mounted, path: str) -> bool:
    return path.startswith(f"{mount.destination.rstrip('/')}/") and mount.destination not in {"", "/"}


def sysctls(workload: Workload) -> Iterator[Fault]:
    """Kernel settings beyond the safe ones."""
    for name, place in workload.spec.get("sysctl").items():
        if name not in SAFE_SYSCTLS:
            yield Fault(place, name)


def privilege_escalation(workload: Workload) -> Iterator[Fault]:
    """Set-user-id programs that may raise rights."""
    field = workload.root.get("process", "noNewPrivileges")
    if not field.is_true:
        yield Fault(field, field.shown)


def run_as_root(workload: Workload) -> Iterator[Fault]:
    """Root inside."""
    field = workload.root.get("process", "user", "uid")
    if field.text in {"", "0"}:
        yield Fault(field, field.shown)


def writable_root(workload: Workload) -> Iterator[Fault]:
    """A root file system that can be written."""
    field = workload.root.get("root", "readonly")
    if not field.is_true:
        yield Fault(field, field.shown)


def no_memory_limit(workload: Workload) -> Iterator[Fault]:
    """Memory without a bound."""
    return _no_limit(workload, "memory", "limit")


def no_process_limit(workload: Workload) -> Iterator[Fault]:
    """Processes without a bound."""
    return _no_limit(workload, "pids", "limit")


def no_cpu_limit(workload: Workload) -> Iterator[Fault]:
    """Processor time without a bound."""
    return _no_limit(workload, "cpu", "quota")


def _no_limit(workload: Workload, *field: str) -> Iterator[Fault]:
    place = workload.spec.get("resources", *field)
    if place.text in {"", "0", "-1"}:
        yield Fault(place, place.shown)


def devices(workload: Workload) -> Iterator[Fault]:
    """Devices of the host: made in the container, or allowed by the control group."""
    for place in workload.spec.get("devices").each():
        if place.get("path").text not in _DEFAULT_DEVICES:
            yield Fault(place, place.get("path").shown)
    for place in workload.spec.get("resources", "devices").each():
        if place.get("allow").is_true and not _harmless(place):
            yield Fault(place, " ".join(place.get(word).text for word in ("type", "major", "minor", "access")).strip())


def _harmless(place: Place) -> bool:
    if place.get("access").text == "m":  # makes a node, opens nothing
        return True
    major, minor = place.get("major").text, place.get("minor").text
    return place.get("type").text == "c" and ((major, minor) in _HARMLESS_NUMBERS or major == _TERMINALS)


def writable_executable(workload: Workload) -> Iterator[Fault]:
    """Writable mounts that may hold programs, set-user-id bits or devices."""
    for mount in workload.containers[0].mounts:
        absent = {"noexec", "nosuid", "nodev"} - mount.options
        if mount.destination.startswith("/dev"):
            absent.discard("nodev")
        if not mount.read_only and mount.kind is not Kind.KERNEL and absent:
            yield Fault(mount.place.get("options"), f"{mount.destination} without {', '.join(sorted(absent))}")


def writable_kernel(workload: Workload) -> Iterator[Fault]:
    """Writable /sys or control groups."""
    for mount in workload.containers[0].mounts:
        if mount.kind is Kind.KERNEL and mount.destination.startswith("/sys") and not mount.read_only:
            yield Fault(mount.place.get("options"), f"{mount.destination} is writable")
