"""Drift: what a running container has, beside what its config.json planned. Pure; the look at /proc is the caller's.

Only what is weaker than the plan is a finding. What cannot be seen counts as drift, as an unknown gate counts as
failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from veilbox.scan.oci_config import bundle
from veilbox.scan.rule import Fault, Finding, Profile, Rule, Severity
from veilbox.scan.tree import Place
from veilbox.scan.workload import Mounted

# The runtime-spec's word and the kernel's.
_KINDS: Mapping[str, str] = {
    "pid": "pid", "network": "net", "mount": "mnt", "ipc": "ipc", "uts": "uts", "user": "user", "cgroup": "cgroup",
}  # fmt: skip
# By bit. Source: Linux 6.18, include/uapi/linux/capability.h.
_CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
_CAPABILITY_SETS: Mapping[str, str] = {
    "inheritable": "CapInh", "permitted": "CapPrm", "effective": "CapEff", "bounding": "CapBnd", "ambient": "CapAmb",
}  # fmt: skip
# What runtimes mount of their own accord: the standard devices, bound in a user namespace, and folders below /dev.
_OF_THE_RUNTIME = ("/dev/",)
_FLAGS = ("ro", "nosuid", "nodev", "noexec")
# Words of proc_pid_limits(5) for those limits that a bundle of ours sets.
_RLIMITS: Mapping[str, str] = {
    "RLIMIT_NOFILE": "Max open files",
    "RLIMIT_CORE": "Max core file size",
    "RLIMIT_MSGQUEUE": "Max msgqueue size",
    "RLIMIT_MEMLOCK": "Max locked memory",
    "RLIMIT_NPROC": "Max processes",
    "RLIMIT_FSIZE": "Max file size",
    "RLIMIT_DATA": "Max data size",
    "RLIMIT_AS": "Max address space",
}
_UNLIMITED = 1 << 63
_SECOND_US = 1_000_000
_ROUNDING_US = 1000
# Calls that a finding names.
_NAMED = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenMount:
    """A mount as /proc/PID/mountinfo has it.

    Attributes:
        origin: Which file system, and which folder of it: `0:41 /`.
    """

    point: str
    options: frozenset[str]
    origin: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """What the host sees of a container's first process.

    Attributes:
        namespaces: Inode numbers by the kernel's word (`net`).
        elsewhere: For each of them, who else has which number: the host, this process, the job's other containers.
        status: Fields of /proc/PID/status.
        id_map: Lines of /proc/PID/uid_map: first id inside, first outside, how many.
        mounts: Topmost mounts by their points.
        interfaces: Network interfaces.
        routes: How many routes there are.
        limits: Hard limits of /proc/PID/limits by their names there; `_UNLIMITED` for no limit.
        cgroup: `memory`, `pids`, `cpu` (microseconds of processor time a second): the control group's bounds; None if
            it has none.
        sources: For every mount of the supervisor its origin, by its point there; where its bundles' sources lie.
        filter: What the runtime's own notes say that its filter allows: calls, and the tests of arguments that each
            must meet, none for all; None where the runtime keeps no such notes.
        words: The command line.
        masked: Paths below /proc that this kernel has, of those that bundles mask.
        unseen: What could not be read, and why.
    """

    namespaces: Mapping[str, int]
    elsewhere: Mapping[str, Mapping[str, int]]
    status: Mapping[str, str]
    id_map: tuple[tuple[int, int, int], ...]
    mounts: Mapping[str, SeenMount]
    interfaces: tuple[str, ...]
    routes: int
    limits: Mapping[str, int]
    cgroup: Mapping[str, int | None]
    words: tuple[str, ...]
    sources: Mapping[str, str] = field(default_factory=dict)
    filter: Mapping[str, int] | None = None
    masked: frozenset[str] = frozenset()
    unseen: Mapping[str, str] = field(default_factory=dict)


_Compare = Callable[[Place, Running], Iterable[Fault]]


def _unseen(planned: Place, running: Running) -> Iterator[Fault]:
    for what, why in running.unseen.items():
        yield Fault(planned, f"{what}: {why}")


def _program(planned: Place, running: Running) -> Iterator[Fault]:
    words = tuple(word.text for word in planned.get("process", "args").each())
    if words != running.words and "command line" not in running.unseen:
        yield Fault(planned.get("process", "args"), " ".join(running.words) or "nothing")


def _namespaces(planned: Place, running: Running) -> Iterator[Fault]:
    for place in planned.get("linux", "namespaces").each():
        kind = _KINDS.get(place.get("type").text, "")
        number = running.namespaces.get(kind)
        sharing = [who for who, other in running.elsewhere.get(kind, {}).items() if other == number]
        if number is not None and sharing:
            yield Fault(place, f"{place.get('type').text} shared with {', '.join(sharing)}")


def _ids(planned: Place, running: Running) -> Iterator[Fault]:
    if "ids" in running.unseen:
        return
    place = planned.get("linux", "uidMappings")
    wanted = [(line.get("containerID").text, line.get("size").text) for line in place.each()]
    if wanted != [(str(inside), str(count)) for inside, _, count in running.id_map]:
        yield Fault(place, "; ".join(f"{i} is {o}, {n} ids" for i, o, n in running.id_map) or "no mapping")
    elif any(outside <= 0 < outside + count for _, outside, count in running.id_map):
        yield Fault(place, "holds the host's 0")


def _user(planned: Place, running: Running) -> Iterator[Fault]:
    place = planned.get("process", "user", "uid")
    for name in ("Uid", "Gid"):
        for outside in {int(word) for word in running.status.get(name, "").split()}:
            inside = next((i + outside - o for i, o, n in running.id_map if o <= outside < o + n), None)
            if str(inside) != place.text:
                yield Fault(place, f"{name.lower()} {inside if inside is not None else f'{outside} outside'}")


def _capabilities(planned: Place, running: Running) -> Iterator[Fault]:
    for name, field_name in _CAPABILITY_SETS.items():
        place = planned.get("process", "capabilities", name)
        wanted = {word.text.removeprefix("CAP_") for word in place.each()}
        bits = int(running.status.get(field_name, "0"), 16)
        held = {word for bit, word in enumerate(_CAPABILITIES) if bits >> bit & 1}
        if held - wanted:
            yield Fault(place, ", ".join(sorted(held - wanted)))


def _no_new_privileges(planned: Place, running: Running) -> Iterator[Fault]:
    place = planned.get("process", "noNewPrivileges")
    if place.is_true and running.status.get("NoNewPrivs", "1") != "1":
        yield Fault(place, running.status["NoNewPrivs"])


def _seccomp(planned: Place, running: Running) -> Iterator[Fault]:
    place = planned.get("linux", "seccomp")
    if not place.present or "status" in running.unseen:
        return
    # A component of ours lays one more over the runtime's; kernels before 5.9 do not count.
    own = any(word.text == "veilbox.components" for word in planned.get("process", "args").each())
    least = 2 if own else 1
    filters = int(running.status.get("Seccomp_filters", least))
    if running.status.get("Seccomp") != "2" or filters < least:
        yield Fault(
            place, f"mode {running.status.get('Seccomp', 'unknown')}, {filters} filters, at least {least} expected"
        )
    if running.filter is not None:
        yield from _looser(place, running.filter)


def _looser(place: Place, noted: Mapping[str, int]) -> Iterator[Fault]:
    """Calls that the runtime let pass beyond the plan, or with any argument where the plan has tests."""
    planned = allowed_calls(
        (name.text, rule.get("action").text == "SCMP_ACT_ALLOW", len(list(rule.get("args").each())))
        for rule in place.get("syscalls").each()
        for name in rule.get("names").each()
    )
    beyond = sorted(name for name, tests in noted.items() if name not in planned or bool(planned[name]) > bool(tests))
    if beyond:
        yield Fault(place.get("syscalls"), f"allows {', '.join(beyond[:_NAMED])}" + (" ..." if beyond[_NAMED:] else ""))


def allowed_calls(rules: Iterable[tuple[str, bool, int]]) -> dict[str, int]:
    """What a filter lets pass.

    Args:
        rules: A call, whether the rule allows it, and how many tests of arguments the rule has.

    Returns:
        Calls and how many tests there are in the rule that allows most; 0 if one allows it whatever the arguments.
    """
    calls: dict[str, int] = {}
    for name, allows, tests in rules:
        if allows:
            calls[name] = min(tests, calls.get(name, tests))
    return calls


def _mounts(planned: Place, running: Running) -> Iterator[Fault]:
    if "mounts" in running.unseen:
        return
    mounts = bundle(planned).containers[0].mounts
    wanted = {mount.destination.rstrip("/") or "/": mount for mount in mounts}
    for point, mount in wanted.items():
        yield from _weaker(mount, running.mounts.get(point))
    yield from _elsewhere(planned, running)
    root = running.mounts.get("/")
    if planned.get("root", "readonly").is_true and (root is None or "ro" not in root.options):
        yield Fault(planned.get("root", "readonly"), "the root is writable")
    yield from _hidden(planned, running)
    shut = {place.text for name in ("maskedPaths", "readonlyPaths") for place in planned.get("linux", name).each()}
    for point in running.mounts.keys() - wanted.keys() - shut - {"/"}:
        if not point.startswith(_OF_THE_RUNTIME):
            yield Fault(planned.get("mounts"), f"{point} is mounted and not planned")


def _elsewhere(planned: Place, running: Running) -> Iterator[Fault]:
    """Mounts whose content is not that of the planned source, which the supervisor has mounted too."""
    binds = [place for place in planned.get("mounts").each() if place.get("type").text == "bind"]
    named = [(place.get("source"), place.get("destination").text) for place in binds]
    for source, point in [*named, (planned.get("root", "path"), "/")]:
        seen, wanted = running.mounts.get(point), running.sources.get(source.text)
        if running.sources and seen is not None and seen.origin != wanted:
            yield Fault(source, f"{point} is another folder than {source.text}")


def _weaker(mount: Mounted, seen: SeenMount | None) -> Iterator[Fault]:
    if seen is None:
        yield Fault(mount.place, f"{mount.destination} is not mounted")
        return
    missing = [flag for flag in _FLAGS if flag in mount.options and flag not in seen.options]
    if missing:
        yield Fault(mount.place, f"{mount.destination} without {', '.join(missing)}")


def _hidden(planned: Place, running: Running) -> Iterator[Fault]:
    for name in ("maskedPaths", "readonlyPaths"):
        for place in planned.get("linux", name).each():
            seen = running.mounts.get(place.text)
            if place.text in running.masked and seen is None:
                yield Fault(place, f"{place.text} is open")
            elif name == "readonlyPaths" and seen is not None and "ro" not in seen.options:
                yield Fault(place, f"{place.text} is writable")


def _limits(planned: Place, running: Running) -> Iterator[Fault]:
    if not planned.get("linux", "cgroupsPath").present:
        return
    for name in ("memory", "pids"):
        place = planned.get("linux", "resources", name, "limit")
        found = running.cgroup.get(name)
        if place.text and (found is None or found > int(place.text)):
            yield Fault(place, "no bound" if found is None else str(found))
    yield from _share(planned.get("linux", "resources", "cpu"), running.cgroup.get("cpu"))


def _share(cpu: Place, found: int | None) -> Iterator[Fault]:
    """A larger share of the processors than was planned, beyond what rounding explains."""
    quota, period = cpu.get("quota").text, cpu.get("period").text
    if quota and period and (found is None or found > round(int(quota) * _SECOND_US / int(period)) + _ROUNDING_US):
        yield Fault(cpu.get("quota"), "no bound" if found is None else f"{found / _SECOND_US:g} processors")


def _rlimits(planned: Place, running: Running) -> Iterator[Fault]:
    for limit in planned.get("process", "rlimits").each():
        name = _RLIMITS.get(limit.get("type").text)
        found = running.limits.get(name) if name else None
        if found is not None and found > int(limit.get("hard").text or _UNLIMITED):
            yield Fault(limit, f"{name}: {'unlimited' if found >= _UNLIMITED else found}")


def _network(planned: Place, running: Running) -> Iterator[Fault]:
    place = planned.get("linux", "namespaces")
    beyond = [name for name in running.interfaces if name != "lo"]
    if beyond or running.routes:
        yield Fault(place, f"interfaces {', '.join(beyond) or 'none'}, {running.routes} routes")


def _rule(name: str, severity: Severity, title: str, gains: str, references: tuple[str, ...]) -> Rule:
    return Rule(
        id=f"drift-{name}",
        severity=severity,
        title=title,
        gains=gains,
        fix="Stop the job, find out who changed the container or its config.json, and run it again.",
        references=references,
        profiles=frozenset({Profile.VEILBOX}),
        checks={},
    )


DRIFT: tuple[tuple[Rule, _Compare], ...] = (
    (
        _rule(
            "unseen",
            Severity.MEDIUM,
            "part of a running container cannot be seen",
            "What is not seen is not judged.",
            ("NIST 4.4.5",),
        ),
        _unseen,
    ),
    (
        _rule(
            "program",
            Severity.HIGH,
            "another program runs than was planned",
            "Whatever the other program does.",
            ("NIST 4.4.5",),
        ),
        _program,
    ),
    (
        _rule(
            "namespaces",
            Severity.HIGH,
            "a namespace that was planned as its own is shared",
            "What the namespace was to keep apart.",
            ("CIS 5.10, 5.16, 5.17, 5.21", "NIST 4.4.3"),
        ),
        _namespaces,
    ),
    (
        _rule(
            "ids",
            Severity.HIGH,
            "ids are mapped otherwise than planned",
            "Ids that somebody else has on the host.",
            ("CIS 5.31", "NIST 4.4.3"),
        ),
        _ids,
    ),
    (
        _rule(
            "user",
            Severity.HIGH,
            "it runs as another user than planned",
            "That user's files and rights.",
            ("CIS 4.1", "NIST 4.4.3"),
        ),
        _user,
    ),
    (
        _rule(
            "capabilities",
            Severity.HIGH,
            "it holds capabilities that were not planned",
            "Parts of root's rights.",
            ("CIS 5.4", "NIST 4.4.3"),
        ),
        _capabilities,
    ),
    (
        _rule(
            "no-new-privileges",
            Severity.HIGH,
            "no-new-privileges is not in force",
            "Root inside through any set-user-id file.",
            ("CIS 5.26", "NIST 4.4.3"),
        ),
        _no_new_privileges,
    ),
    (
        _rule(
            "seccomp",
            Severity.HIGH,
            "the filter on system calls is not in force, or allows more",
            "The whole kernel's surface.",
            ("CIS 5.22", "NIST 4.5.2"),
        ),
        _seccomp,
    ),
    (
        _rule(
            "mounts",
            Severity.HIGH,
            "mounts are other or weaker than planned",
            "Files that it should not see, or not write.",
            ("CIS 5.13, 5.20", "NIST 4.5.5"),
        ),
        _mounts,
    ),
    (
        _rule(
            "limits",
            Severity.MEDIUM,
            "the control group's limits are weaker than planned",
            "The host's memory, processes, processors.",
            ("CIS 5.11, 5.29", "NIST 4.4.3"),
        ),
        _limits,
    ),
    (
        _rule(
            "rlimits",
            Severity.LOW,
            "the process's limits are weaker than planned",
            "Core dumps that hold footage, open files, locked memory.",
            ("CIS 5.19", "NIST 4.4.3"),
        ),
        _rlimits,
    ),
    (
        _rule(
            "network",
            Severity.HIGH,
            "a network has been plugged in",
            "A way out for raw footage.",
            ("veilbox: no network", "NIST 4.4.2"),
        ),
        _network,
    ),
)


def drifted(file: str, planned: Place, running: Running) -> Iterator[Finding]:
    """Where a running container is weaker than its config.json.

    Args:
        file: The config.json's name.
        planned: Its content.
        running: What the host sees.
    """
    subject = bundle(planned).name
    for rule, compare in DRIFT:
        for fault in compare(planned, running):
            yield Finding(
                rule=rule,
                file=file,
                document=1,
                line=fault.place.line,
                column=fault.place.column,
                path=fault.place.path,
                subject=subject,
                found=fault.found,
            )
